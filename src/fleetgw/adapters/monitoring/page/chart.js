// Charts of the last minutes, and sparklines, as SVG.

import { clock, NONE } from "./format.js";
import { el, setAttribute, setText, svg } from "./dom.js";

const HEIGHT = 100;

/** The next of 1, 2, 5, 10, 20, 50, ... that is not below `value`. */
function niceMaximum(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

/** The path through values from the left; a gap where one is null. */
function linePath(values, xOf, yOf) {
  let path = "";
  let drawn = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      drawn = false;
      return;
    }
    path += `${drawn ? "L" : "M"}${xOf(index).toFixed(1)} ${yOf(value).toFixed(1)}`;
    drawn = true;
  });
  return path;
}

/**
 * A chart over time of one or several series; arrow keys and the pointer read it point by point.
 *
 * @param label what it shows; @param series each {name, className}; @param format of a value;
 * @param whole whether values are whole numbers
 * @returns part; its data: {values: a list per series, interval_s, end_ms, span}, where `span` is the number of points across
 */
export function chart(label, series, format, { whole = false } = {}) {
  const areas = series.map(({ className }) => svg("path", { class: `area ${className}` }));
  const paths = series.map(({ className }) => svg("path", { class: `line ${className}` }));
  const cross = svg("line", { class: "cross", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const grid = [0, 50, 100].map((y) => svg("line", { class: "grid", x1: 0, y1: y, x2: "100%", y2: y }));
  const picture = svg(
    "svg",
    { preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    ...grid,
    ...areas,
    ...paths,
    cross,
  );
  const top = el("span", { class: "scale top-left" });
  const middle = el("span", { class: "scale middle-left" });
  const tip = el("div", { class: "tip", hidden: true });
  const ends = [el("span"), el("span"), el("span", {}, "now")];
  const plot = el(
    "div",
    {
      class: "plot",
      tabindex: 0,
      role: "slider",
      "aria-label": `${label}, last 10 minutes`,
      "aria-valuemin": 0,
      onpointermove: (event) => point(Math.round(((event.clientX - plot.getBoundingClientRect().left) / plot.clientWidth) * (data.span - 1))),
      onpointerleave: () => point(null),
      onblur: () => point(null),
      onfocus: () => plot.matches(":focus-visible") && point(data.span - 1),
      onkeydown: (event) => {
        const steps = { ArrowLeft: -1, ArrowRight: 1, PageDown: -30, PageUp: 30, Home: -Infinity, End: Infinity };
        if (event.key in steps) {
          event.preventDefault();
          point((pointed ?? data.span - 1) + steps[event.key]);
        }
      },
    },
    picture,
    top,
    middle,
    tip,
  );
  const element = el("div", {}, plot, el("div", { class: "times", "aria-hidden": "true" }, ...ends));
  let data = { values: series.map(() => []), interval_s: 1, end_ms: 0, span: 2 };
  let pointed = null;

  const at = (values, index) => values[index - (data.span - values.length)] ?? null;

  function describe(index) {
    const figures = series.map(({ name }, row) => {
      const value = at(data.values[row], index);
      return `${value === null ? NONE : format(value)} ${name}`;
    });
    return [clock(data.end_ms - (data.span - 1 - index) * data.interval_s * 1000), ...figures];
  }

  function point(index) {
    pointed = index === null ? null : Math.max(0, Math.min(data.span - 1, index));
    tip.hidden = pointed === null;
    setAttribute(cross, "visibility", pointed === null ? "hidden" : "visible");
    if (pointed !== null) {
      setAttribute(cross, "x1", pointed);
      setAttribute(cross, "x2", pointed);
      const share = pointed / (data.span - 1);
      tip.style.left = `${share * 100}%`;
      tip.classList.toggle("flipped", share > 0.5);
      tip.replaceChildren(...describe(pointed).map((text) => el("span", {}, text)));
    }
    speak();
  }

  function speak() {
    const index = pointed ?? data.span - 1;
    setAttribute(plot, "aria-valuemax", data.span - 1);
    setAttribute(plot, "aria-valuenow", index);
    setAttribute(plot, "aria-valuetext", describe(index).join(", "));
  }

  return {
    element,
    update(next) {
      data = next;
      const largest = niceMaximum(Math.max(0, ...data.values.flat().filter((value) => value !== null)));
      const yOf = (value) => HEIGHT - (value / largest) * HEIGHT;
      setAttribute(picture, "viewBox", `0 0 ${data.span - 1} ${HEIGHT}`);
      data.values.forEach((values, row) => {
        const offset = data.span - values.length;
        const path = linePath(values, (index) => index + offset, yOf);
        setAttribute(paths[row], "d", path);
        const first = values.findIndex((value) => value !== null);
        setAttribute(areas[row], "d", first < 0 ? "" : `${path}L${data.span - 1} ${HEIGHT}L${first + offset} ${HEIGHT}Z`);
      });
      setText(top, format(largest));
      setText(middle, whole && largest % 2 ? "" : format(largest / 2));
      const minutes = Math.round(((data.span - 1) * data.interval_s) / 60);
      setText(ends[0], `${minutes} min ago`);
      setText(ends[1], `${minutes / 2} min`);
      point(pointed);
    },
  };
}

/** The names of a chart's series, with their colours. */
export function legend(series) {
  return el("ul", { class: "legend" }, ...series.map(({ name, className }) => el("li", { class: className }, name)));
}

const SPARK_WIDTH = 96;
const SPARK_HEIGHT = 22;

/**
 * Small lines without axes, from zero on or between their extremes.
 *
 * @param classNames of the series
 * @returns part; its data: per series numbers (null: a gap), oldest first, which end at the right edge; `span` is the number of
 *     points across
 */
export function sparkline(classNames, { fromZero = false } = {}) {
  const paths = classNames.map((name) => svg("path", { class: `line ${name}` }));
  const dot = svg("circle", { class: `dot ${classNames[0]}`, r: 1.8, visibility: "hidden" });
  const element = svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`, "aria-hidden": "true", focusable: "false" },
    ...paths,
    dot,
  );
  return {
    element,
    update(series, span = Math.max(2, series[0].length)) {
      const numbers = series.flat().filter((value) => value !== null);
      const lowest = fromZero ? 0 : Math.min(...numbers);
      const range = Math.max(...numbers) - lowest;
      const xOf = (index) => 2 + (index / (span - 1)) * (SPARK_WIDTH - 4);
      const yOf = (value) => SPARK_HEIGHT - 3 - (range > 0 ? (value - lowest) / range : 0.5) * (SPARK_HEIGHT - 6);
      series.forEach((values, row) => {
        setAttribute(paths[row], "d", linePath(values, (index) => xOf(index + span - values.length), yOf));
      });
      const last = series[0].at(-1) ?? null;
      setAttribute(dot, "visibility", last === null ? "hidden" : "visible");
      setAttribute(dot, "cx", xOf(span - 1));
      setAttribute(dot, "cy", last === null ? 0 : yOf(last));
    },
  };
}

/** A bar that fills; its data: {value, max, text}. It turns amber at 70% and red at 90% unless `calm`. */
export function meter(label, { calm = false } = {}) {
  const inner = el("span");
  const element = el("div", { class: "meter", role: "meter", "aria-label": label, "aria-valuemin": 0 }, inner);
  return {
    element,
    update({ value, max, text }) {
      const share = max > 0 ? Math.min(1, value / max) : 0;
      inner.style.width = `${share === 0 ? 0 : Math.max(1.5, share * 100)}%`;
      setAttribute(element, "aria-valuenow", value);
      setAttribute(element, "aria-valuemax", max);
      setAttribute(element, "aria-valuetext", text);
      setAttribute(element, "data-level", calm || share < 0.7 ? "ok" : share < 0.9 ? "warn" : "bad");
    },
  };
}
