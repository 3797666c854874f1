"""Hybrid searches and functions over a whole engine, against what numpy says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.engine import result
from tests.proxy.model_server import ModelServer, relevance

from redkite.cluster.local import Database, open_database
from redkite.cluster.reading import open_for_reading
from redkite.errors import CollectionNotFound, InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import vectors_to_arrow
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.scoring import FunctionScore
from redkite.model.types import DataType, FunctionType

DIM, ROWS = 6, 300
RNG = np.random.default_rng(5)
A = RNG.standard_normal((ROWS, DIM)).astype(np.float32)
B = RNG.standard_normal((ROWS, DIM)).astype(np.float32)
WORDS = [f"{'red' if i % 3 else 'blue'} kite {i % 7}" for i in range(ROWS)]
QUERIES = RNG.standard_normal((2, 3, DIM)).astype(np.float32)
"""Three for each field."""


class Kites:
    """One collection of two vector fields, part of its rows sealed, part growing."""

    def __init__(self, path: Path, shards: int, index: str) -> None:
        self.database: Database = open_database(str(path / "x.db"), garbage_seconds=0.0)
        vector = {"dim": str(DIM)}
        fields = (
            FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
            FieldSchema(name="a", data_type=DataType.FLOAT_VECTOR, params=vector),
            FieldSchema(name="b", data_type=DataType.FLOAT_VECTOR, params=vector),
            FieldSchema(name="n", data_type=DataType.INT64),
            FieldSchema(name="w", data_type=DataType.VARCHAR, params={"max_length": "40"}),
        )
        self.call(rq.CreateCollection(schema=CollectionSchema(name="kites", fields=fields), shards=shards))
        for field, metric in (("a", "L2"), ("b", "COSINE")):
            params = {"index_type": index, "metric_type": metric}
            self.call(rq.CreateIndex(collection="kites", field=field, params=params))
        self.call(rq.LoadCollection(collection="kites"))
        self.insert(range(150))
        self.call(rq.Flush(collections=("kites",)))
        self.insert(range(150, ROWS))

    def insert(self, ids: Any) -> None:
        rows = list(ids)
        columns = [pa.array(rows), vectors_to_arrow(A[rows]), vectors_to_arrow(B[rows]), pa.array(rows)]
        batch = pa.RecordBatch.from_arrays([*columns, pa.array([WORDS[i] for i in rows])], ["id", "a", "b", "n", "w"])
        self.call(rq.Insert(collection="kites", rows=batch))

    def call(self, request: rq.Request) -> Any:
        return result(self.database.service.call(request))

    def part(self, field: str, limit: int = 10, nq: int = 3, **more: Any) -> rq.Search:
        vectors = QUERIES[0 if field == "a" else 1][:nq]
        queries = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors)
        return rq.Search(collection="kites", queries=queries, limit=limit, anns_field=field, **more)

    def hybrid(self, *parts: rq.Search, limit: int = 10, **more: Any) -> rs.Hits:
        hits: rs.Hits = self.call(rq.HybridSearch(collection="kites", searches=parts, limit=limit, **more))
        return hits


@pytest.fixture(params=[(1, "FLAT"), (3, "FLAT"), (1, "HNSW")], ids=["one shard", "shards", "graph"])
def kites(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kites]:
    made = Kites(tmp_path, *request.param)
    yield made
    made.database.close()


def order(field: str, query: int, kept: Any = None) -> list[int]:
    """Keys from the closest outwards."""
    vectors, wanted = (A, QUERIES[0]) if field == "a" else (B, QUERIES[1])
    if field == "a":
        far = ((vectors - wanted[query]) ** 2).sum(axis=1)
    else:
        far = -(vectors @ wanted[query]) / np.linalg.norm(vectors, axis=1)
    ranked: list[int] = np.argsort(far, kind="stable").tolist()
    return ranked if kept is None else [key for key in ranked if kept(key)]


def reciprocal(*lists: list[int], k: float = 60) -> list[int]:
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, key in enumerate(ranked, 1):
            scores[key] = scores.get(key, 0) + 1 / (k + rank)
    return sorted(scores, key=lambda key: (-np.float32(scores[key]), key))


def per_query(hits: rs.Hits) -> list[list[int]]:
    ids = iter(hits.ids.to_pylist())
    return [[next(ids) for _ in range(count)] for count in hits.topks.tolist()]


def score(*functions: FunctionSchema, **params: str) -> FunctionScore:
    return FunctionScore(functions=functions, params=params)


def function(fields: str, **params: str) -> FunctionSchema:
    return FunctionSchema(
        name="f", type=FunctionType.RERANK, input_field_names=tuple(fields.split()), output_field_names=(),
        params=params,
    )  # fmt: skip


# -- hybrid -------------------------------------------------------------------------------------
def test_each_search_keeps_its_own_filter_and_limit(kites: Kites) -> None:
    found = kites.hybrid(kites.part("a", 20, filter="n >= 40"), kites.part("b", 5, filter="n < {top}",
                         filter_params={"top": 250}), limit=4, output_fields=("n", "w"))  # fmt: skip
    wanted = [
        reciprocal(order("a", q, lambda key: key >= 40)[:20], order("b", q, lambda key: key < 250)[:5])[:4]
        for q in range(3)
    ]
    assert per_query(found) == wanted
    flat = [key for query in wanted for key in query]
    assert found.rows.column("n").to_pylist() == flat
    assert found.rows.column("w").to_pylist() == [WORDS[key] for key in flat]


def test_a_search_brings_as_many_hits_as_the_whole_wants(kites: Kites) -> None:
    found = kites.hybrid(kites.part("a", 1), kites.part("b", 1), limit=3, offset=2)
    wanted = [reciprocal(order("a", q)[:5], order("b", q)[:5])[2:5] for q in range(3)]
    assert per_query(found) == wanted


def test_deleted_rows_are_in_no_list(kites: Kites) -> None:
    gone = {order("a", 0)[0], order("b", 0)[0], order("a", 1)[1]}
    kites.call(rq.Delete(collection="kites", filter=f"id in {sorted(gone)}"))
    found = kites.hybrid(kites.part("a"), kites.part("b"), limit=10, output_fields=("n",))
    wanted = [
        reciprocal(order("a", q, lambda key: key not in gone)[:10], order("b", q, lambda key: key not in gone)[:10])
        for q in range(3)
    ]
    assert per_query(found) == [query[:10] for query in wanted]


def test_rows_are_read_as_they_were(kites: Kites) -> None:
    then = kites.hybrid(kites.part("a"), kites.part("b"), output_fields=("w",))
    kites.call(rq.Delete(collection="kites", filter="n >= 0"))
    assert kites.hybrid(kites.part("a"), kites.part("b")).topks.tolist() == [0, 0, 0]
    again = kites.hybrid(kites.part("a"), kites.part("b"), output_fields=("w",), as_of=then.session_timestamp)
    assert again.ids == then.ids
    assert again.rows == then.rows
    assert again.scores.tolist() == then.scores.tolist()


def test_one_search_with_one_weight_is_that_search(kites: Kites) -> None:
    alone = kites.call(kites.part("b", 7))
    found = kites.hybrid(kites.part("b", 7), limit=7, strategy="weighted", rank_params={"weights": [1]})
    assert found.ids == alone.ids
    assert found.scores.tolist() == alone.scores.tolist()


def test_the_order_of_searches_does_not_matter_to_reciprocal_ranks(kites: Kites) -> None:
    one = kites.hybrid(kites.part("a"), kites.part("b"))
    other = kites.hybrid(kites.part("b"), kites.part("a"))
    assert one.ids == other.ids


def test_partitions_of_the_whole_hold_for_every_search(kites: Kites) -> None:
    kites.call(rq.CreatePartition(collection="kites", partition="empty"))
    kites.call(rq.LoadCollection(collection="kites"))
    assert kites.hybrid(kites.part("a"), kites.part("b"), partitions=("empty",)).topks.tolist() == [0, 0, 0]
    with pytest.raises(InvalidParameter, match="partition name none not found"):
        kites.hybrid(kites.part("a"), partitions=("none",))


def test_scores_are_rounded_as_asked(kites: Kites) -> None:
    found = kites.hybrid(kites.part("a"), kites.part("b"), round_decimal=2)
    assert found.scores.tolist() == np.round(kites.hybrid(kites.part("a"), kites.part("b")).scores, 2).tolist()


def test_what_cannot_be_is_refused(kites: Kites) -> None:
    a, b = kites.part("a"), kites.part("b")
    cases: list[tuple[Any, str]] = [
        (kites.hybrid, "at least one ann search request"),
        (lambda: kites.hybrid(*[a] * 1025), "maximum of ann search requests is 1024"),
        (lambda: kites.hybrid(a, kites.part("b", nq=2)), "nq should be the same: invalid parameter[expected=3]"),
        (lambda: kites.hybrid(a, b, limit=0), "topk [0] is invalid"),
        (lambda: kites.hybrid(a, b, offset=-1), "offset [-1] is invalid"),
        (lambda: kites.hybrid(a, b, limit=10, offset=16380), "offset+topk [16390] is invalid"),
        (lambda: kites.hybrid(a, b, round_decimal=9), "round_decimal [9] is invalid"),
        (lambda: kites.hybrid(a, b, output_fields=("none",)), "field none not exist"),
        (lambda: kites.hybrid(a, kites.part("b", filter="none > 1")), "cannot parse expression"),
        (lambda: kites.hybrid(a, kites.part("b", metric="L2")), "metric type not match"),
        (lambda: kites.hybrid(a, kites.part("", nq=3)), "multiple anns_fields exist"),
        (lambda: kites.hybrid(a, b, strategy="best"), "unsupported rank type best"),
        (lambda: kites.hybrid(a, b, strategy="rrf", function_score=score(function("", reranker="rrf"))), "not both"),
    ]  # fmt: skip
    for call, text in cases:
        with pytest.raises(InvalidParameter) as caught:
            call()
        assert text in caught.value.message
    with pytest.raises(CollectionNotFound):
        kites.call(rq.HybridSearch(collection="none", searches=(a,), limit=1))


# -- functions ----------------------------------------------------------------------------------
def test_a_decaying_search_orders_its_hits_by_both(kites: Kites) -> None:
    decay = score(function("n", reranker="decay", function="linear", origin="100", scale="100", decay="0.1"))
    plain = kites.call(kites.part("b", 20, nq=1))
    found = kites.call(kites.part("b", 20, nq=1, function_score=decay, output_fields=("n",)))
    keys = np.array(plain.ids.to_pylist())
    wanted = plain.scores * np.maximum(0.1, 1 - 0.9 / 100 * np.abs(keys - 100))
    best = np.lexsort((keys, -wanted))
    assert found.ids.to_pylist() == keys[best].tolist()
    assert found.rows.column("n").to_pylist() == found.ids.to_pylist()
    assert found.scores.tolist() == pytest.approx(wanted[best].tolist(), rel=1e-5)


def test_a_decaying_hybrid_search_takes_the_best_score_of_each_row(kites: Kites) -> None:
    decay = score(function("n", reranker="decay", function="exp", origin="0", scale="50", norm_score="true"))
    found = kites.hybrid(kites.part("a", nq=1), kites.part("b", nq=1), limit=20, function_score=decay)
    scores: dict[int, float] = {}
    for field in ("a", "b"):
        hits = kites.call(kites.part(field, 20, nq=1))
        for key, given in zip(hits.ids.to_pylist(), hits.scores.tolist(), strict=True):
            normal = 1 - 2 * np.arctan(given) / np.pi if field == "a" else (1 + given) / 2
            scores[key] = max(scores.get(key, 0.0), normal)
    wanted = {key: normal * 0.5 ** (key / 50) for key, normal in scores.items()}
    assert found.ids.to_pylist() == sorted(wanted, key=lambda key: -wanted[key])[:20]
    assert found.scores.tolist() == pytest.approx(sorted(wanted.values(), reverse=True)[:20], rel=1e-5)


def test_a_boost_brings_up_rows_from_beyond_the_limit(kites: Kites) -> None:
    boost = score(function("", reranker="boost", filter="n % 10 == 3", weight="0.01"))
    found = kites.call(kites.part("a", 3, function_score=boost, output_fields=("n",)))
    wanted = [[key for key in order("a", q)[:100] if key % 10 == 3][:3] for q in range(3)]
    assert per_query(found) == wanted
    assert found.rows.column("n").to_pylist() == [key for query in wanted for key in query]


def test_a_boosted_search_of_more_rows_begins_like_one_of_fewer(kites: Kites) -> None:
    boost = score(function("", reranker="boost", filter="w like 'red%'", weight="0.8"))
    long = per_query(kites.call(kites.part("a", 10, function_score=boost)))
    short = per_query(kites.call(kites.part("a", 4, function_score=boost)))
    page = per_query(kites.call(kites.part("a", 4, offset=3, function_score=boost)))
    assert short == [query[:4] for query in long]
    assert page == [query[3:7] for query in long]


def test_boosts_of_a_hybrid_search_come_before_its_ranker(kites: Kites) -> None:
    boost = function("", reranker="boost", filter="n < 100", weight="0.0")
    found = kites.hybrid(
        kites.part("b", 10), limit=10, function_score=score(boost), strategy="weighted", rank_params={"weights": [1]}
    )
    for query, keys in enumerate(per_query(found)):
        near = [key for key in order("b", query)[:100] if key >= 100]
        assert keys == near[:10]


def test_a_random_boost_shuffles_alike_for_one_seed(kites: Kites) -> None:
    def keys(text: str) -> list[list[int]]:
        shuffle = score(function("", reranker="boost", weight="1", random_score=text), boost_mode="multiply")
        return per_query(kites.call(kites.part("b", 10, function_score=shuffle)))

    assert keys('{"seed": 1}') == keys('{"seed": 1, "field": "id"}')
    assert keys('{"seed": 1}') != keys('{"seed": 2}')


def test_a_model_scores_the_texts_of_the_hits(kites: Kites) -> None:
    with ModelServer() as server:
        ranker = score(
            function(
                "w", reranker="model", provider="tei", queries='["blue", "red kite", "kite 3"]',
                endpoint=server.endpoint, max_client_batch_size="4",
            )
        )  # fmt: skip
        found = kites.hybrid(kites.part("a"), kites.part("b"), limit=6, function_score=ranker, output_fields=("w",))
        assert not kites.database.service.is_quick(
            rq.HybridSearch(collection="kites", searches=(kites.part("a"),), limit=6, function_score=ranker)
        )
    for query, keys in zip(("blue", "red kite", "kite 3"), per_query(found), strict=True):
        number = ("blue", "red kite", "kite 3").index(query)
        pool = {*order("a", number)[:10], *order("b", number)[:10]}
        assert keys == sorted(pool, key=lambda key: (-relevance(query, WORDS[key]), key))[:6]


def test_a_function_and_an_iterator_do_not_go_together(kites: Kites) -> None:
    with pytest.raises(InvalidParameter, match="not permitted when using a search iterator"):
        kites.call(kites.part("a", nq=1, page=rq.Page(), function_score=score(function("", reranker="rrf"))))


def test_a_reader_beside_the_writer_answers_alike(kites: Kites, tmp_path: Path) -> None:
    wanted = kites.hybrid(kites.part("a"), kites.part("b"), output_fields=("w",))
    reader = open_for_reading(str(tmp_path / "x.db"))
    asked = rq.HybridSearch(
        collection="kites", searches=(kites.part("a"), kites.part("b")), limit=10, output_fields=("w",)
    )
    found = result(reader.service.call(asked))
    reader.close()
    assert (found.ids, found.rows, found.scores.tolist()) == (wanted.ids, wanted.rows, wanted.scores.tolist())


def test_a_range_holds_for_its_own_search(kites: Kites) -> None:
    near = kites.call(kites.part("a", 12, nq=1))
    radius, inner = float(near.scores[6]), float(near.scores[2])
    part = kites.part("a", 50, nq=1, params={"radius": radius, "range_filter": inner})
    found = kites.hybrid(part, limit=20)
    assert found.ids.to_pylist() == order("a", 0)[2:6]
    both = kites.hybrid(part, kites.part("b", 20, nq=1), limit=20)
    assert both.ids.to_pylist() == reciprocal(order("a", 0)[2:6], order("b", 0)[:20])[:20]


# -- one snapshot -------------------------------------------------------------------------------
@pytest.mark.parametrize("shards", [1, 2])
def test_all_searches_and_the_output_are_of_one_moment_while_rows_change(tmp_path: Path, shards: int) -> None:
    database = open_database(str(tmp_path / "x.db"))

    def call(request: rq.Request) -> Any:
        return result(database.service.call(request))

    fields = (
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
        *(FieldSchema(name=name, data_type=DataType.FLOAT_VECTOR, params={"dim": "2"}) for name in "ab"),
        FieldSchema(name="n", data_type=DataType.INT64),
    )
    call(rq.CreateCollection(schema=CollectionSchema(name="one", fields=fields), shards=shards))
    for name in "ab":
        call(rq.CreateIndex(collection="one", field=name, params={"index_type": "FLAT", "metric_type": "IP"}))
    call(rq.LoadCollection(collection="one"))

    def write(value: int) -> None:
        keys = np.arange(4)
        vectors = np.full((4, 2), value, np.float32)
        columns = [pa.array(keys), vectors_to_arrow(vectors), vectors_to_arrow(-vectors), pa.array(keys * 0 + value)]
        call(rq.Upsert(collection="one", rows=pa.RecordBatch.from_arrays(columns, ["id", "a", "b", "n"])))

    write(1)
    stop = threading.Event()

    def keep_writing() -> None:
        for value in range(2, 3000):
            if stop.is_set():
                return
            write(value)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    seen = set()
    queries = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.array([[1, 0]], np.float32))
    searches = tuple(rq.Search(collection="one", queries=queries, limit=4, anns_field=name) for name in "ab")
    asked = rq.HybridSearch(
        collection="one", searches=searches, limit=4, strategy="weighted", rank_params={"weights": [1, 0.5]},
        output_fields=("n",),
    )  # fmt: skip
    try:
        for _ in range(150):
            found = call(asked)
            assert found.scores.tolist() == [0.5 * n for n in found.rows.column("n").to_pylist()]
            assert len(set(found.scores.tolist())) == 1
            assert len(found.scores) == 4
            seen.add(found.scores[0])
    finally:
        stop.set()
        writer.join()
        database.close()
    assert len(seen) > 5
