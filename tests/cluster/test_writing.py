"""Writes to shards of other nodes: done once, however often they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.cluster.test_in_process import fill, vectors
from tests.engine import NAME

from redkite.cluster.roles.streaming import StreamingRole
from redkite.cluster.shards.writing import InsertRows, Write
from redkite.errors import Conflict, PartlyWritten, UnknownOutcome
from redkite.model import requests as rq
from redkite.node.shard import Shard
from redkite.proxy.changes import Changes


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    made = ClusterEngine(str(tmp_path / "objects"), lease_seconds=1.0)
    yield made
    made.close()


def insert_message(engine: ClusterEngine, key: int) -> InsertRows:
    """A write of one row, as a proxy sends it."""
    topology = engine.cluster.proxy().topology
    meta = topology.root.find("", NAME)
    rows = engine.batch([key], vectors(1), [key])
    return InsertRows(
        channel=meta.channels[0],
        write_id=topology.root.oracle.allocate_ids(1),
        sent=topology.root.oracle.allocate(),
        parts=((meta.partitions[0].partition_id, 1),),
        rows=pa.RecordBatch.from_arrays(rows.columns, [f.name for f in meta.schema.fields]),
        schema=meta.schema,
    )


def send(engine: ClusterEngine, message: Write) -> Any:
    shard: Any = engine.cluster.proxy().topology.shards(engine.cluster.proxy().topology.root.find("", NAME))[0]
    return shard._caller.send(message.channel, message, 5).result(30)


def test_a_write_that_is_sent_again_is_not_done_again(engine: ClusterEngine) -> None:
    engine.create()
    message = insert_message(engine, 7)
    first = send(engine, message)
    engine.delete("id in [7]")
    assert send(engine, msgspec.structs.replace(message, doubtful=True)) == first
    assert engine.count() == 0


def test_the_next_owner_knows_what_the_last_one_wrote(engine: ClusterEngine) -> None:
    engine.create()
    message = insert_message(engine, 7)
    first = send(engine, message)
    engine.delete("id in [7]")
    for running in engine.cluster.nodes("streaming"):
        engine.cluster.restart(running)
    engine.cluster.wait_ready()
    assert send(engine, msgspec.structs.replace(message, doubtful=True)) == first
    assert engine.count() == 0


def test_a_doubtful_write_from_before_the_checkpoint_is_not_done_again(engine: ClusterEngine) -> None:
    engine.create()
    message = insert_message(engine, 7)
    send(engine, message)
    engine.delete("id in [7]")
    engine.flush()
    for running in engine.cluster.nodes("streaming"):
        engine.cluster.restart(running)
    engine.cluster.wait_ready()
    with pytest.raises(UnknownOutcome):
        send(engine, msgspec.structs.replace(message, doubtful=True))
    assert engine.count() == 0


def test_writes_wait_for_the_next_owner_of_a_channel(engine: ClusterEngine) -> None:
    fill(engine, 50)
    (first, second) = engine.cluster.nodes("streaming")
    engine.cluster.kill(first)
    engine.cluster.kill(second)
    service = engine.cluster.service()
    waiting = [
        service.call(rq.Insert(collection=NAME, rows=engine.batch([key], vectors(1), [key]))) for key in range(50, 60)
    ]
    engine.cluster.start_node("streaming")
    for write in waiting:
        write.result(30)  # type: ignore[union-attr]
    assert engine.count() == 60


def test_a_condition_that_one_shard_refuses_says_which_rows_are_in(engine: ClusterEngine) -> None:
    fill(engine, 20)
    rows = engine.batch(range(20), vectors(20), [1] * 20)
    with pytest.raises((Conflict, PartlyWritten)) as raised:
        engine.call(rq.Upsert(collection=NAME, rows=rows, condition=rq.Condition(where="id < 19")))
    refused = [19]
    if isinstance(raised.value, PartlyWritten):
        assert set(raised.value.failed) > set(refused)
        assert len(raised.value.written) + len(raised.value.failed) == 20
    changed = {key for key, number in engine.numbers().items() if number == 1 and key != 1}
    assert 19 not in changed
    if isinstance(raised.value, PartlyWritten):
        assert changed == set(raised.value.written) - {1}


def test_versions_are_checked_by_the_shard_of_each_row(engine: ClusterEngine) -> None:
    fill(engine, 20)
    rows = engine.batch(range(20), vectors(20), [5] * 20)
    found = engine.query("id >= 0", fields=("id", "$version"))
    versions = dict(zip(found["id"], found["$version"], strict=True))
    wanted = tuple(versions[key] for key in range(20))
    engine.call(rq.Upsert(collection=NAME, rows=rows, condition=rq.Condition(versions=wanted)))
    assert set(engine.numbers().values()) == {5}
    with pytest.raises((Conflict, PartlyWritten)):
        engine.call(rq.Upsert(collection=NAME, rows=rows, condition=rq.Condition(versions=wanted)))


def test_keys_are_deleted_on_condition_of_their_own_shard(engine: ClusterEngine) -> None:
    fill(engine, 20)
    deleted = engine.call(
        rq.Delete(collection=NAME, filter="id in [1, 2, 3, 4]", condition=rq.Condition(where="number < 100"))
    )
    assert deleted.count == 4
    assert engine.count() == 16


def test_auto_ids_of_two_proxies_differ(tmp_path: Path) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), proxies=2)
    try:
        oracles = [engine.cluster.proxy(number).topology.root.oracle for number in (0, 1)]
        given = [{oracle.allocate_ids(1) for _ in range(1000)} for oracle in oracles]
        assert not given[0] & given[1]
    finally:
        engine.close()


def test_a_delete_that_found_nothing_while_its_channel_was_lost_looks_again_at_the_next_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), streaming=1, pchannels=1)
    looked: list[int] = []
    plain = Changes.delete

    def lost(changes: Changes, *args: Any) -> Any:
        found = plain(changes, *args)
        looked.append(len(found[0]))
        if len(looked) == 1:
            (running,) = engine.cluster.nodes("streaming")
            assert isinstance(running.node, StreamingRole)
            running.node.owning.step_down()
            engine.insert([7], vectors(1), [7])  # by the next owner
        return found

    try:
        fill(engine, 5, shards=1)
        monkeypatch.setattr(Changes, "delete", lost)
        assert engine.call(rq.Delete(collection=NAME, filter="number == 7")).count == 1
        assert looked == [0, 1]
        assert engine.count() == 5
    finally:
        engine.close()


def test_a_channel_that_was_truncated_gives_out_no_older_timestamps_afterwards(tmp_path: Path) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), streaming=1, pchannels=1)
    try:
        fill(engine, 5)
        engine.call(rq.TruncateCollection(collection=NAME))
        (running,) = engine.cluster.nodes("streaming")
        engine.cluster.restart(running)
        engine.cluster.wait_ready()
        assert engine.count() == 0
        (running,) = engine.cluster.nodes("streaming")
        assert isinstance(running.node, StreamingRole)
        for shard in running.node.node.shards():
            assert shard.view.timestamp >= shard.readable_from > 0
    finally:
        engine.close()


def test_rows_that_a_former_shard_seals_while_the_log_is_read_anew_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), streaming=1, pchannels=1)
    plain = Shard._replay_log
    late: list[Shard] = []

    def sealed_meanwhile(shard: Shard, newest: int, room: float) -> int:
        while late:
            former = late.pop()
            former._dropped = False  # it has begun before it was let go of
            former.flush(shard._data.allocate_id)
        return plain(shard, newest, room)

    try:
        fill(engine, 5, shards=1)
        (running,) = engine.cluster.nodes("streaming")
        assert isinstance(running.node, StreamingRole)
        (former,) = running.node.node.shards()
        running.node.reopen(former)
        late.append(former)
        monkeypatch.setattr(Shard, "_replay_log", sealed_meanwhile)
        assert engine.count() == 5
        engine.insert([9], vectors(1), [9])
        engine.flush()
        assert engine.count() == 6
    finally:
        engine.close()
