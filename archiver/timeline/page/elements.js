// Elements, made of names and texts. Nothing here makes HTML of a text, and the page's policy would not let it.

const SVG = "http://www.w3.org/2000/svg";
// As archiver/terminal.py: what nobody sees, or what reorders a line.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]|[\ud800-\udfff]/gu;

export const visible = (text) => String(text).replace(HIDDEN, (sign) => escaped(sign));
export const visibleLines = (text) => String(text).replace(HIDDEN, (sign) => (sign === "\n" || sign === "\t" ? sign : escaped(sign)));

function escaped(sign) {
  const number = sign.codePointAt(0);
  if (number < 0x100) return { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[sign] ?? `\\x${number.toString(16).padStart(2, "0")}`;
  return number < 0x10000 ? `\\u${number.toString(16).padStart(4, "0")}` : `\\U${number.toString(16).padStart(8, "0")}`;
}

export function el(name, attributes = {}, ...inside) {
  return filled(document.createElement(name), attributes, inside);
}

export function svg(name, attributes = {}, ...inside) {
  return filled(document.createElementNS(SVG, name), attributes, inside);
}

function filled(made, attributes, inside) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  // Strings become text nodes.
  made.append(...inside.flat(9).filter((each) => each !== null && each !== undefined && each !== ""));
  return made;
}

// A text of a source: in its own direction, hidden characters shown.
export const told = (text, name = "bdi") => el(name, {}, visible(text));

// Times are microseconds; all of them are shown in UTC.
const iso = (time) => new Date(Math.floor(time / 1000)).toISOString();
export const day = (time) => iso(time).slice(0, 10);
export const clock = (time) => iso(time).slice(11, 19);
export const moment = (time) => `${day(time)} ${clock(time)}`;
export const exact = (time) => `${day(time)} ${clock(time)}.${String(Math.floor(time % 1_000_000)).padStart(6, "0")}`;

export function when(time) {
  return el("time", { datetime: iso(time), title: `${exact(time)} UTC; here ${new Date(time / 1000).toLocaleString()}` }, moment(time));
}

export const number = (count) => count.toLocaleString("en").replaceAll(",", "\u00a0");
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

export function length(microseconds) {
  const seconds = Math.round(microseconds / 1e6);
  const [size, name] = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]].find(([size]) => seconds >= size && seconds % size === 0) ?? [1, "second"];
  return plural(seconds / size, name);
}
