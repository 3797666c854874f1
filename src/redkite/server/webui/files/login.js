// Who is there? A name and a password, or an API key.
import { ask } from "./api.js";
import { fill, h } from "./dom.js";
import { errorState, labelled } from "./widgets.js";

const LOCAL = /^(localhost|.*\.localhost|127\..*|\[::1\])$/;

export function loginView(entered) {
  const user = h("input", { name: "username", autocomplete: "username", required: true, spellcheck: "false", autocapitalize: "none" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const key = h("input", { name: "key", type: "password", autocomplete: "off", spellcheck: "false" });
  const failure = h("div", { class: "login-failure" });
  const button = h("button", { class: "primary", type: "submit" }, "Log in");
  const byKey = h("details", null, h("summary", null, "Use an API key instead"), labelled("API key", key));
  byKey.addEventListener("toggle", () => { user.required = password.required = !byKey.open; });
  const form = h("form", { class: "login", on: { submit } },
    h("div", { class: "login-head" }, h("img", { src: "/webui/kite.svg", alt: "", width: 40, height: 40 }), h("h1", null, "Redkite")),
    failure, labelled("User", user), labelled("Password", password), byKey, button,
    location.protocol === "http:" && !LOCAL.test(location.hostname)
      ? h("p", { class: "warning" }, "This connection is not encrypted: the password can be read on the way.") : null);

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    try {
      await ask("login", byKey.open && key.value ? { key: key.value } : { user: user.value, password: password.value });
      password.value = key.value = "";
      await entered();
    } catch (error) {
      fill(failure, errorState(Object.assign(error, { status: -1, code: 0 })));
      button.disabled = false;
      password.select();
    }
  }

  return h("main", { id: "main", class: "login-page", tabindex: "-1" }, form);
}
