"""The blocking methods about users and what they may do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Never, TypeVar

from redkite.client.base import ClientBase
from redkite.client.operations import access
from redkite.client.session import Operation

T = TypeVar("T")


class SyncAccess(ClientBase):
    """Users, roles, privileges, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    @abstractmethod
    def _connect_as(self, token: str, timeout: float | None) -> None:
        """Go on as somebody else."""

    def create_user(
        self,
        user_name: str,
        password: str,
        timeout: float | None = None,
        description: str | None = None,
        **unknown: Never,
    ) -> None:
        """Make a user, who may do nothing until a role is granted."""
        return self._run(access.create_user(self._session, user_name, password, description), timeout, unknown)

    def drop_user(
        self,
        user_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop a user and its API keys. One that does not exist is no error."""
        return self._run(access.drop_user(self._session, user_name), timeout, unknown)

    def update_password(
        self,
        user_name: str,
        old_password: str,
        new_password: str,
        reset_connection: bool | None = False,
        timeout: float | None = None,
        description: str | None = None,
        **unknown: Never,
    ) -> None:
        """Change a password. `reset_connection`: this client goes on as that user, with the new one."""
        operation = access.update_password(self._session, user_name, old_password, new_password, description)
        self._run(operation, timeout, unknown)
        if reset_connection:
            self._connect_as(f"{user_name}:{new_password}", timeout)

    def update_user(
        self,
        user_name: str,
        description: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Describe a user anew."""
        return self._run(access.update_user(self._session, user_name, description), timeout, unknown)

    def list_users(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        """The names of all users."""
        return self._run(access.list_users(self._session), timeout, unknown)

    def describe_user(
        self,
        user_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        """`{"user_name", "roles", "description"}`; empty when there is no such user."""
        return self._run(access.describe_user(self._session, user_name), timeout, unknown)

    def create_api_key(
        self,
        key_name: str,
        user_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> str:
        """A key that stands for a user, to connect with as `token=`. It is shown this once."""
        return self._run(access.create_api_key(self._session, key_name, user_name), timeout, unknown)

    def drop_api_key(
        self,
        key_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop a key: whoever connects with it is refused from now on."""
        return self._run(access.drop_api_key(self._session, key_name), timeout, unknown)

    def list_api_keys(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[dict[str, Any]]:
        """`{"key_name", "user_name", "created_ms"}` of each key; never the key itself."""
        return self._run(access.list_api_keys(self._session), timeout, unknown)

    def create_row_policy(
        self,
        collection_name: str,
        policy_name: str,
        actions: Sequence[str],
        using_expr: str = "",
        check_expr: str = "",
        roles: Sequence[str] = (),
        description: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Bind what users find and change to the rows that pass a filter.

        Args:
            collection_name: The collection.
            policy_name: A name for the policy, its own among those of the collection.
            actions: What it is about: `query`, `search`, `insert`, `upsert`, `delete`. With a policy about an action,
                a row may be touched so only by those whose policies let it pass. Administrators are not bound.
            using_expr: The filter for rows that are found, deleted or replaced; `$user` stands for the user's name.
            check_expr: The filter for rows that are written; by default the same.
            roles: Whose holders it is for; none: everybody.
            description: Any text.
            timeout: Seconds.
        """
        return self._run(
            access.create_row_policy(
                self._session, collection_name, policy_name, actions, using_expr, check_expr, roles, description
            ),
            timeout,
            unknown,
        )

    def drop_row_policy(
        self,
        collection_name: str,
        policy_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop a policy about rows. One that does not exist is no error."""
        return self._run(access.drop_row_policy(self._session, collection_name, policy_name), timeout, unknown)

    def list_row_policies(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[dict[str, Any]]:
        """The policies about a collection's rows."""
        return self._run(access.list_row_policies(self._session, collection_name), timeout, unknown)

    def create_role(
        self,
        role_name: str,
        timeout: float | None = None,
        description: str = "",
        **unknown: Never,
    ) -> None:
        """Make a role, to grant privileges to."""
        return self._run(access.create_role(self._session, role_name, description), timeout, unknown)

    def alter_role(
        self,
        role_name: str,
        description: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Describe a role anew."""
        return self._run(access.alter_role(self._session, role_name, description), timeout, unknown)

    def drop_role(
        self,
        role_name: str,
        force_drop: bool = False,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop a role; one that has privileges only with `force_drop`."""
        return self._run(access.drop_role(self._session, role_name, force_drop), timeout, unknown)

    def list_roles(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        """The names of all roles."""
        return self._run(access.list_roles(self._session), timeout, unknown)

    def describe_role(
        self,
        role_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        """`{"role", "privileges", "description"}`: what the role may, and where."""
        return self._run(access.describe_role(self._session, role_name), timeout, unknown)

    def grant_role(
        self,
        user_name: str,
        role_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Give a role to a user."""
        return self._run(access.bind_role(self._session, user_name, role_name, False), timeout, unknown)

    def revoke_role(
        self,
        user_name: str,
        role_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Take a role from a user."""
        return self._run(access.bind_role(self._session, user_name, role_name, True), timeout, unknown)

    def grant_privilege(
        self,
        role_name: str,
        object_type: str,
        privilege: str,
        object_name: str,
        db_name: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Let a role do something with an object: a `Collection`, a `User`, or `Global`; `*` means any."""
        return self._run(
            access.operate_privilege(self._session, role_name, object_type, privilege, object_name, db_name, False),
            timeout,
            unknown,
        )

    def revoke_privilege(
        self,
        role_name: str,
        object_type: str,
        privilege: str,
        object_name: str,
        db_name: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Take back what `grant_privilege` gave."""
        return self._run(
            access.operate_privilege(self._session, role_name, object_type, privilege, object_name, db_name, True),
            timeout,
            unknown,
        )

    def grant_privilege_v2(
        self,
        role_name: str,
        privilege: str,
        collection_name: str,
        db_name: str | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Give a role a privilege, or a group of them, over a collection; `*` means any."""
        return self._run(
            access.operate_privilege_v2(self._session, role_name, privilege, collection_name, db_name, False),
            timeout,
            unknown,
        )

    def revoke_privilege_v2(
        self,
        role_name: str,
        privilege: str,
        collection_name: str,
        db_name: str | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Take back what `grant_privilege_v2` gave."""
        return self._run(
            access.operate_privilege_v2(self._session, role_name, privilege, collection_name, db_name, True),
            timeout,
            unknown,
        )

    def create_privilege_group(
        self,
        group_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Make a group, to put privileges of one level in."""
        return self._run(access.create_privilege_group(self._session, group_name), timeout, unknown)

    def drop_privilege_group(
        self,
        group_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop a group that no role has."""
        return self._run(access.drop_privilege_group(self._session, group_name), timeout, unknown)

    def list_privilege_groups(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[dict[str, Any]]:
        """`{"privilege_group", "privileges"}` of each group, those built in behind the others."""
        return self._run(access.list_privilege_groups(self._session), timeout, unknown)

    def add_privileges_to_group(
        self,
        group_name: str,
        privileges: Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Put privileges in a group; all of a group are of one level."""
        return self._run(access.change_privilege_group(self._session, group_name, privileges, False), timeout, unknown)

    def remove_privileges_from_group(
        self,
        group_name: str,
        privileges: Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Take privileges out of a group."""
        return self._run(access.change_privilege_group(self._session, group_name, privileges, True), timeout, unknown)
