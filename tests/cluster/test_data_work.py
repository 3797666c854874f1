"""Index builds and compactions that data nodes do: what becomes of them when nodes die, stop or are not there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cluster.data_nodes import ASKER, INDEX, ROWS, SCHEMA, World, always, stuck, within

from redkite.cluster import data_work
from redkite.cluster.local_network import LocalHub
from redkite.cluster.work_messages import BuildIndex, IsAtWork, StopWork, WorkLost
from redkite.cluster.workbench import Workbench
from redkite.env import Env
from redkite.errors import Corruption, MemoryLimitExceeded, Unavailable
from redkite.model.batch import arrow_to_numbers
from redkite.node.data import DataNode
from redkite.node.memory import MemoryBudget
from redkite.segment.files import open_rows
from redkite.storage.objects import FolderObjects


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    env = Env.real()
    made = World(env, FolderObjects(env.files, str(tmp_path / "objects")), LocalHub(env))
    yield made
    for close in reversed(made.opened):
        close()


def test_an_index_is_built_by_a_data_node_under_a_name_that_was_never_used(world: World) -> None:
    bench = world.data_node(2)
    segment = world.segment(50)
    node = world.asker()
    first = node.make_index(segment, INDEX, SCHEMA, always)
    again = node.make_index(segment, INDEX, SCHEMA, always)
    assert first is not None
    assert again is not None
    assert bench.done == 2
    assert first.object != again.object
    assert (first.rows, first.size) == (ROWS, world.store.size(first.object))


def test_without_data_nodes_the_streaming_node_does_it_itself(world: World) -> None:
    node = world.asker()
    built = node.make_index(world.segment(50), INDEX, SCHEMA, always)
    assert built is not None
    assert world.store.exists(built.object)


def test_a_compaction_far_away_makes_what_one_here_makes(world: World) -> None:
    bench = world.data_node(2)
    sources = world.segment(50), world.segment(51, ROWS)
    here = DataNode(9, world.env, world.store, 1, MemoryBudget(world.env))
    expected = here.compact(world.work(*sources), always, lambda: next(world.numbers))
    found = world.asker().compact(world.work(*sources), always, lambda: next(world.numbers))
    here.close()
    assert expected is not None
    assert found is not None
    assert bench.done == 1
    assert found.newest_dropped == expected.newest_dropped
    (one,), (other,) = found.made, expected.made
    assert one.meta.rows == other.meta.rows == 2 * ROWS
    assert [file.index_id for file in one.meta.indexes] == [7]
    for (source, rows), (known, places) in zip(one.origin, other.origin, strict=True):
        assert source == known
        assert np.array_equal(rows, places)
    batch, stamps = open_rows(world.store, one.meta, SCHEMA)
    assert batch.equals(open_rows(world.store, other.meta, SCHEMA)[0])
    assert bool((np.diff(arrow_to_numbers(stamps).astype(np.int64)) >= 0).all())


def test_when_a_data_node_is_gone_another_does_the_work(world: World) -> None:
    begun = stuck(world.data_node(2))
    other = world.data_node(3)
    node = world.asker()
    building = world.env.tasks.executor("test", 1).submit(
        node.make_index, world.segment(50), INDEX, SCHEMA, always
    )  # fmt: skip
    assert begun.wait(30)
    del world.nodes[2]
    assert building.result(30) is not None
    assert other.done == 1


def test_a_data_node_that_cannot_be_reached_is_passed_over(world: World) -> None:
    world.nodes[2] = "127.0.0.1:1"
    other = world.data_node(3)
    assert world.asker().make_index(world.segment(50), INDEX, SCHEMA, always) is not None
    assert other.done == 1


def test_work_that_could_not_be_given_is_not_counted_as_given(world: World) -> None:
    """Else the node that it was meant for would be passed over from then on, for others that have more to do."""
    world.data_node(2)
    node = world.asker()

    def no_number() -> int:
        raise Unavailable("etcd does not answer")

    node._new_id = no_number
    message = partial(StopWork, work_id=0)  # which is never sent
    assert node._done_elsewhere(lambda: message(work_id=node._new_id()), always) is None  # type: ignore[arg-type,return-value]
    assert node._given == {}


def test_when_every_data_node_fails_the_work_is_done_here(world: World) -> None:
    bench = world.data_node(2)

    def full(*_: Any) -> Any:
        raise MemoryLimitExceeded("no room")

    bench.place = full
    assert world.asker().make_index(world.segment(50), INDEX, SCHEMA, always) is not None
    assert bench.failed == 1


def losing(bench: Workbench, times: int) -> list[int]:
    """The process that works for this node ends so many times before it has done anything; the numbers of all tries."""
    numbers, usual = [], bench.place

    def place(message: Any, wanted: Callable[[], bool]) -> Any:
        numbers.append(message.work_id)
        if len(numbers) <= times:
            raise WorkLost("its process is gone")
        return usual(message, wanted)

    bench.place = place
    return numbers


def test_work_whose_process_died_is_asked_for_again_under_another_number(world: World) -> None:
    """The one that seems to be dead may be at work, and write what it makes at any time."""
    numbers = losing(world.data_node(2), data_work.MOST_LOST - 1)
    built = world.asker().make_index(world.segment(50), INDEX, SCHEMA, always)
    assert built is not None
    assert len(set(numbers)) == data_work.MOST_LOST
    assert built.object.endswith(f"-{numbers[-1]}")


def test_work_that_kills_every_process_is_given_up_and_done_here(world: World) -> None:
    numbers = losing(world.data_node(2), 100)
    assert world.asker().make_index(world.segment(50), INDEX, SCHEMA, always) is not None
    assert len(numbers) == data_work.MOST_LOST


def test_what_would_fail_anywhere_is_not_tried_elsewhere(world: World) -> None:
    bench, other = world.data_node(2), world.data_node(3)

    def damaged(*_: Any) -> Any:
        raise Corruption("these bytes are not what was written")

    bench.place = other.place = damaged
    with pytest.raises(Corruption, match="not what was written"):
        world.asker().make_index(world.segment(50), INDEX, SCHEMA, always)
    assert bench.failed + other.failed == 1


def test_work_that_is_not_wanted_any_more_is_stopped_where_it_is_done(world: World) -> None:
    bench = world.data_node(2)
    begun = stuck(bench)
    wanted = threading.Event()
    wanted.set()
    node = world.asker()
    building = world.env.tasks.executor("test", 1).submit(
        node.make_index, world.segment(50), INDEX, SCHEMA, wanted.is_set
    )  # fmt: skip
    assert begun.wait(30)
    wanted.clear()
    assert building.result(30) is None
    assert within(30, lambda: not bench.pieces)
    assert (bench.stopped, bench.done) == (1, 0)


def test_a_data_node_stops_the_work_of_a_node_that_is_gone(world: World) -> None:
    bench = world.data_node(2)
    begun = stuck(bench)
    node = world.asker()
    world.env.tasks.executor("test", 1).submit(node.make_index, world.segment(50), INDEX, SCHEMA, always)
    assert begun.wait(30)
    world.there.clear()
    assert within(30, lambda: bench.stopped > 0)


def test_the_same_work_asked_for_twice_is_done_once(world: World) -> None:
    bench = world.data_node(2)
    begun = stuck(bench)
    remote = world.hub.network(ASKER).connect(world.nodes[2])
    message = BuildIndex(work_id=5, meta=world.segment(50), index=INDEX, schema=SCHEMA, name="index")
    one, two = remote.ask_soon(message, 60), remote.ask_soon(message, 60)
    assert begun.wait(30)
    assert bench.pieces == 1
    assert remote.ask(StopWork(work_id=5)).known
    assert one.result(30).is_stopped
    assert two.result(30).is_stopped


def test_a_data_node_that_closes_leaves_its_work_to_others(world: World) -> None:
    bench = world.data_node(2)
    begun = stuck(bench)
    other = world.data_node(3)
    node = world.asker()
    building = world.env.tasks.executor("test", 1).submit(
        node.make_index, world.segment(50), INDEX, SCHEMA, always
    )  # fmt: skip
    assert begun.wait(30)
    bench.close()
    assert building.result(30) is not None
    assert other.done == 1
    with pytest.raises(Unavailable, match="takes no more work"):
        bench.take(BuildIndex(work_id=6, meta=world.segment(51), index=INDEX, schema=SCHEMA, name="index"))


def test_builds_go_to_the_data_node_that_has_least_to_do(world: World) -> None:
    benches = [world.data_node(number) for number in (2, 3, 4)]
    segments = [world.segment(number) for number in range(50, 56)]
    node = world.asker()
    built: list[object] = []
    futures = [node.build_index(segment, INDEX, SCHEMA, always, built.append) for segment in segments]
    for future in futures:
        future.result(30)
    assert len(built) == 6
    assert all(bench.done for bench in benches)


def test_work_that_was_done_or_stopped_is_not_done_when_its_message_comes_again(world: World) -> None:
    """Else a message that was late would write the names of a try that nobody waits for."""
    bench = world.data_node(2)
    remote = world.hub.network(ASKER).connect(world.nodes[2])
    message = BuildIndex(work_id=5, meta=world.segment(50), index=INDEX, schema=SCHEMA, name="index-5")
    assert not remote.ask(message, 30).is_stopped
    world.store.delete("index-5")
    with pytest.raises(Unavailable, match="was done, or given up, before"):
        remote.ask(message, 30)
    assert not remote.ask(StopWork(work_id=6)).known
    late = BuildIndex(work_id=6, meta=world.segment(51), index=INDEX, schema=SCHEMA, name="index-6")
    with pytest.raises(Unavailable, match="was done, or given up, before"):
        remote.ask(late, 30)
    assert not any(world.store.exists(f"index-{number}") for number in (5, 6))
    assert bench.done == 1


def test_a_data_node_that_does_not_say_that_it_has_the_work_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message, or the answer, may have been lost: nobody would wait for that for hours."""
    monkeypatch.setattr(data_work, "PULSE_SECONDS", 0.05)
    bench, other = world.data_node(2), world.data_node(3)
    begun = stuck(bench)
    building = world.env.tasks.executor("test", 1).submit(
        world.asker().make_index, world.segment(50), INDEX, SCHEMA, always
    )
    assert begun.wait(30)
    assert world.hub.network(ASKER).connect(world.nodes[2]).ask(IsAtWork(work_id=1000)).known
    bench._work.clear()
    assert building.result(30) is not None
    assert other.done == 1
