// The map: this gateway in the middle, its peers around it, the farther the longer their round trip.
// A square is a gateway, as in the pictures of the documentation; how it is drawn says the state, and so does a word.

import { mark, svg } from "./elements.js";
import { milliseconds, plural } from "./words.js";

const ROW = 17; // between two labels
const NODE = 6; // half of a square
const WIDE = 560;
const LABEL = 160; // room beside the outermost ring
const EDGE = 44; // from the border to a gateway that has its peers on one side
const CROWD = { 1: 5, 2: 9 }; // more rows than this, by sides, and labels stand in a column of their own
const SCALES = [1, 2, 5, 10, 20, 50, 100, 200, 300, 400, 500, 750, 1000, 2000, 5000];
const STATES = ["up", "down", "unknown"];

export class PeerMap {
  constructor(place) {
    this.place = place;
    this.drawing = svg("svg", { role: "img" });
    place.append(this.drawing);
  }

  show(name, peers) {
    const width = Math.max(280, Math.round(this.place.clientWidth));
    const seen = JSON.stringify([width, name, peers.map((peer) => [peer.name, peer.state, peer.rtt_us, peer.lent])]);
    if (seen === this.seen) return;
    this.seen = seen;
    const plan = layout(width, peers);
    mark(this.drawing, "viewBox", `0 0 ${width} ${plan.height}`);
    mark(this.drawing, "width", String(width));
    mark(this.drawing, "height", String(plan.height));
    mark(this.drawing, "aria-label", summary(peers));
    const spots = plan.spots;
    this.drawing.replaceChildren(
      ...rings(plan), ...spots.map((spot) => link(plan, spot)), ...spots.map(node), ...spots.map(label), home(plan, name));
  }
}

function summary(peers) {
  const states = STATES.map((state) => [peers.filter((peer) => peer.state === state).length, state]);
  const found = states.filter(([number]) => number).map(([number, state]) => `${number} ${state}`);
  return `Map of ${plural(peers.length, "peer")}: ${found.join(", ")}. The table of links says the same.`;
}

function layout(width, peers) {
  const sides = width >= WIDE && peers.length > 1 ? 2 : 1;
  const rows = Math.ceil(peers.length / sides);
  const height = Math.max(sides === 2 ? 300 : 230, rows * ROW + 56);
  const farthest = Math.max(0, ...peers.filter((peer) => peer.state === "up").map((peer) => peer.rtt_us / 1000));
  const scale = SCALES.find((each) => each >= farthest) ?? farthest;
  const middle = { x: sides === 2 ? width / 2 : EDGE, y: (height - 16) / 2 };
  const rx = (sides === 2 ? width / 2 : width - EDGE) - LABEL;
  const plan = { height, sides, middle, scale, rx, ry: height / 2 - 24, column: rows > CROWD[sides] ? rx + 18 : null };
  const right = peers.slice(0, rows).map((peer, row) => spot(plan, peer, row, Math.min(rows, peers.length), 1));
  const left = peers.slice(rows).map((peer, row, all) => spot(plan, peer, row, all.length, -1));
  plan.spots = [...spread(right, height), ...spread(left.reverse(), height)];
  return plan;
}

// How far out a round trip lies, 0 to 1. The root leaves room for neighbours beside peers of another continent.
function reach(plan, ms) {
  return 0.16 + 0.84 * Math.sqrt(Math.min(1, ms / plan.scale));
}

function spot(plan, peer, row, rows, side) {
  const angle = ((row + 0.5) / rows - 0.5) * Math.PI * (rows > 2 ? 0.84 : 0.5);
  const from = side > 0 ? angle : -angle;
  const far = peer.rtt_us && peer.state === "up" ? reach(plan, peer.rtt_us / 1000) : 1;
  const x = plan.middle.x + side * far * plan.rx * Math.cos(from);
  const y = plan.middle.y + far * plan.ry * Math.sin(from);
  const labelX = plan.column == null ? x + side * (NODE + 4) : plan.middle.x + side * plan.column;
  return { peer, side, x, y, labelX, labelY: y };
}

// No two labels of a side share a line: they are moved apart, from the top down and then from the bottom up.
function spread(spots, height) {
  const ordered = [...spots].sort((one, other) => one.y - other.y);
  ordered.forEach((each, place) => {
    each.labelY = Math.max(each.y, place ? ordered[place - 1].labelY + ROW : 12);
  });
  let floor = height - 24;
  for (const each of ordered.reverse()) {
    each.labelY = Math.min(each.labelY, floor);
    floor = each.labelY - ROW;
  }
  return spots;
}

function rings(plan) {
  const steps = [0.25, 0.5, 1].map((share) => niceStep(plan.scale * share));
  return [...new Set(steps)].flatMap((ms) => {
    const far = reach(plan, ms);
    const { x, y } = plan.middle;
    return [
      svg("ellipse", { class: "ring", cx: x, cy: y, rx: far * plan.rx, ry: far * plan.ry }),
      svg("text", { class: "tick halo", x, y: y + far * plan.ry + 4, "text-anchor": "middle" }, `${ms} ms`),
    ];
  });
}

function niceStep(ms) {
  return ms < 1 ? Number(ms.toPrecision(1)) : Math.round(ms);
}

function link(plan, { peer, x, y }) {
  const thick = peer.state === "up" ? 1.25 + Math.min(3, Math.log2(1 + peer.lent) / 2) : 1.25;
  return svg("path", { class: `link ${peer.state}`, "stroke-width": thick.toFixed(1), d: `M${plan.middle.x} ${plan.middle.y}L${x} ${y}` });
}

function node({ peer, x, y }) {
  const shape = [svg("title", {}, `${peer.name}: ${peer.state}, ${peer.address}`)];
  shape.push(svg("rect", { x: x - NODE, y: y - NODE, width: 2 * NODE, height: 2 * NODE }));
  if (peer.state === "down") shape.push(svg("path", { d: `M${x - 3.5} ${y - 3.5}l7 7m0 -7l-7 7` }));
  if (peer.state === "unknown") shape.push(svg("text", { x, y: y + 4, "text-anchor": "middle" }, "?"));
  return svg("g", { class: `node ${peer.state}` }, ...shape);
}

function label({ peer, side, x, y, labelX, labelY }) {
  const from = x + side * (NODE + 2);
  const isMoved = Math.hypot(labelX - from, labelY - y) > 6;
  const at = { x: labelX + side * (isMoved ? 6 : 0), y: labelY + 4, "text-anchor": side > 0 ? "start" : "end" };
  const value = peer.state === "up" ? milliseconds(peer.rtt_us || null) : peer.state;
  const name = svg("tspan", { class: "name" }, shortened(peer.name));
  const fact = svg("tspan", { class: `fact ${peer.state}` }, value);
  const words = svg("text", { class: "label halo", ...at }, ...(side > 0 ? [name, " ", fact] : [fact, " ", name]));
  const lead = svg("path", { class: "lead", d: `M${from} ${y}L${labelX + side * 3} ${labelY}` });
  return svg("g", {}, ...(isMoved ? [lead] : []), words);
}

function shortened(name) {
  return name.length > 12 ? `${name.slice(0, 11)}…` : name;
}

function home({ middle, sides }, name) {
  const { x, y } = middle;
  const below = sides === 2 ? 23 : -15; // on one side there are rings' numbers below
  return svg("g", { class: "home" },
    svg("rect", { x: x - 9, y: y - 9, width: 18, height: 18 }),
    svg("text", { class: "label halo", x: sides === 2 ? x : 2, y: y + below, "text-anchor": sides === 2 ? "middle" : "start" }, shortened(name)));
}
