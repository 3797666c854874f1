"""Vectors that are compared when somebody looks at them, and segments that come and go under their readers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.coordinator.compaction import CompactionPolicy
from redkite.errors import Corruption, MilvusException, Unavailable
from redkite.model import requests as rq
from redkite.segment import late
from redkite.segment.late import LateCheck
from redkite.storage.objects import FolderObjects

ROWS = 3_000
VECTORS = np.random.default_rng(3).uniform(-1, 1, (ROWS, DIM)).astype(np.float32)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "LATE_BYTES", 20_000)
    monkeypatch.setattr(late, "PIECE_BYTES", 1024)


def engine_in(path: Path) -> Engine:
    engine = Engine(str(path / "db"), None, {"compaction": CompactionPolicy(automatic=False)})
    engine.create(M=24, efConstruction=200)
    engine.insert(range(ROWS), VECTORS, range(ROWS))
    engine.flush()
    end = time.monotonic() + 120
    while not engine.indexed():
        assert time.monotonic() < end
        time.sleep(0.02)
    return engine


def together(*works: Callable[[], None]) -> None:
    """Run them side by side; the first error is raised."""
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  it is raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_readers_that_look_first_at_once_all_get_right_answers(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    for _ in range(4):
        engine.reopen()
        start = threading.Barrier(6)

        def search(first: int, start: threading.Barrier = start) -> None:
            start.wait()
            for row in range(first, ROWS, 211):
                assert engine.search(VECTORS[row], 1, params={"ef": 600}).ids.to_pylist() == [row]

        def take(first: int, start: threading.Barrier = start) -> None:
            start.wait()
            for row in range(first, ROWS, 211):
                found = engine.query(f"id == {row}", fields=("id", "vector"))
                assert np.array_equal(np.array(found["vector"][0], np.float32), VECTORS[row])

        together(*[lambda f=f: search(f) for f in range(4)], *[lambda f=f: take(f) for f in (5, 6)])  # type: ignore[misc]
    engine.close()


def test_segments_are_swapped_released_and_loaded_while_their_vectors_are_first_looked_at(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    engine.reopen()
    is_over = threading.Event()
    answered = missed = 0

    def read() -> None:
        nonlocal answered, missed
        row = 0
        while not is_over.is_set():
            row = (row + 37) % ROWS
            try:
                found = engine.search(VECTORS[row], 1, params={"ef": 600}).ids.to_pylist()
                rows = engine.query(f"id == {row}", fields=("id", "vector"))
            except MilvusException as error:
                assert error.code in (101, 103), error  # released just now, or not loaded yet
                continue
            missed += found != [row]  # a graph may have no way to a row that lies far from all others
            assert len(found) == 1
            assert np.array_equal(np.array(rows["vector"][0], np.float32), VECTORS[row])
            answered += 1

    def change() -> None:
        try:
            for turn in range(4):
                engine.insert([ROWS + turn], -VECTORS[:1] * 50, [0])
                engine.flush()
                engine.call(rq.Compact(collection=NAME))
                engine.database.topology.compactor.wait_idle()
                engine.call(rq.ReleaseCollection(collection=NAME))
                engine.call(rq.LoadCollection(collection=NAME))
        finally:
            is_over.set()

    together(read, read, change)
    assert missed <= answered / 50
    assert answered
    assert engine.count() == ROWS + 4
    assert engine.search(VECTORS[5], 1, params={"ef": 600}).ids.to_pylist() == [5]
    engine.close()


def test_a_database_may_be_closed_while_the_rest_of_a_segment_is_compared(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    for _ in range(3):
        engine.reopen()
        assert engine.search(VECTORS[7], 1, params={"ef": 600}).ids.to_pylist() == [7]
    engine.close()


def test_who_looks_when_nothing_can_be_done_in_the_background_any_more_gets_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_in(tmp_path)
    engine.reopen()

    class Closed:
        def submit(self, *_: object) -> None:
            raise Unavailable("executor 'check' is shut down")

    monkeypatch.setattr(FolderObjects, "background", Closed())
    assert engine.search(VECTORS[7], 1, params={"ef": 600}).ids.to_pylist() == [7]
    monkeypatch.undo()
    engine.close()


def test_damage_that_the_background_meets_first_is_told_to_whoever_looks_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_in(tmp_path)
    (meta,) = engine.database.topology.root.all_collections()
    (segment,) = engine.database.topology.data.segments(meta.collection_id)
    assert segment.late is not None
    engine.close()
    path = tmp_path / "db" / "objects" / segment.rows_object
    data = bytearray(path.read_bytes())
    data[segment.late.start + 4 * DIM * 1500] ^= 1
    path.write_bytes(data)
    ends: list[threading.Event] = [threading.Event()]
    finish = LateCheck._finish

    def finished(check: LateCheck) -> None:
        finish(check)
        ends[0].set()

    monkeypatch.setattr(LateCheck, "_finish", finished)
    engine.open()
    assert engine.search(VECTORS[7], 1, params={"ef": 40}).ids.to_pylist() == [7]
    assert ends[0].wait(30)
    for _ in range(2):
        with pytest.raises(Corruption):
            engine.query("id == 1500", fields=("id", "vector"))
    assert engine.search(VECTORS[7], 1, params={"ef": 40}).ids.to_pylist() == [7]
    engine.close()
