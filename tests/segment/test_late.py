"""Vectors that are compared with their checksums when they are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.errors import Corruption
from redkite.model.segments import SegmentMeta
from redkite.model.tuning import Tuning
from redkite.segment import late
from redkite.segment.late import LateCheck, LateColumn
from redkite.simulated import SimulatedEnv, simulated_env

ROWS = 3_000
VECTORS = np.random.default_rng(3).normal(size=(ROWS, DIM)).astype(np.float32)
PIECE = 1024
ROW_BYTES = 4 * DIM


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "LATE_BYTES", 20_000)
    monkeypatch.setattr(late, "PIECE_BYTES", PIECE)


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine("db", simulated_env(4))
    made.create(M=8, efConstruction=40)
    made.insert(range(ROWS), VECTORS, range(ROWS))
    made.flush()
    env(made).run_until_idle()
    yield made
    made.close()


def env(engine: Engine) -> SimulatedEnv:
    assert isinstance(engine.env, SimulatedEnv)
    return engine.env


def segment_of(engine: Engine) -> SegmentMeta:
    topology = engine.database.topology
    (found,) = topology.data.segments(topology.root.find("", NAME).collection_id)
    return found


def damage(engine: Engine, at: int) -> None:
    """Change one byte of the rows' file of a closed database."""
    path = f"db/objects/{segment_of(engine).rows_object}"
    engine.close()
    data = bytearray(env(engine).files.read(path))
    data[at] ^= 4
    env(engine).files.write_new(path, [data])
    engine.open()


def reads(engine: Engine) -> list[tuple[int, int]]:
    """Offsets and lengths that are read of the rows' file from now on."""
    seen: list[tuple[int, int]] = []
    files, name = env(engine).files, segment_of(engine).rows_object
    read = files.read

    def noting(path: str, offset: int = 0, length: int | None = None) -> bytes:
        if path.endswith(name):
            seen.append((offset, length or 0))
        return read(path, offset, length)

    files.read = noting  # type: ignore[method-assign]
    return seen


def test_the_file_says_where_its_vectors_are(engine: Engine) -> None:
    segment = segment_of(engine)
    assert segment.late is not None
    data = env(engine).files.read(f"db/objects/{segment.rows_object}")
    vectors = np.frombuffer(data[segment.late.start : segment.late.start + segment.late.size], np.float32)
    np.testing.assert_array_equal(vectors.reshape(ROWS, DIM), VECTORS)


def test_a_search_through_an_index_reads_what_it_looks_at_and_the_rest_follows(engine: Engine) -> None:
    engine.reopen()
    seen = reads(engine)
    segment = segment_of(engine)
    assert segment.late is not None
    hits = engine.search(VECTORS[5], 3, params={"ef": 16})
    assert hits.ids.to_pylist()[0] == 5
    within = [(at, size) for at, size in seen if segment.late.start <= at < segment.late.start + segment.late.size]
    assert 0 < sum(size for _, size in within) < segment.late.size / 4
    env(engine).run_until_idle()
    within = [(at, size) for at, size in seen if segment.late.start <= at < segment.late.start + segment.late.size]
    assert sum(size for _, size in within) == segment.late.size
    seen.clear()
    assert engine.search(VECTORS[6], 3, tuning=Tuning(exact=True)).ids.to_pylist()[0] == 6
    assert engine.query("id == 9", fields=("vector",))["vector"] == [VECTORS[9].tolist()]
    assert seen == []


@pytest.mark.parametrize("row", [0, 1, 500, ROWS - 1])
def test_a_damaged_vector_is_named_by_whoever_looks_at_it_and_by_nobody_else(engine: Engine, row: int) -> None:
    segment = segment_of(engine)
    assert segment.late is not None
    damage(engine, segment.late.start + row * ROW_BYTES + 2)
    far = (row + ROWS // 2) % ROWS
    assert engine.query(f"id == {far}", fields=("vector",))["vector"] == [VECTORS[far].tolist()]
    for _ in range(2):
        with pytest.raises(Corruption, match=r"rows\.arrow' does not match"):
            engine.query(f"id == {row}", fields=("vector",))
        with pytest.raises(Corruption, match=r"rows\.arrow' does not match"):
            engine.search(VECTORS[row], 3, tuning=Tuning(exact=True))
        with pytest.raises(Corruption, match=r"rows\.arrow' does not match"):
            engine.search(VECTORS[row], 3, params={"ef": 64})
        env(engine).run_until_idle()
    assert engine.query(f"id == {row}", fields=("number",))["number"] == [row]


def test_damage_anywhere_else_is_found_when_the_segment_is_opened(engine: Engine) -> None:
    segment = segment_of(engine)
    assert segment.late is not None
    end = segment.late.start + segment.late.size
    for at in (0, 9, segment.late.start - 1, end, end + 70, segment.size - 1):
        damage(engine, at)
        with pytest.raises(Corruption, match=r"rows\.arrow' does not match"):
            engine.search(VECTORS[1], 3)
        damage(engine, at)
    assert engine.search(VECTORS[1], 3).ids.to_pylist()[0] == 1


def test_a_file_that_was_cut_is_found_when_the_segment_is_opened(engine: Engine) -> None:
    path = f"db/objects/{segment_of(engine).rows_object}"
    engine.close()
    env(engine).files.truncate(path, 5_000)
    engine.open()
    with pytest.raises(Corruption, match="5000 bytes instead of"):
        engine.search(VECTORS[1], 3)


@pytest.mark.parametrize("sums", [b"", b"AAAA", b"not base64!"])
def test_checksums_that_cannot_be_are_corruption(engine: Engine, sums: bytes) -> None:
    segment = segment_of(engine)
    assert segment.late is not None
    with pytest.raises(Corruption, match="checksums"):
        LateCheck(engine.database.topology.store, segment, segment.late, pa.py_buffer(b""), sums)


def test_every_way_to_look_at_a_column_compares_what_it_looks_at() -> None:
    class Noted:
        is_done = False
        asked: list[Any] = []

        def rows(self, rows: Any) -> None:
            self.asked.append(sorted(set(np.asarray(rows).tolist())))

        def all(self) -> None:
            self.asked.append("all")

    class Column:
        rows, nbytes, width = 7, 28, 1

        def __len__(self) -> int:
            return 7

        def __getattr__(self, name: str) -> Any:
            return lambda *_: name

    check = Noted()
    column = LateColumn(Column(), check)  # type: ignore[arg-type]
    some = np.array([1, 4])
    assert (column.rows, column.nbytes, column.width, len(column)) == (7, 28, 1, 7)
    answers: list[Any] = [
        column.search(None, 1, None, None),  # type: ignore[arg-type]
        column.ranked(None, np.array([[4, 1]]), 1, None),  # type: ignore[arg-type]
        column.scores(None, None),  # type: ignore[arg-type]
        column.scores(None, None, some),  # type: ignore[arg-type]
        column.gather(some),
        column.head(3),
    ]
    assert answers == ["search", "ranked", "scores", "scores", "gather", "head"]
    assert check.asked == ["all", [1, 4], "all", [1, 4], [1, 4], "all"]


def test_vectors_of_other_kinds_and_small_columns_are_compared_with_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "LATE_BYTES", 1 << 30)
    floats = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.reshape(-1)), DIM)
    assert late.late_column(pa.RecordBatch.from_arrays([floats], ["v"])) is None
    monkeypatch.setattr(late, "LATE_BYTES", 1)
    assert late.late_column(pa.RecordBatch.from_arrays([floats], ["v"])) is not None
    assert late.late_column(pa.RecordBatch.from_arrays([pa.array([b"12"] * 3, pa.binary(2))], ["v"])) is None
