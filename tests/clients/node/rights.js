// Users, roles, rights and groups of rights.
const { assert, run, ok, refused, vectorOf, BIRDS } = require("./steps");

const [USER, ROLE, GROUP] = ["node_user", "node_role", "node_group"];

module.exports = async ({ client, connect, guarded }) => {
  const search = { object: "Collection", objectName: BIRDS, privilegeName: "Search", roleName: ROLE };
  await run("users, roles and rights", async () => {
    ok(await client.createUser({ username: USER, password: "Secret1!" }));
    assert.ok(ok(await client.listUsers()).usernames.includes(USER));
    ok(await client.updateUser({ username: USER, oldPassword: "Secret1!", newPassword: "Secret2!" }));
    ok(await client.createRole({ roleName: ROLE }));
    assert.equal(ok(await client.hasRole({ roleName: ROLE })).hasRole, true);
    assert.ok(ok(await client.listRoles()).results.some((one) => one.role.name === ROLE));
    ok(await client.addUserToRole({ username: USER, roleName: ROLE }));
    const described = ok(await client.describeUser({ username: USER, includeRoleInfo: true }));
    assert.deepEqual(described.results[0].roles.map((role) => role.name), [ROLE]);
    ok(await client.grantRolePrivilege(search));
    ok(await client.grantPrivilegeV2({ role: ROLE, privilege: "Query", collection_name: BIRDS, db_name: "default" }));
    const grants = ok(await client.listGrants({ roleName: ROLE })).entities;
    assert.deepEqual(grants.map((grant) => grant.grantor.privilege.name).sort(), ["Query", "Search"]);
    assert.ok(grants.every((grant) => grant.object_name === BIRDS && grant.object.name === "Collection"));
    ok(await client.createPrivilegeGroup({ group_name: GROUP }));
    ok(await client.addPrivilegesToGroup({ group_name: GROUP, privileges: ["Insert", "Delete"] }));
    ok(await client.removePrivilegesFromGroup({ group_name: GROUP, privileges: ["Insert"] }));
    const group = ok(await client.listPrivilegeGroups()).privilege_groups.find((one) => one.group_name === GROUP);
    assert.deepEqual(group.privileges.map((one) => one.name), ["Delete"]);
  });
  if (guarded) {
    await run("a user may do what was granted, and no more", async () => {
      const other = connect({ username: USER, password: "Secret2!" });
      await other.connectPromise;
      const found = await other.search({ collection_name: BIRDS, anns_field: "dense", data: vectorOf(1), limit: 3 });
      // This SDK describes the collection before it searches.
      assert.equal(ok(found).results.length, 3);
      await refused(/permission deny|PermissionDenied/, () => other.dropCollection({ collection_name: BIRDS }));
      await other.closeConnection();
      const stranger = connect({ username: USER, password: "Secret1!" });
      await refused(/auth check failure|UNAUTHENTICATED|unauthenticated/i, async () => {
        await stranger.connectPromise;
        return stranger.showCollections();
      });
    });
  }
  await run("rights are taken back", async () => {
    ok(await client.revokeRolePrivilege(search));
    ok(await client.revokePrivilegeV2({ role: ROLE, privilege: "Query", collection_name: BIRDS, db_name: "default" }));
    ok(await client.removeUserFromRole({ username: USER, roleName: ROLE }));
    ok(await client.dropRole({ roleName: ROLE }));
    ok(await client.deleteUser({ username: USER }));
    ok(await client.dropPrivilegeGroup({ group_name: GROUP }));
  });
};
