"""Indexes built in the background: what is told when one fails, and how a built one is held."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import NAME, Engine

from redkite.errors import Corruption, StorageError, Unimplemented
from redkite.index import registry
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.types import IndexState

ROWS = 1_500


def filled(path: Path, index: str = "IVF_FLAT", **build: int) -> Engine:
    engine = Engine(str(path / "db"))
    engine.create(index=index, **build)
    engine.insert(range(ROWS), np.random.default_rng(0).normal(size=(ROWS, 8)), range(ROWS))
    engine.flush()
    return engine


def settled(engine: Engine, *states: IndexState) -> rs.IndexInfo:
    end = time.monotonic() + 120
    while True:
        (info,) = engine.call(rq.DescribeIndex(collection=NAME)).indexes
        if info.state in states:
            return info
        assert time.monotonic() < end, info
        time.sleep(0.02)


def failing(*_: Any, **__: Any) -> memoryview:
    raise StorageError("no room for it")


def test_a_build_that_fails_says_why_and_searches_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.node.data.build", failing)
    engine = filled(tmp_path)
    info = settled(engine, IndexState.FAILED)
    assert info.fail_reason == "no room for it"
    assert (info.total_rows, info.indexed_rows, info.pending_rows) == (ROWS, 0, ROWS)
    assert len(engine.search(np.zeros(8), 10).ids) == 10
    monkeypatch.undo()
    engine.reopen()
    engine.count()
    assert settled(engine, IndexState.FINISHED).fail_reason == ""
    engine.close()


def test_a_failed_index_is_dropped_and_made_as_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.node.data.build", failing)
    engine = filled(tmp_path)
    settled(engine, IndexState.FAILED)
    monkeypatch.undo()
    engine.call(rq.ReleaseCollection(collection=NAME))
    engine.call(rq.DropIndex(collection=NAME, field="vector"))
    params = {"index_type": "SCANN", "metric_type": "L2", "nlist": "8"}
    engine.call(rq.CreateIndex(collection=NAME, field="vector", params=params))
    engine.call(rq.LoadCollection(collection=NAME))
    assert settled(engine, IndexState.FINISHED).indexed_rows == ROWS
    engine.close()


def test_dropping_an_index_stops_its_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def endless(_spec: Any, _column: Any, wanted: Any, _threads: int) -> memoryview:
        begun.set()
        end = time.monotonic() + 120
        while wanted():
            assert time.monotonic() < end, "nobody stopped the build"
            time.sleep(0.005)
        stopped.set()
        raise registry.BuildCancelled

    monkeypatch.setattr("redkite.node.data.build", endless)
    engine = filled(tmp_path)
    settled(engine, IndexState.IN_PROGRESS)
    assert begun.wait(60)
    engine.call(rq.ReleaseCollection(collection=NAME))
    engine.call(rq.DropIndex(collection=NAME, field="vector"))
    assert stopped.wait(60)
    engine.close()


@pytest.mark.parametrize(("mapped", "warmup"), [("true", "disable"), ("false", "disable"), ("true", "sync")])
def test_properties_say_how_an_index_is_held(
    mapped: str, warmup: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[bool, bool]] = []
    real = registry.open_index

    def spy(spec: Any, path: str | None, data: memoryview, column: Any) -> Any:
        opened.append((path is not None, data.readonly and not isinstance(data.obj, bytes)))
        return real(spec, path, data, column)

    read: list[int] = []
    monkeypatch.setattr("redkite.index.registry.touch", lambda data: read.append(data.nbytes))
    engine = filled(tmp_path)
    settled(engine, IndexState.FINISHED)
    engine.call(rq.ReleaseCollection(collection=NAME))
    properties = {"mmap.enabled": mapped, "warmup": warmup}
    engine.call(rq.AlterIndex(collection=NAME, index_name="vector", properties=properties))
    monkeypatch.setattr("redkite.segment.indexes.open_index", spy)
    engine.call(rq.LoadCollection(collection=NAME))
    assert len(engine.search(np.zeros(8), 10).ids) == 10
    assert opened == [(mapped == "true", mapped == "true")]
    assert bool(read) == (warmup == "sync")
    engine.close()


@pytest.mark.parametrize(("error", "kept"), [(Unimplemented("there is no device"), True), (Corruption("torn"), False)])
def test_an_index_that_cannot_be_used_here_leaves_exact_searches(
    error: Exception, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that needs what this machine has not is kept; one that is damaged is built again."""
    engine = filled(tmp_path)
    settled(engine, IndexState.FINISHED)
    engine.call(rq.ReleaseCollection(collection=NAME))

    def refuse(*_: Any) -> Any:
        raise error

    monkeypatch.setattr("redkite.segment.indexes.open_index", refuse)
    engine.call(rq.LoadCollection(collection=NAME))
    query = np.full(8, 0.1, np.float32)
    assert len(engine.search(query, 10).ids) == 10
    files = [len(segment.indexes) for segment in engine.database.topology.data.segments(collection_id(engine))]
    assert files == [1 if kept else 0]
    monkeypatch.undo()
    engine.close()


def collection_id(engine: Engine) -> int:
    return int(engine.call(rq.DescribeCollection(collection=NAME)).collection_id)
