// Routes, keys, and the stream that every view shares.

import { clock, duration } from "./format.js";
import { el, setAttribute, setText } from "./dom.js";
import { follow } from "./api.js";
import { healthWords } from "./health.js";
import { overviewView } from "./overview.js";
import { refusalsView } from "./refusals.js";
import { signalsView } from "./signals.js";
import { takeTokenFromAddress } from "./token.js";
import { tapView } from "./tap.js";
import { vehiclesView } from "./vehicles.js";
import { vehicleView } from "./vehicle.js";

const SILENCE_MS = 5000;

const VIEWS = { "": overviewView, vehicles: vehiclesView, signals: signalsView, refusals: refusalsView, tap: tapView };

const main = document.getElementById("main");
const notice = document.getElementById("notice");
const linkState = document.getElementById("link-state");

let overview = null;
let aheadMs = 0; // of the gateway's clock against this one
const context = { now: () => Date.now() + aheadMs };
let view = null;

function viewOf(path) {
  const [name, vin] = path;
  if (name === "vehicles" && vin !== undefined) return vehicleView(context, vin);
  return (VIEWS[name] ?? overviewView)(context);
}

function path() {
  return location.hash
    .replace(/^#\/?/, "")
    .split("/")
    .map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    });
}

function show({ focus }) {
  view?.stop();
  const parts = path();
  view = viewOf(parts);
  if (overview !== null) view.update(overview);
  const heading = el("h1", { class: view.vin ? "vin" : null, tabindex: -1 }, view.title);
  const up = parts.length > 1 ? el("a", { class: "up", href: "#/vehicles" }, "All vehicles") : null;
  main.replaceChildren(el("div", { class: "heading" }, up, heading), view.element);
  document.title = parts[0] === "" ? "fleetgw" : `${view.title} · fleetgw`;
  for (const link of document.querySelectorAll(".views a")) {
    setAttribute(link, "aria-current", link.getAttribute("href") === `#/${parts[0]}` ? "page" : null);
  }
  if (focus) {
    scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }
}

// The shared stream, and what to say while there is none.

let trouble = null;
let nextAttemptMs = null;

const stream = follow("api/overview/stream", {
  silenceMs: SILENCE_MS,
  onValue(value) {
    overview = value;
    aheadMs = value.now_ms - Date.now();
    view.update(value);
    setText(document.getElementById("about"), `fleetgw ${value.version} on ${value.host}, hot path in ${value.hot_path}`);
    showLink();
  },
  onTrouble(error, atMs) {
    trouble = error;
    nextAttemptMs = atMs;
    showLink();
    showNotice();
  },
});

function showLink() {
  const [level, word] = overview === null ? ["off", "Connecting"] : healthWords(overview.health.state);
  setAttribute(linkState, "data-level", trouble === null ? level : "off");
  setText(linkState, trouble === null ? word : "No connection");
  main.classList.toggle("stale", trouble !== null && overview !== null);
}

// Built once for each trouble, so that a screen reader reads it once; the seconds count in a part that it leaves out.
const seconds = el("span", { "aria-hidden": "true" });
let noticed = null;

function showNotice() {
  if (noticed !== trouble?.message) {
    noticed = trouble?.message;
    if (notice.contains(document.activeElement)) main.focus(); // the button is about to go
    notice.replaceChildren();
    if (trouble !== null) {
      const old = overview === null ? "" : ` The figures are those of ${clock(overview.now_ms - aheadMs)}.`;
      const retry = el("button", { type: "button", onclick: () => stream.retry() }, "Try now");
      notice.append(el("p", {}, trouble.text + old), seconds, retry);
    }
  }
  count();
}

function count() {
  if (trouble === null) return;
  const old = overview === null ? "" : `${duration((context.now() - overview.now_ms) / 1000)} old. `;
  const left = nextAttemptMs === null ? "" : `Next try in ${Math.max(0, Math.ceil((nextAttemptMs - Date.now()) / 1000))} s.`;
  setText(seconds, old + left);
}

setInterval(count, 1000);

// Keys.

function moveInList(event) {
  const links = [...main.querySelectorAll("a[data-row]")];
  const at = links.indexOf(document.activeElement);
  const fromSearch = document.activeElement?.id === "search" && event.key === "ArrowDown";
  if (links.length === 0 || (at < 0 && !fromSearch)) return;
  const to = fromSearch ? 0 : at + (event.key === "ArrowDown" ? 1 : -1);
  event.preventDefault();
  if (to < 0) document.getElementById("search")?.focus();
  else links[Math.min(to, links.length - 1)].focus();
}

function goBack(event) {
  const field = event.target.closest("input");
  if (field && field.value !== "") {
    field.value = "";
    field.dispatchEvent(new Event("input"));
    return;
  }
  const parts = path();
  location.hash = parts.length > 1 ? `#/${parts[0]}` : "#/";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") goBack(event);
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") moveInList(event);
  else if (event.key === "/" && event.target.closest("input") === null) {
    event.preventDefault();
    if (path()[0] !== "vehicles" || path().length > 1) {
      location.hash = "#/vehicles";
      addEventListener("hashchange", () => document.getElementById("search")?.focus(), { once: true });
    } else document.getElementById("search")?.focus();
  }
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment of the address is the view
  main.focus();
});

takeTokenFromAddress();
show({ focus: false });
showLink();
addEventListener("hashchange", () => {
  takeTokenFromAddress();
  show({ focus: true });
});
