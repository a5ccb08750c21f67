// The page: a span of time, what is drawn of it, and what is listed.

import { ask, enter } from "./api.js";
import { Changes, MOST } from "./changes.js";
import { Chart, tables } from "./chart.js";
import { clock, day, el, length, moment, plural, told, visible } from "./elements.js";
import { Life } from "./life.js";

const MINUTE = 60e6;
const at = (id) => document.getElementById(id);
const life = new Life(at("life"));
const changes = new Changes({ list: at("list"), told: at("told"), doubts: at("doubts") }, (change, from) => life.show(change, from));
const chart = new Chart(at("plot"), { zoom, out, choose });
let span = spanOf(location.hash);
let data, going, listed = "";

function spanOf(hash) {
  const given = new URLSearchParams(hash.slice(1));
  const [since, until] = [Number(given.get("since")), Number(given.get("until"))];
  return since > 0 && until > since ? { since, until } : { since: 0, until: 0 };
}

async function load() {
  going?.abort();
  going = new AbortController();
  const mine = going;
  const bars = Math.max(40, Math.min(240, Math.floor(at("plot").clientWidth / 4)));
  try {
    data = await ask("timeline", { ...(span.since ? span : {}), bars }, mine.signal);
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
    return;
  }
  if (mine !== going) return;
  at("failure").hidden = true;
  at("enter").hidden = true;
  draw();
  if (data.busy || !data.windows.ready) setTimeout(() => mine === going && load(), 700);
  if (!data.busy) list(false);
}

function draw() {
  at("archive").replaceChildren(told(data.archive), data.begin ? ` · ${moment(data.begin)} to ${moment(data.end)} UTC` : "");
  const same = day(data.since) === day(data.until);
  at("span").replaceChildren(el("span", {}, moment(data.since), " – ", same ? clock(data.until) : moment(data.until), " ", el("abbr", { title: "Coordinated Universal Time" }, "UTC")));
  const lines = [`${plural(data.changes, "change")}; one bar is ${length(data.step)}.`];
  if (data.busy) lines.push("Still counting…");
  if (!data.windows.ready) lines.push(`Reading the journal for gaps: ${Math.floor(data.windows.progress * 100)} %.`);
  if (data.windows.damage) lines.push(`The archive is not what was written: ${visible(data.windows.damage)}. See archiver verify.`);
  if (data.windows.problem) lines.push(`Gaps and drills are not all known: ${visible(data.windows.problem)}.`);
  lines.push(...Object.entries(data.gaps_left_out).map(([source, count]) => `${plural(count, "older gap")} of ${visible(source)} ${count === 1 ? "is" : "are"} not drawn: archiver window has all.`));
  if (data.uncounted.length) lines.push("Not everything is counted: what is grey was not read yet. Refresh reads on; history files (archiver maintain --history) make it quick.");
  if (data.left_out) lines.push("What you may not read is left out here, and counted nowhere.");
  lines.push(...data.problems.map((each) => `Not counted: ${visible(each)}.`));
  at("state").textContent = lines.join(" ");
  chart.draw(data);
  if (at("table").open) at("tables").replaceChildren(...tables(data));
  const select = at("lane");
  const kept = select.value;
  select.replaceChildren(el("option", { value: "" }, "all"), ...data.lanes.filter((lane) => lane.name).map((lane) => el("option", { value: JSON.stringify([lane.source, lane.name]) }, `${visible(lane.source)}: ${visible(lane.name)}`)));
  select.value = [...select.options].some((option) => option.value === kept) ? kept : "";
  at("out").disabled = !span.since;
  at("all").disabled = !span.since;
}

function fail(error) {
  at("failure").hidden = false;
  at("failure").textContent = visible(error.message);
  if (!error.asks) return;
  at("enter").hidden = false;
  at("token").focus();
}

function list(wanted) {
  const [source, name] = at("lane").value ? JSON.parse(at("lane").value) : ["", ""];
  const lane = data.lanes.find((each) => each.source === source && each.name === name);
  const query = { since: data.since, until: data.until, source, find: at("find").value, ...(name ? { [data.clusters.includes(source) ? "kind" : "table"]: name } : {}) };
  const told_ = JSON.stringify([query, data.end]);
  if (!wanted && told_ === listed) return;
  listed = told_;
  const count = lane ? lane.changes : data.changes;
  if (!wanted && count > MOST) {
    const closer = data.until - data.since > MINUTE ? "zoom in to see them" : "find one by its key or name, or choose a table";
    changes.clear(`${plural(count, "change")} in this span: ${closer}, or press List for the first ones.`);
    return;
  }
  changes.show(query);
}

function go(since, until, note = true) {
  const middle = (since + until) / 2;
  if (until - since < MINUTE) [since, until] = [Math.floor((middle - MINUTE / 2) / 1e6) * 1e6, Math.floor((middle + MINUTE / 2) / 1e6) * 1e6];
  span = since <= 0 ? { since: 0, until: 0 } : { since: Math.floor(since), until: Math.ceil(until) };
  const hash = span.since ? `#since=${span.since}&until=${span.until}` : location.pathname;
  if (note) history.pushState(null, "", hash);
  return load();
}

function zoom(since, until) {
  // One bar of a minute or less is looked at with its neighbours.
  if (data.until - data.since <= MINUTE && until - since < MINUTE) return;
  go(since, until);
}

function out() {
  if (!span.since) return;
  // Of the span that was asked for last: its drawing may still be on its way.
  const wide = (span.until - span.since) * 4;
  const middle = (span.since + span.until) / 2;
  if (wide >= data.end - data.begin) go(0, 0);
  else go(middle - wide / 2, middle + wide / 2);
}

function choose(lane) {
  at("lane").value = JSON.stringify([lane.source, lane.name]);
  list(true);
  at("changes").scrollIntoView({ block: "start" });
}

const move = (part) => go(data.since + (data.until - data.since) * part, data.until + (data.until - data.since) * part);
at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  enter(at("token").value.trim());
  at("token").value = "";
  load();
});
at("all").addEventListener("click", () => go(0, 0));
at("out").addEventListener("click", out);
at("in").addEventListener("click", () => {
  const [since, until] = chart.chosen();
  const half = Math.max(until - since, (data.until - data.since) / 4) / 2;
  zoom((since + until) / 2 - half, (since + until) / 2 + half);
});
at("earlier").addEventListener("click", () => data && move(-0.5));
at("later").addEventListener("click", () => data && move(0.5));
at("again").addEventListener("click", () => { listed = ""; load(); });
at("filter").addEventListener("submit", (event) => { event.preventDefault(); if (data) list(true); });
at("lane").addEventListener("change", () => data && list(true));
at("table").addEventListener("toggle", () => data && at("table").open && at("tables").replaceChildren(...tables(data)));
addEventListener("popstate", () => { span = spanOf(location.hash); load(); });
let resized;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => data && chart.draw(data), 150); });
load();
