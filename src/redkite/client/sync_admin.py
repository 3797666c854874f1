"""The blocking methods that keep a database in order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never, TypeVar

from redkite.client.operations import databases, indexes, loading, partitions
from redkite.client.session import Operation
from redkite.client.sync_access import SyncAccess
from redkite.client.sync_changes import SyncChanges
from redkite.client.sync_evolution import SyncEvolution
from redkite.client.sync_hybrid import SyncHybrid
from redkite.client.sync_imports import SyncImports
from redkite.client.sync_iterators import SyncIterators
from redkite.client.sync_keeping import SyncKeeping
from redkite.client.sync_models import SyncModels
from redkite.client.sync_nodes import SyncNodes
from redkite.client.sync_text import SyncText
from redkite.client.sync_upkeep import SyncUpkeep

if TYPE_CHECKING:
    from redkite.client.index_params import IndexParams

T = TypeVar("T")


class SyncAdmin(
    SyncKeeping,
    SyncModels,
    SyncText,
    SyncAccess,
    SyncUpkeep,
    SyncNodes,
    SyncEvolution,
    SyncHybrid,
    SyncIterators,
    SyncImports,
    SyncChanges,
):
    """Partitions, loading, indexes, aliases, databases and the server, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    # -- partitions --------------------------------------------------------------------------
    def create_partition(
        self,
        collection_name: str,
        partition_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Create a partition. One that exists is no error."""
        return self._run(partitions.create_partition(self._session, collection_name, partition_name), timeout, unknown)

    def drop_partition(
        self,
        collection_name: str,
        partition_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop a released partition and its rows. One that does not exist is no error."""
        return self._run(partitions.drop_partition(self._session, collection_name, partition_name), timeout, unknown)

    def has_partition(
        self,
        collection_name: str,
        partition_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> bool:
        """Whether the collection has a partition of that name."""
        return self._run(partitions.has_partition(self._session, collection_name, partition_name), timeout, unknown)

    def list_partitions(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        """The names of the collection's partitions."""
        return self._run(partitions.list_partitions(self._session, collection_name), timeout, unknown)

    def get_partition_stats(
        self,
        collection_name: str,
        partition_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, int]:
        """`{"row_count": n}`, cheap and approximate."""
        return self._run(
            partitions.get_partition_stats(self._session, collection_name, partition_name), timeout, unknown
        )

    # -- loading -----------------------------------------------------------------------------
    def load_collection(
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
        """Load a collection to be searched, and come back when it is.

        Args:
            collection_name: The collection.
            timeout: Seconds.
            replica_number: Copies of it; without, as its properties or those of its database say, else one.
            resource_groups: One for all copies, or one for each.
            load_fields: The fields that reads may name: keys and at least one vector among them; by default all.
            skip_load_dynamic_field: Reads may not name keys beyond the fields.
            priority: `"HIGH"`.

        Raises:
            NodesNotEnough: A resource group has fewer nodes than it is to hold copies.
        """
        return self._run(
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

    def release_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Unload a collection. One that is not loaded is no error."""
        return self._run(loading.release_collection(self._session, collection_name), timeout, unknown)

    def refresh_load(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Load what has come to a loaded collection since, and come back when it is."""
        return self._run(loading.refresh_load(self._session, collection_name), timeout, unknown)

    def load_partitions(
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
        """Load some partitions, and come back when they are."""
        return self._run(
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

    def release_partitions(
        self,
        collection_name: str,
        partition_names: str | Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Unload some partitions."""
        return self._run(loading.release_partitions(self._session, collection_name, partition_names), timeout, unknown)

    def get_load_state(
        self,
        collection_name: str,
        partition_name: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        """`{"state": LoadState}`, with `"progress"` in percent while it is loading."""
        return self._run(loading.get_load_state(self._session, collection_name, partition_name), timeout, unknown)

    # -- indexes -----------------------------------------------------------------------------
    def create_index(
        self,
        collection_name: str,
        index_params: IndexParams,
        timeout: float | None = None,
        *,
        sync: bool = True,
        **unknown: Never,
    ) -> None:
        """Create the indexes listed; with `sync`, come back when they are built."""
        return self._run(indexes.create_index(self._session, collection_name, index_params, sync), timeout, unknown)

    def list_indexes(
        self,
        collection_name: str,
        field_name: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        """The names of a collection's indexes, or of one field's."""
        return self._run(indexes.list_indexes(self._session, collection_name, field_name), timeout, unknown)

    def describe_index(
        self,
        collection_name: str,
        index_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any] | None:
        """Settings, state and row counts of an index; None when there is none of that name."""
        return self._run(indexes.describe_index(self._session, collection_name, index_name), timeout, unknown)

    def alter_index_properties(
        self,
        collection_name: str,
        index_name: str,
        properties: dict[str, Any],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Set properties of an index: `mmap.enabled`, `warmup`. The collection must be released."""
        return self._run(
            indexes.alter_index_properties(self._session, collection_name, index_name, properties), timeout, unknown
        )

    def drop_index_properties(
        self,
        collection_name: str,
        index_name: str,
        property_keys: Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Take properties of an index away. The collection must be released."""
        return self._run(
            indexes.drop_index_properties(self._session, collection_name, index_name, property_keys), timeout, unknown
        )

    def drop_index(
        self,
        collection_name: str,
        index_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop an index. One that does not exist is no error."""
        return self._run(indexes.drop_index(self._session, collection_name, index_name), timeout, unknown)

    # -- aliases -----------------------------------------------------------------------------
    def create_alias(
        self,
        collection_name: str,
        alias: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Give a collection another name."""
        return self._run(partitions.create_alias(self._session, collection_name, alias), timeout, unknown)

    def drop_alias(
        self,
        alias: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop an alias. One that does not exist is no error."""
        return self._run(partitions.drop_alias(self._session, alias), timeout, unknown)

    def alter_alias(
        self,
        collection_name: str,
        alias: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Point an existing alias at another collection, in one step."""
        return self._run(partitions.alter_alias(self._session, collection_name, alias), timeout, unknown)

    def describe_alias(
        self,
        alias: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, str]:
        """`{"alias", "collection_name", "db_name"}`"""
        return self._run(partitions.describe_alias(self._session, alias), timeout, unknown)

    def list_aliases(
        self,
        collection_name: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        """`{"aliases": [...], "collection_name", "db_name"}` of one collection, or of all."""
        return self._run(partitions.list_aliases(self._session, collection_name), timeout, unknown)

    # -- databases ---------------------------------------------------------------------------
    def create_database(
        self,
        db_name: str,
        properties: dict[str, Any] | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Create a database."""
        return self._run(databases.create_database(self._session, db_name, properties), timeout, unknown)

    def drop_database(
        self,
        db_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop an empty database."""
        return self._run(databases.drop_database(self._session, db_name), timeout, unknown)

    def list_databases(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        """The names of all databases."""
        return self._run(databases.list_databases(self._session), timeout, unknown)

    def describe_database(
        self,
        db_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, str]:
        """`{"name": ...}` and the database's properties."""
        return self._run(databases.describe_database(self._session, db_name), timeout, unknown)

    def use_database(
        self,
        db_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Look up names in another database from now on.

        Raises:
            DatabaseNotFound: There is none of that name; the client stays where it was.
        """
        return self._run(databases.use_database(self._session, db_name), timeout, unknown)

    def using_database(
        self,
        db_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """The older name of `use_database`."""
        return self.use_database(db_name, timeout, **unknown)

    # -- server ------------------------------------------------------------------------------
    def flush(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Seal and store what was written, and come back when it is. Writes are durable without it."""
        return self._run(databases.flush(self._session, collection_name), timeout, unknown)

    def flush_all(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Flush every collection of the database."""
        return self._run(databases.flush_all(self._session), timeout, unknown)

    def get_flush_all_state(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> bool:
        """Whether everything written until now is sealed and stored."""
        return self._run(databases.get_flush_all_state(self._session), timeout, unknown)

    def get_server_version(
        self,
        timeout: float | None = None,
        detail: bool = False,
        **unknown: Never,
    ) -> Any:
        """The server's version; with `detail` a dict that also says how it was built and is deployed."""
        return self._run(databases.get_server_version(self._session, detail), timeout, unknown)
