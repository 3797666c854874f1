"""A role, as an object."""

from __future__ import annotations

from typing import Any

from redkite.orm.connections import connections
from redkite.orm.groups import Items


class Role:
    """A role of the server behind a connection; `create` makes it."""

    def __init__(self, name: str, using: str = "default") -> None:
        self._name = name
        self._using = using

    @property
    def name(self) -> str:
        return self._name

    @property
    def _client(self) -> Any:
        return connections.client(self._using)

    def create(self, description: str = "") -> None:
        self._client.create_role(self._name, description=description)

    def drop(self, force_drop: bool = False) -> None:
        self._client.drop_role(self._name, force_drop)

    def is_exist(self) -> bool:
        return self._name in self._client.list_roles()

    def add_user(self, username: str) -> None:
        self._client.grant_role(username, self._name)

    def remove_user(self, username: str) -> None:
        self._client.revoke_role(username, self._name)

    def get_users(self) -> tuple[str, ...]:
        """The names of the users who have it."""
        client = self._client
        return tuple(u for u in client.list_users() if self._name in client.describe_user(u).get("roles", ()))

    def grant(self, object: str, object_name: str, privilege: str, db_name: str = "") -> None:
        self._client.grant_privilege(self._name, object, privilege, object_name, db_name)

    def revoke(self, object: str, object_name: str, privilege: str, db_name: str = "") -> None:
        self._client.revoke_privilege(self._name, object, privilege, object_name, db_name)

    def grant_v2(self, privilege: str, collection_name: str, db_name: str | None = None) -> None:
        self._client.grant_privilege_v2(self._name, privilege, collection_name, db_name)

    def revoke_v2(self, privilege: str, collection_name: str, db_name: str | None = None) -> None:
        self._client.revoke_privilege_v2(self._name, privilege, collection_name, db_name)

    def list_grants(self, db_name: str = "") -> Items:
        """What the role may do, and where."""
        found: list[dict[str, Any]] = self._client.describe_role(self._name)["privileges"]
        return Items(grant for grant in found if db_name in ("", "*", grant["db_name"]))

    def list_grant(self, object: str, object_name: str, db_name: str = "") -> Items:
        """What the role may do with one object."""
        return Items(
            grant for grant in self.list_grants(db_name)
            if (grant["object_type"], grant["object_name"]) == (object, object_name)
        )  # fmt: skip

    def create_privilege_group(self, privilege_group: str) -> None:
        self._client.create_privilege_group(privilege_group)

    def drop_privilege_group(self, privilege_group: str) -> None:
        self._client.drop_privilege_group(privilege_group)

    def list_privilege_groups(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.list_privilege_groups()
        return found

    def add_privileges_to_group(self, privilege_group: str, privileges: list[str]) -> None:
        self._client.add_privileges_to_group(privilege_group, privileges)

    def remove_privileges_from_group(self, privilege_group: str, privileges: list[str]) -> None:
        self._client.remove_privileges_from_group(privilege_group, privileges)

    def __repr__(self) -> str:
        return f"<Role {self._name}>"
