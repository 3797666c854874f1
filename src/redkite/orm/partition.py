"""A partition of a collection, as an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redkite.errors import ParamError
from redkite.orm.mutation import MutationResult, Pending

if TYPE_CHECKING:
    from redkite.client import SearchResult
    from redkite.client.placement import Replica
    from redkite.orm.collection import Collection

Written = MutationResult | Pending[MutationResult]


class Partition:
    """Made with the object, unless it is there already."""

    def __init__(self, collection: Collection | str, name: str, description: str = "", **options: Any) -> None:
        from redkite.orm.collection import Collection

        if description:
            raise ParamError("a partition has no description: leave it out")
        using = options.pop("using", "default")
        self._collection = Collection(collection, using=using) if isinstance(collection, str) else collection
        self._name = name
        if not options.pop("construct_only", False) and not self._collection.has_partition(name):
            self._collection.client.create_partition(self._collection.name, name, **options)

    @property
    def name(self) -> str:
        return self._name

    @property
    def description(self) -> str:
        """Partitions have none."""
        return ""

    @property
    def is_empty(self) -> bool:
        return self.num_entities == 0

    @property
    def num_entities(self) -> int:
        """Rows, those included that are deleted and not compacted yet."""
        stats = self._collection.client.get_partition_stats(self._collection.name, self._name)
        return int(stats["row_count"])

    def drop(self, timeout: float | None = None) -> None:
        self._collection.client.drop_partition(self._collection.name, self._name, timeout=timeout)

    def load(self, replica_number: int | None = None, timeout: float | None = None, **options: Any) -> None:
        if replica_number is not None:
            options["replica_number"] = replica_number
        self._collection.client.load_partitions(self._collection.name, [self._name], timeout=timeout, **options)

    def get_replicas(self, timeout: float | None = None) -> Replica:
        """The copies of what is loaded of the collection."""
        return self._collection.get_replicas(timeout)

    def release(self, timeout: float | None = None) -> None:
        self._collection.client.release_partitions(self._collection.name, [self._name], timeout=timeout)

    def flush(self, timeout: float | None = None) -> None:
        """Seal what is growing in the collection."""
        self._collection.flush(timeout=timeout)

    def insert(self, data: Any, timeout: float | None = None, **options: Any) -> Written:
        return self._collection.insert(data, self._name, timeout=timeout, **options)

    def upsert(self, data: Any, timeout: float | None = None, **options: Any) -> Written:
        return self._collection.upsert(data, self._name, timeout=timeout, **options)

    def delete(self, expr: str, timeout: float | None = None, **options: Any) -> Written:
        return self._collection.delete(expr, self._name, timeout=timeout, **options)

    def search(
        self,
        data: Any,
        anns_field: str,
        param: dict[str, Any],
        limit: int,
        expr: str | None = None,
        output_fields: list[str] | None = None,
        timeout: float | None = None,
        round_decimal: int = -1,
        **options: Any,
    ) -> SearchResult | Pending[SearchResult]:
        return self._collection.search(
            data, anns_field, param, limit, expr, [self._name], output_fields, timeout, round_decimal, **options
        )

    def hybrid_search(
        self,
        reqs: list[Any],
        rerank: Any,
        limit: int,
        output_fields: list[str] | None = None,
        timeout: float | None = None,
        round_decimal: int = -1,
        **options: Any,
    ) -> SearchResult | Pending[SearchResult]:
        return self._collection.hybrid_search(
            reqs, rerank, limit, [self._name], output_fields, timeout, round_decimal, **options
        )

    def query(
        self, expr: str, output_fields: list[str] | None = None, timeout: float | None = None, **options: Any
    ) -> Any:
        return self._collection.query(expr, output_fields, [self._name], timeout, **options)

    def __repr__(self) -> str:
        return f'{{"name":"{self._name}","collection_name":"{self._collection.name}","description":""}}'
