// What several views show: tables, states, errors, dialogs.
import { fill, h, percent } from "./dom.js";

export const mono = (text, props = {}) => h("span", { ...props, class: `mono ${props.class ?? ""}` }, text);
export const note = (...children) => h("p", { class: "note" }, children);

export function badge(text, kind = "") {
  return h("span", { class: `badge ${kind}` }, text);
}

const KINDS = {
  finished: "good", loaded: "good", flushed: "", sealed: "", growing: "warm", running: "warm", building: "warm",
  waiting: "", failed: "bad", none: "",
};
export const state = (name) => badge(name, KINDS[name] ?? "");

export function bar(share, label) {
  const width = Math.max(0, Math.min(1, share));
  const inner = h("span", { class: "bar-fill" });
  inner.style.width = `${100 * width}%`;
  return h("span", { class: "bar", role: "img", "aria-label": label ?? percent(width) }, inner);
}

/** `columns`: {title, cell(row), right}. */
export function table(columns, rows, { caption, empty = "Nothing here." } = {}) {
  if (!rows.length) return emptyState(empty);
  const head = h("tr", null, columns.map((column) => h("th", { scope: "col", class: column.right && "right" }, column.title)));
  const lines = rows.map((row) =>
    h("tr", null, columns.map((column) => h("td", { class: [column.right && "right", column.class].filter(Boolean).join(" ") || undefined }, column.cell(row)))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("caption", { class: "hidden" }, caption), h("thead", null, head), h("tbody", null, lines)));
}

export function emptyState(title, ...more) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), more.length ? h("p", null, more) : null);
}

const TITLES = { 401: "You are not logged in", 403: "Not allowed", 404: "Not found", 0: "No connection" };

/** An error as the server worded it. Lines behind the first are shown as they stand: a caret points at a column. */
export function errorState(error) {
  const [first, ...lines] = String(error?.message ?? error).split("\n");
  const title = TITLES[error?.status] ?? (error?.code === 101 ? "The collection is not loaded" : "That did not work");
  const text = first.replace(/^rpc error: code = PermissionDenied desc = /, "");
  return h("div", { class: "error", role: "alert" },
    h("p", { class: "error-title" }, title, error?.code ? h("span", { class: "code" }, `code ${error.code}`) : null),
    h("p", null, text),
    lines.length ? h("pre", { class: "caret", tabindex: "0" }, lines.map((line, at) => caretLine(line, at === lines.length - 1))) : null);
}

function caretLine(line, last) {
  const at = line.indexOf("^");
  const ending = last ? "" : "\n";
  if (at < 0 || line.slice(0, at).trim()) return `${line}${ending}`;
  return [line.slice(0, at), h("span", { class: "fault" }, line.slice(at)), ending];
}

export const loading = (text = "Loading…") => h("div", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), text);

/** A region that shows what `work` comes to: its node, or the error. */
export function later(work, text) {
  const place = h("div", { class: "later" }, loading(text));
  work().then((node) => fill(place, node), (error) => fill(place, errorState(error)));
  return place;
}

export function card(title, ...children) {
  return h("section", { class: "card" }, title ? h("h2", null, title) : null, children);
}

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

/** A title, what stands right beside it, and what can be done. */
export function heading(title, { beside = null, actions = [] } = {}) {
  return h("header", { class: "heading" }, h("div", { class: "title" }, h("h1", null, title), beside),
    actions.length ? h("div", { class: "actions" }, actions) : null);
}

/** A labelled control. */
export function labelled(text, control, hint) {
  control.id ||= `field-${(labelled.count = (labelled.count ?? 0) + 1)}`;
  if (hint) control.setAttribute("aria-describedby", `${control.id}-hint`);
  return h("div", { class: "field" }, h("label", { for: control.id }, text), control,
    hint ? h("p", { class: "hint", id: `${control.id}-hint` }, hint) : null);
}

export function select(options, chosen) {
  return h("select", null, options.map((option) => {
    const [value, text] = Array.isArray(option) ? option : [option, option];
    return h("option", { value, selected: value === chosen }, text);
  }));
}

/** A modal dialog, closed by Escape, by its button, or by a click beside it. */
export function dialog(title, ...content) {
  const close = h("button", { type: "button", class: "plain-button", "aria-label": "Close", on: { click: () => box.close() } }, "✕");
  const box = h("dialog", { class: "dialog", "aria-label": title },
    h("header", null, h("h2", null, title), close), h("div", { class: "dialog-body" }, content));
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  document.body.append(box);
  box.showModal();
  return box;
}

/** Ask before something is lost. Resolves to whether to go on. */
export function confirmed(title, text, verb) {
  return new Promise((resolve) => {
    let answer = false;
    const box = dialog(title, h("p", null, text), h("div", { class: "buttons" },
      h("button", { type: "button", on: { click: () => box.close() } }, "Cancel"),
      h("button", { type: "button", class: "danger", on: { click: () => { answer = true; box.close(); } } }, verb)));
    box.addEventListener("close", () => resolve(answer));
  });
}

export function announce(text) {
  const place = document.getElementById("announcements");
  if (place) fill(place, h("div", { class: "toast" }, text));
  clearTimeout(announce.timer);
  announce.timer = setTimeout(() => place && fill(place), 4000);
}
