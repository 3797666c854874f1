"""Embedding functions by hand, under the names of Milvus's SDK."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.functions import tiny_model
from tests.functions.embedding_server import EmbeddingServer, vector

import redkite
from redkite import model
from redkite.errors import InvalidParameter, ParamError

CORPUS = [
    "Artificial intelligence was founded as an academic discipline in 1956.",
    "Alan Turing was the first person to conduct substantial research in AI.",
    "Born in Maida Vale, London, Turing was raised in southern England.",
]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as running:
        yield running


def test_the_default_function_reads_a_model_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model.write(tmp_path / "all-MiniLM-L6-v2")
    monkeypatch.setenv("REDKITE_MODELS", str(tmp_path))
    embed = model.DefaultEmbeddingFunction()
    assert embed.dim == tiny_model.DIM
    for found in (embed.encode_documents(["red kite"]), embed.encode_queries(["red kite"]), embed(["red kite"])):
        assert isinstance(found, list)
        np.testing.assert_allclose(found, [tiny_model.mean("red kite")], rtol=1e-5)
    assert embed.encode_documents([]) == []


def test_without_a_model_the_error_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDKITE_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with pytest.raises(InvalidParameter, match=r"DefaultEmbeddingFunction: .* Nothing is downloaded") as caught:
        model.DefaultEmbeddingFunction()
    assert str(tmp_path / "all-MiniLM-L6-v2") in caught.value.message


def test_instructions_stand_before_texts(tmp_path: Path) -> None:
    tiny_model.write(tmp_path)
    embed = model.dense.SentenceTransformerEmbeddingFunction(str(tmp_path), query_instruction="the ")
    query, document = embed.encode_queries(["red kite"])[0], embed.encode_documents(["red kite"])[0]
    np.testing.assert_allclose(query, _unit(tiny_model.mean("the red kite")), rtol=1e-5)
    np.testing.assert_allclose(document, _unit(tiny_model.mean("red kite")), rtol=1e-5)


def _unit(one: Any) -> Any:
    return one / np.linalg.norm(one)


@pytest.mark.parametrize("name", ["OpenAIEmbeddingFunction", "VoyageEmbeddingFunction", "CohereEmbeddingFunction"])
def test_services_are_asked_with_the_key_that_is_given(name: str, server: EmbeddingServer) -> None:
    embed = getattr(model.dense, name)("any-model", api_key="a-key", base_url=server.endpoint)
    assert embed.dim == 4, "of a model that is not known, learnt by asking"
    assert [one.tolist() for one in embed.encode_documents(["red", "kite"])] == [vector("red"), vector("kite")]
    assert embed.encode_queries(["red"])[0].tolist() == vector("red")
    assert {call.headers["authorization"] for call in server.calls} == {"Bearer a-key"}


def test_what_is_known_of_a_model_needs_no_question() -> None:
    assert model.dense.OpenAIEmbeddingFunction("text-embedding-3-large", api_key="k").dim == 3072
    assert model.dense.OpenAIEmbeddingFunction(api_key="k", dimensions=256).dim == 256
    assert model.dense.CohereEmbeddingFunction(api_key="k").dim == 384


def test_small_numbers_are_arrays_of_int8(server: EmbeddingServer) -> None:
    embed = model.dense.VoyageEmbeddingFunction("m", api_key="k", embedding_type="int8", base_url=server.endpoint)
    assert embed.encode_documents(["red"])[0].dtype == np.int8
    with pytest.raises(ParamError, match="embedding_type must be one of float, int8"):
        model.dense.VoyageEmbeddingFunction("m", api_key="k", embedding_type="binary")


def test_one_text_is_no_list_of_texts(tmp_path: Path) -> None:
    embed = model.dense.OnnxEmbeddingFunction(str(tiny_model.write(tmp_path)))
    for wrong in ("red kite", [1, 2]):
        with pytest.raises(ParamError, match="embeds a list of texts"):
            embed.encode_documents(wrong)


def test_an_embedding_function_embeds_for_a_database(tmp_path: Path) -> None:
    embed = model.dense.OnnxEmbeddingFunction(str(tiny_model.write(tmp_path / "m")))
    with redkite.MilvusClient(str(tmp_path / "birds.db")) as client:
        client.register_embedding("tiny", embed)
        schema = client.create_schema()
        schema.add_field("id", redkite.DataType.INT64, is_primary=True)
        schema.add_field("text", redkite.DataType.VARCHAR, max_length=100)
        schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=embed.dim)
        params = {"provider": "python", "model_name": "tiny"}
        kind = redkite.FunctionType.TEXTEMBEDDING
        schema.add_function(redkite.Function("embed", kind, ["text"], ["vector"], params=params))
        indexes = client.prepare_index_params("vector", metric_type="COSINE", index_type="FLAT")
        client.create_collection("birds", schema=schema, index_params=indexes)
        client.insert("birds", [{"id": 1, "text": "red kite"}, {"id": 2, "text": "black swan"}])
        assert client.search("birds", ["red kite"], anns_field="vector", limit=1)[0][0]["id"] == 1


# -- BM25 -----------------------------------------------------------------------------------------
def test_bm25_scores_are_those_of_rank_bm25() -> None:
    """Okapi's formula, by hand: what the inner product of a query and a document must be."""
    embed = model.sparse.BM25EmbeddingFunction(corpus=CORPUS)
    words = [embed.analyzer.analyze([text]).words(0) for text in CORPUS]
    average = sum(map(len, words)) / len(words)
    having = {word: sum(word in some for some in words) for some in words for word in some}
    idf = {word: np.log(len(words) - n + 0.5) - np.log(n + 0.5) for word, n in having.items()}
    least = 0.25 * sum(idf.values()) / len(idf)
    idf = {word: value if value >= 0 else least for word, value in idf.items()}
    queries = ["Turing in London", "academic research", "nothing known"]
    scores = (embed.encode_queries(queries) @ embed.encode_documents(CORPUS).T).toarray()
    for query, row in zip(queries, scores, strict=True):
        asked = set(embed.analyzer.analyze([query]).words(0))
        for some, score in zip(words, row, strict=True):
            wanted = sum(
                idf[w] * some.count(w) * 2.5 / (some.count(w) + 1.5 * (0.25 + 0.75 * len(some) / average))
                for w in asked
                if w in some
            )
            assert score == pytest.approx(wanted, rel=1e-5)


def test_bm25_vectors_are_stored_and_found(tmp_path: Path) -> None:
    embed = model.sparse.BM25EmbeddingFunction(corpus=CORPUS)
    with redkite.MilvusClient(str(tmp_path / "a.db")) as client:
        schema = client.create_schema()
        schema.add_field("id", redkite.DataType.INT64, is_primary=True)
        schema.add_field("sparse", redkite.DataType.SPARSE_FLOAT_VECTOR)
        indexes = client.prepare_index_params("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        client.create_collection("texts", schema=schema, index_params=indexes)
        documents = embed.encode_documents(CORPUS)
        client.insert("texts", [{"id": i, "sparse": documents[[i], :]} for i in range(len(CORPUS))])
        hits = client.search("texts", embed.encode_queries(["London England"]), limit=1)
        assert hits[0][0]["id"] == 2


def test_what_was_fitted_is_saved_and_read(tmp_path: Path) -> None:
    embed = model.BM25EmbeddingFunction(corpus=CORPUS)
    embed.save(str(tmp_path / "bm25.json"))
    other = model.BM25EmbeddingFunction()
    with pytest.raises(ParamError, match="fit the BM25EmbeddingFunction to texts first"):
        other.encode_documents(CORPUS)
    other.load(str(tmp_path / "bm25.json"))
    assert other.dim == embed.dim
    assert (other.encode_documents(CORPUS) != embed.encode_documents(CORPUS)).nnz == 0
    (tmp_path / "bm25.json").write_text("{}")
    with pytest.raises(InvalidParameter, match="was not saved by"):
        other.load(str(tmp_path / "bm25.json"))


def test_names_that_are_none_are_refused() -> None:
    for module in (model, model.dense, model.sparse):
        with pytest.raises(AttributeError, match="has no attribute 'NothingFunction'"):
            module.NothingFunction
    with pytest.raises(ParamError, match="there is no word"):
        model.BM25EmbeddingFunction(corpus=["", "!"])
