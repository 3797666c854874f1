"""Haystack's document store for Milvus and its retrievers."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integrations.meaning import TEXTS, vector_of

pytest.importorskip("milvus_haystack", reason="milvus-haystack is not installed here: make integrations")

from haystack import Document
from haystack.document_stores.types import DuplicatePolicy
from milvus_haystack import MilvusDocumentStore, MilvusEmbeddingRetriever, MilvusHybridRetriever
from milvus_haystack.function import BM25BuiltInFunction


def document(number: int) -> Document:
    return Document(
        id=f"document-{number}", content=TEXTS[number], embedding=vector_of(TEXTS[number]), meta={"number": number}
    )


def open_store(uri: str, name: str, **options: Any) -> MilvusDocumentStore:
    store = MilvusDocumentStore(
        collection_name=name, connection_args={"uri": uri}, consistency_level="Strong", drop_old=True, **options
    )
    assert store.write_documents([document(number) for number in range(len(TEXTS))]) == len(TEXTS)
    return store


def test_documents_are_written_filtered_retrieved_and_deleted(uri: str, name: str) -> None:
    store = open_store(uri, name)
    assert store.count_documents() == len(TEXTS)
    wanted = {"field": "meta.number", "operator": ">=", "value": 4}
    assert {found.id for found in store.filter_documents(wanted)} == {"document-4", "document-5"}
    retriever = MilvusEmbeddingRetriever(document_store=store, top_k=2)
    found = retriever.run(query_embedding=vector_of("owl mice night"))["documents"]
    assert found[0].id == "document-3"
    assert found[0].content == TEXTS[3]
    assert found[0].meta["number"] == 3
    limited = retriever.run(query_embedding=vector_of("owl mice night"), filters=wanted)["documents"]
    assert {one.id for one in limited} == {"document-4", "document-5"}
    store.delete_documents(["document-3"])
    assert store.count_documents() == len(TEXTS) - 1
    store.client.drop_collection(name)


def test_hybrid_retrieval_ranks_by_meaning_and_by_words(uri: str, name: str) -> None:
    store = open_store(
        uri, name, sparse_vector_field="sparse",
        builtin_function=[BM25BuiltInFunction(input_field_names="text", output_field_names="sparse")],
    )  # fmt: skip
    retriever = MilvusHybridRetriever(document_store=store, top_k=2)
    found = retriever.run(query_embedding=vector_of("paper kite"), query_text="paper kite")["documents"]
    assert found[0].id == "document-4"
    store.client.drop_collection(name)


def test_a_document_that_is_written_twice_follows_the_policy(uri: str, name: str) -> None:
    store = open_store(uri, name)
    store.write_documents([document(1)], policy=DuplicatePolicy.NONE)
    assert len(store.filter_documents({"field": "meta.number", "operator": "==", "value": 1})) >= 1
    store.client.drop_collection(name)
