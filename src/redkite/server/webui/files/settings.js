// What the server was set up with. Passwords and keys are not among it.
import { ask } from "./api.js";
import { fill, h } from "./dom.js";
import { badge, heading, labelled, mono, table } from "./widgets.js";

export async function settingsView() {
  const all = await ask("server");
  const find = h("input", { type: "search", placeholder: "Part of a key" });
  const changed = h("input", { type: "checkbox" });
  const place = h("div");
  const show = () => {
    const found = all.filter((one) => one.key.includes(find.value.toLowerCase()) && !(changed.checked && one.default));
    fill(place, table([
      { title: "Setting", class: "key", cell: (one) => mono(one.key, { class: "name" }) },
      { title: "Value", class: "wrap", cell: (one) => value(one.value) },
      { title: "", cell: (one) => (one.default ? null : badge("set", "accent")) },
    ], found, { caption: "Settings", empty: "No setting is like that." }));
  };
  find.addEventListener("input", show);
  changed.addEventListener("change", show);
  show();
  return h("div", null, heading("Settings", {
    actions: [h("div", { class: "inline" }, labelled("Find", find)), h("label", { class: "check" }, changed, "Only what was set")] }), place);
}

function value(given) {
  if (given === "") return h("span", { class: "sub" }, "empty");
  return mono(String(given)); // as it is written in a file of settings
}
