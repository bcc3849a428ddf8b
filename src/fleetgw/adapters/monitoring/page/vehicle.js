// One vehicle: presence, latest values, signals per day.

import { ago, count, duration, moment, NONE, sentence, signal } from "./format.js";
import { definitions, el, keyed, panel, setAttribute, setText, table } from "./dom.js";
import { follow } from "./api.js";
import { meter, sparkline } from "./chart.js";
import { presence } from "./vehicles.js";
import { stateWord } from "./health.js";
import { tokenGate } from "./token.js";

const SILENCE_MS = 6000;

/** A part for a name such as DetailedChargeState: on a narrow screen it breaks before a capital. */
const breaking = (show) => () => {
  const element = el("span");
  return {
    element,
    update(item) {
      const text = show(item);
      if (element.textContent !== text) {
        element.replaceChildren(...text.split(/(?=[A-Z])/).flatMap((word, at) => (at === 0 ? [word] : [el("wbr"), word])));
      }
    },
  };
};

function valuesPanel(now) {
  let wanted = "";
  let last = [];
  const rows = table(
    "Latest values",
    [
      { title: "Signal", part: breaking((item) => item.name) },
      { title: "Value", class: "number value", part: breaking((item) => signal(item.value)) },
      {
        title: "Trend",
        class: "spark-cell",
        part: () => {
          const spark = sparkline(["series-1"]);
          return { element: spark.element, update: (item) => spark.update([(item.history ?? []).map(([, value]) => value)]) };
        },
      },
      { title: "Reported", class: "number optional", show: (item) => ago(item.at_ms, now()) },
    ],
    (item) => item.name,
  );
  const empty = el("p", { class: "empty" });
  const filter = el("input", {
    id: "filter",
    type: "search",
    placeholder: "Name of a signal",
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => {
      wanted = filter.value.trim().toLowerCase();
      show();
    },
  });

  function show() {
    const values = last.filter((item) => item.name.toLowerCase().includes(wanted));
    rows.update(values);
    rows.element.hidden = values.length === 0;
    empty.hidden = values.length > 0;
    setText(empty, last.length > 0 ? `No signal has “${filter.value.trim()}” in its name.` : "Values appear with the next record.");
  }

  return {
    element: panel("Latest values", {}, el("div", { class: "search" }, el("label", { for: "filter" }, "Filter"), filter), rows.element, empty),
    update(vehicle) {
      last = [...(vehicle.values ?? [])].sort((one, other) => (one.name < other.name ? -1 : 1));
      show();
    },
  };
}

function barsPanel(title, emptyText) {
  const list = el("ul", { class: "bars" });
  const empty = el("p", { class: "empty" }, emptyText);
  const update = keyed(
    list,
    (item) => item.name,
    () => {
      const name = el("span", { class: "bar-name" });
      const bar = meter(title, { calm: true });
      const value = el("span", { class: "bar-value" });
      return {
        element: el("li", {}, name, bar.element, value),
        update(item) {
          setText(name, item.name);
          setAttribute(bar.element, "aria-label", item.name);
          bar.update({ value: item.value, max: item.max, text: count(item.value) });
          setText(value, count(item.value));
        },
      };
    },
  );
  return {
    element: panel(title, {}, list, empty),
    update(items) {
      const max = Math.max(1, ...items.map((item) => item.value));
      empty.hidden = items.length > 0;
      update(items.map((item) => ({ ...item, max })));
    },
  };
}

function details(context, vin, refused) {
  const state = stateWord();
  const since = el("span", { class: "hint" });
  const about = definitions("facts", [
    ["Connections", (vehicle) => count(vehicle.connections)],
    ["Last record", (vehicle) => ago(vehicle.last_record_ms, context.now())],
    ["Records", (vehicle) => count(vehicle.records)],
    ["Signals today", (vehicle) => count(vehicle.signals_today)],
    ["Client version", (vehicle) => vehicle.client_version || NONE],
    ["Network", (vehicle) => vehicle.network || NONE],
    ["Address", (vehicle) => vehicle.address || NONE],
  ]);
  const trouble = el("p", { class: "trouble", role: "status" });
  const values = valuesPanel(context.now);
  const days = barsPanel("Signals per day", "No signals yet.");
  const types = barsPanel("Records by type", "No records yet.");
  const content = el(
    "div",
    { class: "stack", hidden: true },
    el("section", { class: "panel", "aria-label": "Presence" }, el("p", { class: "lead" }, state.element, " ", since), about.element),
    el("div", { class: "pair wide-left" }, values.element, el("div", { class: "stack" }, days.element, types.element)),
  );
  const following = follow(`api/vehicles/${encodeURIComponent(vin)}/stream`, {
    silenceMs: SILENCE_MS,
    onValue(vehicle) {
      content.hidden = false;
      state.update(presence(vehicle));
      const from = vehicle.online ? vehicle.online_since_ms : vehicle.offline_since_ms;
      setText(since, from ? `for ${duration((context.now() - from) / 1000)}, since ${moment(from, context.now())}` : "");
      about.update(vehicle);
      values.update(vehicle);
      days.update((vehicle.signals_per_day ?? []).map(({ day, signals }) => ({ name: day, value: signals })));
      const records = Object.entries(vehicle.records_by_type ?? {}).map(([name, value]) => ({ name, value }));
      types.update(records.sort((one, other) => other.value - one.value));
    },
    onTrouble(error) {
      content.classList.toggle("stale", error !== null);
      if (error?.isRefusal) refused(error);
      else if (error?.code !== 404) setText(trouble, error === null ? "" : `${error.text} The values below are old.`);
      else if (trouble.firstElementChild === null) {
        // Built once, not with each attempt: the link may have the focus.
        trouble.replaceChildren(sentence(error.message), " ", el("a", { href: "#/refusals" }, "Was it refused?"));
      }
    },
  });
  return { element: el("div", { class: "stack" }, trouble, content), stop: following.stop };
}

/** The view of one vehicle. */
export function vehicleView(context, vin) {
  const part = tokenGate("this vehicle and its values", (refused) => details(context, vin, refused));
  return { title: vin, vin: true, element: part.element, update() {}, stop: part.stop };
}
