"""Users, roles, grants and groups of privileges."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from redkite.errors import InvalidParameter
from redkite.model import access as ac
from redkite.model import results as rs
from redkite.model.privileges import ALL, ANY
from redkite.wire.codec import Codec, codec, command, done, nothing, question

_ADD, _REMOVE = 0, 1


# -- users --------------------------------------------------------------------------------------
def _opened(text: str, what: str) -> str:
    """Passwords travel as base64."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidParameter(f"decode {what} failed: it is not base64 of text in UTF-8") from None


def _closed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decode_create_user(message: Any, database: str) -> ac.CreateUser:
    return ac.CreateUser(
        database=database, name=message.username, password=_opened(message.password, "password"),
        description=message.description,
    )  # fmt: skip


def _pack_create_user(message: Any, request: ac.CreateUser) -> None:
    message.username, message.password = request.name, _closed(request.password)
    if request.description:
        message.description = request.description


def _decode_update_user(message: Any, database: str) -> ac.UpdateUser:
    return ac.UpdateUser(
        database=database, name=message.username, old_password=_opened(message.oldPassword, "old password"),
        new_password=_opened(message.newPassword, "password"),
        description=message.description if message.HasField("description") else None,
    )  # fmt: skip


def _pack_update_user(message: Any, request: ac.UpdateUser) -> None:
    message.username = request.name
    message.oldPassword, message.newPassword = _closed(request.old_password), _closed(request.new_password)
    if request.description is not None:
        message.description = request.description


def _encode_user_names(message: Any, result: ac.UserNames) -> None:
    message.usernames.extend(result.names)


def _unpack_user_names(message: Any) -> ac.UserNames:
    return ac.UserNames(names=tuple(message.usernames))


def _decode_select_users(message: Any, database: str) -> ac.SelectUsers:
    return ac.SelectUsers(database=database, name=message.user.name, with_roles=message.include_role_info)


def _pack_select_users(message: Any, request: ac.SelectUsers) -> None:
    if request.name:
        message.user.name = request.name
    message.include_role_info = request.with_roles


def _encode_users(message: Any, result: ac.Users) -> None:
    for user in result.users:
        out = message.results.add()
        out.user.name = user.name
        out.description = user.description
        for role in user.roles:
            out.roles.add().name = role


def _unpack_users(message: Any) -> ac.Users:
    return ac.Users(
        users=tuple(
            ac.User(name=u.user.name, roles=tuple(role.name for role in u.roles), description=u.description)
            for u in message.results
        )
    )


# -- roles --------------------------------------------------------------------------------------
def _decode_create_role(message: Any, database: str) -> ac.CreateRole:
    return ac.CreateRole(database=database, name=message.entity.name, description=message.entity.description)


def _pack_create_role(message: Any, request: ac.CreateRole) -> None:
    message.entity.name, message.entity.description = request.name, request.description


def _decode_bind(message: Any, database: str) -> ac.BindRole:
    return ac.BindRole(
        database=database, name=message.username, role=message.role_name, remove=message.type == _REMOVE
    )  # fmt: skip


def _pack_bind(message: Any, request: ac.BindRole) -> None:
    message.username, message.role_name = request.name, request.role
    message.type = _REMOVE if request.remove else _ADD


def _decode_select_roles(message: Any, database: str) -> ac.SelectRoles:
    return ac.SelectRoles(database=database, name=message.role.name, with_users=message.include_user_info)


def _pack_select_roles(message: Any, request: ac.SelectRoles) -> None:
    if request.name:
        message.role.name = request.name
    message.include_user_info = request.with_users


def _encode_roles(message: Any, result: ac.Roles) -> None:
    for role in result.roles:
        out = message.results.add()
        out.role.name, out.role.description = role.name, role.description
        for user in role.users:
            out.users.add().name = user


def _unpack_roles(message: Any) -> ac.Roles:
    return ac.Roles(
        roles=tuple(
            ac.Role(name=r.role.name, description=r.role.description, users=tuple(user.name for user in r.users))
            for r in message.results
        )
    )


# -- grants -------------------------------------------------------------------------------------
def _decode_grant(message: Any, database: str) -> ac.OperatePrivilege:
    entity = message.entity
    return ac.OperatePrivilege(
        database=entity.db_name or database, role=entity.role.name, object_type=entity.object.name,
        object_name=entity.object_name, privilege=entity.grantor.privilege.name, revoke=message.type == _REMOVE,
    )  # fmt: skip


def _pack_grant(message: Any, request: ac.OperatePrivilege) -> None:
    entity = message.entity
    entity.db_name, entity.object_name = request.database, request.object_name
    entity.role.name, entity.object.name = request.role, request.object_type
    entity.grantor.privilege.name = request.privilege
    message.type = _REMOVE if request.revoke else _ADD


def _decode_grant_v2(message: Any, database: str) -> ac.OperatePrivilegeV2:
    return ac.OperatePrivilegeV2(
        database=database, role=message.role.name, privilege=message.grantor.privilege.name,
        collection=message.collection_name, revoke=message.type == _REMOVE,
    )  # fmt: skip


def _pack_grant_v2(message: Any, request: ac.OperatePrivilegeV2) -> None:
    message.role.name, message.grantor.privilege.name = request.role, request.privilege
    message.collection_name = request.collection
    message.type = _REMOVE if request.revoke else _ADD


def _decode_select_grants(message: Any, database: str) -> ac.SelectGrants:  # noqa: ARG001  grants name their own
    entity = message.entity
    return ac.SelectGrants(
        database=entity.db_name, role=entity.role.name, object_type=entity.object.name, object_name=entity.object_name
    )


def _pack_select_grants(message: Any, request: ac.SelectGrants) -> None:
    entity = message.entity
    entity.role.name, entity.db_name = request.role, request.database
    entity.object.name, entity.object_name = request.object_type, request.object_name


def _write_grant(out: Any, grant: ac.Grant) -> None:
    out.role.name, out.object.name = grant.role, grant.object_type
    out.object_name, out.db_name = grant.object_name, grant.database
    out.grantor.user.name = grant.grantor
    out.grantor.privilege.name = ANY if grant.privilege == ALL else grant.privilege


def _read_grant(entity: Any) -> ac.Grant:
    privilege = entity.grantor.privilege.name
    return ac.Grant(
        role=entity.role.name, object_type=entity.object.name, object_name=entity.object_name,
        privilege=ALL if privilege == ANY else privilege, database=entity.db_name, grantor=entity.grantor.user.name,
    )  # fmt: skip


def _encode_grants(message: Any, result: ac.Grants) -> None:
    for grant in result.grants:
        _write_grant(message.entities.add(), grant)


def _unpack_grants(message: Any) -> ac.Grants:
    return ac.Grants(grants=tuple(map(_read_grant, message.entities)))


# -- groups -------------------------------------------------------------------------------------
def _write_group(out: Any, group: ac.PrivilegeGroup) -> None:
    out.group_name = group.name
    for name in group.privileges:
        out.privileges.add().name = name


def _read_group(message: Any) -> ac.PrivilegeGroup:
    return ac.PrivilegeGroup(name=message.group_name, privileges=tuple(p.name for p in message.privileges))


def _encode_groups(message: Any, result: ac.PrivilegeGroups) -> None:
    for group in result.groups:
        _write_group(message.privilege_groups.add(), group)


def _unpack_groups(message: Any) -> ac.PrivilegeGroups:
    return ac.PrivilegeGroups(groups=tuple(map(_read_group, message.privilege_groups)))


def _decode_change_group(message: Any, database: str) -> ac.ChangePrivilegeGroup:
    return ac.ChangePrivilegeGroup(
        database=database, name=message.group_name, privileges=tuple(p.name for p in message.privileges),
        remove=message.type == _REMOVE,
    )  # fmt: skip


def _pack_change_group(message: Any, request: ac.ChangePrivilegeGroup) -> None:
    message.group_name = request.name
    message.type = _REMOVE if request.remove else _ADD
    for name in request.privileges:
        message.privileges.add().name = name


# -- everything ---------------------------------------------------------------------------------
def _write_state(out: Any, state: ac.AccessState) -> None:
    for user in state.users:
        kept = out.users.add()
        kept.user, kept.password = user.name, user.password_hash
        for name in user.roles:
            kept.roles.add().name = name
    for role in state.roles:
        entity = out.roles.add()
        entity.name, entity.description = role.name, role.description
    for grant in state.grants:
        _write_grant(out.grants.add(), grant)
    for group in state.groups:
        _write_group(out.privilege_groups.add(), group)


def _read_state(message: Any) -> ac.AccessState:
    return ac.AccessState(
        users=tuple(
            ac.User(name=u.user, password_hash=u.password, roles=tuple(role.name for role in u.roles))
            for u in message.users
        ),
        roles=tuple(ac.Role(name=role.name, description=role.description) for role in message.roles),
        grants=tuple(map(_read_grant, message.grants)),
        groups=tuple(map(_read_group, message.privilege_groups)),
    )


# -- policies about rows ------------------------------------------------------------------------
def _decode_create_policy(message: Any, database: str) -> ac.CreateRowPolicy:
    policy = ac.RowPolicy(
        name=message.policy_name, actions=_actions(message.actions), roles=tuple(message.roles),
        using=message.using_expr, check=message.check_expr, description=message.description,
    )  # fmt: skip
    return ac.CreateRowPolicy(database=database, collection=message.collection_name, policy=policy)


def _actions(numbers: Any) -> tuple[ac.RowAction, ...]:
    try:
        return tuple(ac.RowAction(number) for number in numbers)
    except ValueError as error:
        raise InvalidParameter(f"unknown action of a row policy: {error}") from None


def _pack_create_policy(message: Any, request: ac.CreateRowPolicy) -> None:
    message.collection_name = request.collection
    _write_policy(message, request.policy)


def _write_policy(message: Any, policy: ac.RowPolicy) -> None:
    message.policy_name, message.description = policy.name, policy.description
    message.using_expr, message.check_expr = policy.using, policy.check
    message.actions.extend(policy.actions)
    message.roles.extend(policy.roles)


def _encode_policies(message: Any, result: ac.RowPolicies) -> None:
    message.collection_name = result.collection
    for policy in result.policies:
        out = message.policies.add()
        _write_policy(out, policy)
        out.created_at = policy.created_ms


def _unpack_policies(message: Any) -> ac.RowPolicies:
    return ac.RowPolicies(
        collection=message.collection_name,
        policies=tuple(
            ac.RowPolicy(
                name=p.policy_name, actions=_actions(p.actions), roles=tuple(p.roles), using=p.using_expr,
                check=p.check_expr, description=p.description, created_ms=p.created_at,
            )
            for p in message.policies
        ),
    )  # fmt: skip


# -- API keys -----------------------------------------------------------------------------------
def _encode_key(message: Any, result: ac.NewApiKey) -> None:
    message.key = result.key


def _unpack_key(message: Any) -> ac.NewApiKey:
    return ac.NewApiKey(key=message.key)


def _encode_keys(message: Any, result: ac.ApiKeys) -> None:
    for key in result.keys:
        message.keys.add(name=key.name, owner=key.owner, created_ms=key.created_ms)


def _unpack_keys(message: Any) -> ac.ApiKeys:
    return ac.ApiKeys(
        keys=tuple(ac.ApiKey(name=key.name, owner=key.owner, created_ms=key.created_ms) for key in message.keys)
    )


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "CreateCredential", ac.CreateUser, rs.Done, decode=_decode_create_user, pack=_pack_create_user,
        encode=nothing, unpack=done,
    ),
    codec(
        "UpdateCredential", ac.UpdateUser, rs.Done, decode=_decode_update_user, pack=_pack_update_user,
        encode=nothing, unpack=done,
    ),
    command("DeleteCredential", ac.DropUser, {"name": "username"}),
    question("ListCredUsers", ac.ListUsers, ac.UserNames, encode=_encode_user_names, unpack=_unpack_user_names),
    codec(
        "SelectUser", ac.SelectUsers, ac.Users, decode=_decode_select_users, pack=_pack_select_users,
        encode=_encode_users, unpack=_unpack_users,
    ),
    codec(
        "CreateRole", ac.CreateRole, rs.Done, decode=_decode_create_role, pack=_pack_create_role,
        encode=nothing, unpack=done,
    ),
    command("AlterRole", ac.AlterRole, {"name": "role_name", "description": "description"}),
    command("DropRole", ac.DropRole, {"name": "role_name", "force": "force_drop"}),
    codec(
        "OperateUserRole", ac.BindRole, rs.Done, decode=_decode_bind, pack=_pack_bind, encode=nothing, unpack=done
    ),
    codec(
        "SelectRole", ac.SelectRoles, ac.Roles, decode=_decode_select_roles, pack=_pack_select_roles,
        encode=_encode_roles, unpack=_unpack_roles,
    ),
    codec(
        "OperatePrivilege", ac.OperatePrivilege, rs.Done, decode=_decode_grant, pack=_pack_grant,
        encode=nothing, unpack=done,
    ),
    codec(
        "OperatePrivilegeV2", ac.OperatePrivilegeV2, rs.Done, decode=_decode_grant_v2, pack=_pack_grant_v2,
        encode=nothing, unpack=done,
    ),
    codec(
        "SelectGrant", ac.SelectGrants, ac.Grants, decode=_decode_select_grants, pack=_pack_select_grants,
        encode=_encode_grants, unpack=_unpack_grants,
    ),
    command("CreatePrivilegeGroup", ac.CreatePrivilegeGroup, {"name": "group_name"}),
    command("DropPrivilegeGroup", ac.DropPrivilegeGroup, {"name": "group_name"}),
    question(
        "ListPrivilegeGroups", ac.ListPrivilegeGroups, ac.PrivilegeGroups, encode=_encode_groups,
        unpack=_unpack_groups,
    ),
    codec(
        "OperatePrivilegeGroup", ac.ChangePrivilegeGroup, rs.Done, decode=_decode_change_group,
        pack=_pack_change_group, encode=nothing, unpack=done,
    ),
    question(
        "CreateApiKey", ac.CreateApiKey, ac.NewApiKey, {"name": "name", "owner": "owner"}, encode=_encode_key,
        unpack=_unpack_key,
    ),
    command("DropApiKey", ac.DropApiKey, {"name": "name"}),
    question("ListApiKeys", ac.ListApiKeys, ac.ApiKeys, encode=_encode_keys, unpack=_unpack_keys),
    codec(
        "CreateRowPolicy", ac.CreateRowPolicy, rs.Done, decode=_decode_create_policy, pack=_pack_create_policy,
        encode=nothing, unpack=done,
    ),
    command("DropRowPolicy", ac.DropRowPolicy, {"collection": "collection_name", "name": "policy_name"}),
    question(
        "ListRowPolicies", ac.ListRowPolicies, ac.RowPolicies, {"collection": "collection_name"},
        encode=_encode_policies, unpack=_unpack_policies,
    ),
    question(
        "BackupRBAC", ac.BackupAccess, ac.AccessState,
        encode=lambda message, result: _write_state(message.RBAC_meta, result),
        unpack=lambda message: _read_state(message.RBAC_meta),
    ),
    codec(
        "RestoreRBAC", ac.RestoreAccess, rs.Done,
        decode=lambda message, database: ac.RestoreAccess(database=database, state=_read_state(message.RBAC_meta)),
        pack=lambda message, request: _write_state(message.RBAC_meta, request.state), encode=nothing, unpack=done,
    ),
)  # fmt: skip
