"""Merging and splitting of sealed segments, against plain lists of rows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.env import Env
from redkite.model.batch import arrow_type, vectors_to_arrow
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.sparse import SparseRows
from redkite.model.timestamps import NEVER
from redkite.model.types import DataType
from redkite.segment.compaction import MadeSegment, Part, Source, merge, open_source, split_by_key, survivors
from redkite.segment.deletes import Deletes
from redkite.segment.files import Place, open_rows, write_deletes, write_rows
from redkite.segment.keys import Key
from redkite.simulated import simulated_env
from redkite.storage.objects import FolderObjects, ObjectStore

DIM = 2
SCHEMA = CollectionSchema(
    name="things",
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True, field_id=100),
        FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(DIM)}, field_id=101),
        FieldSchema(name="word", data_type=DataType.VARCHAR, params={"max_length": "9"}, nullable=True, field_id=102),
        FieldSchema(name="maybe", data_type=DataType.FLOAT_VECTOR, params={"dim": "2"}, nullable=True, field_id=103),
        FieldSchema(name="half", data_type=DataType.FLOAT16_VECTOR, params={"dim": "2"}, field_id=104),
        FieldSchema(name="bits", data_type=DataType.BINARY_VECTOR, params={"dim": "8"}, nullable=True, field_id=105),
        FieldSchema(name="sparse", data_type=DataType.SPARSE_FLOAT_VECTOR, nullable=True, field_id=106),
    ),
)


OTHERS = ("maybe", "half", "bits", "sparse")


def vectors_of(key: int) -> dict[str, Any]:
    """What the other vector fields of a row hold, as Arrow shows it."""
    half = np.array([key, -key], np.float16).tobytes()
    sparse = SparseRows.from_bytes([np.array([key, 0], "<u4").tobytes()]).to_arrow()[0].as_py()
    return {
        "maybe": None if key % 3 == 0 else [key, 0.5],
        "half": half,
        "bits": None if key % 2 else bytes([key]),
        "sparse": None if key % 5 == 0 else sparse,
    }


@dataclass(frozen=True)
class Row:
    key: int
    stamp: int
    word: str | None
    deleted: int = NEVER


rows = st.builds(
    Row,
    key=st.integers(0, 50),
    stamp=st.integers(1, 20),
    word=st.none() | st.sampled_from(["", "a", "b", "zz"]),
    deleted=st.just(NEVER) | st.integers(1, 40),
)
segments = st.lists(st.lists(rows, min_size=1, max_size=8), min_size=1, max_size=5)


def env_and_store() -> tuple[Env, ObjectStore]:
    env = simulated_env(1)
    return env, FolderObjects(env.files, "objects")


def sealed(store: ObjectStore, number: int, given_rows: list[Row]) -> Source:
    ordered = sorted(given_rows, key=lambda r: r.stamp)
    vectors = np.array([[r.key, r.stamp] for r in ordered], np.float32)
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([r.key for r in ordered]),
            vectors_to_arrow(vectors),
            pa.array([r.word for r in ordered], pa.string()),
            *(pa.array([vectors_of(r.key)[f.name] for r in ordered], arrow_type(f)) for f in SCHEMA.fields[3:]),
        ],
        [f.name for f in SCHEMA.fields],
    )
    stamps = np.array([r.stamp for r in ordered], np.uint64)
    meta = write_rows(store, Place(1, 2, "channel", number), SCHEMA, batch, stamps)
    marks = np.array([r.deleted for r in ordered], np.uint64)
    gone = np.flatnonzero(marks != np.uint64(NEVER))
    if len(gone):
        meta = meta.with_deletes(write_deletes(store, meta, Deletes.from_entries(gone, marks[gone], len(marks))))
    return open_source(store, meta, SCHEMA)


def held(store: ObjectStore, made: MadeSegment) -> list[Row]:
    """The rows of a new segment, in their order."""
    batch, stamps = open_rows(store, made.meta, SCHEMA)
    deleted = np.full(made.meta.rows, NEVER, np.uint64)
    places, when = made.deletes.entries()
    deleted[places] = when
    vectors: list[Any] = batch.column("vector").to_pylist()
    found = []
    for at, (key, word) in enumerate(
        zip(batch.column("id").to_pylist(), batch.column("word").to_pylist(), strict=True)
    ):
        row = Row(key, stamps[at].as_py(), word, int(deleted[at]))
        assert vectors[at] == [row.key, row.stamp], "the columns of a row were torn apart"
        assert {name: batch.column(name)[at].as_py() for name in OTHERS} == vectors_of(key)
        found.append(row)
    return found


def sorted_rows(given_rows: list[Row]) -> list[tuple[Key, ...]]:
    return sorted((r.stamp, r.key, r.word or "", r.word is None, r.deleted) for r in given_rows)


@settings(max_examples=60, deadline=None)
@given(segments, st.integers(0, 40))
def test_a_merge_keeps_what_may_still_be_read_in_the_order_of_its_timestamps(
    given_segments: list[list[Row]], horizon: int
) -> None:
    _, store = env_and_store()
    sources = [sealed(store, number, rows) for number, rows in enumerate(given_segments, 1)]
    parts = [survivors(source, horizon) for source in sources]
    wanted = [row for rows in given_segments for row in rows if row.deleted > horizon]
    if not wanted:
        assert not any(len(p.rows) for p in parts)
        return
    made = merge(store, SCHEMA, parts, 99)
    found = held(store, made)
    assert sorted_rows(found) == sorted_rows(wanted)
    assert [r.stamp for r in found] == sorted(r.stamp for r in found)
    assert made.meta.min_timestamp == found[0].stamp
    assert made.meta.max_timestamp == found[-1].stamp
    assert (made.meta.min_key, made.meta.max_key) == (min(r.key for r in found), max(r.key for r in found))
    check_origin(made, sources, found)


def check_origin(made: MadeSegment, sources: list[Source], found: list[Row]) -> None:
    """Each old row that is here is where `origin` says, and no new row comes from two."""
    taken: list[int] = []
    by_id = {s.meta.segment_id: s for s in sources}
    for source_id, moved in made.origin:
        source = by_id[source_id]
        assert len(moved) == source.meta.rows
        for old, new in enumerate(moved.tolist()):
            if new >= 0:
                taken.append(new)
                assert found[new].key == source.batch.column("id")[old].as_py()
                assert found[new].stamp == int(source.stamps[old])
    assert sorted(taken) == list(range(len(found)))


@settings(max_examples=60, deadline=None)
@given(segments, st.integers(1, 7), st.sampled_from(["id", "word"]))
def test_a_split_by_key_makes_ranges_that_hold_every_row_once(
    given_segments: list[list[Row]], most: int, field: str
) -> None:
    _, store = env_and_store()
    sources = [sealed(store, number, rows) for number, rows in enumerate(given_segments, 1)]
    parts = [survivors(source, 0) for source in sources]
    groups = split_by_key(parts, field, most)
    assert all(sum(len(p.rows) for p in group) <= most for group in groups)
    found = [held(store, merge(store, SCHEMA, group, 100 + at, level=2)) for at, group in enumerate(groups)]
    assert sorted_rows([r for rows in found for r in rows]) == sorted_rows([r for rows in given_segments for r in rows])
    column = {"id": "key", "word": "word"}[field]
    bounds = [[getattr(r, column) for r in rows if getattr(r, column) is not None] for rows in found]
    filled = [values for values in bounds if values]
    assert all(max(one) <= min(other) for one, other in pairwise(filled))
    for rows in found:
        assert [r.stamp for r in rows] == sorted(r.stamp for r in rows)


def test_rows_of_one_key_stay_together_where_they_fit() -> None:
    _, store = env_and_store()
    words = ["a"] * 3 + ["b"] * 4 + ["c"] * 3
    source = sealed(store, 1, [Row(i, i + 1, word) for i, word in enumerate(words)])
    groups = split_by_key([survivors(source, 0)], "word", 5)
    kept = [
        {w for p in group for w in p.source.batch.column("word").take(pa.array(p.rows)).to_pylist()} for group in groups
    ]
    assert kept == [{"a"}, {"b"}, {"c"}]


def test_rows_that_expired_are_left_out() -> None:
    _, store = env_and_store()
    source = sealed(store, 1, [Row(i, i + 1, None) for i in range(10)])
    part = survivors(source, 0, lambda batch, stamps: stamps < np.uint64(5))
    assert part.rows.tolist() == [4, 5, 6, 7, 8, 9]


def test_vectors_that_may_be_null_keep_their_nulls() -> None:
    _, store = env_and_store()
    vectors = pa.array([[1.0, 1.0], None], pa.list_(pa.float32(), DIM))
    others = [pa.nulls(2, arrow_type(f)) for f in SCHEMA.fields[3:]]
    columns = [pa.array([1, 2]), vectors, pa.array(["a", "b"]), *others]
    batch = pa.RecordBatch.from_arrays(columns, [f.name for f in SCHEMA.fields])
    metas = [
        write_rows(store, Place(1, 2, "c", n), SCHEMA, batch, np.array(stamps, np.uint64))
        for n, stamps in ((1, [1, 4]), (2, [2, 3]))
    ]
    made = merge(store, SCHEMA, [survivors(open_source(store, m, SCHEMA), 0) for m in metas], 9)
    rows_made, stamps = open_rows(store, made.meta, SCHEMA)
    assert stamps.to_pylist() == [1, 2, 3, 4]
    assert rows_made.column("vector").to_pylist() == [[1.0, 1.0], [1.0, 1.0], None, None]


def test_segments_of_two_partitions_are_never_merged() -> None:
    _, store = env_and_store()
    one = sealed(store, 1, [Row(1, 1, None)])
    batch, stamps = open_rows(store, one.meta, SCHEMA)
    other = open_source(store, write_rows(store, Place(1, 3, "channel", 2), SCHEMA, batch, stamps.to_numpy()), SCHEMA)
    with pytest.raises(AssertionError):
        merge(store, SCHEMA, [Part(s, np.arange(1)) for s in (one, other)], 9)
