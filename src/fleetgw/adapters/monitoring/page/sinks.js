// Sinks with their lanes, the spool, and the ledger.

import { bytes, count, duration, plural, rate, roughly, sentence } from "./format.js";
import { definitions, el, keyed, panel, setText, table, textPart } from "./dom.js";
import { meter } from "./chart.js";
import { fixLine, stateWord } from "./health.js";

function sinkPart(now) {
  const name = el("h3");
  const types = el("p", { class: "hint" });
  const state = stateWord();
  const lane = meter("Lane");
  const laneText = el("p", { class: "meter-text" });
  const figures = definitions("numbers", [
    ["Per second", (sink) => rate(sink.delivered_per_s)],
    ["Delivered", (sink) => count(sink.delivered_total)],
    ["Retried", (sink) => count(sink.retried_total)],
    ["Dead letters", (sink) => count(sink.dead_letters_total)],
  ]);
  const since = el("p", { class: "since" });
  const reason = el("p");
  const fix = fixLine();
  const trouble = el("div", { class: "sink-trouble" }, since, reason, fix.element);
  return {
    element: el(
      "li",
      { class: "sink" },
      el("div", {}, name, types),
      state.element,
      el("div", { class: "sink-lane" }, lane.element, laneText),
      figures.element,
      trouble,
    ),
    update(sink) {
      setText(name, sink.name);
      setText(types, sink.types.join(", "));
      const ready = sink.state === "ready";
      state.update(ready ? ["ok", "Ready"] : ["bad", "Not ready"]);
      const text = sink.capacity > 0 ? `${count(sink.held)} of ${count(sink.capacity)} held` : `${count(sink.held)} held`;
      lane.update({ value: sink.held, max: sink.capacity, text });
      setText(laneText, text);
      figures.update(sink);
      trouble.hidden = ready;
      setText(since, sink.since_ms ? `Not ready for ${duration((now() - sink.since_ms) / 1000)}.` : "");
      setText(reason, sentence(sink.reason));
      fix.update(sink.fix);
    },
  };
}

/** Every sink: state, lane, figures; where it is not ready, the reason and what helps. */
export function sinksPanel(now) {
  const list = el("ul");
  const update = keyed(list, (sink) => sink.name, () => sinkPart(now));
  return { element: panel("Sinks", {}, list), update: ({ sinks }) => update(sinks) };
}

/** The spool: its size, and the time until it is full. */
export function spoolPanel() {
  const bar = meter("Spool");
  const size = el("p", { class: "meter-text" });
  const until = el("p", { class: "lead" });
  const unread = el("p", { class: "hint" });
  const none = el("p", { class: "empty" }, "No spool is configured. Records that a sink cannot take wait in its lane.");
  const content = el("div", {}, until, bar.element, size, unread);
  return {
    element: panel("Spool", {}, content, none),
    update({ spool }) {
      content.hidden = spool === null;
      none.hidden = spool !== null;
      if (spool === null) return;
      const text = `${bytes(spool.size_bytes)} of ${bytes(spool.max_bytes)}`;
      bar.update({ value: spool.size_bytes, max: spool.max_bytes, text });
      setText(size, text);
      const seconds = spool.seconds_until_full;
      setText(until, seconds === null ? (spool.unread === 0 ? "Nothing waits" : "Does not grow") : `Full in ${roughly(seconds)} at this rate`);
      setText(unread, `${plural(spool.unread, "record")} on disk alone`);
    },
  };
}

const columnsOf = (names) => names.map(([title, name]) => ({ title, class: "number", show: (row) => count(row[name]) }));

/** The ledger: whether every record is accounted for. */
export function ledgerPanel() {
  const state = stateWord();
  const problems = el("ul", { class: "reasons" });
  const updateProblems = keyed(problems, (text) => text, () => textPart("li", sentence));
  const from = table(
    "Records from vehicles",
    [
      { title: "Type", show: (row) => row.type },
      ...columnsOf([["Received", "received"], ["Acked", "acked"], ["Duplicates", "duplicates"], ["Unacked", "unacked"], ["Awaiting", "awaiting"]]),
    ],
    (row) => row.type,
  );
  const to = table(
    "Records to sinks",
    [
      { title: "Type", show: (row) => row.type },
      { title: "Sink", show: (row) => row.sink },
      ...columnsOf([
        ["Taken", "taken"], ["Delivered", "delivered"], ["Dead letters", "dead_letters"], ["Unheard", "unheard"], ["Given up", "given_up"],
        ["Held", "held"], ["Spooled", "spooled"], ["Refused", "refused"], ["Lost", "lost"],
      ]),
    ],
    (row) => `${row.type} ${row.sink}`,
  );
  const text = el("p", { class: "hint" }, "Every record that came in was delivered, waits, or is named below.");
  return {
    element: panel(
      "Ledger",
      {},
      el("p", { class: "lead" }, state.element),
      text,
      problems,
      el("details", {}, el("summary", {}, "Accounts"), el("h3", {}, "From vehicles"), from.element, el("h3", {}, "To sinks"), to.element),
    ),
    update({ ledger }) {
      const level = ledger.lost > 0 ? "bad" : ledger.balanced ? "ok" : "warn";
      state.update([
        level,
        ledger.lost > 0 ? `${plural(ledger.lost, "record")} lost` : ledger.balanced ? "Balanced, nothing lost" : "Does not balance",
      ]);
      text.hidden = level !== "ok";
      updateProblems([...new Set(ledger.problems)]);
      problems.hidden = ledger.problems.length === 0;
      from.update(ledger.from_vehicles);
      to.update(ledger.to_sinks);
    },
  };
}

const CERTIFICATE_STATES = {
  ok: ["ok", "Valid"],
  expires_soon: ["warn", "Expires soon"],
  expired: ["bad", "Expired"],
  not_yet_valid: ["bad", "Not yet valid"],
};

function certificatePart() {
  const name = el("h3");
  const state = stateWord();
  const until = el("p");
  const subject = el("p", { class: "hint" });
  const reason = el("p");
  const fix = fixLine();
  return {
    element: el("li", {}, el("div", { class: "line" }, name, state.element), until, subject, reason, fix.element),
    update(certificate) {
      setText(name, certificate.name);
      state.update(CERTIFICATE_STATES[certificate.state] ?? ["warn", certificate.state]);
      const days = certificate.days_left;
      const left = days < 0 ? `${plural(-days, "day")} ago` : `in ${plural(days, "day")}`;
      setText(until, `${days < 0 ? "Expired" : "Expires"} ${left}, on ${new Date(certificate.not_after_ms).toISOString().slice(0, 10)}`);
      setText(subject, `${certificate.subject}, issued by ${certificate.issuer}`);
      setText(reason, sentence(certificate.reason));
      fix.update(certificate.fix);
    },
  };
}

/** Certificates with their validity. */
export function certificatesPanel() {
  const list = el("ul", { class: "certificates" });
  const none = el("p", { class: "empty" }, "No certificates are in use.");
  const update = keyed(list, (certificate) => `${certificate.name} ${certificate.subject}`, certificatePart);
  return {
    element: panel("Certificates", {}, list, none),
    update({ certificates }) {
      none.hidden = certificates.length > 0;
      update(certificates);
    },
  };
}
