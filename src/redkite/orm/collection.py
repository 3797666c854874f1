"""A collection, as an object."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from redkite.client.index_params import IndexParams
from redkite.client.placement import Replica
from redkite.client.schema import CollectionSchema, FieldSchema
from redkite.errors import (
    CollectionNotFound,
    IndexNotFound,
    MilvusException,
    ParamError,
    PartitionNotFound,
    SchemaNotReadyException,
    Timeout,
)
from redkite.orm.connections import connections
from redkite.orm.index import Index, flat
from redkite.orm.mutation import MutationResult, Pending, run
from redkite.orm.pages import SearchPages
from redkite.orm.partition import Partition
from redkite.orm.schemas import schema_of_frame

if TYPE_CHECKING:
    from redkite.client import MilvusClient, SearchResult

_POLL_SECONDS = 0.1
_NOTHING_TO_DO = -1
"""The job of a compaction that has nothing to do."""


class Collection:
    """A collection that exists, or that a schema makes.

    Collection("birds")                     # raises SchemaNotReadyException when there is none
    Collection("birds", schema)             # made unless it is there; a different one of that name is an error
    """

    def __init__(
        self, name: str, schema: CollectionSchema | None = None, using: str = "default", **options: Any
    ) -> None:
        """
        Args:
            name: Of the collection, or an alias.
            schema: Its fields, if it is to be made.
            using: The name of a connection.
            **options: `shards_num` or `num_shards`, `num_partitions`, `consistency_level`, `properties`, `timeout`.
        """
        self._name = name
        self._using = using
        self._schema: CollectionSchema | None = None
        self._compactions: dict[bool, int] = {}
        exists = self.client.has_collection(name)
        if schema is None:
            if not exists:
                raise SchemaNotReadyException(
                    f"Collection {name!r} not exist, or you can pass in schema to create one."
                )
            return
        if not isinstance(schema, CollectionSchema):
            raise SchemaNotReadyException("Schema type must be schema.CollectionSchema.")
        if exists:
            if self.schema != schema:
                raise SchemaNotReadyException(
                    "The collection already exist, but the schema is not the same as the schema passed in."
                )
            return
        shards = options.pop("shards_num", None)
        if shards is not None:
            options.setdefault("num_shards", shards)
        self.client.create_collection(name, schema=schema, **options)

    @classmethod
    def construct_from_dataframe(cls, name: str, dataframe: Any, **options: Any) -> tuple[Collection, Any]:
        """A collection with the columns of a data frame as fields, filled with its rows.

        `primary_field=` names the key; `auto_id=True` has the server make keys. Returns it and what the insert said.
        """
        schema = schema_of_frame(dataframe, options.pop("primary_field", ""), options.pop("auto_id", False))
        collection = cls(name, schema, options.pop("using", "default"), **options)
        return collection, collection.insert(dataframe)

    # -- what it is -----------------------------------------------------------------------------
    @property
    def client(self) -> MilvusClient:
        """Of its connection."""
        return connections.client(self._using)

    @property
    def name(self) -> str:
        return self._name

    @property
    def schema(self) -> CollectionSchema:
        """As the server describes it, once for each object."""
        if self._schema is None:
            self._schema = CollectionSchema.construct_from_dict(self.describe())
        return self._schema

    @property
    def description(self) -> str:
        return self.schema.description

    @property
    def primary_field(self) -> FieldSchema | None:
        return next((field for field in self.schema.fields if field.is_primary), None)

    @property
    def num_shards(self) -> int:
        return int(self.describe()["num_shards"])

    @property
    def num_entities(self) -> int:
        """Rows, those included that are deleted and not compacted yet."""
        return int(self.client.get_collection_stats(self._name)["row_count"])

    @property
    def is_empty(self) -> bool:
        return self.num_entities == 0

    @property
    def aliases(self) -> list[str]:
        return list(self.client.list_aliases(self._name)["aliases"])

    def describe(self, timeout: float | None = None) -> dict[str, Any]:
        return self.client.describe_collection(self._name, timeout=timeout)

    def set_properties(self, properties: dict[str, Any], timeout: float | None = None) -> None:
        self.client.alter_collection_properties(self._name, properties, timeout=timeout)

    # -- its life -------------------------------------------------------------------------------
    def load(
        self,
        partition_names: list[str] | None = None,
        replica_number: int | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        if replica_number is not None:
            options["replica_number"] = replica_number
        if options.pop("_refresh", False):
            self.client.refresh_load(self._name, timeout=timeout)
        elif partition_names:
            self.client.load_partitions(self._name, partition_names, timeout=timeout, **options)
        else:
            self.client.load_collection(self._name, timeout=timeout, **options)

    def release(self, timeout: float | None = None) -> None:
        self.client.release_collection(self._name, timeout=timeout)

    def flush(self, timeout: float | None = None) -> None:
        self.client.flush(self._name, timeout=timeout)

    def truncate(self, timeout: float | None = None) -> None:
        self.client.truncate_collection(self._name, timeout=timeout)

    def drop(self, timeout: float | None = None) -> None:
        self.client.drop_collection(self._name, timeout=timeout)

    # -- rows -----------------------------------------------------------------------------------
    def insert(
        self, data: Any, partition_name: str | None = None, timeout: float | None = None, **options: Any
    ) -> MutationResult | Pending[MutationResult]:
        """Insert a list of columns in the order of the schema, rows as dicts, or a data frame."""
        return run(lambda: self._written(self.client.insert(
            self._name, data, timeout=timeout, partition_name=partition_name or "", **options
        )), options)  # fmt: skip

    def upsert(
        self, data: Any, partition_name: str | None = None, timeout: float | None = None, **options: Any
    ) -> MutationResult | Pending[MutationResult]:
        return run(lambda: self._written(self.client.upsert(
            self._name, data, timeout=timeout, partition_name=partition_name or "", **options
        )), options)  # fmt: skip

    def delete(
        self, expr: str, partition_name: str | None = None, timeout: float | None = None, **options: Any
    ) -> MutationResult | Pending[MutationResult]:
        return run(lambda: self._written(self.client.delete(
            self._name, filter=expr, timeout=timeout, partition_name=partition_name or "", **options
        )), options)  # fmt: skip

    def _written(self, answer: dict[str, Any]) -> MutationResult:
        return MutationResult(answer, self.client.last_write_timestamp(self._name))

    # -- reads ----------------------------------------------------------------------------------
    def search(
        self,
        data: Any,
        anns_field: str,
        param: dict[str, Any],
        limit: int,
        expr: str | None = None,
        partition_names: list[str] | None = None,
        output_fields: list[str] | None = None,
        timeout: float | None = None,
        round_decimal: int = -1,
        ranker: Any = None,
        function_chains: Any = None,
        highlighter: Any = None,
        search_aggregation: Any = None,
        **options: Any,
    ) -> SearchResult | Pending[SearchResult]:
        """`param` is `{"metric_type": …, "params": {"ef": 64}}`; an `offset` may stand in it."""
        kinds = {
            "ranker": ranker, "function_chains": function_chains, "highlighter": highlighter,
            "search_aggregation": search_aggregation,
        }  # fmt: skip
        options.update((key, value) for key, value in kinds.items() if value is not None)
        return run(lambda: self.client.search(
            self._name, data, filter=expr or "", limit=limit, output_fields=output_fields, search_params=param,
            timeout=timeout, partition_names=partition_names, anns_field=anns_field, round_decimal=round_decimal,
            **options,
        ), options)  # fmt: skip

    def hybrid_search(
        self,
        reqs: list[Any],
        rerank: Any,
        limit: int,
        partition_names: list[str] | None = None,
        output_fields: list[str] | None = None,
        timeout: float | None = None,
        round_decimal: int = -1,
        ranker: Any = None,
        **options: Any,
    ) -> SearchResult | Pending[SearchResult]:
        """`ranker` is another name of `rerank`."""
        return run(lambda: self.client.hybrid_search(
            self._name, reqs, ranker if rerank is None else rerank, limit=limit, output_fields=output_fields,
            timeout=timeout, partition_names=partition_names, round_decimal=round_decimal, **options,
        ), options)  # fmt: skip

    def query(
        self,
        expr: str,
        output_fields: list[str] | None = None,
        partition_names: list[str] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        return run(lambda: self.client.query(
            self._name, filter=expr, output_fields=output_fields, timeout=timeout, partition_names=partition_names,
            **options,
        ), options)  # fmt: skip

    def search_iterator(
        self,
        data: Any,
        anns_field: str,
        param: dict[str, Any],
        batch_size: int = 1000,
        limit: int = -1,
        expr: str | None = None,
        partition_names: list[str] | None = None,
        output_fields: list[str] | None = None,
        timeout: float | None = None,
        round_decimal: int = -1,
        **options: Any,
    ) -> SearchPages:
        pages = self.client.search_iterator(
            self._name, data, batch_size=batch_size, filter=expr, limit=limit, output_fields=output_fields,
            search_params=param, timeout=timeout, partition_names=partition_names, anns_field=anns_field,
            round_decimal=round_decimal, **options,
        )  # fmt: skip
        return SearchPages(pages)

    def query_iterator(
        self,
        batch_size: int = 1000,
        limit: int = -1,
        expr: str | None = None,
        output_fields: list[str] | None = None,
        partition_names: list[str] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        return self.client.query_iterator(
            self._name, batch_size=batch_size, limit=limit, filter=expr or "", output_fields=output_fields,
            partition_names=partition_names, timeout=timeout, **options,
        )  # fmt: skip

    # -- partitions -----------------------------------------------------------------------------
    @property
    def partitions(self) -> list[Partition]:
        return [Partition(self, name, construct_only=True) for name in self.client.list_partitions(self._name)]

    def partition(self, partition_name: str) -> Partition:
        """One that exists. Raises PartitionNotFound."""
        if not self.has_partition(partition_name):
            raise PartitionNotFound.named(partition_name)
        return Partition(self, partition_name, construct_only=True)

    def create_partition(self, partition_name: str, description: str = "", **options: Any) -> Partition:
        if self.has_partition(partition_name):
            raise MilvusException("Partition already exist.")
        return Partition(self, partition_name, description, **options)

    def has_partition(self, partition_name: str, timeout: float | None = None) -> bool:
        return self.client.has_partition(self._name, partition_name, timeout=timeout)

    def drop_partition(self, partition_name: str, timeout: float | None = None) -> None:
        self.client.drop_partition(self._name, partition_name, timeout=timeout)

    # -- indexes --------------------------------------------------------------------------------
    @property
    def indexes(self) -> list[Index]:
        client = self.client
        described = (client.describe_index(self._name, name) for name in client.list_indexes(self._name))
        return [Index.of(self, found) for found in described if found is not None]

    def index(self, index_name: str = "") -> Index:
        """The index of that name, or the only one. Raises IndexNotFound, or ParamError when there are several."""
        found = [index for index in self.indexes if index_name in ("", index.index_name)]
        if not found:
            raise IndexNotFound.named(index_name)
        if len(found) > 1:
            names = ", ".join(index.index_name for index in found)
            raise ParamError(f"there are several indexes, choose one with index_name: {names}")
        return found[0]

    def create_index(
        self,
        field_name: str,
        index_params: dict[str, Any] | None = None,
        timeout: float | None = None,
        index_name: str = "",
        **options: Any,
    ) -> None:
        wanted = IndexParams()
        wanted.add_index(field_name, index_name=index_name, **flat(index_params or {}))
        self.client.create_index(self._name, wanted, timeout=timeout, **options)

    def alter_index(self, index_name: str, extra_params: dict[str, Any], timeout: float | None = None) -> None:
        self.client.alter_index_properties(self._name, index_name, extra_params, timeout=timeout)

    def has_index(self, timeout: float | None = None, index_name: str = "") -> bool:
        names = self.client.list_indexes(self._name, timeout=timeout)
        return index_name in names if index_name else bool(names)

    def drop_index(self, timeout: float | None = None, index_name: str = "") -> None:
        self.client.drop_index(self._name, self.index(index_name).index_name, timeout=timeout)

    # -- compaction -----------------------------------------------------------------------------
    def compact(self, is_clustering: bool = False, timeout: float | None = None, **options: Any) -> None:
        """Begin; the other methods are about the compaction of that kind that this object began last."""
        self._compactions[is_clustering] = self.client.compact(self._name, is_clustering, timeout=timeout, **options)

    def get_replicas(self, timeout: float | None = None) -> Replica:
        """The copies of what is loaded."""
        return Replica(self.client.describe_replica(self._name, timeout=timeout))

    def get_compaction_state(self, timeout: float | None = None, is_clustering: bool = False) -> str:
        job = self._compactions.get(is_clustering, _NOTHING_TO_DO)
        return "Completed" if job == _NOTHING_TO_DO else self.client.get_compaction_state(job, timeout)

    def get_compaction_plans(self, timeout: float | None = None, is_clustering: bool = False) -> Any:
        return self.client.get_compaction_plans(self._compactions.get(is_clustering, _NOTHING_TO_DO), timeout)

    def wait_for_compaction_completed(self, timeout: float | None = None, is_clustering: bool = False) -> str:
        """Raises Timeout after so many seconds."""
        limit = None if timeout is None else time.monotonic() + timeout
        while (state := self.get_compaction_state(is_clustering=is_clustering)) == "Executing":
            if limit is not None and time.monotonic() > limit:
                raise Timeout(f"the compaction of {self._name} did not end within {timeout} s")
            time.sleep(_POLL_SECONDS)
        return state

    def __repr__(self) -> str:
        try:
            return f"<Collection {self._name}: {self.schema}>"
        except CollectionNotFound:
            return f"<Collection {self._name}, which was dropped>"
