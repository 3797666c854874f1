"""What a Python user holds in the hand: clients, schema builders and results.

Everything here is imported on first use, so that `import redkite` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redkite.client.aio import AsyncMilvusClient
    from redkite.client.index_params import IndexParam, IndexParams
    from redkite.client.results import HybridHits, QueryResult, SearchResult
    from redkite.client.schema import CollectionSchema, FieldSchema, Function, StructFieldSchema
    from redkite.client.sync import MilvusClient
    from redkite.model.types import ConsistencyLevel, DataType, FunctionType, LoadState

__all__ = [
    "AsyncMilvusClient",
    "CollectionSchema",
    "ConsistencyLevel",
    "DataType",
    "FieldSchema",
    "Function",
    "FunctionType",
    "HybridHits",
    "IndexParam",
    "IndexParams",
    "LoadState",
    "MilvusClient",
    "QueryResult",
    "SearchResult",
    "StructFieldSchema",
]

_HOMES = {
    "AsyncMilvusClient": "redkite.client.aio",
    "CollectionSchema": "redkite.client.schema",
    "ConsistencyLevel": "redkite.model.types",
    "DataType": "redkite.model.types",
    "FieldSchema": "redkite.client.schema",
    "Function": "redkite.client.schema",
    "FunctionType": "redkite.model.types",
    "HybridHits": "redkite.client.results",
    "IndexParam": "redkite.client.index_params",
    "IndexParams": "redkite.client.index_params",
    "LoadState": "redkite.model.types",
    "MilvusClient": "redkite.client.sync",
    "QueryResult": "redkite.client.results",
    "SearchResult": "redkite.client.results",
    "StructFieldSchema": "redkite.client.schema",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
