"""The waist, going down: everything that can be asked of Redkite, as frozen structs.

Each class names its result in `results.py` where it has one; the others answer `Done`. Front ends only translate to
these and back. An empty `database` means `default`. A collection may be named by an alias, except where noted.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.model.schema import CollectionSchema
from redkite.model.types import ConsistencyLevel, DataType


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all requests. `database` is where names are looked up."""

    database: str = ""


# -- session ------------------------------------------------------------------------------------
class Connect(Request, frozen=True):
    """-> ServerInfo. A missing database is an error (800)."""

    client: dict[str, str] = {}


class GetVersion(Request, frozen=True):
    """-> Version"""


class CheckHealth(Request, frozen=True):
    """-> Health"""


class GetComponentStates(Request, frozen=True):
    """-> Health"""


class AllocTimestamp(Request, frozen=True):
    """-> Timestamp"""


# -- databases ----------------------------------------------------------------------------------
class CreateDatabase(Request, frozen=True):
    """`database` is the new name. Properties are refused in this version."""

    properties: dict[str, str] = {}


class DropDatabase(Request, frozen=True):
    pass


class ListDatabases(Request, frozen=True):
    """-> Databases"""


class DescribeDatabase(Request, frozen=True):
    """-> DatabaseInfo"""


# -- collections --------------------------------------------------------------------------------
class CreateCollection(Request, frozen=True):
    schema: CollectionSchema
    shards: int = 0
    """0 means 1."""
    partitions: int = 0
    """Only with a partition key; 0 means the default number."""
    consistency_level: ConsistencyLevel = ConsistencyLevel.Bounded
    properties: dict[str, str] = {}


class DropCollection(Request, frozen=True):
    """Real name only, no alias. Missing is success."""

    collection: str


class HasCollection(Request, frozen=True):
    """-> Flag"""

    collection: str


class DescribeCollection(Request, frozen=True):
    """-> CollectionInfo. By name or alias, else by id."""

    collection: str = ""
    collection_id: int = 0


class ShowCollections(Request, frozen=True):
    """-> Collections"""

    loaded_only: bool = False


class RenameCollection(Request, frozen=True):
    """Real name only, no alias."""

    collection: str
    new_name: str
    new_database: str = ""


class TruncateCollection(Request, frozen=True):
    collection: str


class GetCollectionStatistics(Request, frozen=True):
    """-> RowCount"""

    collection: str


# -- partitions ---------------------------------------------------------------------------------
class CreatePartition(Request, frozen=True):
    collection: str
    partition: str


class DropPartition(Request, frozen=True):
    collection: str
    partition: str


class HasPartition(Request, frozen=True):
    """-> Flag"""

    collection: str
    partition: str


class ShowPartitions(Request, frozen=True):
    """-> Partitions"""

    collection: str


class GetPartitionStatistics(Request, frozen=True):
    """-> RowCount"""

    collection: str
    partition: str


# -- aliases ------------------------------------------------------------------------------------
class CreateAlias(Request, frozen=True):
    collection: str
    alias: str


class DropAlias(Request, frozen=True):
    alias: str


class AlterAlias(Request, frozen=True):
    collection: str
    alias: str


class DescribeAlias(Request, frozen=True):
    """-> AliasInfo"""

    alias: str


class ListAliases(Request, frozen=True):
    """-> Aliases"""

    collection: str = ""


# -- load state ---------------------------------------------------------------------------------
class LoadCollection(Request, frozen=True):
    """Returns at once; progress by GetLoadingProgress."""

    collection: str
    replicas: int = 1
    refresh: bool = False
    load_fields: tuple[str, ...] = ()
    skip_dynamic_field: bool = False
    resource_groups: tuple[str, ...] = ()


class ReleaseCollection(Request, frozen=True):
    collection: str


class LoadPartitions(Request, frozen=True):
    collection: str
    partitions: tuple[str, ...]
    replicas: int = 1
    refresh: bool = False
    load_fields: tuple[str, ...] = ()
    skip_dynamic_field: bool = False
    resource_groups: tuple[str, ...] = ()


class ReleasePartitions(Request, frozen=True):
    collection: str
    partitions: tuple[str, ...]


class GetLoadingProgress(Request, frozen=True):
    """-> LoadProgress. Not loaded: error 101."""

    collection: str
    partitions: tuple[str, ...] = ()


class GetLoadState(Request, frozen=True):
    """-> LoadStateInfo. A missing collection answers NotExist."""

    collection: str
    partitions: tuple[str, ...] = ()


# -- indexes ------------------------------------------------------------------------------------
class CreateIndex(Request, frozen=True):
    """Builds in the background; state by DescribeIndex. `params` as sent (index_type, metric_type, M …), all text."""

    collection: str
    field: str
    index_name: str = ""
    params: dict[str, str] = {}


class DescribeIndex(Request, frozen=True):
    """-> Indexes. Empty `index_name` means all (or those of `field`); none at all is error 700."""

    collection: str
    index_name: str = ""
    field: str = ""


class DropIndex(Request, frozen=True):
    """By index name or field. Missing is success."""

    collection: str
    index_name: str = ""
    field: str = ""


# -- data ---------------------------------------------------------------------------------------
class Insert(Request, frozen=True):
    """-> Mutation. `rows` has one column per given field, named by the field, typed by `batch.arrow_type`; null is a
    null or the default. Dynamic values are one `$meta` binary column of JSON objects."""

    collection: str
    rows: pa.RecordBatch
    partition: str = ""
    schema_timestamp: int = 0
    """`update_timestamp` of the schema the client used; 0 = unknown. Older than the collection's: error 109."""


class Upsert(Request, frozen=True):
    """-> Mutation. Replaces rows of equal primary key."""

    collection: str
    rows: pa.RecordBatch
    partition: str = ""
    schema_timestamp: int = 0
    partial: bool = False


class Delete(Request, frozen=True):
    """-> Mutation (`count`; no ids)."""

    collection: str
    filter: str
    partition: str = ""
    filter_params: dict[str, Any] = {}


class Flush(Request, frozen=True):
    """-> Flushed"""

    collections: tuple[str, ...]


class GetFlushState(Request, frozen=True):
    """-> Flag"""

    collection: str = ""
    segment_ids: tuple[int, ...] = ()
    flush_timestamp: int = 0


class FlushAll(Request, frozen=True):
    """-> Timestamp. Empty database: every database."""


class GetFlushAllState(Request, frozen=True):
    """-> Flag"""

    timestamp: int = 0


# -- reads --------------------------------------------------------------------------------------
class Queries(msgspec.Struct, frozen=True, kw_only=True):
    """Query vectors of one search. `vectors`: (nq, dim) float32 for FLOAT_VECTOR; for other types the raw values, one
    `bytes` per query, in `raw`."""

    data_type: DataType
    vectors: npt.NDArray[np.float32] | None = None
    raw: tuple[bytes, ...] = ()

    @property
    def nq(self) -> int:
        return len(self.raw) if self.vectors is None else len(self.vectors)


class Search(Request, frozen=True):
    """-> Hits. `params` are the index's search parameters as given (`ef`, `nprobe`, `radius` …)."""

    collection: str
    queries: Queries
    limit: int
    anns_field: str = ""
    """May be empty when the collection has one vector field."""
    filter: str = ""
    filter_params: dict[str, Any] = {}
    output_fields: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    offset: int = 0
    metric: str = ""
    """Empty: the index's metric."""
    params: dict[str, Any] = {}
    round_decimal: int = -1
    ignore_growing: bool = False
    consistency_level: ConsistencyLevel | None = None
    """None: the collection's own level."""
    guarantee_timestamp: int = 0


class Query(Request, frozen=True):
    """-> Rows. `output_fields` may be names, `*`, dynamic keys, or `count(*)` alone. `limit` None means no limit."""

    collection: str
    filter: str = ""
    filter_params: dict[str, Any] = {}
    output_fields: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    limit: int | None = None
    offset: int = 0
    ignore_growing: bool = False
    consistency_level: ConsistencyLevel | None = None
    guarantee_timestamp: int = 0
