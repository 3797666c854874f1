"""The store that mem0 keeps memories in."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integrations.meaning import DIM, TEXTS, vector_of

pytest.importorskip("mem0", reason="mem0ai is not installed here: make integrations")

from mem0.configs.vector_stores.milvus import MetricType
from mem0.vector_stores.milvus import MilvusDB


def test_memories_are_inserted_searched_updated_and_deleted(uri: str, name: str) -> None:
    store = MilvusDB(
        url=uri, token="", collection_name=name, embedding_model_dims=DIM, metric_type=MetricType.COSINE, db_name=""
    )
    ids = [f"memory-{number}" for number in range(len(TEXTS))]
    payloads: list[dict[str, Any]] = [
        {"data": text, "user_id": "alice" if number % 2 else "bob"} for number, text in enumerate(TEXTS)
    ]
    store.insert(ids=ids, vectors=[vector_of(text) for text in TEXTS], payloads=payloads)
    store.client.flush(name)
    best, *_ = store.search(query="owl", vectors=vector_of("owl mice night"), top_k=2)
    assert best.id == "memory-3"
    assert best.payload["data"] == TEXTS[3]
    mine = store.search(query="kite", vectors=vector_of("kite"), top_k=6, filters={"user_id": "bob"})
    assert {one.id for one in mine} == {"memory-0", "memory-2", "memory-4"}
    store.update(vector_id="memory-0", vector=vector_of("an egret"), payload={"data": "an egret", "user_id": "bob"})
    store.client.flush(name)
    changed = store.get(vector_id="memory-0")
    assert changed is not None
    assert changed.payload["data"] == "an egret"
    store.delete(vector_id="memory-1")
    assert store.get(vector_id="memory-1") is None
    (listed,) = store.list(filters={"user_id": "alice"}, top_k=10)
    assert {one.id for one in listed} == {"memory-3", "memory-5"}
    assert name in store.list_cols()
    store.delete_col()
    assert name not in store.list_cols()
