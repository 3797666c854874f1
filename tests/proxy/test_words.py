"""Scores of BM25 over a whole engine, against the formula written out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.texts import NAME, TextEngine, Texts, plain_scores, text_schema

from redkite.errors import InvalidParameter
from redkite.index.sparse_index import ALGORITHMS
from redkite.model import requests as rq
from redkite.model.schema import FieldSchema
from redkite.model.tuning import Tuning
from redkite.model.types import DataType
from redkite.server.gather import apart, likeness, together

WORDS = "ant bee cat dog eel fox gnu hen ibis jay kite lynx".split()
SMALL = {
    1: "the quick brown fox", 2: "the lazy dog, dog, dog", 3: "a fox and a dog", 4: "", 5: "Fox! FOX? fox.",
    6: "nothing of the kind", 7: "…", 8: "dog fox " * 40,
}  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[TextEngine]:
    opened = TextEngine(str(tmp_path / "db"))
    yield opened
    opened.close()


def check(engine: TextEngine, texts: Texts, *queries: str, k1: float = 1.2, b: float = 0.75, **more: Any) -> None:
    """Every row with a score is found, with its score, in their order."""
    for query, found in zip(queries, engine.ask(*queries, **more), strict=True):
        want = plain_scores(texts, query, k1, b)
        assert found.keys() == want.keys(), query
        assert found == pytest.approx(want, rel=1e-5)
        assert list(found.values()) == sorted(found.values(), reverse=True)


def draw(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, weights=range(1, 13), k=rng.randint(0, 12)))


@given(seed=st.integers(0, 2**31), shards=st.integers(1, 3))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_statistics_are_those_of_what_is_alive_through_any_history(
    seed: int, shards: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng, texts = random.Random(seed), dict[int, str | None]()
    engine = TextEngine(str(tmp_path_factory.mktemp("words") / "db"))
    engine.create_texts(shards=shards)
    try:
        for _ in range(rng.randint(3, 9)):
            step = rng.choice(["put", "put", "put", "remove", "seal", "compact", "reopen"])
            if step == "put":
                fresh = {rng.randint(1, 60): draw(rng) for _ in range(rng.randint(1, 25))}
                engine.put(fresh)
                texts |= fresh
            elif step == "remove" and texts:
                gone = rng.sample(sorted(texts), min(len(texts), 5))
                engine.remove(f"id in {gone}")
                texts = {key: text for key, text in texts.items() if key not in gone}
            elif step == "seal":
                engine.seal()
            elif step == "compact":
                engine.compact()
            elif step == "reopen":
                engine.reopen()
            check(engine, texts, draw(rng), "kite", "ant lynx lynx", "unheard of")
    finally:
        engine.close()


def test_scores_are_the_same_bits_before_and_after_flush_compaction_and_restart(engine: TextEngine) -> None:
    engine.create_texts()
    rng = random.Random(5)
    texts: dict[int, str | None] = {}
    for start in range(0, 300, 100):
        fresh = {key: draw(rng) for key in range(start, start + 100)}
        engine.put(fresh)
        texts |= fresh
        engine.seal()
    engine.remove("id < 30")
    texts = {key: text for key, text in texts.items() if key >= 30}
    queries = [draw(rng) for _ in range(10)]
    engine.put({1000: "kite kite lynx"})
    texts[1000] = "kite kite lynx"
    check(engine, texts, *queries)
    first = engine.ask(*queries)
    engine.seal()
    assert engine.ask(*queries) == first
    engine.compact()
    assert engine.ask(*queries) == first
    engine.reopen()
    assert engine.ask(*queries) == first


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_gives_the_same_scores_growing_and_sealed(engine: TextEngine, algorithm: str) -> None:
    engine.create_texts(inverted_index_algo=algorithm, bm25_k1="2.0", bm25_b="0.3")
    engine.put(SMALL)
    for _ in range(2):
        check(engine, SMALL, "fox dog", "quick", "the the kind", k1=2.0, b=0.3)
        engine.seal()


@pytest.mark.parametrize("kind", ["AUTOINDEX", "SPARSE_WAND"])
def test_other_indexes_score_alike(engine: TextEngine, kind: str) -> None:
    engine.create_texts(index_type=kind)
    engine.put(SMALL)
    engine.seal()
    check(engine, SMALL, "fox dog", "quick")


def test_rows_without_words_count_and_rows_without_a_text_do_not(engine: TextEngine) -> None:
    engine.create_texts(text_schema(nullable=True))
    texts = {**SMALL, 20: None, 21: None, 22: "one more fox"}
    engine.put(texts)
    check(engine, texts, "fox", "dog")
    engine.seal()
    check(engine, texts, "fox", "dog")
    engine.remove("id in [20, 4, 2]")
    check(engine, {key: text for key, text in texts.items() if key not in (20, 4, 2)}, "fox", "dog")


def test_partitions_and_filters_choose_rows_and_leave_the_statistics(engine: TextEngine) -> None:
    engine.create_texts()
    engine.call(rq.CreatePartition(collection=NAME, partition="odd"))
    engine.put({key: text for key, text in SMALL.items() if key % 2 == 0})
    engine.put({key: text for key, text in SMALL.items() if key % 2}, partition="odd")
    for _ in range(2):
        (whole,) = engine.ask("fox dog")
        assert engine.ask("fox dog", partitions=("odd",)) == [{k: v for k, v in whole.items() if k % 2}]
        assert engine.ask("fox dog", filter="id > 2") == [{k: v for k, v in whole.items() if k > 2}]
        check(engine, SMALL, "fox dog")
        engine.seal()


def test_a_read_as_of_a_time_has_the_statistics_of_that_time(engine: TextEngine) -> None:
    engine.create_texts()
    stamps, states = [], []
    texts: dict[int, str | None] = {}
    for key, text in SMALL.items():
        texts = {**texts, key: text}
        stamps.append(engine.put({key: text}).timestamp)
        states.append(texts)
        if key == 4:
            engine.seal()
    engine.put({1: "only dogs, no such animal", 3: "dog"})
    engine.remove("id == 5")
    for _ in range(2):
        for stamp, state in zip(stamps, states, strict=True):
            check(engine, state, "fox dog", "the", as_of=stamp)
        engine.seal()


def test_rows_whose_time_is_over_do_not_count(engine: TextEngine) -> None:
    born = FieldSchema(name="until", data_type=DataType.TIMESTAMPTZ, nullable=True)
    schema = text_schema(born)
    engine.create_texts(msgspec.structs.replace(schema, properties={"ttl_field": "until"}))
    future = 4_000_000_000_000_000
    until = [1_000_000 if key % 3 == 0 else future for key in SMALL]
    engine.put(SMALL, until=until)
    left = {key: text for key, text in SMALL.items() if key % 3}
    for _ in range(2):
        check(engine, left, "fox dog", "the")
        engine.seal()


def test_dropped_words_of_a_query_do_not_change_the_scores_of_what_is_found(engine: TextEngine) -> None:
    engine.create_texts(drop_ratio_build="0.2")
    engine.put(SMALL)
    engine.seal()
    (whole,) = engine.ask("fox dog quick")
    (some,) = engine.ask("fox dog quick", params={"drop_ratio_search": 0.5})
    assert some and some.items() <= whole.items()
    with pytest.raises(InvalidParameter, match="nprobe"):
        engine.ask("fox", params={"nprobe": 3})


def test_a_partial_upsert_counts_the_words_of_the_text_that_is_there_then(engine: TextEngine) -> None:
    engine.create_texts(text_schema(FieldSchema(name="note", data_type=DataType.INT64, nullable=True)))
    texts = dict(SMALL)
    engine.put(texts, note=[1] * len(texts))
    engine.call(rq.Upsert(collection=NAME, rows=engine.rows({2: "fox"}), partial=True))
    texts[2] = "fox"
    notes = engine.rows({5: ""}, note=[7]).select(["id", "note"])
    engine.call(rq.Upsert(collection=NAME, rows=notes, partial=True))
    check(engine, texts, "fox dog")
    stored = engine.call(rq.Query(collection=NAME, filter="id == 5", output_fields=("*",))).rows.to_pylist()
    assert stored == [{"id": 5, "body": SMALL[5], "note": 7}]


def test_a_search_text_that_is_no_utf8_is_refused(engine: TextEngine) -> None:
    engine.create_texts()
    engine.put(SMALL)
    queries = rq.Queries(data_type=DataType.VARCHAR, raw=(b"fox", b"\xff\xfe"))
    with pytest.raises(InvalidParameter, match="no valid UTF-8"):
        engine.call(rq.Search(collection=NAME, queries=queries, limit=3))


def test_search_texts_that_arrived_together_have_their_own_answers(engine: TextEngine) -> None:
    engine.create_texts()
    engine.put(SMALL)
    asked = [
        rq.Search(collection=NAME, limit=3, queries=rq.Queries(data_type=DataType.VARCHAR, raw=(text.encode(),)))
        for text in ("fox", "lazy dog", "unheard")
    ]
    assert len({likeness(search) for search in asked}) == 1
    both = apart(engine.call(together(asked)), asked)
    for alone, shared in zip(map(engine.call, asked), both, strict=True):
        assert shared.ids.to_pylist() == alone.ids.to_pylist()
        assert shared.scores.tolist() == alone.scores.tolist()
    long = msgspec.structs.replace(asked[0], queries=rq.Queries(data_type=DataType.VARCHAR, raw=(b"fox " * 2000,)))
    assert likeness(long) is None


def test_everything_exact_and_ranges_and_groups_score_alike(engine: TextEngine) -> None:
    engine.create_texts(text_schema(FieldSchema(name="kind", data_type=DataType.INT64, nullable=True)))
    engine.put(SMALL, kind=[key % 2 for key in SMALL])
    for _ in range(2):
        (whole,) = engine.ask("fox dog")
        assert engine.ask("fox dog", tuning=Tuning(exact=True)) == [whole]
        middle = sorted(whole.values())[2]
        assert engine.ask("fox dog", params={"radius": middle}) == [{k: v for k, v in whole.items() if v > middle}]
        (grouped,) = engine.ask("fox dog", grouping=rq.Grouping(fields=("kind",)))
        best = {kind: max((v, -k) for k, v in whole.items() if k % 2 == kind) for kind in (0, 1)}
        assert grouped == {-key: score for score, key in best.values()}
        engine.seal()
