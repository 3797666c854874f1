// Searches and queries that took long, with how they are answered.
import { ask } from "./api.js";
import { counted, duration, fill, h, moment } from "./dom.js";
import { link } from "./routes.js";
import { badge, emptyState, heading, mono } from "./widgets.js";

export async function slowView() {
  const place = h("div", { class: "stack" });
  async function show() {
    const told = await ask("slow");
    if (!told.seconds) {
      fill(place, emptyState("The slow-query log is off.", "slow_query_seconds = 0"));
      return;
    }
    fill(place, h("p", { class: "note" }, `The last ${counted(told.reads.length, "read")} that took ${duration(told.seconds)} or longer.`),
      told.reads.length ? told.reads.map(entry) : emptyState("Nothing was slow.", "Searches and queries that take longer than the limit appear here."));
  }
  await show();
  return h("div", null, heading("Slow queries", { actions: [h("button", { type: "button", on: { click: show } }, "Look again")] }), place);
}

function entry(one) {
  return h("details", { class: "card slow" },
    h("summary", null,
      h("span", { class: "slow-time" }, duration(one.seconds)), badge(one.kind),
      h("a", { class: "name", href: link(["collection", one.database || "default", one.collection]) }, one.collection || "–"),
      h("span", { class: "mono slow-filter" }, one.filter || ""), h("span", { class: "sub slow-when" }, moment(one.time * 1000))),
    h("dl", { class: "facts" }, [["Request", mono(one.request_id)], ["User", one.user || "–"], ["Queries", String(one.nq)], ["Limit", one.limit === null ? "none" : String(one.limit)]]
      .map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))),
    one.filter ? h("pre", { class: "json", tabindex: "0" }, one.filter) : null,
    one.plan ? h("pre", { class: "json", tabindex: "0" }, one.plan) : null);
}
