"""The awaited methods about users and what they may do. Documented at their blocking twins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Never, TypeVar

from redkite.client.base import ClientBase
from redkite.client.operations import access
from redkite.client.session import Operation

T = TypeVar("T")


class AsyncAccess(ClientBase):
    """Users, roles, privileges, awaited."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    @abstractmethod
    async def _connect_as(self, token: str) -> None:
        """Go on as somebody else."""

    async def create_user(
        self,
        user_name: str,
        password: str,
        timeout: float | None = None,
        description: str | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.create_user(self._session, user_name, password, description), timeout, unknown)

    async def drop_user(
        self,
        user_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.drop_user(self._session, user_name), timeout, unknown)

    async def update_password(
        self,
        user_name: str,
        old_password: str,
        new_password: str,
        timeout: float | None = None,
        description: str | None = None,
        reset_connection: bool | None = False,
        **unknown: Never,
    ) -> None:
        operation = access.update_password(self._session, user_name, old_password, new_password, description)
        await self._run(operation, timeout, unknown)
        if reset_connection:
            await self._connect_as(f"{user_name}:{new_password}")

    async def update_user(
        self,
        user_name: str,
        description: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.update_user(self._session, user_name, description), timeout, unknown)

    async def list_users(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        return await self._run(access.list_users(self._session), timeout, unknown)

    async def describe_user(
        self,
        user_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        return await self._run(access.describe_user(self._session, user_name), timeout, unknown)

    async def create_api_key(
        self,
        key_name: str,
        user_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> str:
        return await self._run(access.create_api_key(self._session, key_name, user_name), timeout, unknown)

    async def drop_api_key(
        self,
        key_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.drop_api_key(self._session, key_name), timeout, unknown)

    async def list_api_keys(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[dict[str, Any]]:
        return await self._run(access.list_api_keys(self._session), timeout, unknown)

    async def create_row_policy(
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
        return await self._run(
            access.create_row_policy(
                self._session, collection_name, policy_name, actions, using_expr, check_expr, roles, description
            ),
            timeout,
            unknown,
        )

    async def drop_row_policy(
        self,
        collection_name: str,
        policy_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.drop_row_policy(self._session, collection_name, policy_name), timeout, unknown)

    async def list_row_policies(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[dict[str, Any]]:
        return await self._run(access.list_row_policies(self._session, collection_name), timeout, unknown)

    async def create_role(
        self,
        role_name: str,
        timeout: float | None = None,
        description: str = "",
        **unknown: Never,
    ) -> None:
        return await self._run(access.create_role(self._session, role_name, description), timeout, unknown)

    async def alter_role(
        self,
        role_name: str,
        description: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.alter_role(self._session, role_name, description), timeout, unknown)

    async def drop_role(
        self,
        role_name: str,
        force_drop: bool = False,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.drop_role(self._session, role_name, force_drop), timeout, unknown)

    async def list_roles(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        return await self._run(access.list_roles(self._session), timeout, unknown)

    async def describe_role(
        self,
        role_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        return await self._run(access.describe_role(self._session, role_name), timeout, unknown)

    async def grant_role(
        self,
        user_name: str,
        role_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.bind_role(self._session, user_name, role_name, False), timeout, unknown)

    async def revoke_role(
        self,
        user_name: str,
        role_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.bind_role(self._session, user_name, role_name, True), timeout, unknown)

    async def grant_privilege(
        self,
        role_name: str,
        object_type: str,
        privilege: str,
        object_name: str,
        db_name: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            access.operate_privilege(self._session, role_name, object_type, privilege, object_name, db_name, False),
            timeout,
            unknown,
        )

    async def revoke_privilege(
        self,
        role_name: str,
        object_type: str,
        privilege: str,
        object_name: str,
        db_name: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            access.operate_privilege(self._session, role_name, object_type, privilege, object_name, db_name, True),
            timeout,
            unknown,
        )

    async def grant_privilege_v2(
        self,
        role_name: str,
        privilege: str,
        collection_name: str,
        db_name: str | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            access.operate_privilege_v2(self._session, role_name, privilege, collection_name, db_name, False),
            timeout,
            unknown,
        )

    async def revoke_privilege_v2(
        self,
        role_name: str,
        privilege: str,
        collection_name: str,
        db_name: str | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            access.operate_privilege_v2(self._session, role_name, privilege, collection_name, db_name, True),
            timeout,
            unknown,
        )

    async def create_privilege_group(
        self,
        group_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.create_privilege_group(self._session, group_name), timeout, unknown)

    async def drop_privilege_group(
        self,
        group_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(access.drop_privilege_group(self._session, group_name), timeout, unknown)

    async def list_privilege_groups(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[dict[str, Any]]:
        return await self._run(access.list_privilege_groups(self._session), timeout, unknown)

    async def add_privileges_to_group(
        self,
        group_name: str,
        privileges: Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            access.change_privilege_group(self._session, group_name, privileges, False), timeout, unknown
        )

    async def remove_privileges_from_group(
        self,
        group_name: str,
        privileges: Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            access.change_privilege_group(self._session, group_name, privileges, True), timeout, unknown
        )
