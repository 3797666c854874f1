// Rows of a collection that pass a filter, page by page.
import { rest } from "./api.js";
import { cell, columnsOf, isNumber, rowDialog } from "./cells.js";
import { counted, fill, h, number } from "./dom.js";
import { link, remember } from "./routes.js";
import { emptyState, errorState, labelled, loading, select, table } from "./widgets.js";

const SIZES = ["25", "50", "100"];
const WINDOW = 16_384;

export function browseTab({ database, name, about, query }) {
  const where = { dbName: database, collectionName: name };
  const filter = h("textarea", { class: "mono filter", rows: 1, spellcheck: "false", autocapitalize: "none", placeholder: about.primary ? `${about.primary.name} ${about.primary.type === "VarChar" ? '!= ""' : ">= 0"}` : "", value: query.get("filter") ?? "" });
  const size = select(SIZES, SIZES.includes(query.get("size")) ? query.get("size") : "25");
  const vectors = h("input", { type: "checkbox", checked: query.get("vectors") !== "no" });
  const result = h("div", { "aria-live": "polite" });
  let page = Math.max(0, Number(query.get("page") ?? 0) || 0);
  let asked = 0;

  const shownFields = () => (vectors.checked ? ["*"] : [
    ...about.fields.filter((field) => !field.type.endsWith("Vector")).map((field) => field.name),
    ...(about.structFields ?? []).map((one) => one.name ?? one.fieldName), ...(about.enableDynamicField ? ["$meta"] : [])]);

  async function show() {
    const mine = ++asked;
    const limit = Number(size.value);
    const offset = page * limit;
    remember(["collection", database, name, "data"], {
      filter: filter.value, page: page || "", size: size.value === "25" ? "" : size.value, vectors: vectors.checked ? "" : "no" });
    result.setAttribute("aria-busy", "true");
    if (!result.firstChild) fill(result, loading());
    try {
      const began = performance.now();
      const [rows, total] = await Promise.all([
        rest("entities/query", { ...where, filter: filter.value, outputFields: shownFields(), limit, offset }),
        rest("entities/query", { ...where, filter: filter.value, outputFields: ["count(*)"] }),
      ]);
      const took = performance.now() - began;
      if (mine !== asked) return;
      const count = Number(total.data[0]["count(*)"]);
      fill(result, pages(count, offset, limit, took), grid(rows.data, offset));
    } catch (error) {
      if (mine === asked) fill(result, errorState(error));
    } finally {
      if (mine === asked) result.removeAttribute("aria-busy");
    }
  }

  function pages(total, offset, limit, took) {
    const last = Math.min(offset + limit, total);
    const turn = (step) => () => { page += step; show(); };
    return h("nav", { class: "pages", "aria-label": "Pages" },
      h("button", { type: "button", disabled: page === 0, on: { click: turn(-1) } }, "Previous"),
      h("span", null, total ? `${number(offset + 1)}–${number(last)} of ${counted(total, "row")}` : "no rows", h("span", { class: "sub" }, ` in ${Math.round(took)} ms`)),
      h("button", { type: "button", disabled: last >= total || offset + 2 * limit > WINDOW, on: { click: turn(1) } }, "Next"),
      offset + 2 * limit > WINDOW && last < total ? h("span", { class: "sub" }, `Pages end at ${number(WINDOW)} rows: narrow the filter.`) : null);
  }

  function grid(rows) {
    if (!rows.length) return emptyState("No rows.", filter.value ? "None passes the filter." : "The collection is empty.");
    const columns = columnsOf(about, rows, { vectors: vectors.checked });
    return table([
      { title: "", cell: (row) => h("button", { type: "button", class: "small", "aria-label": `Show row ${row[about.primary.name]}`, on: { click: () => open(row) } }, "Show") },
      ...columns.map((field) => ({ title: heading(field), right: isNumber(field), cell: (row) => cell(row[field.name], field) })),
    ], rows, { caption: "Rows" });
  }

  function open(row) {
    const key = row[about.primary.name];
    const near = about.vectors.length && h("a", { class: "button", href: link(["collection", database, name, "search"], { like: key, run: 1 }), on: { click: () => box.close() } }, "Search with this row");
    const box = rowDialog(about, row, h("div", { class: "buttons" }, near));
  }

  const form = h("form", { class: "filter-form", on: { submit: (event) => { event.preventDefault(); page = 0; show(); } } },
    labelled("Filter", filter, "Enter runs it, Shift and Enter begin a line."),
    h("div", { class: "row" }, labelled("Rows", size), h("label", { class: "check" }, vectors, "Vectors"),
      h("button", { type: "submit", class: "primary" }, "Show rows")));
  filter.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); form.requestSubmit(); }
  });
  filter.addEventListener("input", () => grow(filter));
  size.addEventListener("change", () => { page = 0; show(); });
  vectors.addEventListener("change", show);
  setTimeout(() => grow(filter));
  show();
  return h("div", { class: "stack" }, form, result);
}

export function grow(area) {
  area.rows = Math.min(8, Math.max(1, area.value.split("\n").length));
}

export function heading(field) {
  const type = field.dynamic ? "dynamic" : field.type;
  return h("span", null, field.name, h("span", { class: "type" }, type));
}
