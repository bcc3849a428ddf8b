// Refused handshakes, connections, vehicles and messages.

import { ago, clock, count, date, moment, sentence } from "./format.js";
import { el, keyed, panel, setText } from "./dom.js";
import { fixLine } from "./health.js";
import { polling } from "./polling.js";
import { tokenGate } from "./token.js";
import { vinLink } from "./vehicles.js";

const words = (name) => name.replaceAll("_", " ");

/** Numbers of refusals since the start, by reason. */
export function refusalCounts() {
  const list = el("dl", { class: "numbers counts" });
  const empty = el("p", { class: "empty" }, "Nothing was refused since the start.");
  const update = keyed(
    list,
    (item) => item.key,
    () => {
      const name = el("dt");
      const value = el("dd");
      return {
        element: el("div", {}, name, value),
        update(item) {
          setText(name, item.name);
          setText(value, count(item.number));
        },
      };
    },
  );
  return {
    element: el("div", {}, list, empty),
    update({ refusals }) {
      const items = [["handshakes", "Handshakes: "], ["connections", "Connections: "]].flatMap(([kind, title]) =>
        Object.entries(refusals[kind])
          .filter(([, number]) => number > 0)
          .map(([reason, number]) => ({ key: `${kind} ${reason}`, name: title + words(reason), number })),
      );
      items.sort((one, other) => other.number - one.number);
      empty.hidden = items.length > 0;
      list.hidden = items.length === 0;
      update(items);
    },
  };
}

/** The gateway keeps one entry for the refusals of a vehicle, or else of an address without its port, for one reason. */
const identity = ({ kind, reason, vin, address }) => [kind, reason, vin ?? address?.replace(/:\d+$/, "")].join(" ");

function refusalPart(now) {
  const kind = el("span", { class: "tag" });
  const at = el("time");
  const text = el("p", { class: "refusal-text" });
  const fix = fixLine();
  const who = el("p", { class: "hint" });
  const vin = vinLink();
  return {
    element: el("li", { class: "refusal" }, el("div", { class: "line" }, kind, vin.element, at), text, fix.element, who),
    update(item) {
      setText(kind, item.kind);
      vin.update(item);
      const times = item.times > 1 ? `${count(item.times)} times, last ` : "";
      setText(at, `${times}${moment(item.at_ms, now())}, ${ago(item.at_ms, now())}`);
      setText(text, sentence(item.text || words(item.reason)));
      fix.update(item.fix);
      const details = [
        words(item.reason),
        item.address && `from ${item.address}`,
        item.issuer && `issuer ${item.issuer}`,
        item.not_after_ms && `valid until ${date(item.not_after_ms)} ${clock(item.not_after_ms)}`,
      ];
      setText(who, details.filter(Boolean).join(" · "));
    },
  };
}

/** The recent refusals, newest first, at most `limit`; or `emptyText`. */
export function recentRefusals(context, limit, emptyText = "") {
  return tokenGate("refused vehicles and the reasons", (refused) => {
    const list = el("ol", { class: "refusals" });
    const empty = el("p", { class: "empty", hidden: true }, emptyText);
    const update = keyed(list, identity, () => refusalPart(context.now));
    const asking = polling("api/refusals", {
      pauseMs: 3000,
      refused,
      onAnswer({ refusals }) {
        update(refusals.slice(0, limit));
        empty.hidden = refusals.length > 0 || emptyText === "";
      },
    });
    return { element: el("div", {}, asking.element, list, empty), stop: asking.stop };
  });
}

/** The view of all refusals. */
export function refusalsView(context) {
  const counts = refusalCounts();
  const recent = recentRefusals(context, 200, "No refusals yet.");
  return {
    title: "Refusals",
    element: el("div", { class: "stack" }, panel("Since the start", {}, counts.element), panel("The last 200", {}, recent.element)),
    update: counts.update,
    stop: recent.stop,
  };
}
