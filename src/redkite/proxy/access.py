"""Who may do what: the check in front of every request that says who asks, and the requests about users and roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redkite.coordinator.access import AccessCoordinator, Permissions
from redkite.coordinator.root import RootCoordinator
from redkite.errors import InvalidParameter, PermissionDenied
from redkite.model import access as ac
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.privileges import (
    ALL,
    ANY,
    CLUSTER_LEVEL,
    COLLECTION_LEVEL,
    DATABASE_LEVEL,
    GLOBAL,
    GROUPS,
    IMPLIED,
    LEVELS,
    OBJECT_OF,
    OBJECTS,
    OLD_GROUPS,
    USER,
)
from redkite.model.rules.access_rules import check_group_name
from redkite.model.schema import DEFAULT_DATABASE
from redkite.proxy.rules.access_table import NEEDS, OPEN


class Access:
    """An empty `user` is whoever owns the process, and may do everything."""

    def __init__(self, coordinator: AccessCoordinator, root: RootCoordinator) -> None:
        self._access = coordinator
        self._root = root

    # -- the check ------------------------------------------------------------------------------
    def check(self, request: rq.Request) -> None:
        """Raises PermissionDenied unless whoever asks may."""
        if not request.user:
            return
        permissions = self._access.permissions(request.user)
        if permissions.everything or type(request) in OPEN or self._is_own(request):
            return
        database = request.database or DEFAULT_DATABASE
        needs = NEEDS.get(type(request))
        if needs is None:
            raise PermissionDenied(
                f"{type(request).__name__}: permission deny to {request.user} in the `{database}` database: "
                "it takes the role admin"
            )
        if needs.scope == "cluster":
            allowed = permissions.allows(needs.privilege, ANY, ANY)
        elif needs.scope == "user":
            allowed = permissions.allows(needs.privilege, ANY, getattr(request, needs.name) or ANY)
        else:
            allowed = self._allows(permissions, needs.privilege, request, getattr(request, needs.name, ""))
        if not allowed:
            raise PermissionDenied.of(needs.privilege, request.user, database)

    def _allows(self, permissions: Permissions, privilege: str, request: rq.Request, named: Any) -> bool:
        database = request.database or DEFAULT_DATABASE
        other = ""
        if isinstance(request, rq.RenameCollection):
            other = request.new_database
        elif isinstance(request, rq.RestoreSnapshot):
            other = request.target_database
        if other not in ("", database):
            database = ANY
        if isinstance(request, rq.AlterAlias):
            named = (request.collection, request.alias)  # what it is an alias of loses it
        names = named if isinstance(named, tuple) else (named,)
        return all(permissions.allows(privilege, database, self._real(database, name)) for name in names or (ANY,))

    def _real(self, database: str, name: str) -> str:
        """The collection behind an alias; what names none stays as it is."""
        if not name:
            return ANY
        return self._root.find(database, name).name if self._root.exists(database, name) else name

    def _is_own(self, request: rq.Request) -> bool:
        """A user may look at itself, change its own password, and see what its roles may."""
        if isinstance(request, ac.UpdateUser | ac.SelectUsers):
            return request.name == request.user
        (user,) = self._access.users(request.user) or (ac.User(name=request.user),)
        if isinstance(request, ac.SelectGrants):
            return request.role in user.roles
        return isinstance(request, ac.SelectRoles) and request.name in user.roles and not request.with_users

    def shown_collections(self, request: rq.Request, found: rs.Collections) -> rs.Collections:
        """Those that a grant names."""
        if not request.user or self._access.permissions(request.user).everything:
            return found
        permissions = self._access.permissions(request.user)
        database = request.database or DEFAULT_DATABASE
        return rs.Collections(
            collections=tuple(brief for brief in found.collections if permissions.sees(database, brief.name))
        )

    def shown_databases(self, request: rq.Request, found: rs.Databases) -> rs.Databases:
        if not request.user or self._access.permissions(request.user).everything:
            return found
        permissions = self._access.permissions(request.user)
        seen = [at for at, name in enumerate(found.names) if permissions.sees(name)]
        return rs.Databases(
            names=tuple(found.names[at] for at in seen),
            ids=tuple(found.ids[at] for at in seen),
            created_timestamps=tuple(found.created_timestamps[at] for at in seen),
        )

    # -- requests -------------------------------------------------------------------------------
    def table(self) -> dict[type[rq.Request], Callable[[Any], rs.Result]]:
        """One method for each class of request."""
        access = self._access
        return {
            ac.CreateUser: _done(lambda r: access.create_user(r.name, r.password, r.description)),
            ac.UpdateUser: _done(
                lambda r: access.update_user(r.name, r.old_password, r.new_password, r.description, r.user)
            ),
            ac.DropUser: _done(lambda r: access.drop_user(r.name)),
            ac.ListUsers: lambda _: ac.UserNames(names=tuple(user.name for user in access.users())),
            ac.SelectUsers: self._users,
            ac.CreateApiKey: lambda r: ac.NewApiKey(key=access.create_key(r.name, r.owner)),
            ac.DropApiKey: _done(lambda r: access.drop_key(r.name)),
            ac.ListApiKeys: lambda _: ac.ApiKeys(keys=access.keys()),
            ac.CreateRole: _done(lambda r: access.create_role(r.name, r.description)),
            ac.AlterRole: _done(lambda r: access.alter_role(r.name, r.description)),
            ac.DropRole: _done(lambda r: access.drop_role(r.name, r.force)),
            ac.BindRole: _done(lambda r: access.bind_role(r.name, r.role, r.remove)),
            ac.SelectRoles: self._roles,
            ac.OperatePrivilege: self._grant,
            ac.OperatePrivilegeV2: self._grant_v2,
            ac.SelectGrants: self._grants,
            ac.CreatePrivilegeGroup: self._create_group,
            ac.DropPrivilegeGroup: _done(lambda r: access.drop_group(r.name)),
            ac.ListPrivilegeGroups: self._groups,
            ac.ChangePrivilegeGroup: self._change_group,
            ac.BackupAccess: lambda _: access.backup(),
            ac.RestoreAccess: _done(lambda r: access.restore(r.state)),
        }

    def _users(self, request: ac.SelectUsers) -> ac.Users:
        found = self._access.users(request.name)
        return ac.Users(users=found if request.with_roles else tuple(_bare_user(user) for user in found))

    def _roles(self, request: ac.SelectRoles) -> ac.Roles:
        found = self._access.roles(request.name)
        plain = tuple(ac.Role(name=role.name, description=role.description) for role in found)
        return ac.Roles(roles=found if request.with_users else plain)

    def _grants(self, request: ac.SelectGrants) -> ac.Grants:
        if not request.role:
            raise InvalidParameter("the role entity in the grant entity is nil")
        database = request.database
        return ac.Grants(
            grants=tuple(
                grant for grant in self._access.grants(request.role)
                if request.object_type in ("", grant.object_type) and request.object_name in ("", grant.object_name)
                and (database in ("", ANY, grant.database) or grant.database == ANY)
            )
        )  # fmt: skip

    def _grant(self, request: ac.OperatePrivilege) -> rs.Done:
        kind, privilege = request.object_type, request.privilege
        if kind not in OBJECTS:
            known = "[" + " ".join(OBJECTS) + "]"
            raise InvalidParameter(f"not found the object type[name: {kind}], supported the object types: {known}")
        if privilege not in (ANY, ALL) and (kind, privilege) not in OLD_GROUPS:
            self._check_known(privilege)
            if OBJECT_OF.get(privilege) != kind:
                raise InvalidParameter(f"not found the privilege name[{privilege}] in object[{kind}]")
        if not request.object_name:
            raise InvalidParameter("the object name in the grant entity is empty", expected="not empty", actual="")
        cluster = LEVELS.get(privilege) == CLUSTER_LEVEL
        database = ANY if cluster or kind == USER else request.database or DEFAULT_DATABASE
        name = request.object_name
        if kind != USER:
            name = ANY if kind == GLOBAL else self._real(database, name)
        return self._give(request, kind, name, ALL if privilege == ANY else privilege, database)

    def _grant_v2(self, request: ac.OperatePrivilegeV2) -> rs.Done:
        privilege = request.privilege
        database, name = request.database or DEFAULT_DATABASE, request.collection or ANY
        if privilege in (ANY, ALL):
            raise InvalidParameter(f"not found the privilege name[{privilege}]")
        self._check_known(privilege)
        level = self._level(privilege)
        if privilege not in OBJECT_OF:
            _check_place(level, privilege, database, name)
        if level == CLUSTER_LEVEL:
            database = name = ANY
        kind = OBJECT_OF.get(privilege, GLOBAL)
        return self._give(request, kind, ANY if name == ANY else self._real(database, name), privilege, database)

    def _give(
        self, request: ac.OperatePrivilege | ac.OperatePrivilegeV2, kind: str, name: str, privilege: str, database: str
    ) -> rs.Done:
        for granted in (privilege, *IMPLIED.get(privilege, ())):
            grant = ac.Grant(
                role=request.role, object_type=kind, object_name=name, privilege=granted, database=database,
                grantor=request.user,
            )  # fmt: skip
            self._access.grant(grant, request.revoke)
        return rs.Done()

    def _check_known(self, privilege: str) -> None:
        if privilege not in OBJECT_OF and privilege not in GROUPS and privilege not in self._access.picture.groups:
            raise InvalidParameter(f"not found the privilege name[{privilege}]")

    def _level(self, privilege: str) -> str:
        """Of a privilege, or of a group's members, which share it."""
        for level in (COLLECTION_LEVEL, DATABASE_LEVEL, CLUSTER_LEVEL):
            if privilege in GROUPS and privilege.startswith(level):
                return level
        group = self._access.picture.groups.get(privilege)
        if group is not None:
            return self._level(group[0]) if group else COLLECTION_LEVEL
        return LEVELS[privilege]

    # -- groups ---------------------------------------------------------------------------------
    def _create_group(self, request: ac.CreatePrivilegeGroup) -> rs.Done:
        self._access.create_group(check_group_name(request.name))
        return rs.Done()

    def _groups(self, _request: ac.ListPrivilegeGroups) -> ac.PrivilegeGroups:
        custom = sorted(self._access.picture.groups.items())
        built_in = [(name, tuple(sorted(privileges))) for name, privileges in GROUPS.items()]
        return ac.PrivilegeGroups(
            groups=tuple(ac.PrivilegeGroup(name=name, privileges=found) for name, found in (*custom, *built_in))
        )

    def _change_group(self, request: ac.ChangePrivilegeGroup) -> rs.Done:
        given = request.privileges
        for privilege in given:
            if privilege not in OBJECT_OF and privilege not in GROUPS:
                raise InvalidParameter(f"not found the privilege name[{privilege}]")

        def change(held: tuple[str, ...]) -> tuple[str, ...]:
            if request.remove:
                return tuple(privilege for privilege in held if privilege not in given)
            wanted = tuple(dict.fromkeys((*held, *given)))
            if len({self._level(privilege) for privilege in wanted}) > 1:
                raise InvalidParameter("privileges are not the same privilege level")
            return wanted

        self._access.change_group(request.name, change)
        return rs.Done()


def _check_place(level: str, privilege: str, database: str, name: str) -> None:
    """Where a group may be granted."""
    if level == CLUSTER_LEVEL and (database, name) != (ANY, ANY):
        raise InvalidParameter(f"dbName and collectionName should be * for the cluster level privilege: {privilege}")
    if level == DATABASE_LEVEL and name != ANY:
        raise InvalidParameter(f"collectionName should be * for the database level privilege: {privilege}")
    if level == COLLECTION_LEVEL and database == ANY and name != ANY:
        raise InvalidParameter(f"please specify database name for the collection level privilege: {privilege}")


def _bare_user(user: ac.User) -> ac.User:
    return ac.User(name=user.name, description=user.description)


def _done(change: Callable[[Any], None]) -> Callable[[Any], rs.Done]:
    """A method that has nothing to answer."""

    def method(request: rq.Request) -> rs.Done:
        change(request)
        return rs.Done()

    return method
