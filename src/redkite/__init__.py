"""Redkite: a vector database that speaks Milvus's protocols, in your process or behind one port.

    from redkite import MilvusClient

    client = MilvusClient("./demo.db")                    # embedded: the engine in this process
    client = MilvusClient("http://localhost:19530")       # a server: Redkite's, or Milvus's

`import redkite` loads nothing but this file; a name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redkite.client import AnnSearchRequest as AnnSearchRequest
    from redkite.client import AsyncMilvusClient as AsyncMilvusClient
    from redkite.client import BaseRanker as BaseRanker
    from redkite.client import CollectionSchema as CollectionSchema
    from redkite.client import EmbeddingList as EmbeddingList
    from redkite.client import Evaluation as Evaluation
    from redkite.client import FieldSchema as FieldSchema
    from redkite.client import Function as Function
    from redkite.client import FunctionChain as FunctionChain
    from redkite.client import FunctionChainStage as FunctionChainStage
    from redkite.client import FunctionScore as FunctionScore
    from redkite.client import IndexParams as IndexParams
    from redkite.client import LexicalHighlighter as LexicalHighlighter
    from redkite.client import MilvusClient as MilvusClient
    from redkite.client import QueryResult as QueryResult
    from redkite.client import RRFRanker as RRFRanker
    from redkite.client import SearchAggregation as SearchAggregation
    from redkite.client import SearchResult as SearchResult
    from redkite.client import SemanticHighlighter as SemanticHighlighter
    from redkite.client import StructFieldSchema as StructFieldSchema
    from redkite.client import TopHits as TopHits
    from redkite.client import WeightedRanker as WeightedRanker
    from redkite.client import col as col
    from redkite.client import fn as fn
    from redkite.client.aggregation import AggregationBucket as AggregationBucket
    from redkite.client.aggregation import AggregationHit as AggregationHit
    from redkite.client.enumerations import CompactionTaskState as CompactionTaskState
    from redkite.client.enumerations import CompactionType as CompactionType
    from redkite.client.enumerations import IndexType as IndexType
    from redkite.client.membership import BloomFilterBuilder as BloomFilterBuilder
    from redkite.client.membership import RoaringBitmapBuilder as RoaringBitmapBuilder
    from redkite.client.membership import build_bloom_filter as build_bloom_filter
    from redkite.client.membership import build_roaring_bitmap as build_roaring_bitmap
    from redkite.client.placement import Group as Group
    from redkite.client.placement import Replica as Replica
    from redkite.client.placement import ReplicaInfo as ReplicaInfo
    from redkite.client.placement import ResourceGroupConfig as ResourceGroupConfig
    from redkite.client.placement import ResourceGroupInfo as ResourceGroupInfo
    from redkite.client.placement import Shard as Shard
    from redkite.client.results import Hit as Hit
    from redkite.config import Settings as Settings
    from redkite.errors import CollectionNotFound as CollectionNotFound
    from redkite.errors import ConnectError as ConnectError
    from redkite.errors import Corruption as Corruption
    from redkite.errors import InvalidInput as InvalidInput
    from redkite.errors import MilvusException as MilvusException
    from redkite.errors import MilvusUnavailableException as MilvusUnavailableException
    from redkite.errors import NotFound as NotFound
    from redkite.errors import ParamError as ParamError
    from redkite.errors import PathLocked as PathLocked
    from redkite.errors import StorageError as StorageError
    from redkite.errors import Timeout as Timeout
    from redkite.errors import Unimplemented as Unimplemented
    from redkite.migration.run import migrate as migrate
    from redkite.model.types import ConsistencyLevel as ConsistencyLevel
    from redkite.model.types import DataType as DataType
    from redkite.model.types import FieldOp as FieldOp
    from redkite.model.types import FunctionType as FunctionType
    from redkite.model.types import IndexState as IndexState
    from redkite.model.types import LoadState as LoadState
    from redkite.model.types import Metric as Metric
    from redkite.model.upkeep import SegmentState as SegmentState
    from redkite.ops.doctor import doctor as doctor
    from redkite.ops.verification import verify as verify
    from redkite.orm import Collection as Collection
    from redkite.orm import Index as Index
    from redkite.orm import MutationResult as MutationResult
    from redkite.orm import Partition as Partition
    from redkite.orm import Role as Role
    from redkite.orm import db as db
    from redkite.orm import utility as utility
    from redkite.orm.bulk import BulkInsertState as BulkInsertState
    from redkite.orm.connections import Connections as Connections
    from redkite.orm.connections import connections as connections
    from redkite.orm.mutation import MutationFuture as MutationFuture
    from redkite.orm.mutation import SearchFuture as SearchFuture
    from redkite.orm.pages import Hits as Hits
    from redkite.orm.utility import create_resource_group as create_resource_group
    from redkite.orm.utility import create_user as create_user
    from redkite.orm.utility import delete_user as delete_user
    from redkite.orm.utility import describe_resource_group as describe_resource_group
    from redkite.orm.utility import drop_collection as drop_collection
    from redkite.orm.utility import drop_resource_group as drop_resource_group
    from redkite.orm.utility import has_collection as has_collection
    from redkite.orm.utility import has_partition as has_partition
    from redkite.orm.utility import hybridts_to_datetime as hybridts_to_datetime
    from redkite.orm.utility import hybridts_to_unixtime as hybridts_to_unixtime
    from redkite.orm.utility import index_building_progress as index_building_progress
    from redkite.orm.utility import list_collections as list_collections
    from redkite.orm.utility import list_resource_groups as list_resource_groups
    from redkite.orm.utility import list_usernames as list_usernames
    from redkite.orm.utility import loading_progress as loading_progress
    from redkite.orm.utility import mkts_from_datetime as mkts_from_datetime
    from redkite.orm.utility import mkts_from_hybridts as mkts_from_hybridts
    from redkite.orm.utility import mkts_from_unixtime as mkts_from_unixtime
    from redkite.orm.utility import reset_password as reset_password
    from redkite.orm.utility import transfer_node as transfer_node
    from redkite.orm.utility import transfer_replica as transfer_replica
    from redkite.orm.utility import update_password as update_password
    from redkite.orm.utility import update_resource_groups as update_resource_groups
    from redkite.orm.utility import wait_for_index_building_complete as wait_for_index_building_complete
    from redkite.orm.utility import wait_for_loading_complete as wait_for_loading_complete

__version__: Final = "0.1.0"

_HOMES: Final[dict[str, tuple[str, ...]]] = {
    "redkite.client": (
        "AnnSearchRequest", "AsyncMilvusClient", "BaseRanker", "CollectionSchema", "EmbeddingList", "Evaluation",
        "FieldSchema", "Function", "FunctionChain", "FunctionChainStage", "FunctionScore", "IndexParams",
        "LexicalHighlighter", "MilvusClient", "QueryResult", "RRFRanker", "SearchAggregation", "SearchResult",
        "SemanticHighlighter", "StructFieldSchema", "TopHits", "WeightedRanker", "col", "fn",
    ),
    "redkite.client.aggregation": ("AggregationBucket", "AggregationHit"),
    "redkite.client.enumerations": ("CompactionTaskState", "CompactionType", "IndexType"),
    "redkite.client.membership": (
        "BloomFilterBuilder", "RoaringBitmapBuilder", "build_bloom_filter", "build_roaring_bitmap",
    ),
    "redkite.client.placement": (
        "Group", "Replica", "ReplicaInfo", "ResourceGroupConfig", "ResourceGroupInfo", "Shard",
    ),
    "redkite.client.results": ("Hit",),
    "redkite.config": ("Settings",),
    "redkite.errors": (
        "CollectionNotFound", "ConnectError", "Corruption", "InvalidInput", "MilvusException",
        "MilvusUnavailableException", "NotFound", "ParamError", "PathLocked", "StorageError", "Timeout",
        "Unimplemented",
    ),
    "redkite.migration.run": ("migrate",),
    "redkite.model.types": (
        "ConsistencyLevel", "DataType", "FieldOp", "FunctionType", "IndexState", "LoadState", "Metric",
    ),
    "redkite.orm": ("Collection", "Index", "MutationResult", "Partition", "Role", "connections", "db", "utility"),
    "redkite.model.upkeep": ("SegmentState",),
    "redkite.orm.bulk": ("BulkInsertState",),
    "redkite.orm.connections": ("Connections",),
    "redkite.orm.mutation": ("MutationFuture", "SearchFuture"),
    "redkite.orm.pages": ("Hits",),
    "redkite.orm.utility": (
        "create_resource_group", "create_user", "delete_user", "describe_resource_group", "drop_collection",
        "drop_resource_group", "has_collection", "has_partition", "hybridts_to_datetime", "hybridts_to_unixtime",
        "index_building_progress", "list_collections", "list_resource_groups", "list_usernames", "loading_progress",
        "mkts_from_datetime", "mkts_from_hybridts", "mkts_from_unixtime", "reset_password", "transfer_node",
        "transfer_replica", "update_password", "update_resource_groups", "wait_for_index_building_complete",
        "wait_for_loading_complete",
    ),
    "redkite.ops.doctor": ("doctor",),
    "redkite.ops.verification": ("verify",),
}  # fmt: skip
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: PLE0604  computed from the table above, which a test compares with the imports for type checkers
    "__version__",
    *sorted(_HOME_OF),
]

if not TYPE_CHECKING:  # a type checker must still see a misspelt name as an error

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'redkite' has no attribute {name!r}")
        value: object = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
