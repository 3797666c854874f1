"""The straight way of a search by words answers what the general one does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from tests.patience import until
from tests.texts import NAME, TextEngine

from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.types import DataType
from redkite.node.view import ShardView
from redkite.proxy.service import Proxy
from redkite.query.word_way import WordWay

MORE = 2_000
"""Texts that no query is about: a segment of few rows gets no index."""
TEXTS = ["red kite", "red fox", "red kite", "a kite", "red fox", "red kite over a red fox", "sea", "red kite"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[TextEngine]:
    opened = TextEngine(str(tmp_path / "db"))
    yield opened
    opened.close()


@pytest.fixture
def went(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each search that tried the straight way: whether it answered."""
    seen: list[bool] = []
    real = WordWay.search

    def watched(self: WordWay, queries: Any, timestamp: int) -> Any:
        found = real(self, queries, timestamp)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(WordWay, "search", watched)
    return seen


def sealed(engine: TextEngine, keys: list[int]) -> None:
    """One segment of the texts, its rows written in the order of these keys, behind its index."""
    engine.create_texts()
    for key, text in zip(keys, TEXTS, strict=True):
        engine.put({key: text})
    engine.put({key: f"{key} of {MORE} others" for key in range(100, 100 + MORE)})
    engine.seal()
    topology = engine.database.topology
    (shard,) = topology.shards(topology.root.find("", NAME))
    until(lambda: not shard.unindexed_rows())


@pytest.mark.parametrize("keys", [[*range(8)], [*range(8, 0, -1)], [5, 1, 7, 3, 2, 8, 6, 4]], ids=["up", "down", "any"])
def test_both_ways_give_the_same_hits_in_the_same_order(
    keys: list[int], engine: TextEngine, went: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(engine, keys)
    queries = ["red", "kite", "red fox kite", "sea", "unheard", ""]
    asked: list[dict[str, Any]] = [
        {"limit": limit, "output_fields": fields} for limit in (3, 8, 20) for fields in ((), ("body",))
    ]
    several = engine.ask(*queries, limit=20)
    straight = [[*engine.ask(query, **more)[0].items()] for more in asked for query in queries]
    assert went == [True] * (len(straight) + 1)
    monkeypatch.setattr(ShardView, "straight", lambda *_: None)
    assert straight == [[*engine.ask(query, **more)[0].items()] for more in asked for query in queries]
    assert [[*one.items()] for one in several] == [[*one.items()] for one in engine.ask(*queries, limit=20)]
    assert len(went) == len(straight) + 1


def test_vectors_are_refused_where_texts_were_searched_by_the_same_plan(engine: TextEngine, went: list[bool]) -> None:
    sealed(engine, [*range(8)])
    assert len(engine.ask("red", limit=5)[0]) == 5
    sparse = rq.Queries(data_type=DataType.SPARSE_FLOAT_VECTOR, raw=(np.array([7, 0x3F800000], np.uint32).tobytes(),))
    dense = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.zeros((1, 4), np.float32))
    for queries in (sparse, dense):
        with pytest.raises(InvalidParameter, match="please provide varchar/text"):
            engine.call(rq.Search(collection=NAME, queries=queries, limit=5))
    assert went == [True]


def test_words_that_come_again_are_answered_as_by_a_call_and_what_is_written_counts(engine: TextEngine) -> None:
    sealed(engine, [*range(8)])
    service = engine.database.service
    assert isinstance(service, Proxy)
    search = rq.Search(collection=NAME, queries=rq.Queries(data_type=DataType.NONE), limit=20)

    def texts(word: str) -> rq.Queries:
        return rq.Queries(data_type=DataType.VARCHAR, raw=(word.encode(),))

    def called(word: str) -> rs.Hits:
        hits: rs.Hits = engine.call(structs.replace(search, queries=texts(word)))
        return hits

    assert service.again(search, texts("red")) is None
    for word in ("red", "kite", "red fox kite", "unheard", "", "red"):
        hits, usual = service.again(search, texts(word)), called(word)
        assert hits is not None and hits.ids.to_pylist() == usual.ids.to_pylist()
        np.testing.assert_array_equal(hits.scores, usual.scores)
    dense = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.zeros((1, 4), np.float32))
    assert service.again(search, dense) is None, "which the call refuses"
    with pytest.raises(InvalidParameter, match="no valid UTF-8"):
        service.again(search, rq.Queries(data_type=DataType.VARCHAR, raw=(b"\xff",)))
    engine.put({99: "red"})
    assert service.again(search, texts("red")) is None
    assert 99 in called("red").ids.to_pylist()


def test_hits_without_fields_know_how_many_they_are(engine: TextEngine) -> None:
    sealed(engine, [*range(8)])
    texts = rq.Queries(data_type=DataType.VARCHAR, raw=(b"fox",))
    hits: rs.Hits = engine.call(rq.Search(collection=NAME, queries=texts, limit=20))
    assert (hits.rows.num_rows, hits.topks.tolist(), len(hits.scores)) == (3, [3], 3)
