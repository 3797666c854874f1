"""Changes of many segments while another process changes some of them."""

from __future__ import annotations

import itertools

import pytest

from redkite.config import Settings
from redkite.coordinator.data import DataCoordinator, Parted
from redkite.model.segments import ChannelState, DeletesFile, SegmentMeta
from redkite.simulated import simulated_env
from redkite.storage.followed import follow
from redkite.storage.memory_connection import MemoryConnection
from redkite.storage.shared_memory import SharedMemory

CHANNEL = "by-dev-rootcoord-dml_0_7v0"
MANY = 200


class Two:
    """The owner of a channel, and a leader: each with a copy of one catalog."""

    def __init__(self) -> None:
        self.env = simulated_env(1)
        shared = SharedMemory(self.env)
        self.connections = [MemoryConnection(shared, self.env, name) for name in ("owner", "leader")]
        numbers = itertools.count(1000)
        self.owner, self.leader = (self._made(connection, numbers) for connection in self.connections)
        self.owner.commit_flush(7, CHANNEL, ChannelState(checkpoint=1), [segment(n) for n in range(MANY)], {})
        self.settle()

    def _made(self, connection: MemoryConnection, numbers: itertools.count[int]) -> DataCoordinator:
        _, catalog = follow(connection.store, self.env)
        data = DataCoordinator(catalog, lambda: next(numbers), Settings().limits, catalog)
        catalog.when_changed(data.absorb)
        return data

    def settle(self) -> None:
        self.env.clock.run_until_idle()


def segment(number: int) -> SegmentMeta:
    return SegmentMeta(
        segment_id=number, collection_id=7, partition_id=number % 2, channel=CHANNEL, rows=1, size=1,
        rows_object=f"segments/7/{number}/rows", rows_crc=0,
    )  # fmt: skip


def deletes(number: int) -> DeletesFile:
    return DeletesFile(object=f"segments/7/{number}/deletes", size=1, crc=1, rows=1)


def test_a_flush_of_many_deletes_brings_back_no_segment_that_was_removed_meanwhile() -> None:
    two = Two()
    assert len(two.leader.segments(7)) == MANY
    two.connections[0].hold()  # what the leader does is not known to the owner yet
    two.leader.remove_segments(7, lambda s: s.partition_id == 1)
    two.settle()
    assert len(two.owner.segments(7)) == MANY
    two.connections[0].let_go()
    saved = {number: deletes(number) for number in range(MANY)}
    state = ChannelState(checkpoint=9)
    two.owner.commit_flush(7, CHANNEL, state, [segment(5000 + n) for n in range(80)], saved, ChannelState(checkpoint=1))
    two.settle()
    for data in (two.owner, two.leader):
        old = [s for s in data.segments(7) if s.segment_id < 5000]
        assert [s.segment_id for s in old] == [n for n in range(MANY) if n % 2 == 0]
        assert all(s.deletes_object for s in old)
        assert len(data.segments(7)) == MANY // 2 + 80
        assert data.channel_state(CHANNEL).checkpoint == 9


def test_a_flush_of_many_deletes_by_who_does_not_own_the_channel_any_more_changes_nothing() -> None:
    two = Two()
    two.connections[0].hold()
    two.leader.commit_flush(7, CHANNEL, ChannelState(checkpoint=5), [], {})
    two.settle()
    two.connections[0].let_go()
    saved = {number: deletes(number) for number in range(MANY)}
    with pytest.raises(Parted):
        two.owner.commit_flush(7, CHANNEL, ChannelState(checkpoint=9), [], saved, ChannelState(checkpoint=1))
    assert not any(s.deletes_object for s in two.leader.segments(7))
    assert two.leader.channel_state(CHANNEL).checkpoint == 5
