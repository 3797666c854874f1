// Work in the background: what runs, what waits, what failed, what is done.
import { ask, ApiError, rest } from "./api.js";
import { databaseSelect } from "./collections.js";
import { bytes, duration, fill, h, moment, number } from "./dom.js";
import { link } from "./routes.js";
import { bar, card, emptyState, errorState, heading, loading, mono, state, table } from "./widgets.js";

const PAUSE = 3000;
const RANK = { failed: 0, running: 1, building: 1, waiting: 2 };
const first = (jobs) => [...jobs].sort((a, b) => (RANK[a.state] ?? 9) - (RANK[b.state] ?? 9));
const MOST = 100;

export async function tasksView({ query }) {
  const database = query.get("db") ?? "default";
  const place = h("div", { class: "stack" }, loading());
  let timer = null, gone = false;
  const pick = await databaseSelect(database, (name) => { location.hash = link(["tasks"], { db: name }); });

  async function show() {
    if (document.hidden) return;
    try {
      const [told, imports] = await Promise.all([ask("tasks", { dbName: database }), importJobs(database)]);
      if (!gone) fill(place, cards(database, told, imports));
    } catch (error) {
      if (!gone) fill(place, errorState(error));
    }
  }
  timer = setInterval(show, PAUSE);
  show();
  return {
    node: h("div", null, heading("Tasks", { actions: [pick] }), place),
    leave: () => { gone = true; clearInterval(timer); },
  };
}

/** Null where the server has none, or may not be asked. */
async function importJobs(database) {
  try {
    const told = (await rest("jobs/import/list", { dbName: database, pageSize: MOST, currentPage: 1 })).data;
    return Array.isArray(told) ? told : told?.records ?? [];
  } catch (error) {
    if (error instanceof ApiError && error.status !== 401) return null;
    throw error;
  }
}

function cards(database, told, imports) {
  const named = (one) => h("a", { class: "name", href: link(["collection", database, one.collection]) }, one.collection);
  const progress = (part, text) => h("span", { class: "progress" }, bar(part), text);
  const reason = (one) => [state(one.state), one.reason ? h("div", { class: "sub reason" }, one.reason) : null];
  const open = told.builds.filter((one) => one.state !== "finished");
  return [
    told.watched < told.collections ? h("p", { class: "note" }, `Of ${number(told.collections)} collections the first ${number(told.watched)} are looked at.`) : null,
    card("Index builds", open.length || !told.builds.length ? null : h("p", { class: "note" }, `All ${number(told.builds.length)} indexes are built.`),
      open.length ? table([
        { title: "Collection", cell: named }, { title: "Index", cell: (one) => [mono(one.name), ` ${one.type}`] },
        { title: "Rows", cell: (one) => progress(one.total ? one.indexed / one.total : 0, `${number(one.indexed)} of ${number(one.total)}`) },
        { title: "State", class: "wrap", cell: reason },
      ], first(open).slice(0, MOST), { caption: "Index builds" }) : told.builds.length ? null : emptyState("No indexes.")),
    card("Compactions", table([
      { title: "Collection", cell: named }, { title: "Kind", cell: (one) => one.kind }, { title: "Plan", cell: (one) => mono(one.id) },
      { title: "Segments", cell: (one) => `${one.sources} → ${one.state === "finished" ? one.targets : "…"}` },
      { title: "State", class: "wrap", cell: reason },
    ], first(told.compactions).slice(0, MOST), { caption: "Compactions", empty: "No compaction is remembered." })),
    card("Imports", imports === null ? emptyState("No list of imports.", "The server has none, or does not tell you.") : table([
      { title: "Job", cell: (one) => mono(String(one.jobId ?? one.jobID ?? "")) }, { title: "Collection", cell: (one) => one.collectionName ?? "" },
      { title: "Progress", cell: (one) => progress(Number(one.progress ?? 0) / 100, `${one.progress ?? 0}%`) },
      { title: "State", class: "wrap", cell: (one) => reason({ state: { Completed: "finished", Failed: "failed", Pending: "waiting" }[one.state] ?? "running", reason: one.reason }) },
    ], imports.slice(0, MOST), { caption: "Imports", empty: "No import is remembered." })),
    card("Backups", told.backups === null ? emptyState("Not shown to you.", "Backups are the affair of administrators.") : table([
      { title: "Job", cell: (one) => mono(one.id) }, { title: "Kind", cell: (one) => one.kind }, { title: "Name", cell: (one) => one.name || "–" },
      { title: "Progress", cell: (one) => progress(one.percent / 100, `${one.percent}%, ${bytes(one.bytes)}`) },
      { title: "Begun", cell: (one) => moment(one.started) }, { title: "Took", right: true, cell: (one) => (one.took ? duration(one.took / 1000) : "–") },
      { title: "State", class: "wrap", cell: reason },
    ], [...told.backups].reverse().slice(0, MOST), { caption: "Backups", empty: "No backup job is remembered." })),
    card("Restores of snapshots", told.restores === null ? emptyState("Not shown to you.") : table([
      { title: "Job", cell: (one) => mono(one.id) }, { title: "Snapshot", cell: (one) => one.snapshot }, { title: "Into", cell: (one) => one.collection },
      { title: "Progress", cell: (one) => progress(one.percent / 100, `${one.percent}%`) }, { title: "Begun", cell: (one) => moment(one.started) },
      { title: "State", class: "wrap", cell: reason },
    ], [...told.restores].reverse().slice(0, MOST), { caption: "Restores", empty: "No restore is remembered." })),
  ];
}
