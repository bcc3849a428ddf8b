// The operators' token: kept for this tab alone, taken from the address `#token=...` or from a field.

import { el, setText } from "./dom.js";

const KEY = "fleetgw.token";
const changed = new Set();

function kept() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // storage may be forbidden
  }
}

/** The token, and why the last one was not taken: an object with a `text`. */
export const token = {
  value: kept(),
  refusal: null,

  /** Use another token; an empty one forgets it. */
  set(value) {
    const isOne = /^[!-~]*$/.test(value.trim()); // no other characters are allowed in operations.token, nor in a header
    token.value = isOne ? value.trim() : "";
    token.refusal = isOne ? null : { text: "A token consists of letters, digits and punctuation of ASCII." };
    try {
      if (token.value === "") sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, token.value);
    } catch {
      // it then lasts as long as the page
    }
    for (const listener of changed) listener();
  },

  /** Note that the gateway did not take the token. */
  refuse(error) {
    token.refusal = error;
    for (const listener of changed) listener();
  },
};

/** Take the token out of an address `#token=...`, so that it is neither shown nor kept in the history. */
export function takeTokenFromAddress() {
  const found = /^#\/?token=(.+)$/.exec(location.hash);
  if (found === null) return;
  history.replaceState(null, "", "#/");
  let text = found[1];
  try {
    text = decodeURIComponent(text);
  } catch {
    // not encoded
  }
  token.set(text);
}

/**
 * A place that shows `part`, or the field for the token while there is none that the gateway takes.
 *
 * @param purpose ends the sentence "The token ... shows ..."
 * @param create makes the part {element, stop()} once there is a token; `refused(error)` brings the field back
 */
export function tokenGate(purpose, create) {
  const element = el("div", { class: "gate" });
  let part = null;
  let field = null;

  function show() {
    if (token.value !== "" && token.refusal === null) {
      if (part === null) {
        part = create(token.refuse);
        element.replaceChildren(part.element);
        field = null;
      }
      return;
    }
    part?.stop();
    part = null;
    if (field === null) {
      field = tokenField(purpose);
      element.replaceChildren(field.element);
    }
    field.update(token.refusal);
  }

  changed.add(show);
  show();
  return {
    element,
    stop() {
      changed.delete(show);
      part?.stop();
    },
  };
}

let fields = 0;

function tokenField(purpose) {
  fields += 1;
  const id = `token-${fields}`;
  const trouble = el("p", { class: "trouble", id: `${id}-trouble`, role: "alert" });
  const input = el("input", {
    id,
    type: "password",
    autocomplete: "current-password",
    spellcheck: "false",
    required: true,
    "aria-describedby": `${id}-trouble`,
  });
  const form = el(
    "form",
    {
      class: "token",
      onsubmit: (event) => {
        event.preventDefault();
        token.set(input.value);
      },
    },
    el("label", { for: id }, "Operators' token"),
    el("div", { class: "field" }, input, el("button", { type: "submit" }, "Show")),
    el("p", { class: "hint" }, `The token shows ${purpose}. It is the setting operations.token of the gateway, and stays in this tab.`),
    trouble,
  );
  return {
    element: form,
    update(refusal) {
      input.setAttribute("aria-invalid", refusal === null ? "false" : "true");
      setText(trouble, refusal === null ? "" : refusal.text);
    },
  };
}
