// Key figures, charts and record types of the overview.

import { chart, legend, sparkline } from "./chart.js";
import { count, latency, rate, roughly } from "./format.js";
import { el, panel, setText, table } from "./dom.js";

const SPAN_S = 600;

const pointsAcross = (past) => Math.max(2, Math.round(SPAN_S / past.interval_s));

function figure(title, part = null) {
  const value = el("p", { class: "figure-value" });
  const note = el("p", { class: "figure-note" });
  const element = el("div", { class: "panel figure" }, el("h2", {}, title), value, note, part?.element);
  return {
    element,
    update(text, noted) {
      setText(value, text);
      setText(note, noted);
    },
  };
}

const sum = (items, name) => items.reduce((total, item) => total + item[name], 0);

/** Vehicles, records, acknowledgements and their latency in large figures. */
export function figures() {
  const vehicles = figure("Vehicles connected");
  const received = figure("Records per second");
  const acked = figure("Acks per second");
  const ack = figure("Ack latency, p99");
  return {
    element: el("div", { class: "figures" }, ...[vehicles, received, acked, ack].map((part) => part.element)),
    update({ vehicles: now, records, ack_latency_ms: ms }) {
      const paused = now.paused > 0 ? `, ${count(now.paused)} paused` : "";
      vehicles.update(count(now.connected), `${count(now.connections)} connections${paused}`);
      received.update(rate(sum(records, "received_per_s")), `${count(sum(records, "received_total"))} in all`);
      acked.update(rate(sum(records, "acked_per_s")), `${count(sum(records, "acked_total"))} in all`);
      const window = ms.window_s === null || ms.window_s === undefined ? "" : `, last ${roughly(ms.window_s)}`;
      ack.update(latency(ms.p99), `p50 ${latency(ms.p50)}, p90 ${latency(ms.p90)}${window}`);
    },
  };
}

/** Charts of the last 10 minutes. */
export function history() {
  const flow = [
    { name: "records/s", className: "series-1" },
    { name: "acks/s", className: "series-2" },
  ];
  const present = [{ name: "vehicles", className: "series-3" }];
  const records = chart("Records and acks per second", flow, rate);
  const vehicles = chart("Vehicles connected", present, count, { whole: true });
  return {
    element: el(
      "div",
      { class: "pair wide-left" },
      panel("Records and acks", {}, legend(flow), records.element),
      panel("Vehicles", {}, legend(present), vehicles.element),
    ),
    update({ history: past, now_ms }) {
      const common = { interval_s: past.interval_s, end_ms: now_ms, span: pointsAcross(past) };
      records.update({ ...common, values: [past.received_per_s, past.acked_per_s].map((values) => values.slice(-common.span)) });
      vehicles.update({ ...common, values: [past.vehicles.slice(-common.span)] });
    },
  };
}

/** Rates and totals by record type, with the rates of the last 10 minutes. */
export function recordTypes() {
  let past = null;
  const course = () => {
    const spark = sparkline(["series-1", "series-2"], { fromZero: true });
    return {
      element: spark.element,
      update({ type }) {
        const { received_per_s = [], acked_per_s = [] } = past.types[type] ?? {};
        spark.update([received_per_s, acked_per_s], pointsAcross(past));
      },
    };
  };
  const list = table(
    "Records by type",
    [
      { title: "Type", show: (item) => item.type },
      { title: "Records/s", class: "number", show: (item) => rate(item.received_per_s) },
      { title: "Acks/s", class: "number", show: (item) => rate(item.acked_per_s) },
      { title: "Last 10 minutes", class: "spark-cell", part: course },
      { title: "Records", class: "number optional", show: (item) => count(item.received_total) },
      { title: "Acks", class: "number optional", show: (item) => count(item.acked_total) },
      { title: "Signals", class: "number optional", show: (item) => count(item.signals_total) },
    ],
    (item) => item.type,
  );
  const empty = el("p", { class: "empty" }, "No records yet.");
  return {
    element: panel("Records by type", {}, list.element, empty),
    update({ records, history_by_type: newest }) {
      past = newest;
      list.element.hidden = records.length === 0;
      empty.hidden = records.length > 0;
      list.update(records);
    },
  };
}
