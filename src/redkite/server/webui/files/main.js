// The frame around every view: navigation, theme, login.
import { ask, ApiError, whenLoggedOut } from "./api.js";
import { collectionView } from "./collection.js";
import { collectionsView } from "./collections.js";
import { fill, h, s } from "./dom.js";
import { loginView } from "./login.js";
import { overviewView, watch } from "./overview.js";
import { link, place } from "./routes.js";
import { settingsView } from "./settings.js";
import { slowView } from "./slow.js";
import { tasksView } from "./tasks.js";
import { usersView } from "./users.js";
import { emptyState, errorState, heading, loading } from "./widgets.js";

const VIEWS = {
  overview: { title: "Overview", view: overviewView, icon: "M3 13h4v8H3zM10 3h4v18h-4zM17 9h4v12h-4z" },
  collections: { title: "Collections", view: collectionsView, icon: "M4 5h16v4H4zM4 11h16v4H4zM4 17h16v3H4z" },
  tasks: { title: "Tasks", view: tasksView, icon: "M12 3a9 9 0 1 0 9 9h-2a7 7 0 1 1-7-7zM11 7h2v5l4 2-1 2-5-3z" },
  slow: { title: "Slow queries", view: slowView, icon: "M7 2h10v4l-4 6 4 6v4H7v-4l4-6-4-6z" },
  users: { title: "Users", view: usersView, icon: "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM4 20c0-4 4-6 8-6s8 2 8 6z" },
  settings: { title: "Settings", view: settingsView, icon: "M4 6h9v2H4zM17 6h3v2h-3zM13 4h3v6h-3zM4 16h3v2H4zM11 16h9v2h-9zM7 14h3v6H7z" },
};
const app = document.getElementById("app");
let session = null;
let drawn = 0;
let leave = () => {};

const icon = (path) => s("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, s("path", { d: path }));

// -- theme ----------------------------------------------------------------------------------------------------------
const THEMES = ["system", "light", "dark"];
const theme = () => document.documentElement.dataset.theme ?? "system";

function themeButton() {
  const button = h("button", { type: "button", class: "nav-button", id: "theme" });
  const show = () => {
    fill(button, icon("M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 5v14a7 7 0 0 1 0-14z"), h("span", null, `Theme: ${theme()}`));
    button.setAttribute("aria-label", `Theme: ${theme()}. Change it.`);
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("redkite-theme", next);
    } catch { /* kept for this visit only */ }
    show();
  });
  show();
  return button;
}

// -- frame ----------------------------------------------------------------------------------------------------------
function frame() {
  const links = Object.entries(VIEWS)
    .filter(([name]) => name !== "settings" || session.admin)
    .filter(([name]) => name !== "users" || session.guarded || session.admin)
    .map(([name, { title, icon: path }]) => h("a", { href: link([name]), "data-view": name }, icon(path), h("span", null, title)));
  const leaving = session.guarded && h("button", { type: "button", class: "nav-button", id: "logout", on: { click: logOut } },
    icon("M4 4h9v3h-2V6H6v12h5v-1h2v3H4zM15 8l5 4-5 4v-3H9v-2h6z"), h("span", null, `Log out ${session.user}`));
  return [
    h("nav", { class: "nav", "aria-label": "Views" },
      h("a", { class: "brand", href: link(["overview"]) }, h("img", { src: "/webui/kite.svg", alt: "", width: 24, height: 24 }), h("span", null, "Redkite")),
      h("div", { class: "nav-links" }, links),
      h("div", { class: "nav-end" }, themeButton(), leaving, h("p", { class: "version" }, `Version ${session.version}`))),
    h("main", { id: "main", tabindex: "-1" }, loading()),
    h("div", { id: "announcements", role: "status", "aria-live": "polite" }),
  ];
}

async function logOut() {
  try {
    await ask("logout");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
  location.reload();
}

// -- views ----------------------------------------------------------------------------------------------------------
async function draw() {
  const mine = ++drawn;
  leave();
  leave = () => {};
  const { parts, query } = place();
  const name = parts[0] ?? "overview";
  const shown = name === "collection" ? "collections" : name;
  for (const each of document.querySelectorAll(".nav-links a")) {
    if (each.dataset.view === shown) {
      each.setAttribute("aria-current", "page");
      each.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else each.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  const view = name === "collection" ? collectionView : VIEWS[name]?.view;
  document.title = `${name === "collection" ? parts[2] ?? "Collection" : VIEWS[name]?.title ?? "Not found"} · Redkite`;
  if (!view) {
    fill(main, emptyState("There is no such view.", h("a", { href: link(["overview"]) }, "Go to the overview")));
    return;
  }
  const slow = setTimeout(() => mine === drawn && fill(main, loading()), 250);
  try {
    const made = await view({ session, parts, query });
    if (mine !== drawn) {
      made.leave?.();
      return;
    }
    leave = made.leave ?? (() => {});
    fill(main, made.node ?? made);
  } catch (error) {
    if (mine === drawn) fill(main, heading(name === "collection" ? parts[2] ?? "Collection" : VIEWS[name].title), errorState(error));
    if (!(error instanceof ApiError)) throw error;
  } finally {
    clearTimeout(slow);
  }
}

async function start() {
  fill(app, loading());
  try {
    session = await ask("session");
  } catch (error) {
    fill(app, h("div", { class: "plain" }, errorState(error), h("button", { type: "button", on: { click: start } }, "Try again")));
    return;
  }
  if (session.guarded && session.user === null) {
    watch(false);
    fill(app, loginView(start));
    app.querySelector("input")?.focus();
    return;
  }
  fill(app, frame());
  watch(true);
  await draw();
}

whenLoggedOut(() => { if (session?.user) { session = null; start(); } });
addEventListener("hashchange", () => {
  if (!session || (session.guarded && session.user === null)) return;
  draw().then(() => scrollTo(0, 0));
});
document.getElementById("skip").addEventListener("click", () => document.getElementById("main")?.focus());
start();
