"""LlamaIndex's hybrid retrieval, dense and sparse, on a Redkite server."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from tests.servers import ProcessServer

pytest.importorskip("llama_index.vector_stores.milvus")

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.milvus import MilvusVectorStore
from llama_index.vector_stores.milvus.utils import BaseSparseEmbeddingFunction

DIM = 16
COLLECTION = "llama_hybrid"
WORDS = ("red", "kite", "over", "green", "hills", "at", "dawn")


class Words(BaseSparseEmbeddingFunction):
    """One dimension for each word."""

    def encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        return [{WORDS.index(word): 1.0 for word in query.split()} for query in queries]

    encode_documents = encode_queries


def node(number: int) -> TextNode:
    embedding = np.random.default_rng(number).normal(size=DIM).tolist()
    text = " ".join(WORDS[(number + step) % len(WORDS)] for step in range(number % 3 + 1))
    return TextNode(id_=f"node-{number}", text=text, embedding=embedding)


@pytest.mark.parametrize("ranker", [("RRFRanker", {"k": 10}), ("WeightedRanker", {"weights": [0.3, 0.7]})])
def test_hybrid_queries_rank_by_both_vectors(server: ProcessServer, ranker: tuple[str, dict[str, Any]]) -> None:
    store = MilvusVectorStore(
        uri=server.uri, collection_name=COLLECTION, dim=DIM, consistency_level="Strong", similarity_metric="COSINE",
        overwrite=True, enable_sparse=True, sparse_embedding_function=Words(), hybrid_ranker=ranker[0],
        hybrid_ranker_params=ranker[1],
    )  # fmt: skip
    nodes = [node(number) for number in range(21)]  # as many texts
    store.add(nodes)
    query = VectorStoreQuery(
        query_embedding=nodes[5].embedding,
        query_str=nodes[5].text,
        mode=VectorStoreQueryMode.HYBRID,
        similarity_top_k=4,
    )
    found = store.query(query)
    assert found.ids is not None
    assert found.ids[0] == "node-5"
    assert found.similarities is not None
    assert len(found.similarities) == 4
    assert list(found.similarities) == sorted(found.similarities, reverse=True)
    again = asyncio.run(store.aquery(query))
    assert again.ids == found.ids
    store.client.drop_collection(COLLECTION)
