// The collections of a database, fifty at a time.
import { ApiError, ask, rest } from "./api.js";
import { counted, fill, h, moment, number } from "./dom.js";
import { link, remember } from "./routes.js";
import { badge, bar, emptyState, errorState, heading, labelled, select, table } from "./widgets.js";

const PAGE = 50;

export const databases = async () => (await rest("databases/list")).data;

export async function databaseSelect(chosen, pick) {
  const names = await databases();
  if (!names.includes(chosen)) names.push(chosen);
  const box = select(names, chosen);
  box.addEventListener("change", () => pick(box.value));
  return h("div", { class: "inline" }, labelled("Database", box));
}

export async function collectionsView({ query }) {
  const database = query.get("db") ?? "default";
  const pick = await databaseSelect(database, (name) => { location.hash = link(["collections"], { db: name }); });
  let all;
  try {
    all = await ask("names", { dbName: database });
  } catch (error) {
    return h("div", null, heading("Collections", { actions: [pick] }), errorState(error));
  }
  const find = h("input", { type: "search", placeholder: "Part of a name", value: query.get("find") ?? "" });
  const list = h("div");
  let page = Number(query.get("page") ?? 0);
  let asked = 0;

  async function show() {
    const mine = ++asked;
    const wanted = find.value.toLowerCase();
    const found = all.filter((one) => one.name.toLowerCase().includes(wanted));
    page = Math.max(0, Math.min(page, Math.ceil(found.length / PAGE) - 1));
    const shown = found.slice(page * PAGE, (page + 1) * PAGE);
    remember(["collections"], { db: database, find: find.value, page: page || "" });
    if (!shown.length) {
      fill(list, all.length ? emptyState("No collection has that in its name.")
        : emptyState("No collections here.", "Either there are none in this database, or none was granted to you."));
      return;
    }
    fill(list, rows(database, shown, {}), pages(found.length));
    try {
      const details = await ask("details", { dbName: database, names: shown.map((one) => one.name) });
      if (mine === asked) fill(list, rows(database, shown, details), pages(found.length));
    } catch (error) {
      if (mine === asked) list.prepend(errorState(error));
    }
  }

  const turn = (step) => () => { page += step; show(); };
  const pages = (total) => (total <= PAGE ? null : h("nav", { class: "pages", "aria-label": "Pages" },
    h("button", { type: "button", disabled: page === 0, on: { click: turn(-1) } }, "Previous"),
    h("span", null, `${page * PAGE + 1}–${Math.min(total, (page + 1) * PAGE)} of ${number(total)}`),
    h("button", { type: "button", disabled: (page + 1) * PAGE >= total, on: { click: turn(1) } }, "Next")));

  find.addEventListener("input", () => { page = 0; show(); });
  await show();
  const properties = await propertiesOf(database);
  return h("div", null, heading("Collections", { actions: [pick, h("div", { class: "inline" }, labelled("Find", find))] }),
    h("p", { class: "note" }, counted(all.length, "collection"), properties.map(({ key, value }) => badge(`${key} = ${value}`))), list);
}

/** Of a database; none where it may not be asked. */
async function propertiesOf(database) {
  try {
    return (await rest("databases/describe", { dbName: database })).data.properties ?? [];
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) return [];
    throw error;
  }
}

function rows(database, shown, details) {
  const about = (one) => details[one.name];
  return table([
    { title: "Name", cell: (one) => h("div", null,
      h("a", { class: "name", href: link(["collection", database, one.name]) }, one.name),
      about(one)?.aliases?.map((alias) => badge(`alias ${alias}`)),
      about(one)?.description ? h("div", { class: "sub" }, about(one).description) : null) },
    { title: "Rows", right: true, cell: (one) => number(about(one)?.rows) },
    { title: "Load", cell: (one) => load(one.loaded) },
    { title: "Indexes", class: "wrap", cell: (one) => indexes(about(one)?.indexes) },
    { title: "Fields", right: true, cell: (one) => number(about(one)?.fields) },
    { title: "Partitions", right: true, cell: (one) => number(about(one)?.partitions) },
    { title: "Created", cell: (one) => moment(one.created) },
  ], shown, { caption: "Collections" });
}

export function load(percent) {
  if (percent === 100) return badge("loaded", "good");
  return percent > 0 ? h("span", { class: "progress" }, bar(percent / 100, `${percent}% loaded`), `${percent}%`) : badge("not loaded");
}

function indexes(found) {
  if (!found) return "–";
  if (!found.length) return h("span", { class: "sub" }, "none");
  return found.map((index) => badge(`${index.field}: ${index.type}`, index.state === "failed" ? "bad" : index.state === "finished" ? "" : "warm"));
}
