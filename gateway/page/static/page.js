// Asks the gateway every other second how it is, and shows it. Changes nothing there.

import { Chart } from "./chart.js";
import { html, mark, say, Table } from "./elements.js";
import { PeerMap } from "./map.js";
import { bits, bytes, count, duration, milliseconds, percent, perSecond, plural } from "./words.js";

const PATIENCE_MS = 5000;
const SIGNS = { well: "✓", degraded: "▲", dead: "✕", lost: "✕" };
const WEIGHTS = { note: "·", warning: "▲", error: "✕" };
const REASONS = { TimeoutError: "it does not answer", TypeError: "no connection" };
const at = (id) => document.getElementById(id);

const charts = [
  new Chart(at("throughput"), { title: "Throughput", words: bits, base: 1e5, factor: 8, lines: [{ label: "", column: 4, tone: "deep", filled: true }] }),
  new Chart(at("sessions"), { title: "Sessions", words: count, base: 10, lines: [{ label: "", column: 1, tone: "deep", filled: true }] }),
  new Chart(at("starts"), {
    title: "New sessions a second", words: perSecond, base: 10,
    lines: [{ label: "new", column: 2, tone: "deep", filled: true }, { label: "failed", column: 3, tone: "bad" }],
  }),
];
const map = new PeerMap(at("map"));

const incidents = new Table(at("incidents"), [
  { head: "ago", kind: "number", cell: (each) => duration(known.now_ms - each.at_ms) },
  { head: "what", heads: true, kind: "what", cell: (each) => ({ text: `${WEIGHTS[each.weight]} ${each.text}`, tone: each.weight }) },
  { head: "times", kind: "number", cell: (each) => (each.count > 1 ? `${count(each.count)} in ${duration(each.at_ms - each.began_ms)}` : "") },
], { empty: "Nothing worth a line since this page's memory began." });

const pools = new Table(at("pools"), [
  { head: "peer", heads: true, kind: "name", cell: (each) => ({ text: each.name, title: each.address }) },
  { head: "link", cell: (each) => ({ text: each.state, tone: each.state }) },
  { head: "RTT", kind: "number", title: "smoothed round-trip time of probes", cell: (each) => milliseconds(each.rtt_us || null) },
  { head: "±", kind: "number wide", title: "its variation", cell: (each) => milliseconds(each.rtt_us ? each.rtt_variation_us : null) },
  { head: "loss", kind: "number wide", title: "lost probes, of the recent ones", cell: (each) => ({ text: percent(each.loss), tone: each.loss > 0.02 ? "warning" : "" }) },
  { head: "in use", kind: "number", title: "legs that carry a session", cell: (each) => count(each.lent) },
  { head: "idle", kind: "number", title: "legs that wait for a session", cell: idle },
  { head: "kept", kind: "number wider", title: "idle legs to be kept at least, pool_min", cell: (each) => count(each.pool_min) },
  { head: "dialling", kind: "number wider", cell: (each) => count(each.dialling) },
  { head: "legs", kind: "number wide", title: "legs in use and idle, of pool_max", cell: room },
  { head: "hits", kind: "number", title: "sessions of the last minute that found a leg ready", cell: hitRate },
  { head: "address", kind: "text wider", cell: (each) => each.address },
], { empty: "This gateway has no peers: it dials every destination from here." });

const listeners = new Table(at("listeners"), [
  { head: "listener", heads: true, kind: "name", cell: (each) => each.name },
  { head: "mode", kind: "wide", cell: (each) => each.mode },
  { head: "address", kind: "text", cell: (each) => each.bind },
  { head: "to", kind: "text wide", cell: (each) => each.to || "–" },
  { head: "via", kind: "text wide", cell: via },
  { head: "sessions", kind: "number", cell: (each) => count(each.sessions) },
  { head: "since start", kind: "number wider", cell: (each) => count(each.sessions_total) },
  { head: "failed", kind: "number", title: "sessions without a relay since the start", cell: (each) => count(each.failed) },
  { head: "forward", kind: "number wider", cell: (each) => bytes(each.forward_bytes) },
  { head: "backward", kind: "number wider", cell: (each) => bytes(each.backward_bytes) },
], { empty: "No listeners." });

const workers = new Table(at("workers"), [
  { head: "worker", heads: true, kind: "name", cell: (each) => each.name },
  { head: "core", kind: "number wider", cell: (each) => count(each.core) },
  { head: "state", cell: state },
  { head: "sessions", kind: "number", title: "of those it has room for", cell: sessions },
  { head: "new/s", kind: "number wide", cell: (each) => (each.sessions_limit ? count(each.sessions_per_second) : "–") },
  { head: "CPU", kind: "number", title: "of one core", cell: (each) => ({ text: percent(each.cpu_percent, 100), share: each.cpu_percent == null ? null : each.cpu_percent / 100 }) },
  { head: "loop lag", kind: "number", title: "how late its loop last was", cell: (each) => ({ text: milliseconds(each.loop_lag_us), tone: each.loop_lag_us > 200000 ? "warning" : "" }) },
  { head: "memory", kind: "number wide", cell: (each) => bytes(each.rss_bytes) },
  { head: "descriptors", kind: "number wider", cell: descriptors },
  { head: "replaced", kind: "number wide", title: "times that its process was replaced", cell: (each) => ({ text: count(each.restarts), tone: each.restarts ? "warning" : "" }) },
], { empty: "No workers." });

function idle(each) {
  const isShort = each.state === "up" && each.idle < each.pool_min;
  return { text: count(each.idle), tone: isShort ? "warning" : "" };
}

function room(each) {
  const legs = each.idle + each.lent;
  return { text: `${count(legs)} / ${count(each.pool_max)}`, share: legs / each.pool_max, tone: each.is_crowded ? "warning" : "" };
}

function hitRate(each) {
  const asked = each.hits_lately + each.misses_lately;
  return { text: percent(asked ? each.hits_lately / asked : null), title: `${count(each.misses_lately)} of ${plural(asked, "session")} had to dial` };
}

function via(each) {
  if (each.mode === "overlay") return "–"; // who comes in there says it
  return each.via.map((path) => path.join(" › ") || "from here").join(" or ");
}

function state(each) {
  const words = [each.retires ? "retires" : each.state, ...(each.accept_paused ? ["paused"] : [])];
  const isWell = each.state === "ready" && !each.accept_paused;
  return { text: words.join(", "), tone: isWell ? "up" : each.state === "absent" ? "down" : "warning" };
}

function sessions(each) {
  if (!each.sessions_limit) return "–";
  return { text: count(each.sessions), title: `room for ${count(each.sessions_limit)}`, share: each.sessions / each.sessions_limit };
}

function descriptors(each) {
  if (!each.descriptors_limit) return count(each.descriptors);
  return { text: count(each.descriptors), title: `of ${count(each.descriptors_limit)}`, share: each.descriptors / each.descriptors_limit };
}

// What is known, and which points of the charts. They outlive the process that told them: after a reload another one
// answers, whose memory is short, on the same clock.
let known = null;
let points = [];
let heardAt = null;

function take(found) {
  if (!known || found.life !== known.life) points = [];
  known = found;
  heardAt = Date.now();
  const spanMs = found.minutes * 60000;
  const last = points.length ? points[points.length - 1][0] : -1;
  const news = found.points.filter((point) => point[0] > last); // two questions may have been on their way
  points = [...points, ...news].filter((point) => point[0] > found.now_ms - spanMs);
}

function show() {
  const { name, health, peers } = known;
  const title = name || location.host;
  document.body.dataset.level = health.level;
  document.title = health.level === "well" ? title : `${SIGNS[health.level]} ${title}`;
  say(at("name"), title);
  say(at("about"), about());
  say(at("health"), `${SIGNS[health.level]} ${health.level}`);
  showReasons(health.reasons);
  showCharts();
  map.show(title, peers);
  mark(at("peers-map"), "hidden", peers.length ? null : "");
  incidents.show(known.incidents);
  pools.show(illFirst(peers, (peer) => peer.state !== "up"));
  listeners.show(known.listeners);
  workers.show([...illFirst(known.workers, (worker) => state(worker).tone !== "up"), ...known.processes]);
  say(at("map-title"), `Peers: ${of(peers, "up")} up`);
  say(at("workers-title"), `Workers: ${of(known.workers, "ready")} ready`);
}

function of(things, state) {
  return `${things.filter((thing) => thing.state === state).length} of ${things.length}`;
}

// Of 64 workers the one that matters is not at the bottom.
function illFirst(things, isIll) {
  return [...things.filter(isIll), ...things.filter((thing) => !isIll(thing))];
}

function about() {
  const parts = [`Midmile ${known.version}`, `up ${duration(known.now_ms)}`, `configuration no. ${known.generation}`];
  if (known.generation > 1) parts[2] += `, reloaded ${duration(1000 * known.reloaded_age_s)} ago`;
  if (known.reload_failed) parts.push("the last reload failed");
  return parts.join(" · ");
}

function showReasons(reasons) {
  const list = at("reasons");
  list.hidden = reasons.length === 0;
  while (list.children.length > reasons.length) list.lastChild.remove();
  while (list.children.length < reasons.length) list.append(html("li"));
  reasons.forEach((reason, place) => {
    say(list.children[place], reason.text);
    mark(list.children[place], "title", reason.code);
  });
}

function showCharts() {
  const span = { nowMs: known.now_ms, spanMs: known.minutes * 60000 };
  const failed = points.length ? points[points.length - 1][3] : 0;
  const limit = known.workers.reduce((sum, worker) => sum + worker.sessions_limit, 0);
  const notes = [
    `last minute → ${bits(known.forward_bytes_per_s)}, ← ${bits(known.backward_bytes_per_s)}`,
    `room for ${count(limit)}`,
    `dashed: ${perSecond(failed)} failed`,
  ];
  charts.forEach((chart, place) => chart.show(points, { ...span, note: notes[place] }));
}

function lost(why) {
  document.body.dataset.level = "lost";
  const since = heardAt ? `What you see is of ${new Date(heardAt).toLocaleTimeString()}.` : "";
  document.title = `${SIGNS.lost} ${known?.name || location.host} cannot be reached`;
  say(at("lost"), `${SIGNS.lost} This gateway's admin listener cannot be reached: ${why}. ${since}`);
  at("lost").hidden = false;
  say(at("health"), `${SIGNS.lost} not reached`);
}

async function ask() {
  const last = points.length ? points[points.length - 1][0] : null;
  const answer = await fetch(last == null ? "page.json" : `page.json?after=${last}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(`it answers ${answer.status}`);
  return answer.json();
}

async function turn() {
  let found;
  try {
    found = await ask();
  } catch (error) {
    lost(REASONS[error.name] ?? error.message);
    return;
  }
  take(found);
  at("lost").hidden = true;
  show();
}

// A page in the background asks nothing; one that comes back asks at once, and gets all that it missed.
async function live() {
  if (!document.hidden) await turn();
  setTimeout(live, known?.interval_ms ?? 2000);
}

function age() {
  if (heardAt) say(at("updated"), `updated ${duration(Date.now() - heardAt)} ago`);
}

document.addEventListener("visibilitychange", () => document.hidden || turn());
window.addEventListener("resize", () => known && show());
setInterval(age, 1000);
live();
