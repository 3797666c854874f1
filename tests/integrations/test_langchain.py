"""LangChain's vector store for Milvus, as its documentation uses it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.integrations.meaning import TEXTS, vector_of

pytest.importorskip("langchain_milvus", reason="langchain-milvus is not installed here: make integrations")

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_milvus import BM25BuiltInFunction, Milvus


class Words(Embeddings):
    """Vectors without a model."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector_of(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return vector_of(text)


DOCUMENTS = [
    Document(page_content=text, metadata={"number": number, "kind": "toy" if "paper" in text else "bird"})
    for number, text in enumerate(TEXTS)
]
IDS = [f"document-{number}" for number in range(len(TEXTS))]
COSINE = {"index_type": "AUTOINDEX", "metric_type": "COSINE"}


def open_store(uri: str, name: str, **options: Any) -> Milvus:
    settings: dict[str, Any] = {
        "collection_name": name, "connection_args": {"uri": uri}, "consistency_level": "Strong", "index_params": COSINE,
    }  # fmt: skip
    return Milvus.from_documents(DOCUMENTS, Words(), ids=IDS, **{**settings, **options})


def texts_of(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


def test_documents_are_found_by_meaning_with_scores_and_filters(uri: str, name: str) -> None:
    store = open_store(uri, name)
    (best,) = store.similarity_search("red kite hill", k=1)
    assert best.page_content == TEXTS[0]
    assert best.metadata["number"] == 0
    assert best.metadata["kind"] == "bird"

    scored = store.similarity_search_with_score("kite", k=6)
    scores = [score for _, score in scored]
    assert len(scores) == 6
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.2

    filtered = store.similarity_search("kite", k=6, expr="kind == 'toy'")
    assert texts_of(filtered) == [TEXTS[4]]
    assert texts_of(store.similarity_search("lake", k=6, expr="number in [1, 5] and kind == 'bird'")) != []
    (relevant, relevance), *_ = store.similarity_search_with_relevance_scores("owl hunts mice at night", k=1)
    assert relevant.page_content == TEXTS[3]
    assert 0 <= relevance <= 1
    by_vector = store.similarity_search_by_vector(vector_of("wren hedge"), k=1)
    assert texts_of(by_vector) == [TEXTS[2]]
    store.drop()


def test_the_hits_of_mmr_differ_from_one_another(uri: str, name: str) -> None:
    store = open_store(uri, name)
    near = store.similarity_search("kite", k=3)
    varied = store.max_marginal_relevance_search("kite", k=3, fetch_k=6, lambda_mult=0.1)
    assert len(varied) == 3
    assert varied[0] == near[0]
    assert len(set(texts_of(varied))) == 3
    store.drop()


def test_documents_are_deleted_and_replaced(uri: str, name: str) -> None:
    store = open_store(uri, name)
    assert store.delete(ids=[IDS[0]])
    assert TEXTS[0] not in texts_of(store.similarity_search("red kite hill", k=6))
    store.delete(expr="kind == 'toy'")
    assert len(store.similarity_search("kite", k=6)) == 4
    store.upsert(
        ids=[IDS[2]], documents=[Document(page_content="a nightingale", metadata={"number": 9, "kind": "bird"})]
    )
    assert texts_of(store.similarity_search("nightingale", k=1)) == ["a nightingale"]
    assert store.get_pks("number == 9") == [IDS[2]]
    assert texts_of(store.search_by_metadata("number == 9")) == ["a nightingale"]
    store.add_texts(["an egret"], metadatas=[{"number": 10, "kind": "bird"}], ids=["document-10"])
    again = Milvus(Words(), collection_name=name, connection_args={"uri": uri}, consistency_level="Strong")
    assert texts_of(again.similarity_search("egret", k=1)) == ["an egret"]
    store.drop()


def test_a_retriever_searches(uri: str, name: str) -> None:
    store = open_store(uri, name)
    retriever = store.as_retriever(search_kwargs={"k": 2, "expr": "kind == 'bird'"})
    assert texts_of(retriever.invoke("heron lake"))[0] == TEXTS[5]
    varied = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 6})
    assert len(varied.invoke("kite")) == 2
    store.drop()


@pytest.mark.parametrize(
    ("ranker", "params"), [("weighted", {"weights": [0.3, 0.7]}), ("rrf", {"k": 60})], ids=["weighted", "rrf"]
)
def test_hybrid_search_ranks_by_meaning_and_by_words(uri: str, name: str, ranker: str, params: dict[str, Any]) -> None:
    store = open_store(
        uri, name, builtin_function=BM25BuiltInFunction(), vector_field=["dense", "sparse"], index_params=None
    )
    found = store.similarity_search("paper kite", k=3, ranker_type=ranker, ranker_params=params)
    assert texts_of(found)[0] == TEXTS[4]
    assert len(found) == 3
    only = store.similarity_search("kite", k=3, ranker_type=ranker, ranker_params=params, expr="kind == 'bird'")
    assert set(texts_of(only)[:2]) == {TEXTS[0], TEXTS[1]}
    store.drop()


def test_full_text_search_needs_no_model(uri: str, name: str) -> None:
    store = Milvus.from_documents(
        DOCUMENTS, None, builtin_function=BM25BuiltInFunction(output_field_names="sparse"), vector_field="sparse",
        collection_name=name, connection_args={"uri": uri}, consistency_level="Strong", auto_id=True,
    )  # fmt: skip
    assert texts_of(store.similarity_search("nocturnal owl mice", k=1)) == [TEXTS[3]]
    store.drop()


def test_tenants_are_kept_apart_by_a_partition_key(uri: str, name: str) -> None:
    store = open_store(uri, name, partition_key_field="kind", num_partitions=4, enable_dynamic_field=True)
    assert texts_of(store.similarity_search("kite", k=6, expr="kind == 'toy'")) == [TEXTS[4]]
    retriever = store.as_retriever(search_kwargs={"expr": "kind == 'bird'", "k": 6})
    assert len(retriever.invoke("kite")) == 5
    store.drop()


def test_metadata_may_be_one_json_field_or_dynamic(uri: str, name: str) -> None:
    store = open_store(uri, name, metadata_field="metadata")
    assert texts_of(store.similarity_search("kite", k=6, expr="metadata['kind'] == 'toy'")) == [TEXTS[4]]
    store.drop()
    store = open_store(uri, name, enable_dynamic_field=True)
    store.add_documents([Document(page_content="a kestrel", metadata={"colour": "brown"})], ids=["document-11"])
    assert texts_of(store.similarity_search("kite", k=6, expr="colour == 'brown'")) == ["a kestrel"]
    store.drop()


async def test_everything_works_without_blocking(uri: str, name: str) -> None:
    store = await Milvus.afrom_documents(
        DOCUMENTS, Words(), ids=IDS, collection_name=name, connection_args={"uri": uri}, consistency_level="Strong",
        index_params=COSINE,
    )  # fmt: skip
    answers = await asyncio.gather(*(store.asimilarity_search(text, k=1) for text in TEXTS))
    assert [texts_of(found) for found in answers] == [[text] for text in TEXTS]
    scored = await store.asimilarity_search_with_score("lake", k=2, expr="number > 0")
    assert {document.page_content for document, _ in scored} == {TEXTS[1], TEXTS[5]}
    assert len(await store.amax_marginal_relevance_search("kite", k=2, fetch_k=6)) == 2
    await store.aadd_texts(["an egret"], metadatas=[{"number": 10, "kind": "bird"}], ids=["document-10"])
    await store.aupsert(
        ids=[IDS[2]], documents=[Document(page_content="a lark", metadata={"number": 2, "kind": "bird"})]
    )
    assert await store.aget_pks("number == 10") == ["document-10"]
    assert texts_of(await store.asearch_by_metadata("number == 2")) == ["a lark"]
    await store.adelete(ids=["document-10"])
    assert await store.aget_pks("number == 10") == []
    assert texts_of(await store.as_retriever(search_kwargs={"k": 1}).ainvoke("lark")) == ["a lark"]
    await asyncio.to_thread(store.drop)
