"""The awaited methods that keep a database in order. Documented at their blocking twins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never, TypeVar

from redkite.client.aio_access import AsyncAccess
from redkite.client.aio_changes import AsyncChanges
from redkite.client.aio_evolution import AsyncEvolution
from redkite.client.aio_hybrid import AsyncHybrid
from redkite.client.aio_imports import AsyncImports
from redkite.client.aio_iterators import AsyncIterators
from redkite.client.aio_keeping import AsyncKeeping
from redkite.client.aio_models import AsyncModels
from redkite.client.aio_nodes import AsyncNodes
from redkite.client.aio_text import AsyncText
from redkite.client.aio_upkeep import AsyncUpkeep
from redkite.client.operations import databases, indexes, loading, partitions
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.client.index_params import IndexParams

T = TypeVar("T")


class AsyncAdmin(
    AsyncKeeping,
    AsyncModels,
    AsyncText,
    AsyncAccess,
    AsyncUpkeep,
    AsyncNodes,
    AsyncEvolution,
    AsyncHybrid,
    AsyncIterators,
    AsyncImports,
    AsyncChanges,
):
    """Partitions, loading, indexes, aliases, databases and the server, awaited."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    # -- partitions --------------------------------------------------------------------------
    async def create_partition(
        self,
        collection_name: str,
        partition_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            partitions.create_partition(self._session, collection_name, partition_name), timeout, unknown
        )

    async def drop_partition(
        self,
        collection_name: str,
        partition_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            partitions.drop_partition(self._session, collection_name, partition_name), timeout, unknown
        )

    async def has_partition(
        self,
        collection_name: str,
        partition_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> bool:
        return await self._run(
            partitions.has_partition(self._session, collection_name, partition_name), timeout, unknown
        )

    async def list_partitions(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        return await self._run(partitions.list_partitions(self._session, collection_name), timeout, unknown)

    async def get_partition_stats(
        self,
        collection_name: str,
        partition_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, int]:
        return await self._run(
            partitions.get_partition_stats(self._session, collection_name, partition_name), timeout, unknown
        )

    # -- loading -----------------------------------------------------------------------------
    async def load_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        *,
        replica_number: int | None = None,
        resource_groups: Sequence[str] | None = None,
        load_fields: Sequence[str] | None = None,
        skip_load_dynamic_field: bool = False,
        priority: str | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            loading.load_collection(
                self._session,
                collection_name,
                replica_number,
                resource_groups,
                load_fields,
                skip_load_dynamic_field,
                priority,
            ),
            timeout,
            unknown,
        )

    async def release_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(loading.release_collection(self._session, collection_name), timeout, unknown)

    async def refresh_load(
        self,
        collection_name: str,
        partition_names: str | Sequence[str] | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        operation = loading.refresh_load(self._session, collection_name, partition_names)
        return await self._run(operation, timeout, unknown)

    async def load_partitions(
        self,
        collection_name: str,
        partition_names: str | Sequence[str],
        timeout: float | None = None,
        *,
        replica_number: int | None = None,
        resource_groups: Sequence[str] | None = None,
        load_fields: Sequence[str] | None = None,
        skip_load_dynamic_field: bool = False,
        priority: str | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            loading.load_partitions(
                self._session,
                collection_name,
                partition_names,
                replica_number,
                resource_groups,
                load_fields,
                skip_load_dynamic_field,
                priority,
            ),
            timeout,
            unknown,
        )

    async def release_partitions(
        self,
        collection_name: str,
        partition_names: str | Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            loading.release_partitions(self._session, collection_name, partition_names), timeout, unknown
        )

    async def get_load_state(
        self,
        collection_name: str,
        partition_names: str | Sequence[str] | None = None,
        timeout: float | None = None,
        *,
        partition_name: str | None = "",
        **unknown: Never,
    ) -> dict[str, Any]:
        operation = loading.get_load_state(self._session, collection_name, partition_names or partition_name)
        return await self._run(operation, timeout, unknown)

    # -- indexes -----------------------------------------------------------------------------
    async def create_index(
        self,
        collection_name: str,
        index_params: IndexParams,
        timeout: float | None = None,
        *,
        sync: bool = True,
        **unknown: Never,
    ) -> None:
        return await self._run(
            indexes.create_index(self._session, collection_name, index_params, sync), timeout, unknown
        )

    async def list_indexes(
        self,
        collection_name: str,
        field_name: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        return await self._run(indexes.list_indexes(self._session, collection_name, field_name), timeout, unknown)

    async def describe_index(
        self,
        collection_name: str,
        index_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any] | None:
        return await self._run(indexes.describe_index(self._session, collection_name, index_name), timeout, unknown)

    async def alter_index_properties(
        self,
        collection_name: str,
        index_name: str,
        properties: dict[str, Any],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Set properties of an index: `mmap.enabled`, `warmup`. The collection must be released."""
        return await self._run(
            indexes.alter_index_properties(self._session, collection_name, index_name, properties), timeout, unknown
        )

    async def drop_index_properties(
        self,
        collection_name: str,
        index_name: str,
        property_keys: Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Take properties of an index away. The collection must be released."""
        return await self._run(
            indexes.drop_index_properties(self._session, collection_name, index_name, property_keys), timeout, unknown
        )

    async def drop_index(
        self,
        collection_name: str,
        index_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(indexes.drop_index(self._session, collection_name, index_name), timeout, unknown)

    # -- aliases -----------------------------------------------------------------------------
    async def create_alias(
        self,
        collection_name: str,
        alias: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(partitions.create_alias(self._session, collection_name, alias), timeout, unknown)

    async def drop_alias(
        self,
        alias: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(partitions.drop_alias(self._session, alias), timeout, unknown)

    async def alter_alias(
        self,
        collection_name: str,
        alias: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(partitions.alter_alias(self._session, collection_name, alias), timeout, unknown)

    async def describe_alias(
        self,
        alias: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, str]:
        return await self._run(partitions.describe_alias(self._session, alias), timeout, unknown)

    async def list_aliases(
        self,
        collection_name: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        return await self._run(partitions.list_aliases(self._session, collection_name), timeout, unknown)

    # -- databases ---------------------------------------------------------------------------
    async def create_database(
        self,
        db_name: str,
        properties: dict[str, Any] | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(databases.create_database(self._session, db_name, properties), timeout, unknown)

    async def drop_database(
        self,
        db_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(databases.drop_database(self._session, db_name), timeout, unknown)

    async def list_databases(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        return await self._run(databases.list_databases(self._session), timeout, unknown)

    async def describe_database(
        self,
        db_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, str]:
        return await self._run(databases.describe_database(self._session, db_name), timeout, unknown)

    async def use_database(
        self,
        db_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(databases.use_database(self._session, db_name), timeout, unknown)

    async def using_database(
        self,
        db_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self.use_database(db_name, timeout, **unknown)

    # -- server ------------------------------------------------------------------------------
    async def flush(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(databases.flush(self._session, collection_name), timeout, unknown)

    async def flush_all(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(databases.flush_all(self._session), timeout, unknown)

    async def get_flush_all_state(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> bool:
        return await self._run(databases.get_flush_all_state(self._session), timeout, unknown)

    async def get_server_version(
        self,
        timeout: float | None = None,
        detail: bool = False,
        **unknown: Never,
    ) -> Any:
        return await self._run(databases.get_server_version(self._session, detail), timeout, unknown)
