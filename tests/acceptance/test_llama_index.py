"""LlamaIndex's vector store for Milvus, which uses pymilvus, on a Redkite server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.servers import ProcessServer

pytest.importorskip("llama_index.vector_stores.milvus")

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.milvus import MilvusVectorStore

DIM = 32
COLLECTION = "llama_nodes"


def node(number: int) -> TextNode:
    embedding = np.random.default_rng(number).normal(size=DIM).tolist()
    made = TextNode(
        id_=f"node-{number}", text=f"text {number}", embedding=embedding, metadata={"number": number, "odd": number % 2}
    )
    made.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"document-{number // 10}")
    return made


def open_store(server: ProcessServer, **options: Any) -> MilvusVectorStore:
    return MilvusVectorStore(
        uri=server.uri,
        collection_name=COLLECTION,
        dim=DIM,
        consistency_level="Strong",
        similarity_metric="COSINE",
        **options,
    )


@pytest.fixture
def store(server: ProcessServer) -> Iterator[MilvusVectorStore]:
    store = open_store(server, overwrite=True)
    yield store
    store.client.drop_collection(COLLECTION)


def test_nodes_are_added_queried_and_deleted(server: ProcessServer, store: MilvusVectorStore) -> None:
    nodes = [node(i) for i in range(50)]
    assert store.add(nodes) == [n.node_id for n in nodes]
    found = store.query(VectorStoreQuery(query_embedding=nodes[7].embedding, similarity_top_k=3))
    assert found.ids is not None
    assert found.nodes is not None
    assert found.similarities is not None
    assert found.ids[0] == "node-7"
    assert found.similarities[0] == pytest.approx(1, abs=1e-5)
    assert found.nodes[0].get_content() == "text 7"
    assert found.nodes[0].metadata == {"number": 7, "odd": 1}
    assert list(found.similarities) == sorted(found.similarities, reverse=True)

    odd_and_large = MetadataFilters(
        filters=[
            MetadataFilter(key="odd", value=1),
            MetadataFilter(key="number", value=40, operator=FilterOperator.GTE),
        ]
    )
    found = store.query(
        VectorStoreQuery(query_embedding=nodes[7].embedding, similarity_top_k=50, filters=odd_and_large)
    )
    assert sorted(found.ids or ()) == [f"node-{i}" for i in range(41, 50, 2)]

    store.delete("document-0")
    store.delete_nodes(["node-15"])
    found = store.query(VectorStoreQuery(query_embedding=nodes[7].embedding, similarity_top_k=50))
    assert len(found.ids or ()) == 39
    assert sorted(n.node_id for n in store.get_nodes(node_ids=["node-20", "node-21"])) == ["node-20", "node-21"]
    again = open_store(server, overwrite=False)
    found = again.query(VectorStoreQuery(query_embedding=nodes[20].embedding, similarity_top_k=1))
    assert found.ids == ["node-20"]


async def test_a_thousand_nodes_are_added_at_once(store: MilvusVectorStore) -> None:
    nodes = [node(i) for i in range(1000)]
    await asyncio.gather(*(store.async_add([n]) for n in nodes))
    found = await asyncio.gather(
        *(store.aquery(VectorStoreQuery(query_embedding=n.embedding, similarity_top_k=1)) for n in nodes[:100])
    )
    assert [answer.ids for answer in found] == [[n.node_id] for n in nodes[:100]]
    (counted,) = store.client.query(COLLECTION, output_fields=["count(*)"])
    assert counted["count(*)"] == 1000
    await store.adelete("document-3")
    (counted,) = store.client.query(COLLECTION, output_fields=["count(*)"])
    assert counted["count(*)"] == 990


def test_overwriting_begins_anew(server: ProcessServer, store: MilvusVectorStore) -> None:
    store.add([node(1)])
    open_store(server, overwrite=True)
    (counted,) = store.client.query(COLLECTION, output_fields=["count(*)"])
    assert counted["count(*)"] == 0
