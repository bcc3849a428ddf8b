// Requests to the gateway, and streams that come back by themselves.

import { sentence } from "./format.js";
import { token } from "./token.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;
const REQUEST_TIMEOUT_MS = 10_000;

/** An answer other than 2xx, or none (`code` 0). `fix` says what helps, where the gateway knows. */
class GatewayError extends Error {
  constructor(message, code = 0, fix = "") {
    super(message);
    this.code = code;
    this.fix = fix;
  }

  /** The error and what helps, as sentences. */
  get text() {
    return [this.message, this.code === 401 ? "" : this.fix].map(sentence).filter(Boolean).join(" ");
  }

  /** Whether asking again cannot help: the token or the page's address has to change first. */
  get isRefusal() {
    return this.code === 401 || this.code === 403;
  }
}

const UNREACHABLE = "The gateway does not answer.";

async function open(path, query, signal) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== "") url.searchParams.set(name, value);
  }
  url.hash = "";
  const headers = token.value === "" ? {} : { Authorization: `Bearer ${token.value}` };
  let response;
  try {
    response = await fetch(url, { headers, signal, cache: "no-store" });
  } catch (error) {
    if (signal.aborted && signal.reason instanceof GatewayError) throw signal.reason;
    throw error.name === "AbortError" ? error : new GatewayError(UNREACHABLE);
  }
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new GatewayError(said.error ?? `The gateway answered ${response.status}.`, response.status, said.fix);
  }
  return response;
}

/** The JSON of `path`. @throws GatewayError */
export async function getJson(path, query = {}) {
  try {
    const response = await open(path, query, AbortSignal.timeout(REQUEST_TIMEOUT_MS));
    return await response.json();
  } catch (error) {
    throw error instanceof GatewayError ? error : new GatewayError(UNREACHABLE);
  }
}

/** Give a view an answer. A fault of the view is reported as one: it is no trouble with the gateway. */
export function show(view, answer) {
  try {
    view(answer);
  } catch (error) {
    reportError(error);
  }
}

/** The value of a line of server-sent events; undefined for lines without one. */
const eventLine = (line) => (line.startsWith("data:") ? JSON.parse(line.slice(5)) : undefined);

/** The value of a line of JSON lines; undefined for an empty one. */
export const jsonLine = (line) => (line.trim() === "" ? undefined : JSON.parse(line));

/**
 * Follow a stream of lines. After an end, an error or a silence it is opened again, after pauses that double up to 15 s;
 * after a refusal it is not. A hidden page follows nothing: a browser has few connections for all of its tabs.
 *
 * @param parse gives the value of a line, or undefined
 * @param onValue called with each value
 * @param onTrouble called with a GatewayError and the time of the next attempt (epoch ms; null: none) when the stream
 *     fails, and with null once values come again
 * @param silenceMs longest time without a line (0: any)
 * @returns {stop(), retry()}: end it; try again at once
 */
export function follow(path, { query = {}, parse = eventLine, onValue, onTrouble, silenceMs = 0 }) {
  let stopped = false;
  let pauseMs = FIRST_PAUSE_MS;
  let timer = 0;
  let attempt = null;

  async function run() {
    clearTimeout(timer);
    if (stopped || document.hidden || attempt !== null) return;
    const mine = new AbortController();
    attempt = mine;
    try {
      const silence = watch(mine, silenceMs);
      try {
        const response = await open(path, query, mine.signal);
        for await (const line of lines(response.body)) {
          silence.heard();
          const value = parse(line);
          if (value !== undefined && attempt === mine) {
            pauseMs = FIRST_PAUSE_MS;
            onTrouble(null, null);
            show(onValue, value);
          }
        }
      } finally {
        silence.end();
      }
      throw new GatewayError("The gateway closed the connection.");
    } catch (error) {
      if (attempt !== mine) return; // paused or stopped
      attempt = null;
      const known = mine.signal.reason instanceof GatewayError ? mine.signal.reason : error;
      const trouble = known instanceof GatewayError ? known : new GatewayError(UNREACHABLE);
      if (trouble.isRefusal) {
        onTrouble(trouble, null);
        return;
      }
      const waitMs = pauseMs * (0.8 + 0.4 * Math.random());
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
      timer = setTimeout(run, waitMs);
      onTrouble(trouble, Date.now() + waitMs);
    }
  }

  function pause() {
    clearTimeout(timer);
    attempt?.abort();
    attempt = null;
  }

  function onVisibility() {
    if (document.hidden) pause();
    else run();
  }

  document.addEventListener("visibilitychange", onVisibility);
  run();
  return {
    stop() {
      stopped = true;
      document.removeEventListener("visibilitychange", onVisibility);
      pause();
    },
    retry: run,
  };
}

/** Aborts `controller` after a silence; not with `silenceMs` 0. */
function watch(controller, silenceMs) {
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    if (silenceMs > 0) {
      timer = setTimeout(() => controller.abort(new GatewayError("The gateway is silent.")), silenceMs);
    }
  };
  heard();
  return { heard, end: () => clearTimeout(timer) };
}

const LONGEST_LINE = 4 * 1024 * 1024;

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      if (rest.length > LONGEST_LINE) throw new GatewayError("The gateway sent a line without an end.");
      yield* parts;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
