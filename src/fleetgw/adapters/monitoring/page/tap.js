// Records as they come, of every vehicle or of some.

import { clock, count, plural, signal } from "./format.js";
import { el, setText } from "./dom.js";
import { follow, jsonLine } from "./api.js";
import { tokenGate } from "./token.js";
import { vinLink } from "./vehicles.js";

const MOST_LINES = 200;
const LONGEST_TEXT = 600;

const SHOWN_BESIDE = new Set(["Vin", "VIN", "vin", "CreatedAt"]);

function describe(data) {
  if (Array.isArray(data)) return data.map(describe).join(" | ");
  if (data === null || typeof data !== "object") return signal(data);
  return Object.entries(data)
    .filter(([name]) => !SHOWN_BESIDE.has(name))
    .map(([name, value]) => `${name}=${signal(value)}`)
    .join("  ");
}

function lineOf(record) {
  const vin = vinLink();
  vin.update(record);
  const text = describe(record.data);
  return el(
    "li",
    {},
    el("time", {}, clock(record.at_ms)),
    vin.element,
    el("span", { class: "tag" }, record.type),
    el("span", { class: "record" }, text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)} …` : text),
  );
}

function tap(refused) {
  const fields = [["vin", "VIN", "all"], ["type", "Record type", "all"], ["field", "Field", "all"]].map(([name, label, placeholder]) => ({
    name,
    label,
    input: el("input", { id: `tap-${name}`, placeholder, autocomplete: "off", spellcheck: "false" }),
  }));
  const lines = el("ol", { class: "tap", tabindex: 0, "aria-label": "Records", hidden: true });
  const state = el("p", { class: "hint", role: "status" });
  const figures = el("p", { class: "hint" });
  const empty = el("p", { class: "empty" }, "Start shows the records of the fleet as they come, newest first.");
  const button = el("button", { type: "submit" }, "Start");
  let following = null;
  let shown = 0;
  let dropped = 0;
  let waiting = [];
  let frame = 0;

  function draw() {
    frame = 0;
    lines.prepend(...waiting.slice(-MOST_LINES).map(lineOf).reverse());
    waiting = [];
    lines.hidden = false;
    while (lines.childElementCount > MOST_LINES) lines.lastElementChild.remove();
    setText(figures, `${plural(shown, "record")}${dropped > 0 ? `, ${count(dropped)} left out: this page is slower than the fleet` : ""}`);
  }

  function stop(why) {
    following?.stop();
    following = null;
    setText(button, "Start");
    setText(state, why);
  }

  function start() {
    following?.stop();
    const query = Object.fromEntries(fields.map(({ name, input }) => [name, input.value.split(/[\s,]+/).filter(Boolean).join(",")]));
    empty.hidden = true;
    lines.replaceChildren();
    shown = dropped = 0;
    waiting = [];
    setText(button, "Stop");
    setText(state, "Waiting for records.");
    following = follow("api/tap", {
      query,
      parse: jsonLine,
      onValue(line) {
        setText(state, "Live.");
        if (typeof line.dropped === "number") dropped += line.dropped;
        else {
          shown += 1;
          waiting.push(line);
          if (waiting.length > MOST_LINES) waiting.shift();
        }
        if (frame === 0) frame = requestAnimationFrame(draw);
      },
      onTrouble(error) {
        if (error === null) return;
        if (error.isRefusal) refused(error);
        else if (error.code === 400) stop(error.text);
        else setText(state, `${error.text} Trying again.`);
      },
    });
  }

  const form = el(
    "form",
    {
      class: "search",
      onsubmit: (event) => {
        event.preventDefault();
        if (following === null || document.activeElement.matches("input")) start(); // Enter in a field follows what it says now
        else stop("Stopped.");
      },
    },
    ...fields.map(({ name, label, input }) => el("div", { class: "labelled" }, el("label", { for: `tap-${name}` }, label), input)),
    button,
  );
  return {
    element: el("section", { class: "panel", "aria-label": "Tap" }, form, el("div", { class: "line" }, state, figures), empty, lines),
    stop() {
      cancelAnimationFrame(frame);
      following?.stop();
    },
  };
}

/** The view of live records. */
export function tapView() {
  const part = tokenGate("live records", tap);
  return { title: "Tap", element: part.element, update() {}, stop: part.stop };
}
