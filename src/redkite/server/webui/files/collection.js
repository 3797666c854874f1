// One collection: what it is made of, its rows, searches in it, its segments.
import { ask, ApiError, rest } from "./api.js";
import { browseTab } from "./browse.js";
import { load } from "./collections.js";
import { bytes, counted, fill, h, number } from "./dom.js";
import { link } from "./routes.js";
import { searchTab } from "./search.js";
import { badge, bar, card, emptyState, errorState, facts, heading, later, mono, state, table } from "./widgets.js";

const TABS = { schema: "Schema", data: "Data", search: "Search", segments: "Segments" };

export async function collectionView({ parts, query }) {
  const [, database, name, tab = "schema"] = parts;
  const about = await describe(database, name);
  const tabs = h("nav", { class: "tabs", "aria-label": "Parts of the collection" }, Object.entries(TABS).map(([key, title]) =>
    h("a", { href: link(["collection", database, name, key]), "aria-current": key === tab && "page" }, title)));
  const body = { schema: schemaTab, data: browseTab, search: searchTab, segments: segmentsTab }[tab];
  return h("div", null,
    h("p", { class: "crumbs" }, h("a", { href: link(["collections"], { db: database }) }, database), " / "),
    heading(name, { beside: badge(about.load === "LoadStateLoaded" ? "loaded" : about.load === "LoadStateLoading" ? "loading" : "not loaded",
      about.load === "LoadStateLoaded" ? "good" : "") }),
    about.description ? h("p", { class: "note" }, about.description) : null,
    tabs, body ? body({ database, name, about, query }) : emptyState("There is no such part."));
}

async function describe(database, name) {
  const found = (await rest("collections/describe", { dbName: database, collectionName: name })).data;
  for (const field of found.fields) field.settings = Object.fromEntries((field.params ?? []).map(({ key, value }) => [key, value]));
  found.primary = found.fields.find((field) => field.primaryKey);
  found.vectors = found.fields.filter((field) => field.type.endsWith("Vector"));
  return found;
}

/** What an endpoint answers, or null where it may not be asked. */
async function allowed(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ApiError && (error.status === 403 || error.code === 10)) return null;
    throw error;
  }
}

// -- schema ---------------------------------------------------------------------------------------------------------
function schemaTab({ database, name, about }) {
  return h("div", { class: "stack" },
    card("About", later(() => overview(database, name, about))),
    card("Fields", fields(about)),
    about.structFields?.length ? card("Arrays of structs", about.structFields.map(struct)) : null,
    about.functions?.length ? card("Functions", table([
      { title: "Name", cell: (one) => mono(one.name) },
      { title: "Kind", cell: (one) => ({ 1: "BM25", 2: "Text embedding", 3: "Rerank", 4: "MinHash" }[one.type] ?? String(one.type)) },
      { title: "From", cell: (one) => mono(one.inputFieldNames.join(", ")) },
      { title: "Makes", cell: (one) => mono(one.outputFieldNames.join(", ")) },
    ], about.functions, { caption: "Functions" })) : null,
    card("Indexes", later(() => indexes(database, name))),
    card("Partitions", later(() => partitions(database, name))));
}

async function overview(database, name, about) {
  const where = { dbName: database, collectionName: name };
  const [rows, progress] = await Promise.all([
    allowed(() => rest("collections/get_stats", where)), allowed(() => rest("collections/get_load_state", where))]);
  const properties = about.properties ?? [];
  return facts([
    ["Rows", number(rows?.data.rowCount)],
    ["Load", progress ? load(progress.data.loadProgress ?? 0) : "–"],
    ["Aliases", about.aliases?.length ? about.aliases.map((alias) => badge(alias)) : "none"],
    ["Consistency", about.consistencyLevel],
    ["Shards", number(about.shardsNum)],
    ["Dynamic fields", about.enableDynamicField ? "yes" : "no"],
    ["Id", mono(String(about.collectionID))],
    ["Properties", properties.length ? properties.map(({ key, value }) => h("div", null, mono(`${key} = ${value}`))) : "none"],
  ]);
}

function fields(about) {
  return table([
    { title: "Field", cell: (field) => h("div", null, mono(field.name, { class: "name" }),
      field.description ? h("div", { class: "sub" }, field.description) : null) },
    { title: "Type", cell: (field) => typeOf(field) },
    { title: "", class: "wrap", cell: (field) => [
      field.primaryKey && badge("primary key", "accent"), field.autoId && badge("auto id"),
      field.partitionKey && badge("partition key"), field.clusteringKey && badge("clustering key"),
      field.nullable && badge("nullable"), field.isFunctionOutput && badge("made by a function"),
      field.defaultValue !== undefined && field.defaultValue !== null && badge(`default ${JSON.stringify(field.defaultValue)}`)] },
    { title: "Settings", class: "wrap", cell: (field) => Object.entries(field.settings ?? {})
      .filter(([key]) => !["dim", "max_length", "max_capacity"].includes(key))
      .map(([key, value]) => mono(`${key}=${value} `)) },
  ], about.fields, { caption: "Fields" });
}

function typeOf(field) {
  const { dim, max_length: length, max_capacity: capacity } = field.settings ?? {};
  const inner = field.elementType ? ` of ${field.elementType}` : "";
  const sizes = [dim && `${dim} dimensions`, length && `at most ${length}`, capacity && `at most ${capacity} elements`].filter(Boolean);
  return h("div", null, `${field.type}${inner}`, sizes.length ? h("div", { class: "sub" }, sizes.join(", ")) : null);
}

function struct(one) {
  const parts = (one.fields ?? []).map((field) => ({ ...field, settings: Object.fromEntries((field.params ?? []).map(({ key, value }) => [key, value])) }));
  return h("div", null, h("h3", null, mono(one.name ?? one.fieldName ?? "")), fields({ fields: parts }));
}

async function indexes(database, name) {
  const found = (await ask("details", { dbName: database, names: [name] }))[name];
  if (!found) return emptyState("Not shown to you.", "No grant of yours names this collection.");
  if (!found.indexes) return emptyState("Not shown to you.", "It takes the privilege IndexDetail.");
  return table([
    { title: "Index", cell: (index) => mono(index.name, { class: "name" }) },
    { title: "Field", cell: (index) => mono(index.field) },
    { title: "Kind", cell: (index) => [index.type, index.metric ? `, ${index.metric}` : ""] },
    { title: "Settings", class: "wrap", cell: (index) => Object.entries(index.params)
      .filter(([key]) => !["index_type", "metric_type"].includes(key)).map(([key, value]) => mono(`${key}=${value} `)) },
    { title: "Built", cell: (index) => h("span", { class: "progress" }, bar(index.total ? index.indexed / index.total : 1),
      `${number(index.indexed)} of ${number(index.total)}`) },
    { title: "State", cell: (index) => [state(index.state), index.reason ? h("div", { class: "sub" }, index.reason) : null] },
  ], found.indexes, { caption: "Indexes", empty: "No field has an index." });
}

async function partitions(database, name) {
  const where = { dbName: database, collectionName: name };
  const found = await allowed(() => rest("partitions/list", where));
  if (!found) return emptyState("Not shown to you.", "It takes the privilege ShowPartitions.");
  const names = found.data.slice(0, 64);
  const counts = await Promise.all(names.map((partition) =>
    allowed(() => rest("partitions/get_stats", { ...where, partitionName: partition }))));
  const rows = names.map((partition, at) => ({ partition, rows: counts[at]?.data.rowCount }));
  return h("div", null, table([
    { title: "Partition", cell: (one) => mono(one.partition, { class: "name" }) },
    { title: "Rows", right: true, cell: (one) => number(one.rows) },
  ], rows, { caption: "Partitions" }), found.data.length > names.length ? h("p", { class: "note" }, `and ${number(found.data.length - names.length)} more`) : null);
}

// -- segments -------------------------------------------------------------------------------------------------------
function segmentsTab({ database, name }) {
  const place = h("div", { class: "later" });
  const show = () => fill(place, later(() => segments(database, name)));
  show();
  return h("div", { class: "stack" }, h("div", { class: "buttons" }, h("button", { type: "button", on: { click: show } }, "Look again")), place);
}

async function segments(database, name) {
  let found;
  try {
    found = await ask("segments", { dbName: database, name });
  } catch (error) {
    return errorState(error);
  }
  const rows = found.reduce((sum, one) => sum + one.rows, 0);
  const size = found.reduce((sum, one) => sum + (one.bytes ?? 0), 0);
  const most = Math.max(1, ...found.map((one) => one.rows));
  return h("div", { class: "stack" },
    h("p", { class: "note" }, `${counted(found.length, "segment")}, ${counted(rows, "row")} with those that were deleted and not compacted away yet`,
      size ? `, ${bytes(size)}` : ""),
    table([
      { title: "Segment", cell: (one) => mono(one.id, { class: "name" }) },
      { title: "State", cell: (one) => state(one.state === "flushed" ? "sealed" : one.state) },
      { title: "Level", cell: (one) => one.level },
      { title: "Rows", right: true, cell: (one) => number(one.rows) },
      { title: "", cell: (one) => bar(one.rows / most, `${number(one.rows)} rows`) },
      { title: "Bytes", right: true, cell: (one) => bytes(one.bytes) },
      { title: "Index", cell: (one) => one.index ? mono(one.index) : h("span", { class: "sub" }, "none") },
      { title: "Loaded", cell: (one) => one.state === "growing" ? "grows" : one.loaded ? "yes" : "no" },
      { title: "Partition", cell: (one) => mono(one.partition) },
    ], found, { caption: "Segments", empty: "No segments: the collection has no rows." }));
}
