"""Users, roles, grants and groups of privileges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redkite.client import arguments
from redkite.client.session import Operation, Session, ask
from redkite.errors import ParamError
from redkite.model import access as ac
from redkite.model.privileges import ALL, ANY
from redkite.model.request import Request
from redkite.model.results import Done


def _done(request: Request) -> Operation[None]:
    yield from ask(request, Done)


def _text(argument: str, value: object) -> str:
    """A text that may be empty; None counts as empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise arguments.wrong_type(argument, str, value)
    return value


def _secret(argument: str, value: object) -> str:
    """A password. The error does not show it."""
    if not isinstance(value, str) or not value:
        raise ParamError(f"`{argument}` must be a text that is not empty")
    return value


# -- users --------------------------------------------------------------------------------------
def create_user(session: Session, user_name: str, password: str, description: str | None) -> Operation[None]:
    request = ac.CreateUser(
        database=session.database,
        name=arguments.name("user_name", user_name),
        password=_secret("password", password),
        description=_text("description", description),
    )
    yield from _done(request)


def drop_user(session: Session, user_name: str) -> Operation[None]:
    yield from _done(ac.DropUser(database=session.database, name=arguments.name("user_name", user_name)))


def update_password(
    session: Session, user_name: str, old_password: str, new_password: str, description: str | None
) -> Operation[None]:
    request = ac.UpdateUser(
        database=session.database,
        name=arguments.name("user_name", user_name),
        old_password=_text("old_password", old_password),
        new_password=_secret("new_password", new_password),
        description=description if description is None else _text("description", description),
    )
    yield from _done(request)


def update_user(session: Session, user_name: str, description: str) -> Operation[None]:
    name = arguments.name("user_name", user_name)
    text = _text("description", description)
    yield from _done(ac.UpdateUser(database=session.database, name=name, description=text))


def list_users(session: Session) -> Operation[list[str]]:
    found = yield from ask(ac.ListUsers(database=session.database), ac.UserNames)
    return list(found.names)


def describe_user(session: Session, user_name: str) -> Operation[dict[str, Any]]:
    name = arguments.name("user_name", user_name)
    request = ac.SelectUsers(database=session.database, name=name, with_roles=True)
    found = yield from ask(request, ac.Users)
    if not found.users:
        return {}
    (user,) = found.users
    return {"user_name": user.name, "roles": user.roles, "description": user.description}


# -- API keys -----------------------------------------------------------------------------------
def create_api_key(session: Session, key_name: str, user_name: str) -> Operation[str]:
    request = ac.CreateApiKey(
        database=session.database,
        name=arguments.name("key_name", key_name),
        owner=arguments.name("user_name", user_name),
    )
    found = yield from ask(request, ac.NewApiKey)
    return found.key


def drop_api_key(session: Session, key_name: str) -> Operation[None]:
    yield from _done(ac.DropApiKey(database=session.database, name=arguments.name("key_name", key_name)))


def list_api_keys(session: Session) -> Operation[list[dict[str, Any]]]:
    found = yield from ask(ac.ListApiKeys(database=session.database), ac.ApiKeys)
    return [{"key_name": key.name, "user_name": key.owner, "created_ms": key.created_ms} for key in found.keys]


# -- policies about rows ------------------------------------------------------------------------
def create_row_policy(
    session: Session,
    collection_name: str,
    policy_name: str,
    actions: Sequence[str],
    using_expr: str,
    check_expr: str,
    roles: Sequence[str],
    description: str,
) -> Operation[None]:
    policy = ac.RowPolicy(
        name=arguments.name("policy_name", policy_name),
        actions=tuple(_action(action) for action in arguments.names("actions", actions)),
        roles=arguments.names("roles", roles),
        using=_text("using_expr", using_expr),
        check=_text("check_expr", check_expr),
        description=_text("description", description),
    )
    name = arguments.name("collection_name", collection_name)
    yield from _done(ac.CreateRowPolicy(database=session.database, collection=name, policy=policy))


def _action(name: str) -> ac.RowAction:
    try:
        return ac.RowAction[name.upper()]
    except KeyError:
        known = ", ".join(action.name.lower() for action in ac.RowAction)
        raise ParamError(f"`actions` value {name} is illegal: a row policy is about {known}") from None


def drop_row_policy(session: Session, collection_name: str, policy_name: str) -> Operation[None]:
    name = arguments.name("collection_name", collection_name)
    policy = arguments.name("policy_name", policy_name)
    yield from _done(ac.DropRowPolicy(database=session.database, collection=name, name=policy))


def list_row_policies(session: Session, collection_name: str) -> Operation[list[dict[str, Any]]]:
    name = arguments.name("collection_name", collection_name)
    found = yield from ask(ac.ListRowPolicies(database=session.database, collection=name), ac.RowPolicies)
    return [
        {
            "policy_name": policy.name,
            "actions": tuple(action.name.lower() for action in policy.actions),
            "roles": policy.roles,
            "using_expr": policy.using,
            "check_expr": policy.check,
            "description": policy.description,
        }
        for policy in found.policies
    ]


# -- roles --------------------------------------------------------------------------------------
def create_role(session: Session, role_name: str, description: str) -> Operation[None]:
    name = arguments.name("role_name", role_name)
    text = _text("description", description)
    yield from _done(ac.CreateRole(database=session.database, name=name, description=text))


def alter_role(session: Session, role_name: str, description: str) -> Operation[None]:
    name = arguments.name("role_name", role_name)
    text = _text("description", description)
    yield from _done(ac.AlterRole(database=session.database, name=name, description=text))


def drop_role(session: Session, role_name: str, force_drop: bool) -> Operation[None]:
    name = arguments.name("role_name", role_name)
    force = arguments.flag("force_drop", force_drop)
    yield from _done(ac.DropRole(database=session.database, name=name, force=force))


def list_roles(session: Session) -> Operation[list[str]]:
    found = yield from ask(ac.SelectRoles(database=session.database), ac.Roles)
    return [role.name for role in found.roles]


def describe_role(session: Session, role_name: str) -> Operation[dict[str, Any]]:
    name = arguments.name("role_name", role_name)
    roles = yield from ask(ac.SelectRoles(database=session.database, name=name), ac.Roles)
    found = yield from ask(ac.SelectGrants(database=ANY, role=name), ac.Grants)
    description = roles.roles[0].description if roles.roles else ""
    return {"role": name, "description": description, "privileges": [_shown(grant) for grant in found.grants]}


def _shown(grant: ac.Grant) -> dict[str, str]:
    shown = {
        "object_type": grant.object_type,
        "object_name": grant.object_name,
        "db_name": grant.database,
        "role_name": grant.role,
        "privilege": ANY if grant.privilege == ALL else grant.privilege,
    }
    return {**shown, "grantor_name": grant.grantor} if grant.grantor else shown


def bind_role(session: Session, user_name: str, role_name: str, remove: bool) -> Operation[None]:
    request = ac.BindRole(
        database=session.database,
        name=arguments.name("user_name", user_name),
        role=arguments.name("role_name", role_name),
        remove=remove,
    )
    yield from _done(request)


# -- grants -------------------------------------------------------------------------------------
def operate_privilege(
    session: Session,
    role_name: str,
    object_type: str,
    privilege: str,
    object_name: str,
    db_name: str | None,
    revoke: bool,
) -> Operation[None]:
    request = ac.OperatePrivilege(
        database=arguments.optional_name("db_name", db_name) or session.database,
        role=arguments.name("role_name", role_name),
        object_type=arguments.name("object_type", object_type),
        object_name=arguments.name("object_name", object_name),
        privilege=arguments.name("privilege", privilege),
        revoke=revoke,
    )
    yield from _done(request)


def operate_privilege_v2(
    session: Session, role_name: str, privilege: str, collection_name: str, db_name: str | None, revoke: bool
) -> Operation[None]:
    request = ac.OperatePrivilegeV2(
        database=arguments.optional_name("db_name", db_name) or session.database,
        role=arguments.name("role_name", role_name),
        privilege=arguments.name("privilege", privilege),
        collection=arguments.name("collection_name", collection_name),
        revoke=revoke,
    )
    yield from _done(request)


# -- groups -------------------------------------------------------------------------------------
def create_privilege_group(session: Session, group_name: str) -> Operation[None]:
    name = arguments.name("group_name", group_name)
    yield from _done(ac.CreatePrivilegeGroup(database=session.database, name=name))


def drop_privilege_group(session: Session, group_name: str) -> Operation[None]:
    name = arguments.name("group_name", group_name)
    yield from _done(ac.DropPrivilegeGroup(database=session.database, name=name))


def list_privilege_groups(session: Session) -> Operation[list[dict[str, Any]]]:
    found = yield from ask(ac.ListPrivilegeGroups(database=session.database), ac.PrivilegeGroups)
    return [{"privilege_group": group.name, "privileges": group.privileges} for group in found.groups]


def change_privilege_group(
    session: Session, group_name: str, privileges: Sequence[str], remove: bool
) -> Operation[None]:
    request = ac.ChangePrivilegeGroup(
        database=session.database,
        name=arguments.name("group_name", group_name),
        privileges=arguments.names("privileges", privileges),
        remove=remove,
    )
    yield from _done(request)
