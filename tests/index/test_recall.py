"""Every type of index over dense vectors finds what FLAT finds, and each parameter does something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.index.vectors import DIM, clustered, near, recall, wilson_low

from redkite.index import registry
from redkite.index.base import VectorIndex
from redkite.index.dense import ByteColumn, DenseColumn, FloatColumn, HalfColumn
from redkite.index.registry import BuildCancelled
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

ROWS, QUERIES, K = 3_000, 100, 10
GRAPH = {"M": 16, "efConstruction": 60}
LISTS = {"nlist": 64}
COARSE = {**GRAPH, "m": 4, "nbits": 6}
Params = dict[str, Any]
Case = tuple[str, Params, Params, float]
CASES: list[Case] = [
    ("HNSW", GRAPH, {"ef": 64}, 0.97),
    ("IVF_FLAT", LISTS, {"nprobe": 16}, 0.95),
    ("IVF_SQ8", LISTS, {"nprobe": 16}, 0.95),
    ("IVF_PQ", {**LISTS, "m": 8, "nbits": 8}, {"nprobe": 16}, 0.93),
    ("IVF_RABITQ", {**LISTS, "rbq_bits": 1}, {"nprobe": 16, "rbq_query_bits": 0}, 0.93),
    ("IVF_RABITQ", {**LISTS, "rbq_bits": 4}, {"nprobe": 16, "rbq_query_bits": 6}, 0.95),
    ("SCANN", {**LISTS, "sub_dim": 2, "with_raw_data": True}, {"nprobe": 16, "reorder_k": 64}, 0.95),
    ("DISKANN", {}, {"search_list": 32}, 0.95),
    ("HNSW_SQ", {**GRAPH, "sq_type": "SQ8"}, {"ef": 64}, 0.97),
    ("HNSW_SQ", {**GRAPH, "sq_type": "SQ4U"}, {"ef": 64}, 0.95),
    ("HNSW_PQ", {**GRAPH, "m": 8, "nbits": 8}, {"ef": 96}, 0.95),
    ("HNSW_PRQ", {**GRAPH, "m": 4, "nrq": 2, "nbits": 5}, {"ef": 160}, 0.93),
    ("ANNOY", {"n_trees": 8}, {"ef": 80}, 0.97),
]
"""Index type, how it is built, how it is searched, and the recall it may not be below."""
NAMES = [f"{kind}-{number}" for number, (kind, *_) in enumerate(CASES)]


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return clustered(ROWS)


@pytest.fixture(scope="module")
def queries(data: np.ndarray) -> np.ndarray:
    return near(data, QUERIES)


_STORED: dict[tuple[Any, ...], bytes] = {}
_MADE: dict[tuple[Any, ...], VectorIndex] = {}


def key_of(kind: str, build: Params, column: DenseColumn, metric: Metric) -> tuple[Any, ...]:
    return (kind, *build.items(), metric, type(column), column.matrix.tobytes())


def stored(kind: str, build: Params, column: DenseColumn, metric: Metric) -> bytes:
    """The bytes of the index, built once for all tests that want it."""
    key = key_of(kind, build, column, metric)
    if key not in _STORED:
        _STORED[key] = registry.build(IndexSpec(index_type=kind, metric=metric, build=build), column, lambda: True, 2)
    return _STORED[key]


def made(kind: str, build: Params, column: DenseColumn, metric: Metric) -> VectorIndex:
    """The index, opened once for all tests that want it."""
    key = key_of(kind, build, column, metric)
    if key not in _MADE:
        spec = IndexSpec(index_type=kind, metric=metric, build=build)
        _MADE[key] = registry.open_index(spec, None, stored(kind, build, column, metric), column)
    return _MADE[key]


def answers(
    index: VectorIndex, column: DenseColumn, queries: np.ndarray, params: Params, mask: np.ndarray | None = None
) -> np.ndarray:
    bitmap = None if mask is None else np.packbits(mask, bitorder="little")
    _, found = index.search(queries, K, params, bitmap)
    assert mask is None or mask[found[found >= 0]].all(), "a row came back that is not allowed"
    return column.ranked(queries, found, K, index.metric)[1]


def truth(column: DenseColumn, queries: np.ndarray, metric: Metric, mask: np.ndarray | None = None) -> np.ndarray:
    if mask is None:
        return column.search(queries, K, metric, None)[1]
    rows = np.flatnonzero(mask)
    return rows[column.gather(rows).search(queries, K, metric, None)[1]]


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize(("kind", "build", "params", "floor"), CASES, ids=NAMES)
def test_an_index_finds_what_comparing_every_row_finds(
    kind: str, build: Params, params: Params, floor: float, metric: Metric, data: np.ndarray, queries: np.ndarray
) -> None:
    column = FloatColumn(data)
    index = made(kind, build, column, metric)
    assert index.rows == ROWS
    found = recall(answers(index, column, queries, params), truth(column, queries, metric))
    # The largest inner products lie apart from where the query is, which lists and links answer less well.
    slack = 0.06 if metric is Metric.IP else 0.0
    assert wilson_low(found, QUERIES * K) >= floor - slack - 0.015, found


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize(("kind", "build", "params", "floor"), CASES, ids=NAMES)
def test_only_allowed_rows_come_back_and_more_effort_keeps_the_recall(
    kind: str, build: Params, params: Params, floor: float, share: float, data: np.ndarray, queries: np.ndarray
) -> None:
    column = FloatColumn(data)
    index = made(kind, build, column, Metric.L2)
    mask = np.random.default_rng(3).random(ROWS) < share
    wider = index.widened(params, K, min(1 / share, 8))
    found = recall(answers(index, column, queries, wider, mask), truth(column, queries, Metric.L2, mask))
    assert wilson_low(found, QUERIES * K) >= floor - 0.015, found


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize("kind", ["HNSW", "IVF_FLAT", "IVF_SQ8", "SCANN", "DISKANN", "HNSW_SQ"])
def test_narrow_numbers_are_indexed_like_wide_ones(kind: str, metric: Metric, data: np.ndarray) -> None:
    _, build, params, _ = next(case for case in CASES if case[0] == kind)
    some, asked = data[:3000], near(data[:3000], QUERIES)
    scaled = np.clip(np.round(some * 8), -128, 127)
    columns: list[tuple[DenseColumn, np.ndarray]] = [
        (HalfColumn(some.astype(np.float16)), asked),
        (HalfColumn((some.view(np.uint32) >> 16).astype(np.uint16)), asked),
        (ByteColumn(scaled.astype(np.int8)), np.clip(np.round(asked * 8), -128, 127).astype(np.float32)),
    ]
    for column, questions in columns:
        index = made(kind, build, column, metric)
        wanted, _ = column.search(questions, K, metric, None)
        _, found = index.search(questions, K, params, None)
        scores, _ = column.ranked(questions, found, K, metric)
        bound, best = (wanted[:, -1:], scores) if metric is Metric.L2 else (scores, wanted[:, -1:])
        assert (best <= bound + 1e-4).mean() >= (0.85 if metric is Metric.IP else 0.93), type(column)


def test_whole_numbers_in_a_graph_of_bytes_rank_exactly(data: np.ndarray) -> None:
    """The library's signed byte codes are exact for queries of whole numbers, and for no others."""
    whole = np.clip(np.round(data[:2000] * 8), -128, 127)
    column = ByteColumn(whole.astype(np.int8))
    for metric in (Metric.L2, Metric.IP):
        index = made("HNSW", GRAPH, column, metric)
        scores, found = index.search(whole[:20].astype(np.float32), 5, {"ef": 100}, None)
        for query, rows, score in zip(whole[:20], found, scores, strict=True):
            exact = ((whole[rows] - query) ** 2).sum(axis=1) if metric is Metric.L2 else whole[rows] @ query
            np.testing.assert_array_equal(score, exact.astype(np.float32))


# -- every parameter does something -------------------------------------------------------------
def test_looking_through_more_lists_finds_more(data: np.ndarray, queries: np.ndarray) -> None:
    column = FloatColumn(data)
    wanted = truth(column, queries, Metric.L2)
    for kind, build, params, _ in CASES:
        if "nprobe" in params:
            index = made(kind, build, column, Metric.L2)
            few, many = (answers(index, column, queries, {**params, "nprobe": n}) for n in (1, 32))
            assert recall(few, wanted) < recall(many, wanted), kind


def test_a_longer_search_list_takes_more_candidates_from_more_lists(data: np.ndarray, queries: np.ndarray) -> None:
    index = made("DISKANN", {}, FloatColumn(data), Metric.L2)
    narrow, wide = (index.search(queries, K, {"search_list": n}, None)[1] for n in (1, 100))
    assert narrow.shape[1] < wide.shape[1]
    few, many = (set(found[found >= 0].tolist()) for found in (narrow, wide))
    assert few < many


def test_a_wider_list_of_candidates_finds_more(data: np.ndarray, queries: np.ndarray) -> None:
    column = FloatColumn(data)
    wanted = truth(column, queries, Metric.L2)
    pairs: list[tuple[str, Params, Params, Params]] = [
        ("HNSW", {"M": 4, "efConstruction": 20}, {"ef": 10}, {"ef": 200}),
        ("SCANN", CASES[6][1], {"nprobe": 16, "reorder_k": 10}, {"nprobe": 16, "reorder_k": 100}),
        ("IVF_PQ", CASES[3][1], {"nprobe": 16, "refine_k": 1.0}, {"nprobe": 16, "refine_k": 8.0}),
        ("IVF_RABITQ", CASES[4][1], {**CASES[4][2], "refine_k": 1.0}, {**CASES[4][2], "refine_k": 8.0}),
        ("HNSW_PRQ", CASES[11][1], {"ef": 64, "refine_k": 1.5}, {"ef": 64, "refine_k": 16.0}),
    ]
    for kind, build, narrow, wide in pairs:
        index = made(kind, build, column, Metric.L2)
        few, many = (recall(answers(index, column, queries, p), wanted) for p in (narrow, wide))
        assert few < many, kind


@pytest.mark.parametrize(
    ("kind", "smaller", "larger"),
    [
        ("HNSW", {"M": 8, "efConstruction": 40}, {"M": 32, "efConstruction": 40}),
        ("ANNOY", {"n_trees": 1}, {"n_trees": 32}),
        ("IVF_FLAT", {"nlist": 8}, {"nlist": 128}),
        ("IVF_PQ", {**LISTS, "m": 4, "nbits": 8}, {**LISTS, "m": 16, "nbits": 8}),
        ("IVF_PQ", {**LISTS, "m": 8, "nbits": 4}, {**LISTS, "m": 8, "nbits": 8}),
        ("IVF_RABITQ", {**LISTS, "rbq_bits": 1}, {**LISTS, "rbq_bits": 5}),
        ("SCANN", {**LISTS, "sub_dim": 4}, {**LISTS, "sub_dim": 2}),
        ("HNSW_SQ", {**GRAPH, "sq_type": "SQ4U"}, {**GRAPH, "sq_type": "SQ6"}),
        ("HNSW_SQ", {**GRAPH, "sq_type": "SQ8"}, {**GRAPH, "sq_type": "BF16"}),
        ("HNSW_PQ", {**GRAPH, "m": 4, "nbits": 6}, {**GRAPH, "m": 16, "nbits": 6}),
        ("HNSW_PRQ", {**GRAPH, "m": 2, "nrq": 1, "nbits": 4}, {**GRAPH, "m": 2, "nrq": 4, "nbits": 4}),
        ("IVF_SQ8", {**LISTS}, {**LISTS, "refine": True, "refine_type": "SQ6"}),
        ("IVF_SQ8", {**LISTS, "refine": True, "refine_type": "SQ6"}, {**LISTS, "refine": True, "refine_type": "SQ8"}),
        ("HNSW_PQ", COARSE, {**COARSE, "refine": True, "refine_type": "FP16"}),
        ("HNSW_PQ", COARSE, {**COARSE, "refine": True, "refine_type": "BF16"}),
    ],
)  # fmt: skip
def test_finer_codes_take_more_room(kind: str, smaller: Params, larger: Params, data: np.ndarray) -> None:
    column = FloatColumn(data[:1000])
    sizes = [len(stored(kind, build, column, Metric.L2)) for build in (smaller, larger)]
    assert sizes[0] < sizes[1]


def test_more_care_in_building_links_better(data: np.ndarray, queries: np.ndarray) -> None:
    column = FloatColumn(data)
    wanted = truth(column, queries, Metric.L2)
    quick, careful = (
        recall(
            answers(made("HNSW", {"M": 4, "efConstruction": n}, column, Metric.L2), column, queries, {"ef": 10}), wanted
        )
        for n in (4, 200)
    )
    assert quick < careful


def test_codes_alone_decide_when_refinement_is_refused(data: np.ndarray, queries: np.ndarray) -> None:
    column = FloatColumn(data)
    wanted = truth(column, queries, Metric.L2)
    build = {**LISTS, "m": 4, "nbits": 8}
    found = {}
    for name, more in (
        ("unsaid", {}),
        ("refused", {"refine": False}),
        ("stored", {"refine": True, "refine_type": "FP32"}),
        ("codes", {"refine": True, "refine_type": "FP16"}),
        ("coarse", {"refine": True, "refine_type": "SQ6"}),
    ):
        index = made("IVF_PQ", {**build, **more}, column, Metric.L2)
        assert index.search(queries, K, {"nprobe": 32}, None)[1].shape[1] == (80 if name in ("unsaid", "stored") else K)
        found[name] = recall(answers(index, column, queries, {"nprobe": 32}), wanted)
    assert found["refused"] < found["coarse"] <= found["codes"]
    assert found["unsaid"] == found["stored"] >= found["codes"]


def test_fewer_bits_of_the_query_rank_coarser(data: np.ndarray, queries: np.ndarray) -> None:
    column = FloatColumn(data)
    index = made("IVF_RABITQ", {**LISTS, "rbq_bits": 1, "refine": False}, column, Metric.L2)
    wanted = truth(column, queries, Metric.L2)
    one, eight, every = (
        recall(answers(index, column, queries, {"nprobe": 32, "rbq_query_bits": bits}), wanted) for bits in (1, 8, 0)
    )
    assert one < eight
    assert abs(eight - every) < 0.03


# -- small, odd and cancelled -------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "build", "params", "floor"), CASES, ids=NAMES)
@pytest.mark.parametrize("rows", [1, 3, 50])
def test_few_rows_are_indexed_too(
    kind: str,
    build: Params,
    params: Params,
    floor: float,
    rows: int,
    data: np.ndarray,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Lists and centres are then fewer than asked, and the library does not complain."""
    column = FloatColumn(data[:rows])
    index = made(kind, {**build, "nlist": 65_536} if "nlist" in build else build, column, Metric.L2)
    found = answers(index, column, data[:1], params)
    assert found[0, 0] == 0
    assert "WARNING" not in capfd.readouterr().err


def test_rows_that_are_all_alike_are_indexed() -> None:
    """All but one of the lists are empty then; a search that meets only those says so by finding no row."""
    column = FloatColumn(np.ones((1000, DIM), np.float32))
    for kind, build, params, _ in CASES:
        found = answers(made(kind, build, column, Metric.COSINE), column, column.matrix[:2], params)
        assert found.shape == (2, K), kind
        assert "nprobe" in params or (found >= 0).all(), kind


@pytest.mark.parametrize(("kind", "build", "params", "floor"), CASES, ids=NAMES)
def test_a_build_stops_when_it_is_no_longer_wanted(
    kind: str, build: Params, params: Params, floor: float, data: np.ndarray
) -> None:
    asked = []

    def wanted() -> bool:
        asked.append(1)
        return len(asked) < 2

    spec = IndexSpec(index_type=kind, metric=Metric.L2, build=build)
    with pytest.raises(BuildCancelled):
        registry.build(spec, FloatColumn(np.tile(data, (3, 1))), wanted, 1)


@pytest.mark.parametrize(("kind", "build", "params", "floor"), CASES, ids=NAMES)
def test_a_mapped_index_answers_as_the_one_in_memory(
    kind: str, build: Params, params: Params, floor: float, data: np.ndarray, queries: np.ndarray, tmp_path: Any
) -> None:
    column = FloatColumn(data)
    spec = IndexSpec(index_type=kind, metric=Metric.L2, build=build)
    written = stored(kind, build, column, Metric.L2)
    path = tmp_path / "index"
    path.write_bytes(written)
    mapped = registry.open_index(spec, str(path), written, column)
    copied = registry.open_index(spec, None, written, column)
    np.testing.assert_array_equal(
        mapped.search(queries, K, params, None)[1], copied.search(queries, K, params, None)[1]
    )
    assert 0 < mapped.memory() <= 2 * len(written)
    assert registry.build_bytes(spec, len(column), DIM) >= len(written)


def test_more_rows_than_there_are_may_be_asked(data: np.ndarray) -> None:
    column = FloatColumn(data[:300])
    for kind, build, params, _ in CASES:
        every = index_all(kind, params)
        _, found = made(kind, build, column, Metric.L2).search(column.matrix[:2], 310, every, None)
        _, rows = column.ranked(column.matrix[:2], found, 310, Metric.L2)
        assert rows.shape == (2, 310)
        assert (rows[:, :300] >= 0).mean() >= 0.9, kind
        assert (rows[:, 300:] < 0).all()


def index_all(kind: str, params: Params) -> Params:
    """Parameters with which an index of any type looks at all of some hundred rows."""
    most = {"ef": 310, "nprobe": 64, "reorder_k": 310, "search_list": 310}
    return {name: most.get(name, value) for name, value in params.items()} | ({"ef": 310} if kind == "ANNOY" else {})


def test_searching_changes_nothing(data: np.ndarray, queries: np.ndarray) -> None:
    """Nothing may be added to an index of the library while it is searched; here nothing ever is."""
    column = FloatColumn(data)
    for kind, build, params, _ in CASES:
        index = made(kind, build, column, Metric.L2)
        before = index.search(queries, K, params, None)[1]
        mask = np.random.default_rng(4).random(ROWS) < 0.3
        index.search(queries, K, params, np.packbits(mask, bitorder="little"))
        np.testing.assert_array_equal(index.search(queries, K, params, None)[1], before, kind)
        assert index.rows == ROWS
