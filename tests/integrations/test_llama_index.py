"""LlamaIndex's vector store for Milvus: nodes, filters, sparse vectors, hybrid retrieval, sync and async."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from tests.integrations.meaning import TEXTS, vector_of


@pytest.fixture(scope="module")
def llama() -> ModuleType:
    """What tests take of the library; loading it takes seconds, which collecting tests need not wait for."""
    reason = "LlamaIndex is not installed here: make integrations"
    pytest.importorskip("llama_index.vector_stores.milvus", reason=reason)
    return importlib.import_module("tests.integrations.llama")


@pytest.fixture
def store(llama: ModuleType, uri: str, name: str) -> Iterator[Any]:
    store = llama.open_store(uri, name, overwrite=True)
    yield store
    store.client.drop_collection(name)


def test_nodes_are_added_found_and_deleted(llama: ModuleType, uri: str, name: str, store: Any) -> None:
    nodes = [llama.node(i) for i in range(50)]
    assert store.add(nodes) == [one.node_id for one in nodes]
    found = store.query(llama.near(7, 3))
    assert found.ids is not None
    assert found.nodes is not None
    assert found.similarities is not None
    assert found.ids[0] == "node-7"
    assert found.similarities[0] == pytest.approx(1, abs=1e-5)
    assert found.nodes[0].get_content() == nodes[7].text
    assert found.nodes[0].metadata == {"number": 7, "odd": 1}
    assert list(found.similarities) == sorted(found.similarities, reverse=True)

    store.delete("document-0")
    store.delete_nodes(["node-15"])
    assert len(store.query(llama.near(7, 50)).ids or ()) == 39
    store.delete_nodes(filters=llama.MetadataFilters(filters=[llama.MetadataFilter(key="number", value=16)]))
    assert len(store.query(llama.near(7, 50)).ids or ()) == 38
    assert sorted(one.node_id for one in store.get_nodes(node_ids=["node-20", "node-21"])) == ["node-20", "node-21"]
    again = llama.open_store(uri, name, overwrite=False)
    assert again.query(llama.near(20, 1)).ids == ["node-20"]
    store.clear()
    assert not store.client.has_collection(name)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([("odd", 1, "=="), ("number", 40, ">=")], {41, 43, 45, 47, 49}),
        ([("number", [3, 5, 500], "in")], {3, 5}),
        ([("number", [*range(2, 50)], "nin")], {0, 1}),
        ([("odd", 1, "!="), ("number", 6, "<")], {0, 2, 4}),
    ],
    ids=["and", "in", "not in", "unequal"],
)
def test_metadata_filters_choose_nodes(
    llama: ModuleType, store: Any, filters: list[tuple[str, Any, str]], expected: set[int]
) -> None:
    store.add([llama.node(i) for i in range(50)])
    wanted = llama.MetadataFilters(
        filters=[
            llama.MetadataFilter(key=key, value=value, operator=llama.FilterOperator(op)) for key, value, op in filters
        ],
        condition=llama.FilterCondition.AND,
    )
    found = store.query(llama.near(7, 50, filters=wanted))
    assert {int(one.removeprefix("node-")) for one in found.ids or ()} == expected
    assert {one.metadata["number"] for one in store.get_nodes(filters=wanted)} == expected


def test_the_nodes_of_mmr_differ_from_one_another(llama: ModuleType, store: Any) -> None:
    store.add([llama.node(i) for i in range(30)])
    found = store.query(llama.near(7, 4, mode=llama.VectorStoreQueryMode.MMR, mmr_threshold=0.2))
    assert found.ids is not None
    assert found.ids[0] == "node-7"
    assert len({int(one.removeprefix("node-")) % len(TEXTS) for one in found.ids}) > 1


@pytest.mark.parametrize("ranker", [("RRFRanker", {"k": 10}), ("WeightedRanker", {"weights": [0.3, 0.7]})])
@pytest.mark.parametrize("function", ["OneDimensionAWord", "BM25BuiltInFunction"])
def test_hybrid_queries_rank_by_both_vectors(
    llama: ModuleType, uri: str, name: str, ranker: tuple[str, dict[str, Any]], function: str
) -> None:
    store = llama.open_store(
        uri, name, overwrite=True, enable_sparse=True, sparse_embedding_function=getattr(llama, function)(),
        hybrid_ranker=ranker[0], hybrid_ranker_params=ranker[1],
    )  # fmt: skip
    nodes = [llama.TextNode(id_=f"node-{i}", text=text, embedding=vector_of(text)) for i, text in enumerate(TEXTS)]
    store.add(nodes)
    query = llama.VectorStoreQuery(
        query_embedding=vector_of("paper kite"), query_str="paper kite", mode=llama.VectorStoreQueryMode.HYBRID,
        similarity_top_k=4,
    )  # fmt: skip
    found = store.query(query)
    assert found.ids is not None
    assert found.similarities is not None
    assert found.ids[0] == "node-4"
    assert list(found.similarities) == sorted(found.similarities, reverse=True)
    assert asyncio.run(store.aquery(query)).ids == found.ids
    words = llama.VectorStoreQuery(query_str="owl mice", mode=llama.VectorStoreQueryMode.SPARSE, similarity_top_k=1)
    assert store.query(words).ids == ["node-3"]
    store.client.drop_collection(name)


async def test_a_thousand_nodes_are_added_and_found_at_once(llama: ModuleType, store: Any) -> None:
    nodes = [llama.node(i) for i in range(1000)]
    await asyncio.gather(*(store.async_add([one]) for one in nodes))
    found = await asyncio.gather(*(store.aquery(llama.near(i, 1)) for i in range(100)))
    assert [answer.ids for answer in found] == [[f"node-{i}"] for i in range(100)]
    assert llama.count(store) == 1000
    await store.adelete("document-3")
    await store.adelete_nodes(["node-50"])
    assert llama.count(store) == 989
    assert [one.node_id for one in await store.aget_nodes(node_ids=["node-60"])] == ["node-60"]
    await store.aclear()


def test_overwriting_begins_anew(llama: ModuleType, uri: str, name: str, store: Any) -> None:
    store.add([llama.node(1)])
    llama.open_store(uri, name, overwrite=True)
    assert llama.count(store) == 0


def test_nodes_with_one_id_are_replaced_on_request(llama: ModuleType, uri: str, name: str) -> None:
    store = llama.open_store(uri, name, overwrite=True, upsert_mode=True)
    store.add([llama.node(1), llama.node(2)])
    changed = llama.node(1)
    changed.metadata = {"number": 77, "odd": 0}
    store.add([changed])
    assert llama.count(store) == 2
    assert [one.metadata["number"] for one in store.get_nodes(node_ids=["node-1"])] == [77]
    store.client.drop_collection(name)


def test_the_four_timings_are_measured(llama: ModuleType, uri: str) -> None:
    found = asyncio.run(llama.measure(uri, 20))
    assert list(found) == [
        "20 nodes added in sequence", "20 queries in sequence", "20 nodes added gathered", "20 queries gathered",
    ]  # fmt: skip
    assert all(seconds > 0 for seconds in found.values())
