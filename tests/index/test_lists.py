"""Lists of vectors: every metric against a plain model, and indexes over their elements against comparing all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.list_vectors import (
    BIT_METRICS,
    DENSE_METRICS,
    column_from,
    model,
    random_lists,
    random_queries,
    starts_of,
)

from redkite.index.base import NO_ROW, VectorIndex
from redkite.index.lists import ListColumn, VectorLists
from redkite.index.registry import build, open_index
from redkite.model.halves import to_bfloat16
from redkite.model.schema import FieldSchema
from redkite.model.segments import IndexSpec
from redkite.model.types import DataType, Metric
from redkite.proxy.rules.index_rules import check_index
from redkite.proxy.rules.search_rules import check_search_params

DIM = 16


def check(column: ListColumn, queries: VectorLists, wanted: np.ndarray, metric: Metric, k: int = 10) -> None:
    scores, rows = column.search(queries, k, metric)
    sign = -1 if metric.larger_is_closer else 1
    for at in range(len(queries)):
        true = np.sort(sign * wanted[at][np.isfinite(wanted[at])])[:k]
        found = rows[at][rows[at] >= 0]
        assert len(found) == len(set(found.tolist())) == len(true)
        assert (rows[at, len(found) :] == NO_ROW).all()
        np.testing.assert_allclose(sign * scores[at, : len(found)], true, rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(scores[at, : len(found)], wanted[at, found], rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("metric", DENSE_METRICS)
def test_the_best_rows_are_those_of_the_model(metric: Metric) -> None:
    lists, queries = random_lists(400, DIM, 6), random_queries(5, DIM, 7)
    check(column_from(lists), queries, model(queries, lists, metric), metric)


@pytest.mark.parametrize("metric", DENSE_METRICS)
@pytest.mark.parametrize("kind", [DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR, DataType.INT8_VECTOR])
def test_narrow_numbers_are_compared_as_they_are_kept(kind: DataType, metric: Metric) -> None:
    lists, queries = random_lists(200, DIM, 5), random_queries(3, DIM, 4)
    if kind is DataType.FLOAT16_VECTOR:
        kept = [some.astype(np.float16) for some in lists]
        seen = [some.astype(np.float32) for some in kept]
    elif kind is DataType.BFLOAT16_VECTOR:
        kept = [to_bfloat16(some) for some in lists]
        seen = [(some.astype(np.uint32) << 16).view(np.float32) for some in kept]
    else:
        kept = [(20 * some).astype(np.int8) for some in lists]
        seen = [some.astype(np.float32) for some in kept]
    check(column_from(kept, kind), queries, model(queries, seen, metric), metric)


@pytest.mark.parametrize("metric", BIT_METRICS)
def test_binary_vectors_are_compared_bit_by_bit(metric: Metric) -> None:
    rng = np.random.default_rng(3)
    lists = [rng.integers(0, 256, (int(n), 4), np.uint8) for n in rng.integers(0, 5, 150)]
    queries = VectorLists(starts_of([1, 3]), rng.integers(0, 256, (4, 4), np.uint8))
    check(column_from(lists, DataType.BINARY_VECTOR), queries, model(queries, lists, metric), metric)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=25), st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1), st.sampled_from(DENSE_METRICS), st.integers(1, 30),
)  # fmt: skip
def test_any_lists_are_compared_as_the_model_does(
    lengths: list[int], asked: list[int], seed: int, metric: Metric, k: int
) -> None:
    rng = np.random.default_rng(seed)
    lists = [rng.integers(-3, 4, (n, 3)).astype(np.float32) for n in lengths]
    queries = VectorLists(starts_of(asked), rng.integers(-3, 4, (sum(asked), 3)).astype(np.float32))
    check(column_from(lists), queries, model(queries, lists, metric), metric, k)


def test_a_row_scores_the_same_wherever_it_stands_and_however_it_was_found() -> None:
    lists, queries = random_lists(300, DIM, 6), random_queries(4, DIM, 5)
    column = column_from(lists)
    for metric in DENSE_METRICS:
        scores, rows = column.search(queries, 7, metric)
        for at in range(len(queries)):
            one = queries[np.array([at])]
            whole = column.scores(one, metric)
            chosen = np.array([5, 299, 17, 5, 120])
            np.testing.assert_array_equal(column.scores(one, metric, chosen), whole[chosen])
            np.testing.assert_array_equal(whole[rows[at]], scores[at])
            gathered = column.gather(np.arange(299, -1, -1))
            np.testing.assert_array_equal(gathered.scores(one, metric)[::-1], whole)
            np.testing.assert_array_equal(column.head(100).scores(one, metric), whole[:100])


def test_a_column_of_empty_lists_finds_nothing() -> None:
    empty = column_from([np.empty((0, DIM), np.float32)] * 3)
    scores, rows = empty.search(random_queries(2, DIM, 2), 4, Metric.MAX_SIM)
    assert (rows == NO_ROW).all()
    assert scores.shape == (2, 4)


def test_some_queries_are_taken_by_mask_and_by_number() -> None:
    queries = VectorLists(starts_of([2, 1, 3]), np.arange(12, dtype=np.float32).reshape(6, 2))
    for chosen in (np.array([True, False, True]), np.array([0, 2])):
        some = queries[chosen]
        assert some.starts.tolist() == [0, 2, 5]
        assert some.matrix.tolist() == queries.matrix[[0, 1, 3, 4, 5]].tolist()


# -- indexes ------------------------------------------------------------------------------------
FIELD = FieldSchema(
    name="s[v]", data_type=DataType._ARRAY_OF_VECTOR, element_type=DataType.FLOAT_VECTOR,
    params={"dim": "32", "max_capacity": "20"},
)  # fmt: skip
ROWS, K = 3_000, 10
KINDS = [
    ("HNSW", {"M": "16", "efConstruction": "120"}, {"ef": 128}, 0.9),
    ("HNSW_SQ", {"M": "16", "efConstruction": "120", "sq_type": "SQ8"}, {"ef": 128}, 0.9),
    ("IVF_FLAT", {"nlist": "64"}, {"nprobe": 16}, 0.9),
    ("IVF_SQ8", {"nlist": "64"}, {"nprobe": 16}, 0.9),
    ("IVF_RABITQ", {"nlist": "64"}, {"nprobe": 24, "refine_k": 4}, 0.85),
    ("SCANN", {"nlist": "64"}, {"nprobe": 16}, 0.85),
    ("DISKANN", {}, {"search_list": 160}, 0.85),
    ("AUTOINDEX", {}, {"level": 3}, 0.9),
]


@pytest.fixture(scope="module")
def clustered() -> tuple[ListColumn, VectorLists]:
    return column_from(random_lists(ROWS, 32, 10, clusters=60)), random_queries(25, 32, 8, clusters=60)


def spec_of(kind: str, metric: Metric, given: dict[str, str]) -> IndexSpec:
    return check_index(FIELD, {"index_type": kind, "metric_type": str(metric), **given})


_STORED: dict[tuple[str, Metric, tuple[tuple[str, str], ...]], bytes] = {}


def opened(kind: str, metric: Metric, given: dict[str, str], column: ListColumn) -> tuple[IndexSpec, VectorIndex]:
    """The index over `clustered`, built once for all tests that want it."""
    spec, key = spec_of(kind, metric, given), (kind, metric, tuple(given.items()))
    if key not in _STORED:
        _STORED[key] = build(spec, column, lambda: True, 1)
    return spec, open_index(spec, None, _STORED[key], column)


def recall(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, true, strict=True)]))


TRIED = [(*kind, Metric.MAX_SIM_COSINE) for kind in KINDS] + [
    (*kind, metric)
    for kind in KINDS
    if kind[0] in ("HNSW", "IVF_FLAT")
    for metric in (Metric.MAX_SIM_L2, Metric.MAX_SIM_IP)
]


@pytest.mark.parametrize(("kind", "given", "params", "floor", "metric"), TRIED)
def test_an_index_over_elements_finds_the_rows_that_comparing_all_finds(
    kind: str, given: dict[str, str], params: dict[str, int], floor: float, metric: Metric,
    clustered: tuple[ListColumn, VectorLists],
) -> None:  # fmt: skip
    column, queries = clustered
    spec, index = opened(kind, metric, given, column)
    assert (index.rows, index.metric, index.approximate) == (ROWS, metric, True)
    _, true = column.search(queries, K, metric)
    _, candidates = index.search(queries, K, check_search_params(spec, params, K), None)
    scores, rows = column.ranked(queries, candidates, K, metric)
    assert recall(rows, true) >= floor
    for at in range(len(queries)):
        np.testing.assert_array_equal(column.scores(queries[np.array([at])], metric, rows[at]), scores[at])


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_an_index_over_elements_keeps_to_the_allowed_rows(
    share: float, clustered: tuple[ListColumn, VectorLists]
) -> None:
    column, queries = clustered
    spec, index = opened("HNSW", Metric.MAX_SIM_COSINE, KINDS[0][1], column)
    mask = np.random.default_rng(5).random(ROWS) < share
    bitmap = np.packbits(mask, bitorder="little")
    _, candidates = index.search(queries, K, check_search_params(spec, {"ef": 128}, K), bitmap)
    assert mask[candidates[candidates >= 0]].all()
    allowed = np.flatnonzero(mask)
    _, places = column.gather(allowed).search(queries, K, Metric.MAX_SIM_COSINE)
    _, rows = column.ranked(queries, candidates, K, Metric.MAX_SIM_COSINE)
    assert recall(rows, allowed[places]) >= 0.85


@pytest.mark.parametrize(
    ("kind", "metric"), [("HNSW", Metric.MAX_SIM_HAMMING), ("BIN_IVF_FLAT", Metric.MAX_SIM_JACCARD)]
)
def test_an_index_over_binary_elements_finds_what_comparing_all_finds(kind: str, metric: Metric) -> None:
    rng = np.random.default_rng(8)
    centres = rng.integers(0, 256, (40, 16), np.uint8)

    def near(count: int) -> np.ndarray:
        noise = np.packbits(rng.random((count, 128)) < 0.08, axis=1)
        return centres[rng.integers(0, 40, count)] ^ noise

    lists = [near(int(n)) for n in rng.integers(0, 8, 2_000)]
    column = column_from(lists, DataType.BINARY_VECTOR)
    queries = VectorLists(starts_of([4] * 12), near(48))
    field = FieldSchema(
        name="s[b]", data_type=DataType._ARRAY_OF_VECTOR, element_type=DataType.BINARY_VECTOR,
        params={"dim": "128", "max_capacity": "20"},
    )  # fmt: skip
    spec = check_index(field, {"index_type": kind, "metric_type": str(metric)})
    index = open_index(spec, None, build(spec, column, lambda: True, 1), column)
    params = check_search_params(spec, {"ef": 96} if kind == "HNSW" else {"nprobe": 32}, K)
    true, _ = column.search(queries, K, metric)
    scores, _ = column.ranked(queries, index.search(queries, K, params, None)[1], K, metric)
    # Many rows are equally close: what counts is how close those are that were found.
    assert (scores <= true[:, -1:] + 1e-6).mean() >= 0.85


def test_an_index_over_no_element_at_all_is_an_empty_one() -> None:
    column = column_from([np.empty((0, 32), np.float32)] * 5)
    spec = spec_of("HNSW", Metric.MAX_SIM_IP, {})
    data = build(spec, column, lambda: True, 1)
    assert not len(data)
    index = open_index(spec, None, data, column)
    _, rows = index.search(random_queries(2, 32, 2), 3, {"ef": 16}, None)
    assert (rows == NO_ROW).all()
    assert index.memory() == 0


def test_bytes_of_an_index_over_other_lists_are_refused(clustered: tuple[ListColumn, VectorLists]) -> None:
    column, _ = clustered
    spec = spec_of("IVF_FLAT", Metric.MAX_SIM_IP, {"nlist": "16"})
    data = build(spec, column, lambda: True, 1)
    with pytest.raises(RuntimeError, match="it is over"):
        open_index(spec, None, data, column.head(100))
