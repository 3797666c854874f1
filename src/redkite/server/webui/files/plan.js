// How a read was answered, as a tree: from the whole down to what was done in each segment.
import { counted, duration, h, number, percent } from "./dom.js";
import { badge, bar, mono } from "./widgets.js";

const WIDE = 12;

export function planTree(plan) {
  const segments = plan.segments ?? [];
  const rows = segments.reduce((sum, one) => sum + one.rows, 0);
  const allowed = segments.reduce((sum, one) => sum + one.allowed, 0);
  const compared = segments.reduce((sum, one) => sum + one.steps.reduce((part, step) => part + step.compared, 0), 0);
  const root = node(
    [h("b", null, `${plan.kind} of ${plan.collection}`), plan.fields?.length ? ` by ${plan.fields.join(", ")}` : "",
      plan.index_type ? badge(`${plan.index_type}, ${plan.metric}`, "accent") : null,
      Object.entries(plan.params ?? {}).map(([key, value]) => mono(`${key}=${value} `))],
    plan.analyzed && node(["Planned in ", h("b", null, duration(plan.plan_seconds)), ", read in ", h("b", null, duration(plan.read_seconds)),
      share("plan", plan.plan_seconds, plan.plan_seconds + plan.read_seconds)]),
    plan.recalls?.length && node(["Recall against an exact search: ", h("b", null, percent(plan.recalls.reduce((a, b) => a + b, 0) / plan.recalls.length))]),
    plan.filter && node(["Filter ", mono(plan.filter)]),
    plan.partitions !== null && plan.partitions !== undefined && node([`In ${counted(plan.partitions, "partition")}`]),
    (plan.statistics ?? []).map((one) => node([`Word statistics by ${one.field}: ${number(one.rows)} rows, ${one.average.toFixed(1)} words each; ${one.known} of ${counted(one.terms, "term")} known`])),
    node([h("b", null, counted(segments.length, "segment")), ` in ${counted(plan.shards, "shard")}`, plan.pruned ? `, ${plan.pruned} ruled out` : "", ": ",
      `${number(allowed)} of ${counted(rows, "row")} allowed `, selectivity(allowed, rows), compared ? `, ${number(compared)} compared` : ""],
    segments.slice(0, WIDE).map(segment),
    segments.length > WIDE && more(segments.slice(WIDE))));
  return h("ul", { class: "tree", "aria-label": "Plan" }, root);
}

function node(line, ...children) {
  const below = children.flat(Infinity).filter(Boolean);
  return h("li", null, h("div", { class: "tree-line" }, line), below.length ? h("ul", null, below) : null);
}

const share = (name, part, whole) => bar(whole ? part / whole : 0, `${name}: ${percent(whole ? part / whole : 0)}`);

function selectivity(allowed, rows) {
  const part = rows ? allowed / rows : 1;
  return [bar(part, `${percent(part)} of the rows allowed`), h("span", { class: "sub" }, ` ${percent(part)}`)];
}

function segment(one) {
  return node([badge(one.state, one.state === "growing" ? "warm" : ""), mono(String(one.segment_id)), one.field ? ` ${one.field}: ` : " ",
    `${number(one.allowed)} of ${counted(one.rows, "row")} `, selectivity(one.allowed, one.rows), one.index ? badge(one.index) : h("span", { class: "sub" }, " no index")],
  one.steps.map((step) => node([step.how, step.queries > 1 ? ` for ${counted(step.queries, "query", "queries")}` : "",
    step.compared ? `, ${counted(step.compared, "row")} compared` : ""])));
}

function more(rest) {
  return h("li", null, h("details", null, h("summary", null, `${counted(rest.length, "more segment")}`), h("ul", null, rest.map(segment))));
}
