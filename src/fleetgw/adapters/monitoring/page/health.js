// The gateway's state in one line, with its reasons.

import { duration, sentence } from "./format.js";
import { definitions, el, keyed, setAttribute, setText, textPart } from "./dom.js";

const STATES = {
  ok: ["ok", "Healthy"],
  degraded: ["warn", "Degraded"],
  not_ready: ["bad", "Not ready"],
  starting: ["warn", "Starting"],
  draining: ["warn", "Draining"],
};

/** The level (ok, warn, bad) and the word for a state of the gateway. */
export const healthWords = (state) => STATES[state] ?? ["warn", state];

const EXPLANATIONS = {
  ok: "Takes records, and every sink confirms them.",
  degraded: "Takes records, and keeps what a sink cannot take now.",
  not_ready: "Does not take every record: load balancers send vehicles elsewhere.",
  starting: "Does not take vehicles yet.",
  draining: "Ends: vehicles connect to another gateway.",
};

/** The panel at the top of the overview. */
export function healthPanel() {
  const word = el("p", { class: "health-word" });
  const explanation = el("p");
  const reasons = el("ul", { class: "reasons" });
  const updateReasons = keyed(
    reasons,
    (reason) => reason,
    () => textPart("li", sentence),
  );
  const facts = definitions("facts", [
    ["Up", ({ uptime_s }) => duration(uptime_s)],
    ["Version", ({ version }) => version],
    ["Host", ({ host }) => host],
  ]);
  const element = el(
    "section",
    { class: "panel health", "aria-label": "Health" },
    // An announcement only when the state changes: the text inside stays as it is otherwise.
    el("div", { role: "status" }, word, explanation),
    facts.element,
    reasons,
  );
  return {
    element,
    update(overview) {
      const { health } = overview;
      const [level, text] = healthWords(health.state);
      setAttribute(element, "data-level", level);
      setText(word, text);
      setText(explanation, EXPLANATIONS[health.state]);
      updateReasons([...new Set(health.reasons)]);
      reasons.hidden = health.reasons.length === 0;
      facts.update(overview);
    },
  };
}

/** A state as a word with a dot; its data: [level, word]. */
export function stateWord() {
  const element = el("span", { class: "state" });
  return {
    element,
    update([level, word]) {
      setAttribute(element, "data-level", level);
      setText(element, word);
    },
  };
}

/** What helps against a trouble; its data: a text, or nothing. */
export function fixLine() {
  const text = el("span");
  const element = el("p", { class: "fix" }, el("span", { class: "hint" }, "What helps: "), text);
  return {
    element,
    update(fix) {
      setText(text, sentence(fix));
      element.hidden = !fix;
    },
  };
}
