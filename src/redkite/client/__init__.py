"""What a Python user holds in the hand: clients, schema builders and results.

Everything here is imported on first use, so that `import redkite` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redkite.client.aggregation import AggregationBucket, AggregationHit, SearchAggregation, TopHits
    from redkite.client.aio import AsyncMilvusClient
    from redkite.client.chains import FunctionChain, FunctionChainStage, col, fn
    from redkite.client.embedding_list import EmbeddingList
    from redkite.client.evaluation import Evaluation, side_by_side
    from redkite.client.highlighting import LexicalHighlighter, SemanticHighlighter
    from redkite.client.index_params import IndexParam, IndexParams
    from redkite.client.ranking import AnnSearchRequest, BaseRanker, FunctionScore, RRFRanker, WeightedRanker
    from redkite.client.results import HybridHits, QueryResult, SearchResult
    from redkite.client.schema import CollectionSchema, FieldSchema, Function, StructFieldSchema
    from redkite.client.sync import MilvusClient
    from redkite.model.types import ConsistencyLevel, DataType, FunctionType, LoadState

__all__ = [
    "AggregationBucket",
    "AggregationHit",
    "AnnSearchRequest",
    "AsyncMilvusClient",
    "BaseRanker",
    "CollectionSchema",
    "ConsistencyLevel",
    "DataType",
    "EmbeddingList",
    "Evaluation",
    "FieldSchema",
    "Function",
    "FunctionChain",
    "FunctionChainStage",
    "FunctionScore",
    "FunctionType",
    "HybridHits",
    "IndexParam",
    "IndexParams",
    "LexicalHighlighter",
    "LoadState",
    "MilvusClient",
    "QueryResult",
    "RRFRanker",
    "SearchAggregation",
    "SearchResult",
    "SemanticHighlighter",
    "StructFieldSchema",
    "TopHits",
    "WeightedRanker",
    "col",
    "fn",
    "side_by_side",
]

_HOMES = {
    "AggregationBucket": "redkite.client.aggregation",
    "AggregationHit": "redkite.client.aggregation",
    "AnnSearchRequest": "redkite.client.ranking",
    "AsyncMilvusClient": "redkite.client.aio",
    "BaseRanker": "redkite.client.ranking",
    "CollectionSchema": "redkite.client.schema",
    "ConsistencyLevel": "redkite.model.types",
    "DataType": "redkite.model.types",
    "EmbeddingList": "redkite.client.embedding_list",
    "Evaluation": "redkite.client.evaluation",
    "FieldSchema": "redkite.client.schema",
    "Function": "redkite.client.schema",
    "FunctionChain": "redkite.client.chains",
    "FunctionChainStage": "redkite.client.chains",
    "FunctionScore": "redkite.client.ranking",
    "FunctionType": "redkite.model.types",
    "HybridHits": "redkite.client.results",
    "IndexParam": "redkite.client.index_params",
    "IndexParams": "redkite.client.index_params",
    "LexicalHighlighter": "redkite.client.highlighting",
    "SemanticHighlighter": "redkite.client.highlighting",
    "LoadState": "redkite.model.types",
    "MilvusClient": "redkite.client.sync",
    "QueryResult": "redkite.client.results",
    "RRFRanker": "redkite.client.ranking",
    "SearchAggregation": "redkite.client.aggregation",
    "SearchResult": "redkite.client.results",
    "StructFieldSchema": "redkite.client.schema",
    "TopHits": "redkite.client.aggregation",
    "WeightedRanker": "redkite.client.ranking",
    "col": "redkite.client.chains",
    "fn": "redkite.client.chains",
    "side_by_side": "redkite.client.evaluation",
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
