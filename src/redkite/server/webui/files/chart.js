// A small line chart: lines over time, a grid of three lines, and the values under the pointer or the arrow keys.
import { fill, h, s } from "./dom.js";

const WIDTH = 400, HEIGHT = 132, LEFT = 44, RIGHT = 4, TOP = 8, BOTTOM = 18;

/** The smallest round number that is not below the value, of those whose half is round, too. */
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

/** `lines`: {name, kind, of(point)}; `show`: a value as text; `floor`: whether the scale begins at zero. */
export class Chart {
  constructor(title, lines, show, { span = 300, floor = true } = {}) {
    this.lines = lines;
    this.show = show;
    this.span = span;
    this.floor = floor;
    this.points = [];
    this.now = h("p", { class: "chart-now" });
    this.svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", tabindex: "0" });
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.look(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
    this.svg.addEventListener("blur", () => this.look(null));
    this.title = title;
    this.node = h("section", { class: "card chart-card" }, h("div", { class: "chart-head" }, h("h2", null, title), this.now), this.svg);
    this.at = null;
  }

  draw(points) {
    this.points = points;
    const end = points.at(-1)?.time ?? 0;
    const span = Math.max(60, Math.min(this.span, end - (points[0]?.time ?? end)));
    const values = points.flatMap((point) => this.lines.map((line) => line.of(point))).filter(Number.isFinite);
    let low = 0, high = ceiling(Math.max(0, ...values));
    if (!this.floor && values.length) {
      const least = Math.min(...values), most = Math.max(...values);
      const room = Math.max((most - least) * 0.5, most * 0.02, 1);
      low = Math.max(0, least - room);
      high = most + room;
    }
    this.x = (time) => LEFT + (WIDTH - LEFT - RIGHT) * (1 - (end - time) / span);
    this.y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low || 1));
    const grid = [low, (low + high) / 2, high].map((value) => [
      s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: this.y(value), y2: this.y(value) }),
      s("text", { class: "tick", x: LEFT - 6, y: this.y(value) + 3.5, "text-anchor": "end" }, this.show(value)),
    ]);
    const times = [0, span / 2].map((ago) =>
      s("text", { class: "tick", x: this.x(end - ago), y: HEIGHT - 4, "text-anchor": ago ? "middle" : "end" }, ago ? `${Math.round(ago)} s ago` : "now"));
    const lines = this.lines.map((line, number) => this.line(line, number === 0));
    this.cursor = s("g", { class: "cursor" });
    fill(this.svg, grid, times, lines, this.cursor);
    this.look(this.at);
  }

  line(line, filled) {
    const runs = [[]];
    for (const point of this.points) {
      const value = line.of(point);
      if (Number.isFinite(value)) runs.at(-1).push(`${this.x(point.time).toFixed(1)},${this.y(value).toFixed(1)}`);
      else if (runs.at(-1).length) runs.push([]);
    }
    return runs.filter((run) => run.length).map((run) => {
      const [first] = run[0].split(","), [last] = run.at(-1).split(",");
      const base = HEIGHT - BOTTOM;
      return [
        filled && this.lines.length === 1 && s("polygon", { class: `area ${line.kind}`, points: `${first},${base} ${run.join(" ")} ${last},${base}` }),
        run.length > 1 ? s("polyline", { class: `line ${line.kind}`, points: run.join(" ") })
          : s("circle", { class: `dot ${line.kind}`, cx: first, cy: run[0].split(",")[1], r: 2 }),
      ];
    });
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    let nearest = null;
    this.points.forEach((point, at) => {
      if (nearest === null || Math.abs(this.x(point.time) - x) < Math.abs(this.x(this.points[nearest].time) - x)) nearest = at;
    });
    this.look(nearest === null ? null : this.points[nearest].time);
  }

  step(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move || !this.points.length) return;
    event.preventDefault();
    const here = this.points.findIndex((point) => point.time === this.at);
    const next = here < 0 ? this.points.length - 1 : Math.max(0, Math.min(this.points.length - 1, here + move));
    this.look(this.points[next].time);
  }

  look(time) {
    this.at = time;
    const point = this.points.find((each) => each.time === time) ?? this.points.at(-1);
    const value = (line) => { const found = point && line.of(point); return Number.isFinite(found) ? this.show(found) : "–"; };
    fill(this.now, this.lines.map((line) => h("span", { class: `value ${line.kind}` }, this.lines.length > 1 ? `${line.name} ` : "", h("b", null, value(line)))));
    this.svg.setAttribute("aria-label", `${this.title}: ${this.lines.map((line) => `${line.name} ${value(line)}`).join(", ")}`);
    if (!this.cursor) return;
    if (time === null || !point) { fill(this.cursor); return; }
    const x = this.x(point.time);
    fill(this.cursor, s("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
      this.lines.filter((line) => Number.isFinite(line.of(point))).map((line) => s("circle", { class: `dot ${line.kind}`, cx: x, cy: this.y(line.of(point)), r: 3 })));
  }
}
