"""Users, roles and what they may do: the requests about them, and the answers."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from redkite.model.request import Request
from redkite.model.results import Result


class RowAction(IntEnum):
    """What a policy about rows is about. Numbers of the wire."""

    QUERY = 0
    SEARCH = 1
    INSERT = 2
    DELETE = 3
    UPSERT = 4


# -- users --------------------------------------------------------------------------------------
class CreateUser(Request, frozen=True):
    name: str
    password: str
    description: str = ""


class UpdateUser(Request, frozen=True):
    """A new password, which takes the old one unless a super user asks; or a new description."""

    name: str
    old_password: str = ""
    new_password: str = ""
    description: str | None = None


class DropUser(Request, frozen=True):
    name: str


class ListUsers(Request, frozen=True):
    pass


class SelectUsers(Request, frozen=True):
    """One user, or with an empty name all of them."""

    name: str = ""
    with_roles: bool = False


class CreateApiKey(Request, frozen=True):
    """A key that stands for a user. The answer is the only time it is seen."""

    name: str
    owner: str


class DropApiKey(Request, frozen=True):
    name: str


class ListApiKeys(Request, frozen=True):
    pass


# -- roles --------------------------------------------------------------------------------------
class CreateRole(Request, frozen=True):
    name: str
    description: str = ""


class AlterRole(Request, frozen=True):
    name: str
    description: str


class DropRole(Request, frozen=True):
    name: str
    force: bool = False
    """Also when it has grants."""


class BindRole(Request, frozen=True):
    """Give a role to a user, or take it away."""

    name: str
    role: str
    remove: bool = False


class SelectRoles(Request, frozen=True):
    """One role, or with an empty name all of them."""

    name: str = ""
    with_users: bool = False


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    role: str
    object_type: str
    object_name: str
    """A collection, a user, or `*`."""
    privilege: str
    """Of a privilege or a group of them."""
    database: str
    grantor: str = ""


class OperatePrivilege(Request, frozen=True):
    """A grant that names its object type."""

    role: str
    object_type: str
    object_name: str
    privilege: str
    revoke: bool = False


class OperatePrivilegeV2(Request, frozen=True):
    """A grant over a collection, a database or everything; `*` stands for any."""

    role: str
    privilege: str
    collection: str
    revoke: bool = False


class SelectGrants(Request, frozen=True):
    role: str
    object_type: str = ""
    object_name: str = ""


# -- groups of privileges -----------------------------------------------------------------------
class CreatePrivilegeGroup(Request, frozen=True):
    name: str


class DropPrivilegeGroup(Request, frozen=True):
    name: str


class ListPrivilegeGroups(Request, frozen=True):
    pass


class ChangePrivilegeGroup(Request, frozen=True):
    name: str
    privileges: tuple[str, ...]
    remove: bool = False


# -- everything at once -------------------------------------------------------------------------
class User(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    roles: tuple[str, ...] = ()
    description: str = ""
    password_hash: str = ""
    """Only in a backup of everything."""


class Role(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str = ""
    users: tuple[str, ...] = ()


class PrivilegeGroup(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    privileges: tuple[str, ...] = ()


class AccessState(Result, frozen=True):
    """All users, roles, grants and groups."""

    users: tuple[User, ...] = ()
    roles: tuple[Role, ...] = ()
    grants: tuple[Grant, ...] = ()
    groups: tuple[PrivilegeGroup, ...] = ()


class BackupAccess(Request, frozen=True):
    pass


class RestoreAccess(Request, frozen=True):
    state: AccessState


# -- answers ------------------------------------------------------------------------------------
class UserNames(Result, frozen=True):
    names: tuple[str, ...]


class Users(Result, frozen=True):
    users: tuple[User, ...]


class Roles(Result, frozen=True):
    roles: tuple[Role, ...]


class Grants(Result, frozen=True):
    grants: tuple[Grant, ...]


class PrivilegeGroups(Result, frozen=True):
    groups: tuple[PrivilegeGroup, ...]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    owner: str
    created_ms: int


class ApiKeys(Result, frozen=True):
    keys: tuple[ApiKey, ...]


class NewApiKey(Result, frozen=True):
    key: str


# -- policies about rows ------------------------------------------------------------------------
class RowPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of a collection the holders of some roles may touch, in some ways. `$user` stands for their name."""

    name: str
    actions: tuple[RowAction, ...]
    roles: tuple[str, ...]
    """Empty: everybody."""
    using: str = ""
    """A filter that rows must pass to be found, changed or deleted."""
    check: str = ""
    """A filter that rows must pass to be written; empty: `using`."""
    description: str = ""
    created_ms: int = 0


class CreateRowPolicy(Request, frozen=True):
    collection: str
    policy: RowPolicy


class DropRowPolicy(Request, frozen=True):
    collection: str
    name: str


class ListRowPolicies(Request, frozen=True):
    collection: str


class RowPolicies(Result, frozen=True):
    collection: str
    policies: tuple[RowPolicy, ...]
