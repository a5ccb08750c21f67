// The drawing: a line of bars for each table or kind, and for each source a strip of what can be restored.

import { clock, day, el, length, moment, number, plural, svg, told, visible, when } from "./elements.js";

const WIDTH = 1000;
const HEIGHT = 34;
const TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2419200, 7257600, 31536000];

export class Chart {
  // `zoom(since, until)` and `out()` are told what the user wants.
  constructor(place, { zoom, out, choose }) {
    this.place = place;
    this.zoom = zoom;
    this.out = out;
    this.choose = choose;
    this.cursor = 0;
    this.anchor = null;
    this.field = el("div", {
      id: "field", tabindex: "0", role: "slider", "aria-label": "Time", "aria-describedby": "state", "aria-valuemin": "0",
      onkeydown: (event) => this.key(event), onpointerdown: (event) => this.press(event), onfocus: () => this.mark(),
    });
    this.mark_ = el("div", { class: "mark" });
    this.said = el("p", { class: "said", "aria-live": "polite" });
    this.labels = el("div", { class: "labels" });
    place.append(el("div", { class: "grid" }, this.labels, this.field), this.said);
  }

  draw(data) {
    const same = this.data && this.data.since === data.since && this.data.until === data.until && this.data.step === data.step;
    this.data = data;
    this.bars = Math.round((data.until - data.since) / data.step);
    if (!same) [this.cursor, this.anchor] = [this.busiest(), null];
    const parts = [], labels = [];
    for (const source of new Set([...data.lanes.map((lane) => lane.source), ...data.windows.sources.map((each) => each.source.split("/")[0])])) {
      labels.push(el("div", { class: "label source" }, told(source, "b")));
      parts.push(el("div", { class: "row source" }, this.strip(source)));
      for (const lane of data.lanes.filter((each) => each.source === source)) {
        const name = lane.name ? told(lane.name) : `${plural(lane.others, "other")}`;
        labels.push(el("div", { class: "label" },
          lane.name ? el("button", { type: "button", title: `List the changes of ${visible(lane.name)}`, onclick: () => this.choose(lane) }, name) : name,
          el("span", { class: "count" }, number(lane.changes))));
        parts.push(el("div", { class: "row" }, this.lane(lane)));
      }
    }
    this.labels.replaceChildren(...labels, el("div", { class: "label axis" }, "UTC"));
    this.field.replaceChildren(...this.lines(), ...parts, this.axis(), this.mark_);
    this.field.setAttribute("aria-valuemax", String(this.bars - 1));
    this.mark();
  }

  x(time) {
    return ((time - this.data.since) / (this.data.until - this.data.since)) * WIDTH;
  }

  lane(lane) {
    const most = Math.max(1, ...lane.bars.map((bar) => bar[1]));
    const wide = WIDTH / this.bars;
    const rect = (bar, count) => {
      const high = Math.max(2, (count / most) * (HEIGHT - 4));
      return `M${(bar * wide).toFixed(2)} ${HEIGHT}v${-high.toFixed(2)}h${Math.max(wide * 0.86, 1).toFixed(2)}v${high.toFixed(2)}z`;
    };
    const path = (name, field) => svg("path", { class: name, d: lane.bars.filter((bar) => bar[field]).map((bar) => rect(bar[0], bar[field])).join("") });
    return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      this.uncounted(lane.source), path("change", 1), path("deletion", 2));
  }

  // `part`: it concerns only some of what the strip stands for, and has half its height.
  piece(name, since, until, title, part = false) {
    const [left, right] = [Math.max(0, this.x(since)), Math.min(WIDTH, this.x(until))];
    if (right < 0 || left > WIDTH || right < left) return null;
    return svg("rect", { class: part ? `${name} part` : name, x: left, width: Math.max(2, right - left), y: part ? HEIGHT / 2 : 0, height: part ? HEIGHT / 2 : HEIGHT }, title ? svg("title", {}, visible(title)) : null);
  }

  uncounted(source) {
    return this.data.uncounted.filter((each) => each.source === source).map((each) => this.piece("uncounted", each.since, each.until, "not counted"));
  }

  strip(source) {
    const mine = this.data.windows.sources.filter((each) => each.source.split("/")[0] === source);
    const high = HEIGHT / Math.max(1, mine.length);
    const lines = mine.map((each, at) => svg("g", { transform: `translate(0 ${at * high}) scale(1 ${1 / Math.max(1, mine.length)})` },
      each.restorable.map((span) => this.piece("known", span.from_time, span.before_time ?? this.data.end, "can be restored")),
      each.gaps.map((gap) => this.piece("gap", gap.from_time, gap.to_time ?? this.data.until, `gap: ${gap.what}, ${gap.reason}`, gap.what !== "all" && !each.source.includes("/")))));
    const drill = mine.find((each) => each.drill)?.drill;
    const at = drill && drill.finished >= this.data.since && drill.finished <= this.data.until ? el("span", {
      class: `drill ${drill.passed ? "" : "failed"}`, title: `drill ${drill.passed ? "passed" : "FAILED"} ${moment(drill.finished)} UTC`,
    }, "◆") : null;
    if (at) at.style.left = `${(this.x(drill.finished) / WIDTH) * 100}%`;
    return [svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, lines), at];
  }

  ticks() {
    const seconds = (this.data.until - this.data.since) / 1e6;
    const room = Math.max(2, Math.floor((this.field.clientWidth || 600) / 110));
    const step = (TICKS.find((each) => seconds / each <= room) ?? seconds / room) * 1e6;
    const found = [];
    for (let time = Math.ceil(this.data.since / step) * step; time <= this.data.until; time += step) found.push(time);
    return { found, step };
  }

  lines() {
    return this.ticks().found.map((time) => this.placed("line", time));
  }

  axis() {
    const { found, step } = this.ticks();
    const text = (time) => (step >= 86400e6 ? day(time) : step < 60e6 ? clock(time) : clock(time).slice(0, 5));
    return el("div", { class: "axis", "aria-hidden": "true" }, found.filter((time) => this.x(time) > 25 && this.x(time) < WIDTH - 25).map((time) => this.placed("tick", time, text(time))));
  }

  placed(name, time, ...inside) {
    const made = el("span", { class: name, "aria-hidden": "true" }, ...inside);
    made.style.left = `${(this.x(time) / WIDTH) * 100}%`;
    return made;
  }

  // The cursor.

  busiest() {
    const sums = new Map();
    for (const lane of this.data.lanes) for (const [bar, count] of lane.bars) sums.set(bar, (sums.get(bar) ?? 0) + count);
    return [...sums].reduce((best, each) => (each[1] > best[1] ? each : best), [0, 0])[0];
  }

  chosen() {
    const [first, last] = [this.cursor, this.anchor ?? this.cursor].sort((one, other) => one - other);
    return [this.data.since + first * this.data.step, this.data.since + (last + 1) * this.data.step];
  }

  mark() {
    if (!this.data) return;
    const [since, until] = this.chosen();
    this.mark_.style.left = `${(this.x(since) / WIDTH) * 100}%`;
    this.mark_.style.width = `${(this.x(until) - this.x(since)) / WIDTH * 100}%`;
    const [first, last] = [this.cursor, this.anchor ?? this.cursor].sort((one, other) => one - other);
    let [changes, deletions] = [0, 0];
    for (const lane of this.data.lanes) for (const bar of lane.bars) if (bar[0] >= first && bar[0] <= last) [changes, deletions] = [changes + bar[1], deletions + bar[2]];
    const text = `${moment(since)} to ${clock(until)} UTC: ${plural(changes, "change")}, ${plural(deletions, "deletion")}`;
    this.said.textContent = text;
    this.field.setAttribute("aria-valuenow", String(this.cursor));
    this.field.setAttribute("aria-valuetext", text);
  }

  move(to, extend) {
    this.anchor = extend ? this.anchor ?? this.cursor : null;
    this.cursor = Math.min(this.bars - 1, Math.max(0, to));
    this.mark();
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.data) return;
    const moves = { ArrowLeft: this.cursor - 1, ArrowDown: this.cursor - 1, ArrowRight: this.cursor + 1, ArrowUp: this.cursor + 1, PageDown: this.cursor - 10, PageUp: this.cursor + 10, Home: 0, End: this.bars - 1 };
    if (event.key in moves) this.move(moves[event.key], event.shiftKey);
    else if (event.key === "Enter" || event.key === "+") this.zoom(...this.chosen());
    else if (event.key === "Escape" || event.key === "-") this.out();
    else return;
    event.preventDefault();
  }

  press(event) {
    if (event.button !== 0 || !this.data) return;
    const bar = (each) => {
      const box = this.field.getBoundingClientRect();
      return Math.floor(((each.clientX - box.left) / box.width) * this.bars);
    };
    this.move(bar(event), false);
    this.field.setPointerCapture(event.pointerId);
    const follow = (each) => bar(each) !== this.cursor && this.move(bar(each), true);
    const end = (each) => {
      this.field.removeEventListener("pointermove", follow);
      this.field.removeEventListener("pointerup", end);
      this.field.removeEventListener("pointercancel", end);
      if (each.type === "pointerup" && this.anchor !== null && this.anchor !== this.cursor) this.zoom(...this.chosen());
    };
    this.field.addEventListener("pointermove", follow);
    this.field.addEventListener("pointerup", end);
    this.field.addEventListener("pointercancel", end);
    this.field.ondblclick = () => this.zoom(...this.chosen());
  }
}

// The same as tables, for whoever does not see the drawing.
export function tables(data) {
  const most = 500;
  const rows = data.lanes.flatMap((lane) => lane.bars.map(([bar, changes, deletions]) => [data.since + bar * data.step, lane, changes, deletions]));
  rows.sort((one, other) => one[0] - other[0]);
  const cells = (name, texts) => el("tr", {}, texts.map((text) => el(name, name === "th" ? { scope: "col" } : {}, text)));
  const windows = data.windows.sources.flatMap((each) => [
    ...each.restorable.map((span) => [told(each.source), "can be restored", when(span.from_time), span.before_time === null ? "the end" : when(span.before_time)]),
    ...each.gaps.map((gap) => [told(each.source), el("span", {}, "gap: ", told(`${gap.what}, ${gap.reason}`)), gap.from_time ? when(gap.from_time) : "the beginning", gap.to_time === null ? "open" : when(gap.to_time)]),
    ...(data.gaps_left_out[each.source] ? [[told(each.source), `${plural(data.gaps_left_out[each.source], "older gap")} left out: archiver window has all`, "", ""]] : []),
    ...(each.drill ? [[told(each.source), `drill ${each.drill.passed ? "passed" : "FAILED"}`, when(each.drill.finished), ""]] : []),
  ]);
  return [
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Changes by time" }, el("table", {}, el("caption", {}, `Changes in steps of ${length(data.step)}${rows.length > most ? `, the first ${most} of ${rows.length} lines` : ""}`),
      el("thead", {}, cells("th", ["from (UTC)", "source", "table or kind", "changes", "deletions"])),
      el("tbody", {}, rows.slice(0, most).map(([time, lane, changes, deletions]) => cells("td", [when(time), told(lane.source), told(lane.name || "others"), number(changes), number(deletions)]))))),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "What can be restored" }, el("table", {}, el("caption", {}, "What can be restored, gaps, and last drills"),
      el("thead", {}, cells("th", ["source", "what", "from (UTC)", "to before"])), el("tbody", {}, windows.map((each) => cells("td", each))))),
  ];
}
