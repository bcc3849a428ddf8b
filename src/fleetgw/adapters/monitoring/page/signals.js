// Signals per vehicle and day: the unit of the invoice.

import { count, moment } from "./format.js";
import { el, panel, setText, table } from "./dom.js";
import { polling } from "./polling.js";
import { tokenGate } from "./token.js";
import { vinLink } from "./vehicles.js";

/** The vehicles with the most signals of all days that the gateway keeps; with the last days where `wide`. */
export function topSignals(context, top, wide) {
  return tokenGate("the vehicles with the most signals", (refused) => {
    const place = el("div");
    const summary = el("p", { class: "hint more" });
    const empty = el("p", { class: "empty", hidden: true }, "No signals yet.");
    let shownDays = null;
    let list = null;

    function columns(days) {
      return [
        { title: "Vehicle", part: vinLink },
        { title: "Today", class: "number", show: (item) => count(item.today) },
        ...days.map((day) => ({ title: day.slice(5), class: "number optional", show: (item) => count(item.per_day[day]) })),
        { title: "In all", class: "number", show: (item) => count(item.total) },
      ];
    }

    const asking = polling("api/signals", {
      query: () => ({ top: String(top) }),
      pauseMs: 5000,
      refused,
      onAnswer(answer) {
        const days = wide ? answer.days.slice(-8).reverse().slice(1) : [];
        if (list === null || shownDays !== days.join()) {
          shownDays = days.join();
          list = table("Vehicles with the most signals", columns(days), (item) => item.vin);
          place.replaceChildren(list.element);
        }
        list.update(answer.vehicles);
        place.hidden = answer.vehicles.length === 0;
        empty.hidden = answer.vehicles.length > 0;
        const totals = Object.entries(answer.total).flatMap(([type, number]) => (number > 0 ? [`${type} ${count(number)}`] : []));
        setText(summary, `Since the start, ${moment(answer.since_ms, context.now())}: ${totals.join(", ") || "none"}. Days begin at 00:00 UTC.`);
      },
    });
    return { element: el("div", {}, asking.element, place, empty, summary), stop: asking.stop };
  });
}

/** The view of signals. */
export function signalsView(context) {
  const part = topSignals(context, 100, true);
  return {
    title: "Signals",
    element: el("div", { class: "stack" }, panel("Most signals", {}, part.element)),
    update() {},
    stop: part.stop,
  };
}
