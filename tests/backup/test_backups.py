"""Backups: one moment, whole or not there, checked at every step, and brought back under any name."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.backup.jobs import CUT_OFF
from redkite.errors import BackupNotFound, CollectionNotFound, Corruption, InvalidParameter, PathLocked, from_code
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.types import DataType, JobState
from redkite.simulated import simulated_env

VECTORS = np.random.default_rng(11).random((3_000, DIM), dtype=np.float32)


@pytest.fixture
def engine(database_path: str) -> Iterator[Engine]:
    made = Engine(database_path, options={"garbage_seconds": 0.0})
    made.create()
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(str(tmp_path / "other.db"))
    yield made
    made.close()


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "backups")


def fill(engine: Engine, ids: range, number: int = 0) -> None:
    engine.insert(list(ids), VECTORS[: len(ids)], [number] * len(ids))


def finish(engine: Engine, request: rq.Request) -> rs.BackupJobInfo:
    job_id = engine.call(request).job_id
    pause = threading.Event()
    for _ in range(4_000):
        job: rs.BackupJobInfo = engine.call(rq.GetBackupJob(job_id=job_id))
        if job.state is JobState.FAILED:
            raise from_code(job.code, job.reason)
        if job.state is JobState.COMPLETED:
            return job
        pause.wait(0.005)
    raise AssertionError("the job does not end")


def backup(engine: Engine, place: str, name: str = "b", **more: Any) -> rs.BackupInfo:
    made = finish(engine, rq.CreateBackup(destination=place, name=name, **more)).backup
    assert made is not None
    return made


def restore(engine: Engine, place: str, name: str = "b", **more: Any) -> tuple[str, ...]:
    return finish(engine, rq.RestoreBackup(destination=place, name=name, **more)).restored


def verify(engine: Engine, place: str, name: str = "b") -> None:
    finish(engine, rq.VerifyBackup(destination=place, name=name))


def names(engine: Engine, place: str) -> list[str]:
    return [b.name for b in engine.call(rq.ListBackups(destination=place)).backups]


def numbers(engine: Engine, collection: str = NAME, database: str = "") -> dict[int, int]:
    engine.call(rq.LoadCollection(database=database, collection=collection))
    fields = ("id", "number")
    request = rq.Query(database=database, collection=collection, filter="id >= 0", output_fields=fields)
    rows = engine.call(request).rows.to_pydict()
    return dict(zip(rows["id"], rows["number"], strict=True))


def files(place: str) -> dict[str, bytes]:
    root = Path(place)
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file() and f.name != "LOCK"}


# -- rows ---------------------------------------------------------------------------------------
def test_another_database_gets_exactly_the_rows(engine: Engine, other: Engine, place: str) -> None:
    fill(engine, range(2_500))
    engine.delete("id < 300")
    made = backup(engine, place)
    assert made.collections == (rs.BackupCollection(database="default", name=NAME, rows=2_200, bytes=made.bytes),)
    fill(engine, range(1_000), number=1)
    assert restore(other, place) == (f"default.{NAME}",)
    assert numbers(other) == dict.fromkeys(range(300, 2_500), 0)


def test_searches_give_what_they_gave(engine: Engine, other: Engine, place: str) -> None:
    fill(engine, range(3_000))
    before = engine.search(VECTORS[:5], 10)
    backup(engine, place)
    restore(other, place)
    numbers(other)
    queries = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=VECTORS[:5])
    after = other.call(rq.Search(collection=NAME, queries=queries, limit=10))
    assert after.ids.to_pylist() == before.ids.to_pylist()
    assert np.array_equal(after.scores, before.scores)


def test_a_backup_is_one_moment_of_all_collections_while_a_writer_writes(database_path: str, place: str) -> None:
    engine = Engine(database_path, options={"streaming_nodes": 2})
    engine.create(shards=3)
    second = rq.CreateCollection(schema=engine.call(rq.DescribeCollection(collection=NAME)).schema)
    engine.call(rq.CreateCollection(schema=_named(second.schema, "twin"), shards=2))
    params = {"index_type": "HNSW", "metric_type": "L2"}
    engine.call(rq.CreateIndex(collection="twin", field="vector", params=params))
    stop = threading.Event()
    written = [0]

    def write() -> None:
        while not stop.is_set():
            n = written[0]
            rows = engine.batch(range(n * 20, n * 20 + 20), VECTORS[:20], [n] * 20)
            engine.call(rq.Insert(collection=NAME, rows=rows))
            engine.call(rq.Insert(collection="twin", rows=rows))
            if n % 3 == 2:
                engine.delete(f"id < {n * 10}")
            written[0] = n + 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not written[0]:
            time.sleep(0.001)
        for name in ("a", "b", "c"):
            before = written[0]
            backup(engine, place, name)
            restore(engine, place, name, suffix=f"_{name}")
            first, twin = numbers(engine, f"{NAME}_{name}"), numbers(engine, f"twin_{name}")
            assert len(twin) % 20 == 0
            assert set(twin) == set(range(len(twin)))
            assert len(twin) >= before * 20
            # The writer writes to the first and then to the twin: one moment lies between any two of its steps.
            assert set(first) - set(twin) in (set(), set(range(len(twin), len(twin) + 20)))
            assert set(first) == set(range(min(first), max(first) + 1))
    finally:
        stop.set()
        writer.join()
        engine.close()


def _named(schema: Any, name: str) -> Any:
    import msgspec

    return msgspec.structs.replace(schema, name=name)


# -- names --------------------------------------------------------------------------------------
def test_a_backup_comes_back_under_other_names_and_in_another_database(engine: Engine, place: str) -> None:
    fill(engine, range(20))
    backup(engine, place)
    assert restore(engine, place, suffix="_old") == (f"default.{NAME}_old",)
    assert restore(engine, place, renames={NAME: "fresh"}) == ("default.fresh",)
    assert restore(engine, place, into_database="attic") == (f"attic.{NAME}",)
    assert restore(engine, place, renames={f"default.{NAME}": "cellar.wine"}) == ("cellar.wine",)
    for database, collection in (("", f"{NAME}_old"), ("", "fresh"), ("attic", NAME), ("cellar", "wine")):
        assert len(numbers(engine, collection, database)) == 20


def test_a_name_that_is_taken_refuses_the_restore_and_makes_nothing(engine: Engine, place: str) -> None:
    fill(engine, range(20))
    backup(engine, place)
    with pytest.raises(InvalidParameter, match=f"collection {NAME} already exists in database default"):
        restore(engine, place)
    with pytest.raises(InvalidParameter, match="is to be renamed, but is not restored"):
        restore(engine, place, renames={"nothing": "x"})
    with pytest.raises(CollectionNotFound):
        restore(engine, place, collections=("nothing",))


def test_some_collections_or_databases_are_backed_up_when_named(engine: Engine, place: str) -> None:
    engine.call(rq.CreateDatabase(database="shop"))
    schema = engine.call(rq.DescribeCollection(collection=NAME)).schema
    engine.call(rq.CreateCollection(database="shop", schema=_named(schema, "books")))
    everything = backup(engine, place, "all")
    assert [(c.database, c.name) for c in everything.collections] == [("default", NAME), ("shop", "books")]
    assert [c.name for c in backup(engine, place, "one", collections=("shop.books",)).collections] == ["books"]
    assert [c.name for c in backup(engine, place, "two", databases=("default",)).collections] == [NAME]
    with pytest.raises(CollectionNotFound):
        backup(engine, place, "three", collections=("shop.pens",))
    assert names(engine, place) == ["all", "one", "two"]


def test_a_backup_without_a_name_is_called_after_the_time(engine: Engine, place: str) -> None:
    assert backup(engine, place, "").name.startswith("backup-20")
    with pytest.raises(InvalidParameter, match="Invalid backup name"):
        backup(engine, place, "../up")


def test_a_second_backup_of_a_name_is_refused(engine: Engine, place: str) -> None:
    backup(engine, place)
    with pytest.raises(InvalidParameter, match="backup b already exists"):
        backup(engine, place)


# -- what is copied -----------------------------------------------------------------------------
def test_a_second_backup_copies_only_what_is_new(engine: Engine, place: str) -> None:
    fill(engine, range(2_000))
    first = backup(engine, place, "first")
    assert (first.copied_objects, first.copied_bytes) == (first.objects, first.bytes)
    again = backup(engine, place, "again")
    assert (again.copied_objects, again.bytes) == (0, first.bytes)
    fill(engine, range(2_000, 2_010))
    more = backup(engine, place, "more")
    assert 0 < more.copied_bytes < first.bytes / 10
    restore(engine, place, "first", suffix="_first")
    assert len(numbers(engine, f"{NAME}_first")) == 2_000


def test_deleting_a_backup_keeps_what_others_need(engine: Engine, place: str) -> None:
    fill(engine, range(100))
    backup(engine, place, "first")
    fill(engine, range(100, 200))
    backup(engine, place, "second")
    engine.call(rq.DeleteBackup(destination=place, name="first"))
    verify(engine, place, "second")
    engine.call(rq.DeleteBackup(destination=place, name="second"))
    assert files(place) == {}
    with pytest.raises(BackupNotFound):
        engine.call(rq.DeleteBackup(destination=place, name="second"))


def test_a_backup_outlives_what_it_was_made_of(engine: Engine, place: str) -> None:
    fill(engine, range(100))
    backup(engine, place)
    engine.call(rq.DropCollection(collection=NAME))
    restore(engine, place)
    assert len(numbers(engine)) == 100
    engine.reopen()
    assert len(numbers(engine)) == 100


def test_leftovers_of_a_backup_that_was_cut_off_are_used_or_removed(engine: Engine, place: str) -> None:
    fill(engine, range(100))
    made = backup(engine, place)
    (Path(place) / "backups" / "b.backup").unlink()
    stray = Path(place) / "objects" / "segments" / "1" / "2" / "rows.arrow-10-0000abcd"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    assert names(engine, place) == []
    again = backup(engine, place)
    assert (again.copied_objects, again.objects) == (0, made.objects)
    assert not stray.exists()


def test_the_source_is_not_held_longer_than_the_backup_takes(engine: Engine, place: str) -> None:
    fill(engine, range(100))
    backup(engine, place)
    engine.call(rq.TruncateCollection(collection=NAME))
    assert not engine.database.topology.store.list("segments/")


# -- damage -------------------------------------------------------------------------------------
def test_a_flipped_bit_anywhere_is_found_by_verify_and_refused_by_restore(
    engine: Engine, other: Engine, place: str
) -> None:
    fill(engine, range(50))
    engine.delete("id < 10")
    backup(engine, place)
    verify(engine, place)
    for name, content in files(place).items():
        for at in {0, len(content) // 3, len(content) // 2, len(content) - 1}:
            damaged = bytearray(content)
            damaged[at] ^= 0x10
            (Path(place) / name).write_bytes(damaged)
            with pytest.raises((Corruption, BackupNotFound)) as found:
                verify(engine, place)
            assert name in found.value.message or "manifest of backup 'b'" in found.value.message
            with pytest.raises((Corruption, BackupNotFound)) as refused:
                restore(other, place)
            assert name in refused.value.message or "manifest of backup 'b'" in refused.value.message
            assert other.call(rq.ShowCollections()).collections == ()
            assert not other.database.topology.store.list("segments/")
        (Path(place) / name).write_bytes(content)
    restore(other, place)
    assert len(numbers(other)) == 40


def test_a_missing_object_is_named(engine: Engine, other: Engine, place: str) -> None:
    fill(engine, range(50))
    backup(engine, place)
    gone = next((Path(place) / "objects").rglob("rows.arrow-*"))
    gone.unlink()
    with pytest.raises(Corruption, match=f"{gone.name}' is missing"):
        verify(engine, place)
    with pytest.raises(Corruption, match=f"{gone.name}.* is missing"):
        restore(other, place)


def test_a_damaged_manifest_is_not_listed_and_keeps_every_object(engine: Engine, place: str) -> None:
    fill(engine, range(50))
    backup(engine, place, "first")
    backup(engine, place, "second")
    manifest = Path(place) / "backups" / "first.backup"
    content = bytearray(manifest.read_bytes())
    content[-1] ^= 1
    manifest.write_bytes(content)
    assert names(engine, place) == ["second"]
    before = {name for name in files(place) if name.startswith("objects/")}
    engine.call(rq.DeleteBackup(destination=place, name="second"))
    assert {name for name in files(place) if name.startswith("objects/")} == before
    engine.call(rq.DeleteBackup(destination=place, name="first"))
    assert files(place) == {}


def test_damage_of_the_database_is_not_carried_into_a_backup(engine: Engine, place: str) -> None:
    fill(engine, range(50))
    engine.flush()
    topology = engine.database.topology
    (segment,) = topology.data.segments(topology.root.find("", NAME).collection_id)
    file = Path(engine.path) / "objects" / segment.rows_object
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(Corruption, match=r"rows\.arrow' of the database does not match its checksum"):
        backup(engine, place)
    assert names(engine, place) == []


# -- places -------------------------------------------------------------------------------------
def test_one_process_at_a_time_writes_to_a_destination(engine: Engine, place: str) -> None:
    from redkite.backup.place import writing

    with writing(engine.database.topology.env, place), pytest.raises(PathLocked):
        backup(engine, place)
    backup(engine, place)


def test_nothing_is_at_a_place_where_no_backup_was_made(engine: Engine, place: str) -> None:
    assert names(engine, place) == []
    with pytest.raises(BackupNotFound, match=r"backup not found\[destination=.*\]\[backup=b\]"):
        verify(engine, place)
    assert not Path(place).exists()


def test_a_job_is_known_after_a_restart(engine: Engine, place: str) -> None:
    fill(engine, range(50))
    done = finish(engine, rq.CreateBackup(destination=place, name="b"))
    engine.reopen()
    assert engine.call(rq.GetBackupJob(job_id=done.job_id)) == done


def test_a_job_that_a_restart_cut_off_has_failed_and_says_so() -> None:
    env = simulated_env(3)
    engine = Engine("db", env)
    engine.create()
    fill(engine, range(50))
    job_id = engine.call(rq.CreateBackup(destination="/backups", name="b")).job_id
    env.disk.restart()
    engine.env = simulated_env(4, env.disk)
    engine.open()
    job = engine.call(rq.GetBackupJob(job_id=job_id))
    assert (job.state, job.reason) == (JobState.FAILED, CUT_OFF)
    again = engine.call(rq.CreateBackup(destination="/backups", name="b")).job_id
    engine.env.run_until_idle()
    assert engine.call(rq.GetBackupJob(job_id=again)).state is JobState.COMPLETED
    assert engine.call(rq.GetBackupJob(job_id=job_id)) == job
