// One row's or object's life in a dialog, and the command that brings a state back.

import { ask } from "./api.js";
import { fieldList, keyText } from "./changes.js";
import { el, exact, plural, told, visible, visibleLines, when } from "./elements.js";

export class Life {
  constructor(dialog) {
    this.dialog = dialog;
    dialog.addEventListener("close", () => {
      this.going?.abort();
      this.from?.focus();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  async show(change, from) {
    this.from = from;
    this.subject = change.kind ? { source: change.source, kind: change.kind, namespace: change.namespace, name: change.name } : { source: change.source, table: change.table, key: JSON.stringify(change.key) };
    const title = change.kind ? `${change.kind.replace(/\.$/, "")} ${[change.namespace, change.name].filter(Boolean).join("/")}` : `${change.table} ${keyText(change.key)}`;
    const body = el("div", { class: "states" }, el("p", { role: "status" }, "Reading its history…"));
    this.dialog.replaceChildren(
      el("header", {}, el("h2", { id: "subject" }, el("small", {}, told(change.source)), " ", told(title)), el("button", { type: "button", autofocus: true, onclick: () => this.dialog.close() }, "Close")),
      el("p", { class: "zone" }, "Times are UTC, the newest first. A change says what became of the state before it."), body);
    if (!this.dialog.open) this.dialog.showModal();
    const going = (this.going = new AbortController());
    try {
      const answer = await ask("life", this.subject, going.signal);
      this.fill(body, answer, change);
    } catch (error) {
      if (error.name === "AbortError") return;
      // What identifies no row alone can still come back with its table.
      body.replaceChildren(el("p", { role: "alert" }, told(error.message)), this.ways(change));
    }
  }

  fill(body, answer, change) {
    if (answer.doubts_left_out) answer.notes.push("what is not known of this kind is told to those who may read it in all namespaces");
    const doubts = [...answer.gaps.map((each) => ["gap", "Not known", each]), ...answer.notes.map((each) => ["note", "Note", each])];
    const states = [...answer.states].reverse().map((state) => this.state(state, change));
    body.replaceChildren(
      ...(doubts.length ? [el("ul", { class: "doubts" }, doubts.map(([name, title, each]) => el("li", { class: name }, el("b", {}, `${title}: `), told(each))))] : []),
      ...(states.length ? states : [el("p", {}, "Nothing is known of it."), this.ways(change)]),
      ...(answer.left_out ? [el("p", {}, `${plural(answer.left_out, "older state")} are not shown: archiver log has all.`)] : []));
    body.querySelector(".asked")?.scrollIntoView({ block: "start" });
  }

  state(state, change) {
    const asked = state.entry === change.entry;
    const gap = !state.at;
    const about = [state.by && (this.subject.kind ? `by ${state.by} (field manager, as claimed)` : state.by), state.at && `entry ${state.at}`, state.detail, state.late && "received late: something newer was known",
      (state.happened_from || state.happened_until) && `happened at ${exact(state.happened_from)} UTC or ${state.happened_until ? `before ${exact(state.happened_until)} UTC` : "later"}`].filter(Boolean);
    return el("article", { class: `${asked ? "asked" : ""} ${gap ? "gap" : ""}`, "aria-current": asked ? "true" : false },
      el("h3", {}, when(state.time), " ", el("span", { class: `operation ${visible(state.event.toLowerCase())}` }, visible(state.event.toLowerCase())), asked ? el("small", {}, " the change that you opened") : null),
      state.fields.length ? fieldList(state.fields, state.more_fields) : null,
      about.length ? el("p", { class: "about" }, told(about.join(" · "))) : null,
      state.state ? el("details", {}, el("summary", {}, "The whole state here"), el("pre", {}, visibleLines(state.state.text), state.state.more ? `\n… ${plural(state.state.more, "more character")}` : "")) : null,
      gap ? null : this.ways(state));
  }

  ways(state) {
    const place = el("div", { class: "commands" });
    const way = (at, text) => el("button", { type: "button", onclick: () => this.command(place, at, text) }, text);
    return el("div", { class: "ways" }, way(state.at, "Restore to here"), state.at > 1 ? way(state.at - 1, "Restore to before this") : null, place);
  }

  async command(place, at, text) {
    place.replaceChildren(el("p", { role: "status" }, "…"));
    try {
      const answer = await ask("restore", { ...this.subject, at });
      place.replaceChildren(el("p", {}, el("b", {}, `${text}: entry ${at}. `), "Nothing is run by this page. Run this where the settings are:"),
        ...answer.commands.map((each) => el("div", { class: "step" }, each.says ? el("p", {}, each.says) : null, this.code(each.command))));
    } catch (error) {
      place.replaceChildren(el("p", { role: "alert" }, told(error.message)));
    }
  }

  code(command) {
    const copy = el("button", { type: "button", "aria-label": "Copy this command", onclick: async () => {
      await navigator.clipboard.writeText(command);
      copy.textContent = "Copied";
    } }, "Copy");
    return el("div", { class: "command" }, el("pre", { tabindex: "0" }, el("code", { dir: "ltr" }, visible(command))), navigator.clipboard ? copy : null);
  }
}
