"""Named snapshots: what was there at one moment stays, and comes back as a new collection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.errors import CollectionNotFound, InvalidParameter, SnapshotNotFound, SnapshotPinned
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.types import DataType, JobState

VECTORS = np.random.default_rng(7).random((3_000, DIM), dtype=np.float32)


@pytest.fixture
def engine(database_path: str) -> Iterator[Engine]:
    made = Engine(database_path, options={"garbage_seconds": 0.0})
    made.create()
    yield made
    made.close()


def fill(engine: Engine, ids: range, number: int = 0) -> None:
    engine.insert(list(ids), VECTORS[: len(ids)], [number] * len(ids))


def snapshot(engine: Engine, name: str = "one", **more: object) -> None:
    engine.call(rq.CreateSnapshot(collection=NAME, name=name, **more))


def restore(engine: Engine, name: str = "one", target: str = "again", **more: object) -> rs.RestoreJobInfo:
    started = engine.call(rq.RestoreSnapshot(collection=NAME, name=name, target_collection=target, **more))
    return wait(engine, started.job_id)


def wait(engine: Engine, job_id: int) -> rs.RestoreJobInfo:
    pause = threading.Event()
    for _ in range(2_000):
        job: rs.RestoreJobInfo = engine.call(rq.GetRestoreSnapshotState(job_id=job_id))
        if job.state in (JobState.COMPLETED, JobState.FAILED):
            return job
        pause.wait(0.005)
    raise AssertionError("the restore does not end")


def numbers(engine: Engine, collection: str) -> dict[int, int]:
    request = rq.Query(collection=collection, filter="id >= 0", output_fields=("id", "number"))
    rows = engine.call(request).rows.to_pydict()
    return dict(zip(rows["id"], rows["number"], strict=True))


def load(engine: Engine, collection: str = "again") -> None:
    engine.call(rq.LoadCollection(collection=collection))


def test_a_restored_collection_has_the_rows_of_the_moment_of_the_snapshot(engine: Engine) -> None:
    fill(engine, range(2_000))
    engine.delete("id < 100")
    snapshot(engine)
    fill(engine, range(1_000, 2_500), number=1)
    engine.delete("id < 500")
    assert restore(engine).state is JobState.COMPLETED
    load(engine)
    assert numbers(engine, "again") == dict.fromkeys(range(100, 2_000), 0)
    assert len(numbers(engine, NAME)) == 2_000


def test_a_restored_collection_answers_searches_as_the_original_did(engine: Engine) -> None:
    fill(engine, range(3_000))
    before = engine.search(VECTORS[:5], 10)
    snapshot(engine)
    engine.delete("id % 2 == 0")
    restore(engine)
    load(engine)
    queries = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=VECTORS[:5])
    after = engine.call(rq.Search(collection="again", queries=queries, limit=10))
    assert after.ids.to_pylist() == before.ids.to_pylist()
    assert np.array_equal(after.scores, before.scores)


def test_a_restored_collection_is_not_loaded_and_has_the_indexes(engine: Engine) -> None:
    fill(engine, range(10))
    snapshot(engine)
    restore(engine)
    original = engine.call(rq.DescribeIndex(collection=NAME)).indexes[0]
    restored = engine.call(rq.DescribeIndex(collection="again")).indexes[0]
    assert restored.params == original.params
    assert restored.index_id != original.index_id
    state = engine.call(rq.GetLoadState(collection="again")).state
    assert state.name == "NotLoad"


def test_a_restored_collection_takes_writes_of_its_own(engine: Engine) -> None:
    fill(engine, range(10))
    snapshot(engine)
    restore(engine)
    load(engine)
    rows = engine.batch(range(5, 15), VECTORS[:10], [9] * 10)
    engine.call(rq.Upsert(collection="again", rows=rows))
    assert numbers(engine, "again") == dict.fromkeys(range(5), 0) | dict.fromkeys(range(5, 15), 9)
    assert numbers(engine, NAME) == dict.fromkeys(range(10), 0)
    engine.reopen()
    assert numbers(engine, "again") == dict.fromkeys(range(5), 0) | dict.fromkeys(range(5, 15), 9)


def test_a_snapshot_survives_truncation_compaction_and_a_restart(engine: Engine) -> None:
    for start in range(0, 600, 100):
        fill(engine, range(start, start + 100))
        engine.flush()
    snapshot(engine)
    engine.delete("id < 300")
    engine.call(rq.TruncateCollection(collection=NAME))
    engine.reopen()
    assert numbers(engine, NAME) == {}
    assert restore(engine).state is JobState.COMPLETED
    load(engine)
    assert numbers(engine, "again") == dict.fromkeys(range(600), 0)


def test_deletes_saved_later_do_not_replace_those_of_the_snapshot(engine: Engine) -> None:
    fill(engine, range(100))
    engine.delete("id < 10")
    snapshot(engine)
    engine.delete("id < 20")
    engine.flush()
    engine.delete("id < 30")
    engine.flush()
    assert restore(engine).state is JobState.COMPLETED
    load(engine)
    assert numbers(engine, "again") == dict.fromkeys(range(10, 100), 0)


def test_a_restored_collection_survives_the_drop_of_its_source(engine: Engine) -> None:
    fill(engine, range(50))
    snapshot(engine)
    restore(engine)
    engine.call(rq.DropCollection(collection=NAME))
    engine.reopen()
    load(engine)
    assert numbers(engine, "again") == dict.fromkeys(range(50), 0)


def test_rewritten_data_shares_no_file_with_the_snapshot(engine: Engine) -> None:
    fill(engine, range(50))
    snapshot(engine)
    restore(engine, target="shared")
    restore(engine, target="anew", rewrite_data=True)
    root = engine.database.topology.root
    objects = Path(engine.path) / "objects"

    def inodes(name: str) -> set[int]:
        found = engine.database.topology.data.segments(root.find("", name).collection_id)
        return {(objects / o).stat().st_ino for s in found for o in s.objects}

    assert inodes("shared") == inodes(NAME)
    assert not inodes("anew") & inodes(NAME)


def test_dropping_the_last_snapshot_gives_the_disk_back(engine: Engine) -> None:
    fill(engine, range(50))
    snapshot(engine)
    engine.call(rq.TruncateCollection(collection=NAME))
    store = engine.database.topology.store
    assert store.list("segments/")
    engine.reopen()
    store = engine.database.topology.store
    assert store.list("segments/")
    engine.call(rq.DropSnapshot(collection=NAME, name="one"))
    assert not store.list("segments/")


def test_dropping_a_collection_drops_its_snapshots(engine: Engine) -> None:
    fill(engine, range(5))
    snapshot(engine)
    engine.call(rq.DropCollection(collection=NAME))
    assert not engine.database.topology.store.list("segments/")
    with pytest.raises(CollectionNotFound):
        engine.call(rq.ListSnapshots(collection=NAME))
    engine.create()
    assert engine.call(rq.ListSnapshots(collection=NAME)).names == ()


def test_a_pinned_snapshot_cannot_be_dropped_nor_its_collection(engine: Engine) -> None:
    fill(engine, range(5))
    snapshot(engine)
    pin = engine.call(rq.PinSnapshotData(collection=NAME, name="one")).pin_id
    engine.reopen()
    with pytest.raises(SnapshotPinned) as refused:
        engine.call(rq.DropSnapshot(collection=NAME, name="one"))
    assert (refused.value.code, refused.value.message) == (
        2601,
        "1 active pins, unpin before dropping: snapshot is pinned[snapshot=one]",
    )
    with pytest.raises(SnapshotPinned):
        engine.call(rq.DropCollection(collection=NAME))
    engine.call(rq.UnpinSnapshotData(pin_id=pin))
    engine.call(rq.UnpinSnapshotData(pin_id=pin))
    engine.call(rq.DropSnapshot(collection=NAME, name="one"))
    assert engine.call(rq.ListSnapshots(collection=NAME)).names == ()


def test_names_are_checked_and_unique_within_a_collection(engine: Engine) -> None:
    snapshot(engine)
    with pytest.raises(InvalidParameter, match="snapshot name one already exists"):
        snapshot(engine)
    with pytest.raises(InvalidParameter, match="first character of a snapshot name"):
        snapshot(engine, "1st")
    with pytest.raises(InvalidParameter, match="must not exceed 604800"):
        snapshot(engine, "two", compaction_protection_seconds=604_801)
    with pytest.raises(SnapshotNotFound) as missing:
        engine.call(rq.DescribeSnapshot(collection=NAME, name="three"))
    assert (missing.value.code, missing.value.message) == (2600, "snapshot not found[snapshot=three]")
    engine.call(rq.DropSnapshot(collection=NAME, name="three"))


def test_a_snapshot_says_what_it_is(engine: Engine) -> None:
    fill(engine, range(5))
    engine.call(rq.CreatePartition(collection=NAME, partition="p"))
    snapshot(engine, description="before the move")
    snapshot(engine, "two")
    found = engine.call(rq.DescribeSnapshot(collection=NAME, name="one"))
    assert (found.name, found.description, found.collection) == ("one", "before the move", NAME)
    assert found.partitions == ("_default", "p")
    assert found.timestamp >> 18 == found.created_ms
    assert engine.call(rq.ListSnapshots(collection=NAME)).names == ("one", "two")
    assert engine.call(rq.ListSnapshots()).names == ("one", "two")


def test_a_restore_into_an_existing_collection_is_refused(engine: Engine) -> None:
    snapshot(engine)
    with pytest.raises(InvalidParameter, match=f"collection {NAME} already exists"):
        restore(engine, target=NAME)


def test_a_restore_goes_into_another_database(engine: Engine) -> None:
    fill(engine, range(5))
    snapshot(engine)
    engine.call(rq.CreateDatabase(database="other"))
    job = restore(engine, target=NAME, target_database="other")
    assert (job.database, job.collection, job.snapshot, job.progress) == ("other", NAME, "one", 100)
    engine.call(rq.LoadCollection(database="other", collection=NAME))
    found = engine.call(rq.Query(database="other", collection=NAME, output_fields=("count(*)",)))
    assert found.rows.to_pydict() == {"count(*)": [5]}
    assert [j.job_id for j in engine.call(rq.ListRestoreSnapshotJobs(database="other")).jobs] == [job.job_id]
    assert engine.call(rq.ListRestoreSnapshotJobs()).jobs == ()


def test_jobs_are_remembered_over_a_restart(engine: Engine) -> None:
    snapshot(engine)
    job = restore(engine)
    engine.reopen()
    assert engine.call(rq.GetRestoreSnapshotState(job_id=job.job_id)) == job


def test_a_damaged_object_fails_the_restore_and_is_named(engine: Engine) -> None:
    fill(engine, range(50))
    snapshot(engine)
    topology = engine.database.topology
    collection = topology.root.find("", NAME)
    (segment,) = topology.data.segments(collection.collection_id)
    engine.close()
    file = Path(engine.path) / "objects" / segment.rows_object
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    engine.open()
    job = restore(engine)
    assert job.state is JobState.FAILED
    assert segment.rows_object in job.reason
    with pytest.raises(CollectionNotFound):
        engine.call(rq.DescribeCollection(collection="again"))


def test_a_snapshot_of_several_shards_is_one_moment_while_a_writer_writes(database_path: str) -> None:
    engine = Engine(database_path, options={"garbage_seconds": 0.0, "streaming_nodes": 2})
    engine.create(shards=3)
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            fill(engine, range(written * 30, written * 30 + 30))
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for name in ("a", "b", "c"):
            before = written
            snapshot(engine, name)
            assert restore(engine, name, f"of_{name}").state is JobState.COMPLETED
            load(engine, f"of_{name}")
            ids = set(numbers(engine, f"of_{name}"))
            assert len(ids) % 30 == 0
            assert ids == set(range(len(ids)))
            assert len(ids) >= before * 30
    finally:
        stop.set()
        writer.join()
        engine.close()


def test_protected_segments_are_not_compacted(engine: Engine) -> None:
    for start in range(0, 50, 10):
        fill(engine, range(start, start + 10))
        engine.flush()
    snapshot(engine, compaction_protection_seconds=100)
    topology = engine.database.topology
    held = topology.snapshots.find(topology.root.find("", NAME).collection_id, "one").image.segments
    assert topology.snapshots.protected_segments() == {s.segment_id for s in held}
    job = engine.call(rq.Compact(collection=NAME))
    topology.compactor.wait_idle()
    assert job.plans == 0
    now = {s.segment_id for s in topology.data.segments(topology.root.find("", NAME).collection_id)}
    assert {s.segment_id for s in held} <= now


def test_what_a_running_compaction_swaps_in_is_what_a_snapshot_protects(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    topology = engine.database.topology
    collection_id = topology.root.find("", NAME).collection_id
    for start in range(0, 20, 10):
        fill(engine, range(start, start + 10))
        engine.flush()
    topology.compactor.wait_idle()
    fill(engine, range(5))
    engine.flush()
    taking = threading.Thread(target=snapshot, args=(engine,), kwargs={"compaction_protection_seconds": 100})
    taken = threading.Event()
    looks = []
    still_wanted, protecting = topology.compactor._still_wanted, topology.compactor.protecting

    def look(plan: object) -> bool:
        found = still_wanted(plan)
        looks.append(found)
        if len(looks) == 2:  # the last look before the swap
            taking.start()
            assert taken.wait(60)
        return found

    def note() -> AbstractContextManager[None]:
        taken.set()
        return protecting()

    monkeypatch.setattr(topology.compactor, "_still_wanted", look)
    monkeypatch.setattr(topology.compactor, "protecting", note)
    assert engine.call(rq.Compact(collection=NAME)).plans == 1
    topology.compactor.wait_idle()
    taking.join()
    protected = topology.snapshots.protected_segments()
    assert protected
    assert protected <= {s.segment_id for s in topology.data.segments(collection_id)}
