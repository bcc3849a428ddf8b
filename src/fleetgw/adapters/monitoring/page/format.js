// Numbers, times and sizes as text.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const DAY_S = 86400;

/** Stands where a figure is not known. */
export const NONE = "–";

const known = (format) => (value) => (value === null || value === undefined ? NONE : format(value));

/** A number of things: 12,345; from ten million on 12.3M. */
export const count = known((value) => (value < 1e7 ? WHOLE : COMPACT).format(value));

/** A rate per second: 0.4, 31.0, 5,120. */
export const rate = known((value) => (value > 0 && value < 100 ? TENTHS : WHOLE).format(value));

/** Milliseconds: < 0.1 ms, 3.2 ms, 120 ms, 1.5 s. */
export const latency = known((ms) =>
  ms < 0.05 ? "< 0.1 ms" : ms < 10 ? `${TENTHS.format(ms)} ms` : ms < 1000 ? `${WHOLE.format(ms)} ms` : `${TENTHS.format(ms / 1000)} s`,
);

/** A length of time in its two largest units: 3 d 4 h, 2 h 5 min, 45 s. */
export const duration = known((seconds) => {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < DAY_S) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${WHOLE.format(Math.floor(s / DAY_S))} d ${Math.floor((s % DAY_S) / 3600)} h`;
});

/** A length of time in its largest unit: 3 d, 2 h, 4 min. */
export const roughly = known((seconds) => {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 2 * DAY_S) return `${Math.floor(s / 3600)} h`;
  return `${WHOLE.format(Math.floor(s / DAY_S))} d`;
});

/** A size: 512 B, 1.5 KiB, 12.0 GiB. */
export const bytes = known((value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return unit === 0 ? `${value} B` : `${TENTHS.format(value)} ${units[unit]}`;
});

const two = (number) => String(number).padStart(2, "0");

/** A time of day: 09:41:07. */
export const clock = known((ms) => {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
});

/** A date: 2026-03-01. */
export const date = known((ms) => {
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
});

/** A time with its date, unless that is the date of `now_ms`. */
export const moment = (ms, now_ms) =>
  ms === null || ms === undefined ? NONE : date(ms) === date(now_ms) ? clock(ms) : `${date(ms)} ${clock(ms)}`;

/** How long ago: 12 s ago. */
export const ago = (ms, now_ms) =>
  ms === null || ms === undefined ? NONE : now_ms - ms < 1000 ? "now" : `${roughly((now_ms - ms) / 1000)} ago`;

const LONGEST_VALUE = 120;

/** A value of a signal: numbers with at most six digits, places as latitude and longitude, a long text such as a route cut off. */
export function signal(value) {
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
  if (value === null || value === undefined) return NONE;
  if (typeof value === "object") {
    if (typeof value.latitude === "number" && typeof value.longitude === "number") {
      return `${value.latitude.toFixed(5)}, ${value.longitude.toFixed(5)}`;
    }
    return Object.entries(value)
      .map(([name, inner]) => (Array.isArray(value) ? signal(inner) : `${name} ${signal(inner)}`))
      .join(", ");
  }
  const text = String(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}…` : text;
}

/** One thing or several: 1 vehicle, 2 vehicles. */
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** A text of the gateway, such as "the broker is down", as a sentence; a key at its beginning stays as it is spelled. */
export const sentence = (text) => {
  if (!text) return "";
  const first = /^\S*[._]\S/.test(text) ? text[0] : text[0].toUpperCase();
  return first + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
};
