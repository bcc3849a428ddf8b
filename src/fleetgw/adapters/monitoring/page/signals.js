// Signals per vehicle and day: the unit of the invoice.

import { count, date, NONE } from "./format.js";
import { el, panel, setText, table } from "./dom.js";
import { getJson, repeat } from "./api.js";
import { tokenGate } from "./token.js";

function vinLink() {
  const link = el("a", { class: "vin" });
  return {
    element: link,
    update({ vin }) {
      setText(link, vin);
      link.setAttribute("href", `#/vehicles/${encodeURIComponent(vin)}`);
    },
  };
}

/** The vehicles with the most signals today; with the last days where `wide`. */
export function topSignals(top, wide) {
  return tokenGate("the vehicles with the most signals", (refused) => {
    const place = el("div");
    const summary = el("p", { class: "hint" });
    const empty = el("p", { class: "empty", hidden: true }, "No signals yet.");
    const trouble = el("p", { class: "trouble" });
    let shownDays = null;
    let list = null;

    function columns(days) {
      return [
        { title: "Vehicle", class: "name", part: vinLink },
        { title: "Today", class: "number", show: (item) => count(item.today) },
        ...days.map((day) => ({ title: day.slice(5), class: "number optional", show: (item) => count(item.per_day?.[day] ?? null) })),
        { title: "In all", class: "number", show: (item) => count(item.total) },
      ];
    }

    const asking = repeat(async () => {
      try {
        const answer = await getJson("api/signals", { top: String(top) });
        const days = wide ? (answer.days ?? []).slice(-8).reverse().slice(1) : [];
        if (list === null || shownDays !== days.join()) {
          shownDays = days.join();
          list = table("Vehicles with the most signals today", columns(days), (item) => item.vin);
          place.replaceChildren(list.element);
        }
        list.update(answer.vehicles);
        place.hidden = answer.vehicles.length === 0;
        empty.hidden = answer.vehicles.length > 0;
        const totals = Object.entries(answer.total).flatMap(([type, number]) => (number > 0 ? [`${type} ${count(number)}`] : []));
        setText(summary, `Since ${answer.since_ms ? date(answer.since_ms) : NONE}: ${totals.join(", ") || "none"}.`);
        setText(trouble, "");
      } catch (error) {
        if (error.isRefusal) refused(error);
        else setText(trouble, error.text);
      }
    }, 5000);
    return { element: el("div", {}, trouble, place, empty, summary), stop: asking.stop };
  });
}

/** The view of signals. */
export function signalsView() {
  const part = topSignals(100, true);
  return {
    title: "Signals",
    element: el("div", { class: "stack" }, panel("Most signals today", {}, part.element)),
    update() {},
    stop: part.stop,
  };
}
