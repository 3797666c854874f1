"""Requests and results about users and what they may do, filled so that a lost field shows."""

from __future__ import annotations

import msgspec

from redkite.model import access as ac
from redkite.model import requests, results

_GRANT = ac.Grant(
    role="reader", object_type="Collection", object_name="books", privilege="All", database="shop", grantor="root"
)
_GROUP = ac.PrivilegeGroup(name="writers", privileges=("Insert", "Delete"))
_POLICY = ac.RowPolicy(
    name="mine",
    actions=(ac.RowAction.QUERY, ac.RowAction.DELETE),
    roles=("reader",),
    using="owner == $user",
    check="price > 0",
    description="one's own",
)
_STATE = ac.AccessState(
    users=(ac.User(name="bob", roles=("reader",), password_hash="$2b$10$abc"),),
    roles=(ac.Role(name="reader", description="reads"),),
    grants=(_GRANT,),
    groups=(_GROUP,),
)


def access_requests() -> list[requests.Request]:
    return [
        ac.CreateUser(name="bob", password="sécret", description="a bird"),
        ac.UpdateUser(name="bob", old_password="old", new_password="new", description=""),
        ac.DropUser(name="bob"),
        ac.ListUsers(),
        ac.SelectUsers(name="bob", with_roles=True),
        ac.CreateRole(name="reader", description="reads"),
        ac.AlterRole(name="reader", description="reads"),
        ac.DropRole(name="reader", force=True),
        ac.BindRole(name="bob", role="reader", remove=True),
        ac.SelectRoles(name="reader", with_users=True),
        ac.OperatePrivilege(
            database="shop", role="reader", object_type="Collection", object_name="books", privilege="Query",
            revoke=True,
        ),
        ac.OperatePrivilegeV2(database="shop", role="reader", privilege="Query", collection="books", revoke=True),
        ac.SelectGrants(database="shop", role="reader", object_type="Collection", object_name="books"),
        ac.CreatePrivilegeGroup(name="writers"),
        ac.DropPrivilegeGroup(name="writers"),
        ac.ListPrivilegeGroups(),
        ac.ChangePrivilegeGroup(name="writers", privileges=("Insert", "Delete"), remove=True),
        ac.CreateApiKey(name="ci", owner="bob"),
        ac.DropApiKey(name="ci"),
        ac.ListApiKeys(),
        ac.CreateRowPolicy(database="shop", collection="books", policy=_POLICY),
        ac.DropRowPolicy(database="shop", collection="books", name="mine"),
        ac.ListRowPolicies(database="shop", collection="books"),
        ac.BackupAccess(),
        ac.RestoreAccess(state=_STATE),
    ]  # fmt: skip


def access_results() -> dict[type[requests.Request], results.Result]:
    return {
        ac.ListUsers: ac.UserNames(names=("bob", "root")),
        ac.SelectUsers: ac.Users(users=(ac.User(name="bob", roles=("reader", "admin"), description="a bird"),)),
        ac.SelectRoles: ac.Roles(roles=(ac.Role(name="reader", description="reads", users=("bob", "root")),)),
        ac.SelectGrants: ac.Grants(grants=(_GRANT,)),
        ac.ListPrivilegeGroups: ac.PrivilegeGroups(groups=(_GROUP,)),
        ac.CreateApiKey: ac.NewApiKey(key="rk_abc"),
        ac.ListApiKeys: ac.ApiKeys(keys=(ac.ApiKey(name="ci", owner="bob", created_ms=2**41),)),
        ac.ListRowPolicies: ac.RowPolicies(
            collection="books", policies=(msgspec.structs.replace(_POLICY, created_ms=2**41),)
        ),
        ac.BackupAccess: _STATE,
    }
