"""Imports of a whole cluster: data nodes read the files, and whatever becomes of them, all rows are there, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.cluster.data_nodes import stuck, within
from tests.cluster.test_admission import begin, ended, file_of, settled
from tests.cluster.test_flushes_by_data_nodes import benches, objects

from redkite.cluster.import_work import Desks
from redkite.cluster.in_process import SMALL
from redkite.cluster.roles.coordinator import CoordinatorRole
from redkite.cluster.roles.data import DataRole
from redkite.cluster.work_messages import ReadFiles, TellDesk
from redkite.config import Settings
from redkite.errors import MemoryLimitExceeded
from redkite.model.imports import AbortImport, DescribeImport, ImportedFile, ImportState
from redkite.proxy import import_reading
from redkite.proxy.import_files import FileMissing, ImportFolder


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    config = msgspec.structs.replace(SMALL, settings=Settings(imports=str(tmp_path)))
    made = ClusterEngine(str(tmp_path / "objects"), config, streaming=1, query=1, data=2)
    made.create(shards=2, index="FLAT")
    yield made
    made.close()


def named(engine: ClusterEngine) -> set[str]:
    (coordinator,) = engine.cluster.nodes("coordinator")
    assert isinstance(coordinator.node, CoordinatorRole)
    assert coordinator.node.leading is not None
    return set(coordinator.node.leading.metadata.data.object_names())


def test_what_a_desk_is_told_late_takes_nothing_back() -> None:
    """It was sent again, as no answer had come, and the first of it comes behind what was told next."""

    class Desk:
        def __init__(self) -> None:
            self.rows: list[int] = []

        def told(self, files: tuple[ImportedFile, ...], _state: ImportState, _progress: int) -> None:
            self.rows.append(files[0].rows)

    def said(number: int) -> bool:
        files = (ImportedFile(name="a", rows=number),)
        return bool(tell(TellDesk(work_id=1, number=number, files=files, state=ImportState.IMPORTING, progress=5)))

    desks, desk = Desks(), Desk()
    tell: Any = desks.handlers()[TellDesk]
    with desks.serving() as opened:
        opened(1, desk)  # type: ignore[arg-type]
        assert [said(number) for number in (1, 2, 1, 3, 3, 2)] == [True] * 6
    assert desk.rows == [1, 2, 3, 3]


def imports_done(engine: ClusterEngine) -> int:
    return sum(bench.done for bench in benches(engine))


def test_a_data_node_reads_the_files_and_its_rows_are_seen_at_once(engine: ClusterEngine, tmp_path: Path) -> None:
    engine.insert([7], np.zeros((1, 8), np.float32), [70])
    info = ended(engine, begin(engine, file_of(tmp_path, range(100))))
    assert (info.state, info.reason, info.rows) == (ImportState.COMPLETED, "", 100)
    assert imports_done(engine) == 1
    assert engine.count() == 100
    assert objects(engine) >= named(engine)


def test_what_a_data_node_has_begun_when_it_dies_is_done_by_another_and_removed(
    engine: ClusterEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, dead = threading.Event(), threading.Event()
    finish = import_reading.SegmentMaker.finish
    discarded: list[str] = []

    def dies(self: Any) -> None:
        finish(self)
        if not written.is_set():
            written.set()
            dead.wait(30)

    monkeypatch.setattr(import_reading.SegmentMaker, "finish", dies)
    (coordinator,) = engine.cluster.nodes("coordinator")
    assert isinstance(coordinator.node, CoordinatorRole)
    leading = coordinator.node.leading
    assert leading is not None
    monkeypatch.setattr(leading.topology.garbage, "discard_prefix", discarded.append)
    job = begin(engine, file_of(tmp_path, range(100)))
    assert written.wait(30)
    (busy,) = (n for n in engine.cluster.nodes("data") if isinstance(n.node, DataRole) and n.node.bench.pieces)
    engine.cluster.kill(busy)
    dead.set()
    info = ended(engine, job)
    assert (info.state, info.reason) == (ImportState.COMPLETED, "")
    assert engine.count() == 100
    left = {name for name in objects(engine) - named(engine) if "/rows" in name}
    assert left
    assert all(any(name.startswith(prefix) for prefix in discarded) for name in left)
    assert not any(name.startswith(prefix) for name in named(engine) for prefix in discarded)


def test_without_room_on_any_data_node_the_coordinator_imports_itself(engine: ClusterEngine, tmp_path: Path) -> None:
    def full(*_: Any) -> Any:
        raise MemoryLimitExceeded("no room")

    for bench in benches(engine):
        bench.place = full
    info = ended(engine, begin(engine, file_of(tmp_path, range(100))))
    assert (info.state, engine.count()) == (ImportState.COMPLETED, 100)
    assert sum(bench.failed for bench in benches(engine)) == 2


def test_a_file_that_only_another_node_has_is_read_there(
    engine: ClusterEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, asked = ImportFolder.find, []

    def only_the_third(self: ImportFolder, name: str) -> Any:
        asked.append(self)
        if len(asked) < 3:
            raise FileMissing(f"file '{name}' does not exist")
        return find(self, name)

    monkeypatch.setattr(ImportFolder, "find", only_the_third)
    info = ended(engine, begin(engine, file_of(tmp_path, range(100))))
    assert (info.state, engine.count()) == (ImportState.COMPLETED, 100)
    assert len(set(asked)) == 3


def test_a_file_that_nobody_has_or_can_read_fails_with_the_words_that_it_has_elsewhere(
    engine: ClusterEngine, tmp_path: Path
) -> None:
    info = ended(engine, begin(engine, "nowhere.jsonl"))
    assert (info.state, info.reason) == (
        ImportState.FAILED,
        f"file 'nowhere.jsonl' does not exist below '{tmp_path}': importing data failed",
    )
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": 1, "vector": [1, 2], "number": 1, "word": null}')
    info = ended(engine, begin(engine, str(bad)))
    assert info.state is ImportState.FAILED
    assert info.reason.startswith(f"file '{bad}', column 'vector', row 0:")
    assert info.reason.count("importing data failed") == 1
    assert engine.count() == 0


def test_an_import_that_is_aborted_stops_where_its_files_are_read(engine: ClusterEngine, tmp_path: Path) -> None:
    begun = [stuck(bench) for bench in benches(engine)]
    job = begin(engine, file_of(tmp_path, range(100)), auto_commit="false")
    assert within(30, lambda: any(event.is_set() for event in begun))
    engine.call(AbortImport(job_id=job))
    info = settled(lambda: engine.call(DescribeImport(job_id=job)), lambda info: info.state.is_over)
    assert (info.state, info.reason) == (ImportState.FAILED, "the import was aborted: importing data failed")
    assert within(30, lambda: sum(bench.stopped for bench in benches(engine)) == 1)
    assert engine.count() == 0


def test_progress_is_told_while_a_data_node_reads(
    engine: ClusterEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = import_reading.SegmentMaker.finish
    seen: list[Any] = []

    def looked(self: Any) -> None:
        seen.append(engine.call(DescribeImport(job_id=job[0])))
        finish(self)

    job: list[int] = []
    place = benches(engine)[0].place

    def begins(work: Any, wanted: Any) -> Any:
        assert isinstance(work, ReadFiles)
        within(30, lambda: bool(job))
        return place(work, wanted)

    for bench in benches(engine):
        bench.place = begins
    monkeypatch.setattr(import_reading.SegmentMaker, "finish", looked)
    job.append(begin(engine, file_of(tmp_path, range(100))))
    assert ended(engine, job[0]).state is ImportState.COMPLETED
    assert [(one.state, one.rows, one.progress) for one in seen] == [(ImportState.IMPORTING, 100, 70)]
