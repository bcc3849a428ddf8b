// The list of vehicles, with search on the gateway.

import { ago, count, plural } from "./format.js";
import { el, panel, setAttribute, setText, table } from "./dom.js";
import { polling } from "./polling.js";
import { stateWord } from "./health.js";
import { tokenGate } from "./token.js";

const FIRST = 100;
const MOST = 500;
const TYPING_MS = 250;

/** A link to a vehicle; its data has a `vin`, or none. Arrow keys move between such links. */
export function vinLink() {
  const link = el("a", { class: "vin", "data-row": true });
  return {
    element: link,
    update({ vin }) {
      link.hidden = !vin;
      setText(link, vin);
      setAttribute(link, "href", vin ? `#/vehicles/${encodeURIComponent(vin)}` : null);
    },
  };
}

/** A vehicle's presence as level and word. */
export const presence = (vehicle) => (vehicle.online ? ["ok", "Online"] : ["off", "Offline"]);

function list(context, refused) {
  let search = "";
  let limit = FIRST;
  let typing = 0;
  const input = el("input", {
    id: "search",
    type: "search",
    placeholder: "VIN, or a part of it",
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => {
      clearTimeout(typing);
      typing = setTimeout(() => {
        search = input.value.trim();
        limit = FIRST;
        asking.now();
      }, TYPING_MS);
    },
  });
  const found = el("p", { class: "hint", role: "status" });
  const empty = el("p", { class: "empty", hidden: true });
  const more = el(
    "button",
    {
      type: "button",
      hidden: true,
      onclick: () => {
        limit = Math.min(MOST, limit + FIRST);
        asking.now();
      },
    },
    "Show more",
  );
  const rows = table(
    "Vehicles",
    [
      { title: "Vehicle", part: vinLink },
      {
        title: "State",
        class: "",
        part: () => {
          const word = stateWord();
          return { element: word.element, update: (vehicle) => word.update(presence(vehicle)) };
        },
      },
      { title: "Since", class: "number optional", show: (vehicle) => ago(vehicle.online ? vehicle.online_since_ms : vehicle.offline_since_ms, context.now()) },
      { title: "Last record", class: "number", show: (vehicle) => ago(vehicle.last_record_ms, context.now()) },
      { title: "Records", class: "number optional", show: (vehicle) => count(vehicle.records) },
      { title: "Signals today", class: "number optional", show: (vehicle) => count(vehicle.signals_today) },
      { title: "Client", class: "optional clip", show: (vehicle) => vehicle.client_version },
      { title: "Network", class: "optional clip", show: (vehicle) => vehicle.network },
    ],
    (vehicle) => vehicle.vin,
  );
  rows.element.classList.add("rows");
  rows.element.addEventListener("click", (event) => {
    if (event.target.closest("a") === null && getSelection().isCollapsed) {
      event.target.closest("tr")?.querySelector("a[data-row]")?.click();
    }
  });

  function say({ vehicles, total }) {
    const all = vehicles.length === total;
    setText(found, all ? plural(total, "vehicle") : `${count(vehicles.length)} of ${plural(total, "vehicle")}${search === "" ? "; search for the others" : ""}`);
    setText(empty, search === "" ? "No vehicle has connected since the gateway started." : `No vehicle has “${search}” in its VIN.`);
    empty.hidden = total > 0;
    rows.element.hidden = total === 0;
    more.hidden = all || limit >= MOST;
  }

  const asking = polling("api/vehicles", {
    query: () => ({ search, limit: String(limit) }),
    pauseMs: 2000,
    refused,
    onAnswer(answer) {
      rows.update(answer.vehicles.slice(0, limit));
      say(answer);
    },
  });
  return {
    element: el(
      "div",
      {},
      el("form", { class: "search", role: "search", onsubmit: (event) => event.preventDefault() }, el("label", { for: "search" }, "Search"), input, found),
      asking.element,
      rows.element,
      empty,
      el("p", { class: "more" }, more),
    ),
    stop() {
      clearTimeout(typing);
      asking.stop();
    },
  };
}

/** The view of all vehicles. */
export function vehiclesView(context) {
  const part = tokenGate("which vehicles are connected", (refused) => list(context, refused));
  return { title: "Vehicles", element: el("div", { class: "stack" }, panel("Connected and recent", {}, part.element)), update() {}, stop: part.stop };
}
