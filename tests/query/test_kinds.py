"""Every kind of search and of query against a plain model: sealed and growing segments, shards, deletes, filters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine import DIM, NAME, Engine

from redkite.errors import InvalidParameter, MilvusException
from redkite.model import requests as rq
from redkite.model.types import DataType

ROWS = 400


class World:
    """An engine and what it holds. Vectors lie on a small grid, so that many scores are equal."""

    def __init__(self, path: Path, metric: str, shards: int) -> None:
        rng = np.random.default_rng(7)
        self.metric = metric
        self.vectors = rng.integers(-2, 3, (ROWS, DIM)).astype(np.float32)
        self.numbers = rng.integers(0, 9, ROWS)
        self.words = [None if i % 6 == 0 else f"w{(i * 7) % 5}" for i in range(ROWS)]
        self.alive = np.ones(ROWS, bool)
        self.engine = Engine(str(path))
        self.engine.create(metric=metric, index="HNSW", shards=shards, M=4, efConstruction=20)
        for start, end in ((0, 150), (150, 260), (260, ROWS)):
            rows = range(start, end)
            self.engine.insert(rows, self.vectors[start:end], self.numbers[start:end], self.words[start:end])
            if end < ROWS:
                self.engine.flush()
        self.engine.delete("id % 10 == 3")
        self.alive[3::10] = False

    def scores(self, query: np.ndarray) -> np.ndarray:
        some = self.vectors.astype(np.float64)
        if self.metric == "L2":
            return ((some - query) ** 2).sum(axis=1)
        products = some @ query
        if self.metric == "IP":
            return products
        lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(query)
        return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), 0)

    def ordered(self, query: np.ndarray, allowed: np.ndarray) -> list[int]:
        """Rows in the order of a search; in which float32 puts scores that are next to equal, only it can say."""
        found = self.engine.search(query, ROWS, in_order=True)
        rows, scores = found.ids.to_pylist(), self.scores(query)[found.ids.to_pylist()]
        assert sorted(rows) == np.flatnonzero(self.alive).tolist()
        steps = np.diff(scores if self.metric == "L2" else -scores)
        assert steps.min() > -1e-4
        assert all(rows[i] < rows[i + 1] for i in np.flatnonzero(np.diff(found.scores) == 0))
        return [i for i in rows if allowed[i]]


@pytest.fixture(scope="module", params=[("L2", 1), ("IP", 2), ("COSINE", 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("kinds") / "db", *request.param)
    yield made
    made.engine.close()


queries = st.integers(0, ROWS - 1)
filters = st.sampled_from([("", None), ("number > 2", 2), ("number > 6", 6), ("number > 8", 8)])
some = settings(max_examples=25, deadline=None)


def allowed(world: World, least: int | None) -> np.ndarray:
    return world.alive if least is None else world.alive & (world.numbers > least)


def search(world: World, query: np.ndarray, limit: int, filter: str = "", **more: Any) -> Any:
    return world.engine.search(query, limit, filter, **more)


# -- ranges -------------------------------------------------------------------------------------
@some
@given(queries, filters, st.integers(1, 60), st.floats(-1, 20), st.floats(0, 8), st.booleans(), st.integers(0, 5))
def test_a_range_search_gives_every_row_in_range_in_order(
    world: World, at: int, condition: tuple[str, int | None], limit: int, radius: float, width: float, inner: bool,
    offset: int,
) -> None:  # fmt: skip
    if world.metric == "COSINE":
        radius, width = radius / 20, width / 8
    query = world.vectors[at] + np.float32(0.5)
    params = {"radius": radius}
    scores = np.round(world.scores(query), 5)
    larger = world.metric != "L2"
    inside = scores > radius if larger else scores < radius
    if inner and width > 0.001:
        bound = radius + width if larger else radius - width
        params["range_filter"] = bound
        inside &= scores <= bound if larger else scores >= bound
    edges = [abs(scores - edge).min() < 1e-4 for edge in params.values()]
    if any(edges):
        return  # what float32 makes of a score on the edge, the next test says
    found = search(world, query, limit, condition[0], params=params, offset=offset)
    wanted = world.ordered(query, allowed(world, condition[1]) & inside)
    assert found.ids.to_pylist() == wanted[offset : offset + limit]


def test_the_outer_edge_of_a_range_is_out_and_the_inner_one_in(world: World) -> None:
    query = world.vectors[0]
    every = search(world, query, ROWS, in_order=True)
    edges = np.unique(every.scores)
    low, high = float(edges[1]), float(edges[3])
    radius, inner = (high, low) if world.metric == "L2" else (low, high)
    found = search(world, query, ROWS, params={"radius": radius, "range_filter": inner})
    scores = every.scores
    inside = (scores >= low) & (scores < high) if world.metric == "L2" else (scores > low) & (scores <= high)
    assert found.ids.to_pylist() == [i for i, kept in zip(every.ids.to_pylist(), inside, strict=True) if kept]


def test_ranges_that_meet_make_the_whole(world: World) -> None:
    query = world.vectors[5]
    every = search(world, query, ROWS, in_order=True)
    cuts = [float(every.scores[len(every.scores) * i // 4]) for i in range(1, 4)]
    bounds = [None, *cuts, 1e9 if world.metric == "L2" else -1e9]
    found: list[int] = []
    for inner, radius in itertools.pairwise(bounds):
        params = {"radius": radius} | ({} if inner is None else {"range_filter": inner})
        if inner == radius:
            continue
        found += search(world, query, ROWS, params=params).ids.to_pylist()
    # The bounds belong to the range within for similarities and to the one beyond for distances; none is lost.
    assert sorted(found) == sorted(every.ids.to_pylist())


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"range_filter": 1.0}, "range_filter requires radius to be set"),
        ({"radius": 1.0, "range_filter": 1.0}, "must be (less|greater) than radius"),
        ({"radius": "far"}, r"radius \[far\] is invalid"),
        ({"radius": True}, "should be a number"),
        ({"radius": float("nan")}, "radius"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(world: World, params: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        search(world, world.vectors[0], 3, params=params)


# -- by primary keys ----------------------------------------------------------------------------
@some
@given(st.lists(st.integers(0, ROWS - 1).filter(lambda i: i % 10 != 3), min_size=1, max_size=4))
def test_a_search_by_keys_is_a_search_with_their_vectors(world: World, keys: list[int]) -> None:
    by_keys = rq.Search(collection=NAME, queries=ids_of(keys), limit=5)
    found = world.engine.call(by_keys)
    wanted = search(world, world.vectors[keys], 5)
    assert found.ids.to_pylist() == wanted.ids.to_pylist()
    np.testing.assert_array_equal(found.scores, wanted.scores)


def ids_of(keys: list[Any]) -> rq.Queries:
    import pyarrow as pa

    return rq.Queries(data_type=DataType.NONE, ids=pa.array(keys))


def test_a_search_by_a_key_that_is_not_there_names_it(world: World) -> None:
    for key in (13, 9999):
        with pytest.raises(InvalidParameter, match=f"no entity has the primary key .*{key}"):
            world.engine.call(rq.Search(collection=NAME, queries=ids_of([1, key]), limit=5))
    with pytest.raises(InvalidParameter, match="ids are of type VarChar"):
        world.engine.call(rq.Search(collection=NAME, queries=ids_of(["a"]), limit=5))


# -- groups -------------------------------------------------------------------------------------
def groups_in(world: World, order: list[int], fields: list[str]) -> dict[Any, list[int]]:
    values = {"number": world.numbers.tolist(), "word": world.words}
    groups: dict[Any, list[int]] = {}
    for row in order:
        groups.setdefault(tuple(values[f][row] for f in fields), []).append(row)
    return groups


@some
@given(
    st.lists(queries, min_size=1, max_size=3), filters, st.integers(1, 12), st.integers(1, 10),
    st.sampled_from([("number",), ("word",), ("word", "number")]), st.integers(0, 3),
)  # fmt: skip
def test_a_strict_search_by_groups_fills_the_best_groups(
    world: World, at: list[int], condition: tuple[str, int | None], limit: int, size: int, fields: tuple[str, ...],
    offset: int,
) -> None:  # fmt: skip
    grouping = rq.Grouping(fields=fields, size=size, strict=True)
    vectors = world.vectors[at] + np.float32(0.5)
    found = search(world, vectors, limit, condition[0], grouping=grouping, offset=offset)
    ids, start = found.ids.to_pylist(), 0
    for vector, count in zip(vectors, found.topks.tolist(), strict=True):
        groups = groups_in(world, world.ordered(vector, allowed(world, condition[1])), list(fields))
        wanted = [row for rows in list(groups.values())[offset : offset + limit] for row in rows[:size]]
        assert ids[start : start + count] == wanted
        start += count


@some
@given(queries, filters, st.integers(1, 12), st.integers(1, 10))
def test_a_search_by_groups_finds_the_best_groups_and_their_best_rows(
    world: World, at: int, condition: tuple[str, int | None], limit: int, size: int
) -> None:
    query = world.vectors[at] + np.float32(0.5)
    found = search(world, query, limit, condition[0], grouping=rq.Grouping(fields=("word",), size=size))
    groups = groups_in(world, world.ordered(query, allowed(world, condition[1])), ["word"])
    shown = groups_in(world, found.ids.to_pylist(), ["word"])
    assert list(shown) == list(groups)[:limit]
    for group, rows in shown.items():
        assert rows[0] == groups[group][0]
        assert 1 <= len(rows) <= size
        assert rows == sorted(rows, key=groups[group].index)
    if not shown:
        return
    assert found.groups is not None
    assert found.groups.column(0).to_pylist() == [world.words[i] for i in found.ids.to_pylist()]


@pytest.mark.parametrize(
    ("grouping", "more", "text"),
    [
        (rq.Grouping(fields=("nope",)), {}, r"groupBy field not found in schema: field not found\[field=nope\]"),
        (rq.Grouping(fields=("vector",)), {}, "unsupported data type FloatVector for group by operator"),
        (rq.Grouping(fields=("word",), size=11), {}, "input group size:11 exceeds configured max group size:10"),
        (rq.Grouping(fields=("word",), size=-1), {}, "input group size:-1 is negative, failed to do search_groupby"),
        (rq.Grouping(fields=("word",)), {"params": {"radius": 1.0}}, "Not allowed to do range-search when doing"),
        (rq.Grouping(fields=("word",)), {"page": rq.Page()}, "GroupBy is not permitted when using a search iterator"),
        (rq.Grouping(fields=("word",), json_path="/a"), {}, "json_path, json_type and strict_cast are of JSON fields"),
        (rq.Grouping(fields=("word", "word")), {}, "a field is named twice"),
    ],
)
def test_groups_that_cannot_be_are_refused(world: World, grouping: rq.Grouping, more: Any, text: str) -> None:
    with pytest.raises(MilvusException, match=text):
        search(world, world.vectors[0], 3, grouping=grouping, **more)


# -- order --------------------------------------------------------------------------------------
keys = st.lists(
    st.builds(
        lambda field, down, last: rq.Ordering(field=field, descending=down, nulls_last=last),
        st.sampled_from(["number", "word", "id"]), st.booleans(), st.booleans(),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


def sorted_rows(world: World, rows: list[int], order: list[rq.Ordering]) -> list[int]:
    values: dict[str, list[Any]] = {
        "number": world.numbers.tolist(), "word": world.words, "id": list(range(ROWS)),
    }  # fmt: skip
    for key in reversed(order):
        column = values[key.field]
        nulls = [row for row in rows if column[row] is None]
        others = sorted((r for r in rows if column[r] is not None), key=lambda r: column[r], reverse=key.descending)
        if key.descending:  # Python's reversed sort keeps equal rows as they were, as ours does
            others = [
                row
                for _, equal in itertools.groupby(others, key=lambda r: column[r])
                for row in sorted(equal, key=rows.index)
            ]
        rows = others + nulls if key.nulls_last else nulls + others
    return rows


@some
@given(filters, keys, st.integers(1, ROWS), st.integers(0, 30))
def test_a_query_sorts_its_rows(
    world: World, condition: tuple[str, int | None], order: list[rq.Ordering], limit: int, offset: int
) -> None:
    found = world.engine.query(condition[0], limit, ("number",), order_by=tuple(order), offset=offset)
    rows = [int(i) for i in np.flatnonzero(allowed(world, condition[1]))]
    assert found["id"] == sorted_rows(world, rows, order)[offset : offset + limit]
    assert set(found) == {"number", "id"}


@some
@given(queries, keys, st.integers(1, 50), st.integers(0, 10))
def test_a_search_shows_its_hits_in_the_order_asked_for(
    world: World, at: int, order: list[rq.Ordering], limit: int, offset: int
) -> None:
    query = world.vectors[at] + np.float32(0.5)
    found = search(world, query, limit, order_by=tuple(order), offset=offset, in_order=True)
    hits = world.ordered(query, world.alive)[offset : offset + limit]
    assert found.ids.to_pylist() == sorted_rows(world, hits, order)
    assert found.rows.num_columns == 0


def test_groups_are_shown_in_the_order_of_their_best_hits(world: World) -> None:
    query = world.vectors[9] + np.float32(0.5)
    order = (rq.Ordering(field="id", descending=True),)
    grouping = rq.Grouping(fields=("word",), size=3, strict=True)
    found = search(world, query, 4, grouping=grouping, order_by=order)
    groups = list(groups_in(world, world.ordered(query, world.alive), ["word"]).values())[:4]
    groups.sort(key=lambda rows: -rows[0])
    assert found.ids.to_pylist() == [row for rows in groups for row in rows[:3]]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("nope", "order_by field 'nope' does not exist in collection schema"),
        ("vector", "order_by field 'vector' has unsortable type FloatVector"),
        ('word["a"]', "VarChar data type not supported accessed with"),
    ],
)
def test_an_order_that_cannot_be_is_refused(world: World, field: str, text: str) -> None:
    order = (rq.Ordering(field=field),)
    with pytest.raises(InvalidParameter, match=text):
        search(world, world.vectors[0], 3, order_by=order)
    with pytest.raises(InvalidParameter, match=text):
        world.engine.query("", 3, order_by=order)


def test_an_order_wants_a_limit_and_no_iterator(world: World) -> None:
    order = (rq.Ordering(field="number"),)
    with pytest.raises(InvalidParameter, match="order_by_fields should be used with limit"):
        world.engine.query("number > 1", order_by=order)
    with pytest.raises(InvalidParameter, match="order_by is not supported when using search iterator"):
        search(world, world.vectors[0], 3, order_by=order, page=rq.Page())


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"offset": 1}, "Setting an offset is not permitted when using a search iterator v2"),
        ({"page": rq.Page(token="mine")}, "invalid token format"),
        ({"aggregation": rq.Aggregation(fields=("word",), size=1)}, "search_aggregation is not supported when using"),
    ],
)
def test_a_page_that_cannot_be_is_refused(world: World, more: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        search(world, world.vectors[0], 3, **({"page": rq.Page()} | more))


# -- numbers about rows -------------------------------------------------------------------------
@some
@given(filters, st.lists(st.sampled_from(["number", "word"]), unique=True, max_size=2))
def test_aggregates_are_those_of_the_model(world: World, condition: tuple[str, int | None], fields: list[str]) -> None:
    names = ("count(*)", "count(word)", "sum(number)", "min(word)", "max(id)", "avg(number)", "AVG(id)")
    found = world.engine.query(condition[0], 100 if fields else None, (*fields, *names), group_by=tuple(fields))
    rows = [int(i) for i in np.flatnonzero(allowed(world, condition[1]))]
    groups = groups_in(world, rows, fields) if fields else {(): rows}
    assert list(zip(*(found[f] for f in fields), strict=True)) == sorted_groups(groups) if fields else True
    for at, group in enumerate(sorted_groups(groups) if fields else [()]):
        members = groups[group]
        words = [world.words[i] for i in members if world.words[i] is not None]
        numbers = [int(world.numbers[i]) for i in members]
        assert [found[name][at] for name in names[:5]] == [
            len(members), len(words), sum(numbers) if members else None, min(words, default=None),
            max(members, default=None),
        ]  # fmt: skip
        for name, values in (("avg(number)", numbers), ("AVG(id)", members)):
            assert found[name][at] == (pytest.approx(sum(values) / len(values)) if values else None)


def sorted_groups(groups: dict[Any, Any]) -> list[Any]:
    return sorted(groups, key=lambda key: [(value is not None, value if value is not None else 0) for value in key])


def test_groups_can_be_sorted_by_what_was_counted_and_cut(world: World) -> None:
    order = (rq.Ordering(field="count(*)", descending=True), rq.Ordering(field="word"))
    ask = {"fields": ("count(*)", "word"), "group_by": ("word",), "order_by": order}
    whole = world.engine.query("", 100, **ask)
    assert whole["count(*)"] == sorted(whole["count(*)"], reverse=True)
    part = world.engine.query("", 2, **ask, offset=1)
    assert part == {name: values[1:3] for name, values in whole.items()}


@pytest.mark.parametrize(
    ("fields", "group_by", "text"),
    [
        (("number", "count(*)"), ("word",), "output field 'number' is not allowed"),
        (("sum(word)",), (), "aggregation operator sum does not support data type VarChar"),
        (("median(number)",), (), "aggregation function median .* is not known"),
        (("count(number",), ("word",), r"output field 'count\(number' is not allowed"),
        (("count()",), ("word",), "names no field to aggregate"),
        (("sum(*)",), (), "only valid for count"),
        (("max(nope)",), (), r"field not found\[field=nope\]"),
        (("count(*)",), ("vector",), "group by field vector has unsupported data type FloatVector"),
        (("count(*)",), ("nope",), r"groupBy field not found in schema: field not found\[field=nope\]"),
    ],
)
def test_aggregates_that_cannot_be_are_refused(
    world: World, fields: tuple[str, ...], group_by: tuple[str, ...], text: str
) -> None:
    with pytest.raises(MilvusException, match=text):
        world.engine.query("number > 0", 10, fields, group_by=group_by)


# -- buckets ------------------------------------------------------------------------------------
@some
@given(queries, filters, st.integers(1, 6), st.integers(1, 5), st.booleans())
def test_buckets_are_made_of_the_best_rows_of_each_key(
    world: World, at: int, condition: tuple[str, int | None], size: int, hits: int, nested: bool
) -> None:
    query = world.vectors[at] + np.float32(0.5)
    below = rq.Aggregation(fields=("number",), size=3, top_hits=rq.TopHits(size=1)) if nested else None
    aggregation = rq.Aggregation(
        fields=("word",), size=size, top_hits=rq.TopHits(size=hits), below=below,
        measures=(
            rq.Measure(alias="all", op="count", field="*"), rq.Measure(alias="n", op="avg", field="number"),
            rq.Measure(alias="far", op="max", field="_score"), rq.Measure(alias="w", op="min", field="word"),
        ),
    )  # fmt: skip
    found = search(world, query, 1, condition[0], aggregation=aggregation, output_fields=("number",))
    fields = ["word", "number"] if nested else ["word"]
    groups = groups_in(world, world.ordered(query, allowed(world, condition[1])), fields)
    kept = [row for rows in list(groups.values())[: size * (3 if nested else 1)] for row in rows[:hits]]
    parents = groups_in(world, kept, ["word"])
    assert found.topks.tolist() == [0]
    assert found.buckets is not None
    (buckets,) = found.buckets
    assert [bucket.key[0].value for bucket in buckets] == [key[0] for key in list(parents)[:size]]
    scores = world.scores(query)
    order = world.ordered(query, world.alive)
    for bucket in buckets:
        rows = parents[(bucket.key[0].value,)]
        best = sorted(rows, key=order.index)
        assert (bucket.count, bucket.measures["all"]) == (len(rows), len(rows))
        assert bucket.measures["n"] == pytest.approx(np.mean(world.numbers[rows]))
        assert bucket.measures["far"] == pytest.approx(scores[rows].max(), abs=1e-4)
        assert bucket.measures["w"] == bucket.key[0].value
        assert [hit.key for hit in bucket.hits] == best[:hits]
        assert [hit.fields["number"] for hit in bucket.hits] == world.numbers[best[:hits]].tolist()
        assert len(bucket.groups) == (min(3, len({int(world.numbers[r]) for r in rows})) if nested else 0)


@pytest.mark.parametrize(
    ("aggregation", "more", "text"),
    [
        ({"fields": ()}, {}, "fields must not be empty"),
        ({"fields": ("nope",)}, {}, r"field not found\[field=nope\]"),
        ({"fields": ("vector",)}, {}, "unsupported data type FloatVector"),
        ({"size": 0}, {}, "size must be positive"),
        ({"size": 10_001}, {}, "10001 result entries, at most 10000"),
        ({"order": (rq.Ordering(field="x"),)}, {}, "order key 'x' is none of _count, _key"),
        ({"measures": (rq.Measure(alias="a", op="sum", field="word"),)}, {}, "does not support data type VarChar"),
        ({"measures": (rq.Measure(alias="a", op="sum", field="*"),)}, {}, "only valid for count"),
        ({"below": rq.Aggregation(fields=("word",), size=1)}, {}, "named twice"),
        ({}, {"offset": 1}, "does not support offset"),
        ({}, {"grouping": rq.Grouping(fields=("word",))}, "mutually exclusive"),
        ({}, {"params": {"radius": 1.0}}, "Not allowed to do range-search"),
        ({}, {"output_fields": ("vector",)}, "cannot be shown in buckets"),
    ],
)
def test_buckets_that_cannot_be_are_refused(world: World, aggregation: Any, more: Any, text: str) -> None:
    asked = rq.Aggregation(**({"fields": ("word",), "size": 3} | aggregation))
    with pytest.raises(MilvusException, match=text):
        search(world, world.vectors[0], 3, aggregation=asked, **more)


# -- relations ----------------------------------------------------------------------------------
KINDS: list[dict[str, Any]] = [
    {"params": {"radius": 12.0}}, {"grouping": rq.Grouping(fields=("word",), size=2, strict=True)},
    {"in_order": True}, {"hints": "iterative_filter"},
]  # fmt: skip


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_what_is_always_true_changes_nothing(world: World, kind: int) -> None:
    query = world.vectors[11] + np.float32(0.5)
    if world.metric != "L2" and "params" in KINDS[kind]:
        return
    plain = search(world, query, 6, "number > 3", **KINDS[kind])
    more = search(world, query, 6, "number > 3 and id >= 0", **KINDS[kind])
    assert plain.ids.to_pylist() == more.ids.to_pylist()


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_fewer_are_the_first_of_more(world: World, kind: int) -> None:
    if world.metric != "L2" and "params" in KINDS[kind]:
        return
    query = world.vectors[12] + np.float32(0.5)
    few = search(world, query, 3, **KINDS[kind]).ids.to_pylist()
    many = search(world, query, 5, **KINDS[kind]).ids.to_pylist()
    assert many[: len(few)] == few


def test_an_unknown_hint_is_refused(world: World) -> None:
    with pytest.raises(InvalidParameter, match=r"search hint \[fast\] is not known"):
        search(world, world.vectors[0], 3, hints="fast")
