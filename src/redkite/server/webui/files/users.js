// Users, roles and what they were granted. What may not be done is refused by the server, and shown so.
import { ApiError, rest } from "./api.js";
import { fill, h } from "./dom.js";
import { announce, badge, card, confirmed, emptyState, errorState, heading, labelled, loading, mono, select, table } from "./widgets.js";

const SHOWN = 200;

export async function usersView({ session }) {
  const place = h("div", { class: "stack" }, loading());
  const trouble = h("div");

  async function act(path, body, done) {
    try {
      await rest(path, body);
      fill(trouble);
      announce(done);
      await show();
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fill(trouble, errorState(error));
      trouble.scrollIntoView({ block: "nearest" });
      return false;
    }
  }

  async function show() {
    let users, roles, groups;
    try {
      [users, roles, groups] = await Promise.all([
        rest("users/list"), rest("roles/list"), rest("privilege_groups/list").catch(() => ({ data: { privilegeGroups: [] } }))]);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 403) throw error;
      fill(place, await ownCard(session));
      return;
    }
    const bound = await Promise.all(users.data.slice(0, SHOWN).map((name) => rest("users/describe", { userName: name })));
    const grants = await Promise.all(roles.data.slice(0, SHOWN).map((name) => rest("roles/describe", { roleName: name }).catch(() => null)));
    fill(place,
      usersCard(users.data.slice(0, SHOWN).map((name, at) => ({ name, roles: bound[at].data, description: bound[at].description })), roles.data, act, session),
      rolesCard(roles.data.slice(0, SHOWN).map((name, at) => ({ name, grants: grants[at]?.data ?? [], description: grants[at]?.description })), act),
      grantCard(roles.data, groups.data.privilegeGroups.map((group) => group.privilegeGroupName), act));
  }
  await show();
  return h("div", null, heading("Users and roles"),
    session.guarded ? null : h("p", { class: "warning" }, "This server asks nobody who they are: users and roles have no effect until authorization is on."), trouble, place);
}

async function ownCard(session) {
  const told = await rest("users/describe", { userName: session.user });
  return card("You", h("p", null, h("b", null, session.user), " has the roles ", told.data.length ? told.data.map((role) => badge(role)) : "none"),
    emptyState("Other users are not shown to you.", "It takes the privilege SelectOwnership."));
}

const small = (text, act, label) => h("button", { type: "button", class: "small", "aria-label": label ?? text, on: { click: act } }, text);

function usersCard(users, roles, act, session) {
  const name = h("input", { autocomplete: "off", spellcheck: "false", required: true });
  const password = h("input", { type: "password", autocomplete: "new-password", required: true, minlength: 6, maxlength: 72 });
  const drop = async (user) => {
    if (await confirmed("Drop a user", `${user} can no longer log in. Its API keys are refused from now on.`, `Drop ${user}`)) act("users/drop", { userName: user }, `${user} was dropped`);
  };
  return card("Users",
    table([
      { title: "User", cell: (one) => [h("b", null, one.name), one.name === session.user ? badge("you", "accent") : null, one.description ? h("div", { class: "sub" }, one.description) : null] },
      { title: "Roles", class: "wrap", cell: (one) => one.roles.length ? one.roles.map((role) => h("span", { class: "badge removable" }, role,
        h("button", { type: "button", "aria-label": `Take the role ${role} from ${one.name}`, on: { click: () => act("users/revoke_role", { userName: one.name, roleName: role }, `${one.name} has no longer the role ${role}`) } }, "✕"))) : h("span", { class: "sub" }, "none") },
      { title: "Give a role", cell: (one) => giver(one, roles, act) },
      { title: "", right: true, cell: (one) => one.name === "root" ? null : small("Drop", () => drop(one.name), `Drop ${one.name}`) },
    ], users, { caption: "Users" }),
    h("form", { class: "row", on: { submit: async (event) => {
      event.preventDefault();
      if (await act("users/create", { userName: name.value, password: password.value }, `${name.value} was created`)) name.value = password.value = "";
    } } }, labelled("New user", name), labelled("Password", password), h("button", { type: "submit" }, "Create")));
}

function giver(user, roles, act) {
  const left = roles.filter((role) => !user.roles.includes(role) && role !== "public");
  if (!left.length) return h("span", { class: "sub" }, "has all");
  const box = select([["", "Choose…"], ...left], "");
  box.setAttribute("aria-label", `Give ${user.name} a role`);
  box.addEventListener("change", () => { if (box.value) act("users/grant_role", { userName: user.name, roleName: box.value }, `${user.name} has the role ${box.value}`); });
  return box;
}

function rolesCard(roles, act) {
  const name = h("input", { autocomplete: "off", spellcheck: "false", required: true });
  const drop = async (role) => {
    if (await confirmed("Drop a role", `A role with grants is not dropped: take them away first.`, `Drop ${role}`)) act("roles/drop", { roleName: role }, `${role} was dropped`);
  };
  const fixed = (role) => role === "admin" || role === "public";
  return card("Roles",
    table([
      { title: "Role", cell: (one) => [h("b", null, one.name), one.description ? h("div", { class: "sub" }, one.description) : null] },
      { title: "Grants", class: "wrap", cell: (one) => one.name === "admin" ? "everything" : one.grants.length ? one.grants.map((grant) => grantLine(one.name, grant, act)) : h("span", { class: "sub" }, "none") },
      { title: "", right: true, cell: (one) => fixed(one.name) ? null : small("Drop", () => drop(one.name), `Drop the role ${one.name}`) },
    ], roles, { caption: "Roles" }),
    h("form", { class: "row", on: { submit: async (event) => {
      event.preventDefault();
      if (await act("roles/create", { roleName: name.value }, `The role ${name.value} was created`)) name.value = "";
    } } }, labelled("New role", name), h("button", { type: "submit" }, "Create")));
}

function grantLine(role, grant, act) {
  const where = `${grant.dbName}.${grant.objectName}`;
  return h("div", { class: "grant" }, mono(grant.privilege), " over ", mono(where),
    small("Revoke", () => act("roles/revoke_privilege_v2", { roleName: role, privilege: grant.privilege, dbName: grant.dbName, collectionName: grant.objectName }, `${grant.privilege} was taken from ${role}`), `Revoke ${grant.privilege} over ${where} from ${role}`));
}

function grantCard(roles, groups, act) {
  const some = roles.filter((role) => role !== "admin");
  if (!some.length) return null;
  const role = select(some, some[0]);
  const privilege = h("input", { list: "privileges", required: true, spellcheck: "false", value: "CollectionReadOnly" });
  const list = h("datalist", { id: "privileges" }, [...groups, "Search", "Query", "Insert", "Upsert", "Delete", "Load", "Release", "IndexDetail", "GetStatistics", "ShowPartitions", "DescribeCollection", "CreateIndex", "DropIndex", "CreateCollection", "DropCollection"]
    .map((name) => h("option", { value: name })));
  const database = h("input", { value: "default", required: true, spellcheck: "false" });
  const collection = h("input", { value: "*", required: true, spellcheck: "false" });
  return card("Grant", h("form", { class: "row", on: { submit: (event) => {
    event.preventDefault();
    act("roles/grant_privilege_v2", { roleName: role.value, privilege: privilege.value, dbName: database.value, collectionName: collection.value }, `${role.value} was granted ${privilege.value}`);
  } } }, labelled("Role", role), labelled("Privilege or group", privilege), list, labelled("Database", database), labelled("Collection", collection), h("button", { type: "submit" }, "Grant")));
}
