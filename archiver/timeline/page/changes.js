// The list of changes of a span, with what is not known of it.

import { ask } from "./api.js";
import { el, exact, number, plural, told, visible, when } from "./elements.js";

export const MOST = 5000;
const DOUBTS = ["gap", "clock", "unknown"];

export class Changes {
  // `open(change, button)` shows one row's or object's life.
  constructor({ list, told: status, doubts }, open) {
    [this.list, this.status, this.doubts, this.open] = [list, status, doubts, open];
    this.list.addEventListener("keydown", (event) => this.key(event));
  }

  async show(query) {
    this.going?.abort();
    const going = (this.going = new AbortController());
    this.status.textContent = "Reading…";
    this.list.setAttribute("aria-busy", "true");
    try {
      const answer = await ask("changes", query, going.signal);
      if (going === this.going) this.fill(answer);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.clear(visible(error.message));
    } finally {
      if (going === this.going) this.list.removeAttribute("aria-busy");
    }
  }

  clear(text) {
    this.going?.abort();
    this.status.textContent = text;
    this.list.replaceChildren();
    this.doubts.replaceChildren();
  }

  fill(answer) {
    const shown = answer.changes.length;
    let text = shown < answer.found ? `The first ${number(shown)} of ${answer.whole ? "" : "more than "}${plural(answer.found, "line")}.` : shown ? `${plural(shown, "line")}.` : "Nothing of that sort in this span.";
    if (shown < answer.found) text += " Zoom in, or choose a table, to see the others.";
    if (!answer.whole) text += " The rest was not read: what is not known of it is not told here.";
    if (answer.left_out) text += " What you may not read is left out, and what is not known of it.";
    this.status.textContent = text;
    const lines = [...answer.gaps.map((each) => ["gap", "Not known", each]), ...answer.notes.map((each) => ["note", "Note", each])];
    this.doubts.replaceChildren(...(lines.length ? [el("ul", { class: "doubts", role: "alert" }, lines.map(([name, title, each]) => el("li", { class: name }, el("b", {}, `${title}: `), told(each))))] : []));
    this.list.replaceChildren(...(shown ? [el("ol", { class: "lines" }, answer.changes.map((each) => this.line(each)))] : []));
  }

  line(change) {
    const doubt = DOUBTS.includes(change.operation);
    const subject = visible(change.kind ? [change.kind.replace(/\.$/, ""), [change.namespace, change.name].filter(Boolean).join("/")].filter(Boolean).join(" ") : [change.table, keyText(change.key)].filter(Boolean).join(" "));
    const what = el("span", { class: "what" }, el("span", { class: `operation ${doubt ? "doubt" : visible(change.operation)}` }, visible(change.operation)), " ", told(change.source), " ", el("bdi", { class: "subject" }, subject));
    const able = change.kind ? change.name : change.table && Object.keys(change.key).length;
    const about = [change.about, change.field_manager && `by ${change.field_manager} (field manager, as claimed)`, change.transaction && `transaction ${change.transaction}`,
      change.late && "received late: something newer was known",
      (change.happened_from || change.happened_until) && `happened at ${exact(change.happened_from)} UTC or ${change.happened_until ? `before ${exact(change.happened_until)} UTC` : "later"}`].filter(Boolean);
    return el("li", { class: doubt ? "doubt" : "" },
      el("div", { class: "head" }, when(change.time), able ? el("button", { type: "button", class: "open", onclick: (event) => this.open(change, event.currentTarget) }, what) : what),
      change.fields.length ? fieldList(change.fields, change.more_fields) : null,
      about.length ? el("p", { class: "about" }, told(about.join(" · "))) : null);
  }

  key(event) {
    if (!["ArrowDown", "ArrowUp"].includes(event.key)) return;
    const buttons = [...this.list.querySelectorAll("button.open")];
    const next = buttons[buttons.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)];
    if (!next) return;
    next.focus();
    event.preventDefault();
  }
}

export const keyText = (key) => Object.entries(key).map(([name, value]) => `${name}=${value === null ? "NULL" : value}`).join(", ");

export function fieldList(fields, more) {
  return el("dl", { class: "fields" }, fields.map((field) => el("div", {}, el("dt", {}, told(field.name)), el("dd", {}, became(field)))),
    more ? el("div", {}, el("dt", {}, "…"), el("dd", {}, `${plural(more, "more field")}`)) : null);
}

// What was not there before, or is not there afterwards, has one side.
function became({ old, new: now }) {
  if (old.sort === "none") return value(now, "is");
  if (now.sort === "none") return value(old, "was");
  return [value(old, "was"), el("span", { class: "to", role: "img", "aria-label": "became" }, "→"), value(now, "is")];
}

function value(one, name) {
  const sort = one.sort ?? "text";
  if (sort !== "text") return el("i", { class: name }, { null: "NULL", none: "(none)", unknown: "(not known)" }[sort]);
  return el(name === "was" ? "del" : "ins", {}, one.text ? told(one.text) : el("i", {}, "''"), one.more ? el("i", {}, ` … ${plural(one.more, "more character")}`) : null);
}
