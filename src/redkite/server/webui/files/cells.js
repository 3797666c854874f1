// Values of rows, as a table and as a person want to see them.
import { clipped, h } from "./dom.js";
import { parsed } from "./api.js";
import { dialog } from "./widgets.js";

const SHOWN = 120;
const decimals = (value) => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4))));

/** REST puts the elements of an array into an envelope of its own; a JSON field comes as text, and so do wide integers. */
export function plain(value, field) {
  if (field?.type === "JSON" && typeof value === "string") return parsed(value);
  if (field?.type === "Int64" && typeof value === "string") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  const data = value?.Data;
  if (field?.type === "Array" && data) return Object.values(data)[0]?.data ?? [];
  return value;
}

/** `[0.12, -0.33, 1.4, … 128]`, `{17: 0.5, … 12 terms}`, or the first bytes of a binary one. */
export function vectorText(value) {
  if (Array.isArray(value)) {
    const first = value.slice(0, 3).map((each) => (typeof each === "number" ? decimals(each) : JSON.stringify(each)));
    return value.length > 3 ? `[${first.join(", ")}, … ${value.length}]` : `[${first.join(", ")}]`;
  }
  if (value && typeof value === "object") {
    const entries = Object.entries(value);
    const first = entries.slice(0, 2).map(([key, each]) => `${key}: ${typeof each === "number" ? decimals(each) : each}`);
    return `{${first.join(", ")}${entries.length > 2 ? `, … ${entries.length} terms` : ""}}`;
  }
  return clipped(String(value), 24);
}

export function cell(value, field) {
  const shown = plain(value, field);
  if (shown === null || shown === undefined) return h("span", { class: "null" }, "null");
  if (field?.type?.endsWith("Vector")) return h("span", { class: "mono vector" }, vectorText(shown));
  if (typeof shown === "object") return h("span", { class: "mono" }, clipped(JSON.stringify(shown), SHOWN));
  if (typeof shown === "string" && field?.type !== "Int64") return h("span", { class: "text" }, clipped(shown, SHOWN));
  return h("span", { class: "num" }, String(shown));
}

const NUMBERS = /^(Int|Float$|Double$|Bool)/;
export const isNumber = (field) => Boolean(field && NUMBERS.test(field.type));

/** Fields of the schema in their order, then whatever else the rows hold. */
export function columnsOf(about, rows, { vectors = true } = {}) {
  const known = about.fields.filter((field) => vectors || !field.type.endsWith("Vector"));
  const structs = (about.structFields ?? []).map((one) => ({ name: one.name ?? one.fieldName, type: "Struct" }));
  const names = new Set([...known, ...structs].map((field) => field.name));
  const hidden = new Set(about.fields.map((field) => field.name));
  const dynamic = new Set();
  for (const row of rows) for (const key of Object.keys(row)) if (!names.has(key) && !hidden.has(key) && key !== "distance") dynamic.add(key);
  const there = [...known, ...structs].filter((field) => rows.some((row) => field.name in row));
  return [...there, ...[...dynamic].sort().map((name) => ({ name, dynamic: true }))];
}

/** Everything of one row. */
export function rowDialog(about, row, ...more) {
  const key = row[about.primary.name];
  const fields = new Map(about.fields.map((field) => [field.name, field]));
  const shown = Object.fromEntries(Object.entries(row).map(([name, value]) => {
    const field = fields.get(name);
    return [name, field?.type?.endsWith("Vector") ? vectorText(value) : plain(value, field)];
  }));
  const text = JSON.stringify(shown, null, 2);
  return dialog(`Row ${key}`, h("pre", { class: "json", tabindex: "0" }, highlighted(text)), more);
}

const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** JSON text in colours, as text nodes in spans. */
export function highlighted(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(TOKENS)) {
    const kind = found[1] ? (found[2] ? "j-key" : "j-text") : found[3] ? "j-word" : "j-number";
    const token = found[1] ?? found[0];
    parts.push(text.slice(from, found.index), h("span", { class: kind }, token));
    from = found.index + token.length;
  }
  return [...parts, text.slice(from)];
}
