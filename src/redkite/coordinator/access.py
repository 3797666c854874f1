"""The access coordinator: users, roles, grants and groups of privileges, kept in the catalog.

Readers take one immutable picture. Each change is one catalog commit; changes are serialised by one lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

from redkite.coordinator.passwords import NOBODYS_HASH, hashed, is_hash, key_digest, matches, new_key, same
from redkite.env import Env
from redkite.errors import Corruption, InvalidParameter, NotAuthenticated, NotPermitted
from redkite.model.access import AccessState, ApiKey, Grant, PrivilegeGroup, Role, RowPolicy, User
from redkite.model.decoding import from_json
from redkite.model.limits import LIMITS, Limits
from redkite.model.privileges import (
    ADMIN,
    ALL,
    ANY,
    DEFAULT_ROLES,
    GROUPS,
    OBJECTS,
    OLD_GROUPS,
    PUBLIC,
    PUBLIC_PRIVILEGES,
    ROOT,
    members,
)
from redkite.model.rules.access_rules import (
    check_description,
    check_group_name,
    check_password,
    check_privileges,
    check_role_name,
    check_user_name,
)

if TYPE_CHECKING:
    from redkite.storage.catalog import Catalog

T = TypeVar("T")

_USERS, _ROLES, _GROUPS, _KEYS = "access/user/", "access/role/", "access/group/", "access/key/"
_POLICIES = "access/policy/"
_NO_ROLE = "not found the role, maybe the role isn't existed or internal system error"


class AccessRules(msgspec.Struct, frozen=True, kw_only=True):
    """How access is set up."""

    root_password: str = "Milvus"
    """Root's until it is changed."""
    super_users: frozenset[str] = frozenset()
    """They may set anybody's password."""
    public: bool = True
    """Everybody may describe collections and their indexes."""
    root_is_bound: bool = False
    """Root may do what its roles say, and nothing else."""


class UserRecord(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    password_hash: str = ""
    roles: tuple[str, ...] = ()
    description: str = ""


class RoleRecord(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str = ""
    grants: tuple[Grant, ...] = ()


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    owner: str
    digest: str
    created_ms: int


class PolicyRecord(msgspec.Struct, frozen=True, kw_only=True):
    collection_id: int
    policy: RowPolicy


@dataclass(frozen=True, slots=True)
class Permissions:
    """What one user may do."""

    everything: bool
    places: Mapping[str, frozenset[tuple[str, str]]]
    """Privilege -> (database, object name), `*` standing for any."""
    named: frozenset[tuple[str, str]] = frozenset()
    """All places that grants name."""

    def allows(self, privilege: str, database: str, name: str) -> bool:
        return self.everything or any(
            db in (ANY, database) and found in (ANY, name) for db, found in self.places.get(privilege, ())
        )

    def sees(self, database: str, collection: str | None = None) -> bool:
        """Whether a grant names the database, or the collection in it."""
        return self.everything or any(
            db in (ANY, database) and (collection is None or name in (ANY, collection)) for db, name in self.named
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything at one moment. Its dicts are never changed, but for answers that are kept."""

    users: Mapping[str, UserRecord] = field(default_factory=dict)
    roles: Mapping[str, RoleRecord] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    """By digest."""
    policies: Mapping[int, tuple[RowPolicy, ...]] = field(default_factory=dict)
    """By collection, in the order of their names."""
    known: dict[str, Permissions] = field(default_factory=dict)


class AccessCoordinator:
    """Safe from any thread."""

    def __init__(self, catalog: Catalog, env: Env, limits: Limits = LIMITS, rules: AccessRules | None = None) -> None:
        self._catalog = catalog
        self._env = env
        self._limits = limits
        self._lock = threading.RLock()  # taken again where one thread does all, and hears of changes as it commits
        self._rules = rules or AccessRules()
        self.picture = self._load()

    def reload(self) -> None:
        """Take over what another process has committed."""
        self.picture = self._load()

    def absorb(self, _changes: Iterable[str]) -> None:
        """Take over what others have committed."""
        with self._lock:
            self.picture = self._load()

    def _load(self) -> Picture:
        users = {user.name: user for user in self._read(_USERS, UserRecord)}
        users.setdefault(ROOT, UserRecord(name=ROOT, roles=(ADMIN,)))
        roles = {role.name: role for role in self._read(_ROLES, RoleRecord)}
        for name in DEFAULT_ROLES:
            roles.setdefault(name, RoleRecord(name=name))
        groups = {group.name: group.privileges for group in self._read(_GROUPS, PrivilegeGroup)}
        keys = {key.digest: key for key in self._read(_KEYS, KeyRecord)}
        policies: dict[int, tuple[RowPolicy, ...]] = {}
        for record in self._read(_POLICIES, PolicyRecord):
            policies[record.collection_id] = (*policies.get(record.collection_id, ()), record.policy)
        return Picture(users, roles, groups, keys, policies)

    def _read(self, prefix: str, kind: type[T]) -> list[T]:
        try:
            return [from_json(value, kind) for _, value in self._catalog.scan(prefix)]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corruption(f"the catalog's entries under {prefix} cannot be read: {error}") from error

    # -- who is it? -----------------------------------------------------------------------------
    def verified(self, user: str, password: str) -> bool:
        """Whether it is this user's password. Slow on purpose: callers remember the answer."""
        record = self.picture.users.get(user)
        if record is None:
            matches(password, NOBODYS_HASH)  # an unknown name takes as long as a known one
            return False
        if record.name == ROOT and not record.password_hash:
            return bool(self._rules.root_password) and same(password, self._rules.root_password)
        return matches(password, record.password_hash)

    def key(self, secret: str) -> KeyRecord | None:
        """What is known of an API key, and which user it stands for."""
        record = self.picture.keys.get(key_digest(secret))
        return None if record is None or record.owner not in self.picture.users else record

    # -- what may they? -------------------------------------------------------------------------
    def permissions(self, user: str) -> Permissions:
        picture = self.picture
        found = picture.known.get(user)
        if found is None:
            found = picture.known[user] = self._permissions(picture, user)
        return found

    def _permissions(self, picture: Picture, user: str) -> Permissions:
        record = picture.users.get(user)
        roles = () if record is None else record.roles
        everything = ADMIN in roles or (user == ROOT and not self._rules.root_is_bound)
        places: dict[str, set[tuple[str, str]]] = {}
        for role in (*roles, PUBLIC):
            for grant in picture.roles[role].grants if role in picture.roles else ():
                for name in members(grant.object_type, grant.privilege, dict(picture.groups)):
                    places.setdefault(name, set()).add((grant.database, grant.object_name))
        named = frozenset(place for found in places.values() for place in found)
        for name in PUBLIC_PRIVILEGES if self._rules.public else ():
            places.setdefault(name, set()).add((ANY, ANY))
        return Permissions(everything, {name: frozenset(where) for name, where in places.items()}, named)

    # -- users ----------------------------------------------------------------------------------
    def create_user(self, name: str, password: str, description: str = "") -> None:
        check_user_name(name, self._limits)
        check_description(description, self._limits)
        kept = hashed(check_password(password, self._limits))
        with self._lock:
            users = self.picture.users
            if name in users:
                raise InvalidParameter(f"user already exists: {name}")
            if len(users) >= self._limits.max_users:
                most = self._limits.max_users
                raise InvalidParameter(f"unable to add user because the number of users has reached the limit {most}")
            self._put(_USERS, UserRecord(name=name, password_hash=kept, description=description))

    def update_user(self, name: str, old: str, new: str, description: str | None, asker: str) -> None:
        """A super user need not know the old password. `asker` is empty where nobody need say who they are."""
        if name not in self.picture.users:
            raise InvalidParameter(f"user not found: {name}")
        if description is not None:
            check_description(description, self._limits)
        kept = ""
        if new:
            check_password(new, self._limits)
            if asker not in self._rules.super_users and not self.verified(name, old):
                raise NotAuthenticated(f"old password not correct for {name}")
            kept = hashed(new)
        with self._lock:
            record = self.picture.users.get(name)
            if record is None:
                raise InvalidParameter(f"user not found: {name}")
            if kept:
                record = msgspec.structs.replace(record, password_hash=kept)
            if description is not None:
                record = msgspec.structs.replace(record, description=description)
            self._put(_USERS, record)

    def drop_user(self, name: str) -> None:
        """Missing is success. The user's keys go along."""
        if name == ROOT:
            raise NotPermitted("root user cannot be deleted")
        with self._lock:
            keys = [key.name for key in self.picture.keys.values() if key.owner == name]
            if name in self.picture.users:
                self._commit({}, [f"{_USERS}{name}", *(f"{_KEYS}{key}" for key in keys)])

    def users(self, name: str = "") -> tuple[User, ...]:
        """One user, or all, by name; none when there is none of that name."""
        found = self.picture.users
        wanted = sorted(found) if not name else [name] if name in found else []
        return tuple(
            User(name=u, roles=tuple(sorted(found[u].roles)), description=found[u].description) for u in wanted
        )

    # -- API keys -------------------------------------------------------------------------------
    def create_key(self, name: str, owner: str) -> str:
        check_role_name(name, self._limits, "API key name")
        key = new_key()
        with self._lock:
            if owner not in self.picture.users:
                raise InvalidParameter(f"user not found: {owner}")
            if any(known.name == name for known in self.picture.keys.values()):
                raise InvalidParameter(f"an API key named {name} already exists")
            record = KeyRecord(name=name, owner=owner, digest=key_digest(key), created_ms=self._env.clock.now_ms())
            self._put(_KEYS, record)
        return key

    def drop_key(self, name: str) -> None:
        """Missing is success."""
        with self._lock:
            if any(known.name == name for known in self.picture.keys.values()):
                self._commit({}, [f"{_KEYS}{name}"])

    def keys(self) -> tuple[ApiKey, ...]:
        found = sorted(self.picture.keys.values(), key=lambda key: key.name)
        return tuple(ApiKey(name=key.name, owner=key.owner, created_ms=key.created_ms) for key in found)

    # -- roles ----------------------------------------------------------------------------------
    def create_role(self, name: str, description: str = "") -> None:
        check_role_name(name, self._limits)
        check_description(description, self._limits)
        with self._lock:
            roles = self.picture.roles
            if name in roles:
                raise InvalidParameter(f'role [name:"{name}"] already exists')
            if len(roles) - len(DEFAULT_ROLES) >= self._limits.max_roles:
                most = self._limits.max_roles
                raise InvalidParameter(
                    f"unable to create role because the number of roles has reached the limit {most}"
                )
            self._put(_ROLES, RoleRecord(name=name, description=description))

    def alter_role(self, name: str, description: str) -> None:
        check_description(description, self._limits)
        self._refuse_default(name, "altered")
        with self._lock:
            self._put(_ROLES, msgspec.structs.replace(self._role(name), description=description))

    def drop_role(self, name: str, force: bool = False) -> None:
        self._refuse_default(name, "dropped")
        with self._lock:
            if self._role(name).grants and not force:
                raise InvalidParameter(
                    "fail to drop the role that it has privileges. Use REVOKE API to revoke privileges"
                )
            holders = [user for user in self.picture.users.values() if name in user.roles]
            without = {
                f"{_USERS}{user.name}": _encoded(
                    msgspec.structs.replace(user, roles=tuple(role for role in user.roles if role != name))
                )
                for user in holders
            }
            self._commit(without, [f"{_ROLES}{name}"])

    @staticmethod
    def _refuse_default(name: str, verb: str) -> None:
        if name in DEFAULT_ROLES:
            raise NotPermitted(f"the role[{name}] is a default role, which can't be {verb}")

    def _role(self, name: str) -> RoleRecord:
        found = self.picture.roles.get(name)
        if found is None:
            raise InvalidParameter(_NO_ROLE)
        return found

    def bind_role(self, user: str, role: str, remove: bool = False) -> None:
        """Give a role to a user, or take it away. Twice is once."""
        with self._lock:
            self._role(role)
            record = self.picture.users.get(user)
            if record is None:
                if remove:
                    return
                raise InvalidParameter(f'user "{user}" not found')
            roles = tuple(known for known in record.roles if known != role)
            self._put(_USERS, msgspec.structs.replace(record, roles=roles if remove else (*roles, role)))

    def roles(self, name: str = "") -> tuple[Role, ...]:
        """One role, or all, each with its users; none when there is none of that name."""
        picture = self.picture
        wanted = sorted(picture.roles) if not name else [name] if name in picture.roles else []
        return tuple(
            Role(
                name=role,
                description=picture.roles[role].description,
                users=tuple(sorted(user.name for user in picture.users.values() if role in user.roles)),
            )
            for role in wanted
        )

    # -- grants ---------------------------------------------------------------------------------
    def grant(self, grant: Grant, revoke: bool = False) -> None:
        """The grant is checked. Twice is once."""

        def alike(other: Grant) -> bool:
            return msgspec.structs.replace(other, grantor="") == msgspec.structs.replace(grant, grantor="")

        with self._lock:
            role = self._role(grant.role)
            kept = tuple(other for other in role.grants if not alike(other))
            self._put(_ROLES, msgspec.structs.replace(role, grants=kept if revoke else (*kept, grant)))

    def grants(self, role: str) -> tuple[Grant, ...]:
        return self._role(role).grants

    # -- groups ---------------------------------------------------------------------------------
    def create_group(self, name: str) -> None:
        with self._lock:
            if name in self.picture.groups:
                raise InvalidParameter(f"privilege group name [{name}] is defined by users")
            self._put(_GROUPS, PrivilegeGroup(name=name))

    def drop_group(self, name: str) -> None:
        """Missing is success. Raises InvalidParameter while a role has it."""
        with self._lock:
            for role in self.picture.roles.values():
                if any(grant.privilege == name for grant in role.grants):
                    raise InvalidParameter(
                        f"privilege group [{name}] is used by role [{role.name}], Use REVOKE API to revoke it first"
                    )
            if name in self.picture.groups:
                self._commit({}, [f"{_GROUPS}{name}"])

    def change_group(self, name: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        """`change` takes and gives the group's privileges."""
        with self._lock:
            found = self.picture.groups.get(name)
            if found is None:
                raise InvalidParameter(f"there is no privilege group name [{name}] defined in system to operate")
            self._put(_GROUPS, PrivilegeGroup(name=name, privileges=change(found)))

    # -- policies about rows --------------------------------------------------------------------
    def add_policy(self, collection_id: int, policy: RowPolicy, existing: Iterable[int]) -> None:
        """The policy is checked. Those of collections that are not among the `existing` any more go."""
        check_role_name(policy.name, self._limits, "row policy name")
        check_description(policy.description, self._limits)
        with self._lock:
            held = self.picture.policies
            if any(known.name == policy.name for known in held.get(collection_id, ())):
                raise InvalidParameter(f"a row policy named {policy.name} already exists")
            for role in policy.roles:
                self._role(role)
            gone = held.keys() - set(existing)
            record = PolicyRecord(
                collection_id=collection_id, policy=msgspec.structs.replace(policy, created_ms=self._env.clock.now_ms())
            )
            self._commit(
                {f"{_POLICIES}{collection_id}/{policy.name}": _encoded(record)},
                [f"{_POLICIES}{number}/{known.name}" for number in gone for known in held[number]],
            )

    def drop_policy(self, collection_id: int, name: str) -> None:
        """Missing is success."""
        with self._lock:
            if any(known.name == name for known in self.picture.policies.get(collection_id, ())):
                self._commit({}, [f"{_POLICIES}{collection_id}/{name}"])

    # -- everything -----------------------------------------------------------------------------
    def backup(self) -> AccessState:
        """All of it, with the hashes of passwords; without root, whom each server has, and without API keys."""
        picture = self.picture
        users = tuple(
            User(name=user.name, roles=user.roles, description=user.description, password_hash=user.password_hash)
            for name, user in sorted(picture.users.items()) if name != ROOT
        )  # fmt: skip
        roles = tuple(
            Role(name=name, description=role.description) for name, role in sorted(picture.roles.items())
            if name not in DEFAULT_ROLES
        )  # fmt: skip
        grants = tuple(grant for _, role in sorted(picture.roles.items()) for grant in role.grants)
        groups = tuple(PrivilegeGroup(name=name, privileges=ps) for name, ps in sorted(picture.groups.items()))
        return AccessState(users=users, roles=roles, grants=grants, groups=groups)

    def restore(self, state: AccessState) -> None:
        """All or nothing; nothing when one of them is there already."""
        with self._lock:
            picture = self.picture
            self._check_new(state, picture)
            roles = {role.name: RoleRecord(name=role.name, description=role.description) for role in state.roles}
            for grant in state.grants:
                role = roles.get(grant.role) or picture.roles.get(grant.role)
                if role is None:
                    raise InvalidParameter(_NO_ROLE)
                roles[grant.role] = msgspec.structs.replace(role, grants=(*role.grants, grant))
            puts = {f"{_ROLES}{name}": _encoded(role) for name, role in roles.items()}
            for group in state.groups:
                puts[f"{_GROUPS}{group.name}"] = _encoded(group)
            for user in state.users:
                record = UserRecord(
                    name=user.name, password_hash=user.password_hash, roles=user.roles, description=user.description
                )
                puts[f"{_USERS}{user.name}"] = _encoded(record)
            self._commit(puts)

    def _check_new(self, state: AccessState, picture: Picture) -> None:
        for role in state.roles:
            check_role_name(role.name, self._limits)
            if role.name in picture.roles:
                raise InvalidParameter(f"role [{role.name}] already exists")
        for group in state.groups:
            check_group_name(group.name)
            if group.name in picture.groups:
                raise InvalidParameter(f"privilege group [{group.name}] already exists")
            check_privileges(group.privileges, frozenset(GROUPS))
        groups = frozenset((*GROUPS, *picture.groups, *(group.name for group in state.groups), ALL, ANY))
        groups |= {name for _, name in OLD_GROUPS}
        for grant in state.grants:
            check_privileges((grant.privilege,), groups)
            if grant.object_type not in OBJECTS:
                raise InvalidParameter(f"not found the object type[name: {grant.object_type}]")
        roles = {*picture.roles, *(role.name for role in state.roles)}
        for user in state.users:
            check_user_name(user.name, self._limits)
            if user.name in picture.users:
                raise InvalidParameter(f"user [{user.name}] already exists")
            for name in user.roles:
                if name not in roles:
                    raise InvalidParameter(f"user [{user.name}] has a role that does not exist: {name}")
            if not is_hash(user.password_hash):
                raise InvalidParameter(f"the password of user [{user.name}] is no bcrypt hash")

    # -- the catalog ----------------------------------------------------------------------------
    def _put(self, prefix: str, record: UserRecord | RoleRecord | PrivilegeGroup | KeyRecord) -> None:
        self._commit({f"{prefix}{record.name}": _encoded(record)})

    def _commit(self, puts: Mapping[str, bytes], deletes: Iterable[str] = ()) -> None:
        try:
            self._catalog.commit(puts, deletes)
        finally:
            self.reload()  # whatever happened, the catalog knows


def _encoded(record: msgspec.Struct) -> bytes:
    return msgspec.json.encode(record)
