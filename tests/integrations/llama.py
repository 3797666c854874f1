"""Nodes, stores and queries of LlamaIndex: importing this loads the library, which takes seconds."""

from __future__ import annotations

from typing import Any

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.milvus import MilvusVectorStore
from llama_index.vector_stores.milvus.utils import BaseSparseEmbeddingFunction, BM25BuiltInFunction
from tests.integrations.llama_timings import measure
from tests.integrations.meaning import DIM, TEXTS, vector_of

__all__ = [
    "BM25BuiltInFunction", "FilterCondition", "FilterOperator", "MetadataFilter", "MetadataFilters",
    "VectorStoreQueryMode", "measure",
]  # fmt: skip

WORDS = sorted({word for text in TEXTS for word in text.split()})


class OneDimensionAWord(BaseSparseEmbeddingFunction):
    """Sparse vectors without a model."""

    def encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        return [{WORDS.index(word): 1.0 for word in query.split()} for query in queries]

    encode_documents = encode_queries


def node(number: int) -> TextNode:
    text = f"{TEXTS[number % len(TEXTS)]} number{number}"
    made = TextNode(
        id_=f"node-{number}", text=text, embedding=vector_of(text), metadata={"number": number, "odd": number % 2}
    )
    made.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"document-{number // 10}")
    return made


def open_store(uri: str, name: str, **options: Any) -> MilvusVectorStore:
    settings: dict[str, Any] = {"dim": DIM, "consistency_level": "Strong", "similarity_metric": "COSINE", **options}
    return MilvusVectorStore(uri=uri, collection_name=name, **settings)


def near(number: int, top: int, **options: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_embedding=node(number).embedding, similarity_top_k=top, **options)


def count(store: MilvusVectorStore) -> int:
    (counted,) = store.client.query(store.collection_name, output_fields=["count(*)"])
    return int(counted["count(*)"])
