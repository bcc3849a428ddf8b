// Builds elements and updates them in place. A part of the page is an object {element, update(data)}.
// Text becomes part of the page by textContent alone: a text that a vehicle sent never becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children. A function as attribute `onclick` listens to `click`; null and false are left out. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An element of an SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set the text of an element where it differs, so that a selection in unchanged text stays. */
export function setText(element, text) {
  const wanted = text === null || text === undefined ? "" : String(text);
  if (element.textContent !== wanted) {
    element.textContent = wanted;
  }
}

/** Set an attribute where it differs; null removes it. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined) {
    element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value);
  }
}

/** A part that shows a text. */
export function textPart(name, show) {
  const element = el(name);
  return { element, update: (data) => setText(element, show(data)) };
}

/**
 * Keeps one part per item in `parent`, in the order of the items, and moves only parts that are out of place. An element that
 * has the focus keeps it when its part is moved.
 *
 * @param keyOf the identity of an item; @param create makes the part of a new item
 * @returns a function that takes the items
 */
export function keyed(parent, keyOf, create) {
  const parts = new Map();
  return (items) => {
    const wanted = new Set(items.map(keyOf));
    for (const [key, part] of parts) {
      if (!wanted.has(key)) {
        part.element.remove();
        parts.delete(key);
      }
    }
    const focused = parent.contains(document.activeElement) ? document.activeElement : null;
    let next = parent.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      let part = parts.get(key);
      if (part === undefined) {
        part = create(item);
        parts.set(key, part);
      }
      if (part.element === next) {
        next = next.nextElementSibling;
      } else {
        parent.insertBefore(part.element, next);
      }
      part.update(item);
    }
    if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
  };
}

/** A list of terms with values; its columns are [term, function that gives the value of the data]. */
export function definitions(className, columns) {
  const values = columns.map(() => el("dd"));
  return {
    element: el("dl", { class: className }, ...columns.map(([name], index) => el("div", {}, el("dt", {}, name), values[index]))),
    update: (data) => columns.forEach(([, show], index) => setText(values[index], show(data))),
  };
}

/** A panel: a section with a heading, and its content. */
export function panel(title, attributes, ...children) {
  const id = `panel-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  return el(
    "section",
    { ...attributes, class: `panel ${attributes.class ?? ""}`.trim(), "aria-labelledby": id },
    el("h2", { id }, title),
    ...children,
  );
}

/**
 * A table whose rows are kept by key; the first cell of a row is its heading.
 *
 * @param columns each {title, class, show(item)} with a text, or {title, class, part(item)} with a part
 */
export function table(caption, columns, keyOf) {
  const body = el("tbody");
  const head = el("tr", {}, ...columns.map((column) => el("th", { scope: "col", class: column.class }, column.title)));
  const element = el(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    el("table", {}, el("caption", { class: "unseen" }, caption), el("thead", {}, head), body),
  );
  const update = keyed(body, keyOf, (item) => {
    const cells = columns.map((column, at) => {
      const cell = el(at === 0 ? "th" : "td", { class: column.class, scope: at === 0 ? "row" : null });
      if (column.part === undefined) {
        return { element: cell, update: (data) => setText(cell, column.show(data)) };
      }
      const part = column.part(item);
      cell.append(part.element);
      return { element: cell, update: part.update };
    });
    const row = el("tr", {}, ...cells.map((cell) => cell.element));
    return { element: row, update: (next) => cells.forEach((cell) => cell.update(next)) };
  });
  return { element, update };
}
