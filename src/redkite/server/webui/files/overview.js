// What the server does now, from counters that are read every two seconds.
import { ask } from "./api.js";
import { Chart } from "./chart.js";
import { bytes, duration, fill, h, number, short } from "./dom.js";
import { errorState, heading } from "./widgets.js";

const PAUSE = 2000;
const SPAN = 300;
const points = [];
let before = null, timer = null, failed = null, changed = () => {};

/** Begin to read the counters, or end it. They are not read while nobody looks. */
export function watch(on) {
  clearInterval(timer);
  timer = null;
  if (!on) return;
  timer = setInterval(read, PAUSE);
  read();
}

async function read() {
  if (document.hidden) return;
  try {
    const now = await ask("live");
    failed = null;
    // Fewer than before: the server was started anew.
    if (before && now.calls >= before.calls && now.time > before.time) points.push(rates(before, now));
    before = now;
    while (points.length && points[0].time < now.time - SPAN) points.shift();
  } catch (error) {
    failed = error;
    before = null;
  }
  changed();
}

function rates(old, now) {
  const seconds = now.time - old.time;
  const rate = (name) => Math.max(0, now[name] - old[name]) / seconds;
  const bins = now.reads.map((count, at) => Math.max(0, count - old.reads[at]));
  return {
    time: now.time, searches: rate("searches"), queries: rate("queries"), written: rate("written"), errors: rate("errors"),
    p50: quantile(bins, now.edges, 0.5), p99: quantile(bins, now.edges, 0.99), memory: now.memory, rows: now.rows,
  };
}

/** Interpolated within the bin that it falls into; NaN where nothing was counted. */
export function quantile(bins, edges, share) {
  const total = bins.reduce((sum, count) => sum + count, 0);
  if (!total) return NaN;
  let left = share * total;
  for (let at = 0; at < bins.length; at += 1) {
    if (left <= bins[at] && bins[at]) {
      const low = at ? edges[at - 1] : 0, high = edges[at] ?? edges.at(-1);
      return low + (high - low) * (left / bins[at]);
    }
    left -= bins[at];
  }
  return edges.at(-1);
}

export async function overviewView() {
  const options = { span: SPAN };
  const charts = [
    new Chart("Searches a second", [{ name: "searches", kind: "main", of: (p) => p.searches }], short, options),
    new Chart("Rows written a second", [{ name: "rows", kind: "main", of: (p) => p.written }], short, options),
    new Chart("Latency of reads", [
      { name: "p50", kind: "main", of: (p) => p.p50 }, { name: "p99", kind: "second", of: (p) => p.p99 }], duration, options),
    new Chart("Queries a second", [{ name: "queries", kind: "main", of: (p) => p.queries }], short, options),
    new Chart("Memory", [{ name: "memory", kind: "main", of: (p) => p.memory }], bytes, { ...options, floor: false }),
    new Chart("Rows", [{ name: "rows", kind: "main", of: (p) => p.rows ?? NaN }], short, { ...options, floor: false }),
  ];
  const tiles = h("div", { class: "tiles" });
  const trouble = h("div");
  const show = () => {
    fill(trouble, failed ? errorState(failed) : null);
    fill(tiles, before ? [
      ["Rows", number(before.rows)], ["Memory", bytes(before.memory)], ["Searches", number(before.searches)],
      ["Queries", number(before.queries)], ["Rows written", number(before.written)], ["Failed requests", number(before.errors)],
    ].map(([name, value]) => h("div", { class: "tile" }, h("p", { class: "tile-name" }, name), h("p", { class: "tile-value" }, value))) : null);
    charts.forEach((chart) => chart.draw(points));
  };
  changed = show;
  show();
  return {
    node: h("div", null, heading("Overview"), trouble, tiles, h("p", { class: "note" }, "Requests are counted since the server was started."), h("div", { class: "charts" }, charts.map((chart) => chart.node))),
    leave: () => { changed = () => {}; },
  };
}
