// Searches by a vector, a text, or a row that is there; hits with their scores, and the plan.
import { rest } from "./api.js";
import { cell, columnsOf, isNumber, rowDialog } from "./cells.js";
import { counted, fill, h } from "./dom.js";
import { grow, heading } from "./browse.js";
import { planTree } from "./plan.js";
import { link, remember } from "./routes.js";
import { bar, card, emptyState, errorState, labelled, loading, select, table } from "./widgets.js";

const LONGEST = 2_000;
const EXPLAIN = [["analyze", "measured"], ["explain", "plan only"], ["", "no plan"]];

export function searchTab({ database, name, about, query }) {
  if (!about.vectors.length) return emptyState("No vectors.", "The collection has no vector field to search by.");
  const where = { dbName: database, collectionName: name };
  const ways = { row: "Like this row", vector: "Vector", text: "Text" };
  const field = select(about.vectors.map((one) => [one.name, `${one.name} (${one.type})`]), query.get("field") ?? about.vectors[0].name);
  const way = select(Object.entries(ways), query.get("way") ?? "row");
  const like = h("input", { value: query.get("like") ?? "", spellcheck: "false", placeholder: `a value of ${about.primary.name}` });
  const vector = h("textarea", { class: "mono", rows: 2, spellcheck: "false", value: query.get("vector") ?? "", placeholder: "[0.1, 0.2, …]" });
  const text = h("input", { value: query.get("text") ?? "", placeholder: "words" });
  const filter = h("textarea", { class: "mono filter", rows: 1, spellcheck: "false", autocapitalize: "none", value: query.get("filter") ?? "" });
  const limit = h("input", { type: "number", min: 1, max: 1000, value: query.get("limit") ?? "10", class: "narrow" });
  const params = h("input", { class: "mono", value: query.get("params") ?? "", placeholder: '{"ef": 64}', spellcheck: "false" });
  const explain = select(EXPLAIN, query.get("explain") ?? "analyze");
  const result = h("div", { class: "stack", "aria-live": "polite" });
  const random = h("button", { type: "button", class: "small", on: { click: draw } }, "Draw one at random");
  const inputs = { row: labelled("Row", like), vector: h("div", { class: "with-button" }, labelled("Vector", vector), random), text: labelled("Text", text) };
  const given = h("div", { class: "given" });

  const chosen = () => about.vectors.find((one) => one.name === field.value) ?? about.vectors[0];
  function draw() {
    const dim = Number(chosen().settings.dim ?? 0);
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    const values = chosen().type === "SparseFloatVector"
      ? Object.fromEntries(Array.from({ length: 8 }, () => [Math.floor(Math.random() * 1000), Number(Math.random().toFixed(3))]))
      : Array.from({ length: dim }, () => Number(normal().toFixed(4)));
    vector.value = JSON.stringify(values);
  }
  function pick() {
    const writes = chosen().isFunctionOutput;
    for (const option of way.options) option.disabled = option.value === "text" && !writes;
    if (way.value === "text" && !writes) way.value = "row";
    random.hidden = ["BinaryVector", "Float16Vector", "BFloat16Vector", "Int8Vector"].includes(chosen().type);
    fill(given, inputs[way.value]);
  }

  function body() {
    const searchParams = {};
    if (params.value.trim()) {
      try {
        Object.assign(searchParams, { params: JSON.parse(params.value) });
      } catch (error) {
        throw new Error(`The parameters are not JSON: ${error.message}`);
      }
    }
    if (explain.value) searchParams[explain.value] = true;
    const asked = { ...where, annsField: field.value, limit: Number(limit.value), filter: filter.value, outputFields: ["*"], searchParams };
    if (way.value === "row") {
      if (!like.value.trim()) throw new Error(`Give the ${about.primary.name} of a row.`);
      return { ...asked, ids: [like.value.trim()] };
    }
    if (way.value === "text") {
      if (!text.value.trim()) throw new Error("Give some words.");
      return { ...asked, data: [text.value] };
    }
    try {
      return { ...asked, data: [JSON.parse(vector.value)] };
    } catch (error) {
      throw new Error(`The vector is not JSON: ${error.message}`);
    }
  }

  async function run() {
    remember(["collection", database, name, "search"], {
      field: field.value === about.vectors[0].name ? "" : field.value, way: way.value === "row" ? "" : way.value, like: way.value === "row" ? like.value : "",
      text: way.value === "text" ? text.value : "", vector: way.value === "vector" && vector.value.length < LONGEST ? vector.value : "",
      filter: filter.value, limit: limit.value === "10" ? "" : limit.value, params: params.value, explain: explain.value === "analyze" ? "" : explain.value, run: 1 });
    fill(result, loading("Searching…"));
    try {
      const began = performance.now();
      const told = await rest("entities/search", body());
      fill(result, hits(told, performance.now() - began), told.explain ? card("Plan", planTree(told.explain)) : null);
    } catch (error) {
      fill(result, errorState(error));
    }
  }

  function hits(told, took) {
    const rows = told.data;
    if (!rows.length) return card("Hits", emptyState("No hits.", filter.value ? "No row passes the filter." : ""));
    const scores = rows.map((row) => Number(row.distance));
    const low = Math.min(...scores), high = Math.max(...scores);
    const columns = columnsOf(about, rows);
    const closeness = (score) => (high === low ? 1 : scores[0] >= scores.at(-1) ? (score - low) / (high - low) : (high - score) / (high - low));
    return card(null, h("p", { class: "note" }, `${counted(rows.length, "hit")} in ${Math.round(took)} ms, the way to this page included`), table([
      { title: "#", right: true, cell: (row) => rows.indexOf(row) + 1 },
      { title: "Score", right: true, cell: (row) => h("span", { class: "score" }, bar(closeness(row.distance), "closeness among these hits"), h("b", null, Number(row.distance).toPrecision(5))) },
      { title: "", cell: (row) => h("button", { type: "button", class: "small", "aria-label": `Show row ${row[about.primary.name]}`, on: { click: () => open(row) } }, "Show") },
      ...columns.map((one) => ({ title: heading(one), right: isNumber(one), cell: (row) => cell(row[one.name], one) })),
    ], rows, { caption: "Hits" }));
  }

  function open(row) {
    const again = h("a", { class: "button", href: link(["collection", database, name, "search"], { like: row[about.primary.name], field: field.value, run: 1 }), on: { click: () => box.close() } }, "Search with this row");
    const box = rowDialog(about, row, h("div", { class: "buttons" }, again));
  }

  const form = h("form", { class: "search-form card", on: { submit: (event) => { event.preventDefault(); run(); } } },
    h("div", { class: "row" }, labelled("Field", field), labelled("Query", way), labelled("Hits", limit), labelled("Explain", explain)),
    given, h("div", { class: "row last" }, labelled("Filter", filter), labelled("Parameters of the index", params),
      h("button", { class: "primary", type: "submit" }, "Search")));
  field.addEventListener("change", pick);
  way.addEventListener("change", pick);
  filter.addEventListener("input", () => grow(filter));
  filter.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); }
  });
  pick();
  if (query.get("run")) run();
  return h("div", { class: "stack" }, form, result);
}
