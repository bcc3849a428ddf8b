// The first view: everything that needs no token, and two panels that do.

import { certificatesPanel, ledgerPanel, sinksPanel, spoolPanel } from "./sinks.js";
import { el, panel } from "./dom.js";
import { figures, history, recordTypes } from "./figures.js";
import { healthPanel } from "./health.js";
import { recentRefusals, refusalCounts } from "./refusals.js";
import { topSignals } from "./signals.js";

/** The overview. */
export function overviewView(context) {
  const counts = refusalCounts();
  const recent = recentRefusals(context, 5);
  const signals = topSignals(context, 8, false);
  const head = [healthPanel(), figures(), history(), sinksPanel(context.now), recordTypes()];
  const books = [spoolPanel(), ledgerPanel(), certificatesPanel()];
  const live = [...head, ...books, counts];
  return {
    title: "Overview",
    element: el(
      "div",
      { class: "stack" },
      ...head.map((part) => part.element),
      el("div", { class: "thirds" }, ...books.map((part) => part.element)),
      el(
        "div",
        { class: "pair" },
        panel("Refusals", {}, counts.element, recent.element, el("p", { class: "more" }, el("a", { href: "#/refusals" }, "All refusals"))),
        panel("Most signals", {}, signals.element, el("p", { class: "more" }, el("a", { href: "#/signals" }, "All signals"))),
      ),
    ),
    update: (overview) => live.forEach((part) => part.update(overview)),
    stop() {
      recent.stop();
      signals.stop();
    },
  };
}
