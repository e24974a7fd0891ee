// A line chart of the last minutes. Times are milliseconds on the gateway's own clock.

import { html, mark, say, svg } from "./elements.js";
import { duration } from "./words.js";

const HEIGHT = 108;
const TOP = 8;
const BOTTOM = 18;
const GAP_MS = 15000; // no points for so long: there was nobody to take them

export class Chart {
  // A line: {label, column, tone, filled}. `words` writes a value with its unit, which is `factor` times smaller. The
  // scale ends at `base` of those units at least, so that next to nothing looks like it.
  constructor(figure, { title, lines, words, base, factor = 1 }) {
    Object.assign(this, { figure, title, lines, words, base, factor });
    this.now = html("strong");
    this.note = html("span", { class: "quiet" });
    this.caption = html("figcaption", {}, html("span", { class: "name" }, title), this.now, this.note);
    this.drawing = svg("svg", { role: "img", height: HEIGHT });
    figure.append(this.caption, this.drawing);
    this.drawing.addEventListener("pointermove", (event) => this.point(event));
    this.drawing.addEventListener("pointerleave", () => this.leave());
  }

  show(points, { nowMs, spanMs, note }) {
    Object.assign(this, { points, nowMs, spanMs, noteText: note });
    const width = Math.max(120, Math.round(this.figure.clientWidth));
    this.width = width;
    const last = points[points.length - 1];
    say(this.now, last ? this.words(last[this.lines[0].column]) : "–");
    const peak = Math.max(0, ...points.flatMap((point) => this.lines.map((line) => point[line.column])));
    this.top = ceiling(peak * this.factor, this.base) / this.factor;
    mark(this.drawing, "viewBox", `0 0 ${width} ${HEIGHT}`);
    mark(this.drawing, "width", String(width));
    mark(this.drawing, "aria-label", this.summary(last, peak));
    this.drawing.replaceChildren(...this.grid(), ...this.lines.flatMap((line) => this.line(line)), ...this.scale());
    this.tell();
  }

  summary(last, peak) {
    const minutes = Math.round(this.spanMs / 60000);
    const now = last ? this.words(last[this.lines[0].column]) : "nothing yet";
    return `${this.title}: ${now} now, at most ${this.words(peak)} in the last ${minutes} minutes`;
  }

  x(atMs) {
    return this.width * (1 - (this.nowMs - atMs) / this.spanMs);
  }

  y(value) {
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / this.top);
  }

  grid() {
    const lines = [1, 0.5].map((share) => [share * this.top, "grid"]);
    return [...lines, [0, "floor"]].map(([value, kind]) => svg("path", { class: kind, d: `M0 ${this.y(value)}H${this.width}` }));
  }

  scale() {
    const minutes = this.spanMs / 60000;
    const top = this.words(this.top).replace(/\.0+(?= )/, "");
    const value = svg("text", { class: "tick halo", x: 0, y: this.y(this.top) + 11 }, top);
    const times = [1, 0.5, 0].map((share) => svg("text", {
      class: "tick", x: this.width * (1 - share), y: HEIGHT - 4, "text-anchor": ["end", "middle", "start"][2 * share],
    }, share ? `−${minutes * share} min` : "now"));
    return [value, ...times];
  }

  line({ column, tone, filled }) {
    const runs = [[]];
    for (const point of this.points) {
      const run = runs[runs.length - 1];
      if (run.length && point[0] - run[run.length - 1][0] > GAP_MS) runs.push([point]);
      else run.push(point);
    }
    return runs.filter((run) => run.length).flatMap((run) => {
      const steps = run.map((point) => `${this.x(point[0]).toFixed(1)} ${this.y(point[column]).toFixed(1)}`);
      const path = `M${steps.join("L")}`;
      const [from, to] = [run[0], run[run.length - 1]].map((point) => this.x(point[0]).toFixed(1));
      const area = svg("path", { class: `area ${tone}`, d: `${path}L${to} ${this.y(0)}L${from} ${this.y(0)}Z` });
      return [...(filled ? [area] : []), svg("path", { class: `line ${tone}`, d: path })];
    });
  }

  point(event) {
    const box = this.drawing.getBoundingClientRect();
    this.pointed = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    this.tell();
  }

  leave() {
    this.pointed = null;
    this.tell();
  }

  // Beside the title: the values at the time that is pointed at, which stays where it is while time goes on.
  tell() {
    this.drawing.querySelector(".pointed")?.remove();
    if (this.pointed == null || !this.points?.length) {
      say(this.note, this.noteText ?? "");
      return;
    }
    const atMs = this.nowMs - this.spanMs * (1 - this.pointed);
    const far = (point) => Math.abs(point[0] - atMs);
    const nearest = this.points.reduce((best, each) => (far(each) < far(best) ? each : best));
    this.drawing.append(svg("path", { class: "pointed", d: `M${this.x(nearest[0])} ${TOP}V${this.y(0)}` }));
    const values = this.lines.map((line) => `${this.words(nearest[line.column])} ${line.label}`.trim());
    say(this.note, `${values.join(", ")} ${duration(this.nowMs - nearest[0])} ago`);
  }
}

// The next round number, with some air above the line.
function ceiling(value, least) {
  const high = value * 1.1;
  if (high <= least) return least;
  const power = 10 ** Math.floor(Math.log10(high));
  return power * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= high);
}
