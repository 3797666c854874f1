"""Changes that concern many happen everywhere or nowhere, whenever their coordinator dies, and exclude each other."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from redkite.coordinator.broadcast import (
    Acknowledged,
    Broadcaster,
    DropData,
    Follow,
    Key,
    ResourceLocks,
    TruncateTo,
    decide,
    decided,
    read_tasks,
    with_task,
)
from redkite.env import Env
from redkite.errors import Conflict, Unavailable
from redkite.simulated import simulated_env
from redkite.storage.catalog import MemoryCatalog

NUMBER = 7
SHARDS = ("a", "b", "c")


class Crash(BaseException):
    """The coordinator is gone."""


@dataclass
class World:
    """What outlives a coordinator: the catalog, and the shards that its changes are carried out on."""

    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)
    dropped: set[str] = field(default_factory=set)
    unreachable: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    steps: int = 0
    crash_at: int = -1

    def step(self) -> None:
        if self.steps == self.crash_at:
            raise Crash
        self.steps += 1

    def coordinator(self) -> Coordinator:
        return Coordinator(self)


class SteppedCatalog:
    """Dies before or behind each commit."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.get, self.scan, self.close = world.catalog.get, world.catalog.scan, world.catalog.close

    def commit(self, puts, deletes=(), expect=None):
        gone = list(deletes)
        puts = with_task(puts, gone)
        self._world.step()
        self._world.catalog.commit(puts, gone, expect)
        decided(puts)
        self._world.step()


class Coordinator:
    def __init__(self, world: World) -> None:
        self.world = world
        self.catalog = SteppedCatalog(world)
        self.ids = 0
        self.broadcaster = Broadcaster(simulated_env(1), self.catalog, self.new_id, self.carry_out)

    def new_id(self) -> int:
        self.ids += 1
        return self.ids + 100 * self.world.steps

    def carry_out(self, work, acknowledged=None) -> None:
        def drop(shard: str) -> None:
            self.world.step()
            if shard in self.world.unreachable:
                raise Unavailable(f"{shard} does not answer")
            self.world.asked.append(shard)
            self.world.dropped.add(shard)

        (acknowledged or Acknowledged()).each(SHARDS, drop)
        self.world.step()

    def drop(self, *, decides: bool = True) -> str:
        work = DropData(collection_id=NUMBER, channels=SHARDS)

        def act() -> str:
            self.catalog.commit({"ids/next": b"1"})  # decides nothing
            if decides:
                self.catalog.commit({}, ["root/collection/7"])
            self.carry_out(work)
            return "done"

        keys = [Key("database/default"), Key(f"collection/{NUMBER}", alone=True)]
        return self.broadcaster.change(keys, lambda: [work], act)


def test_a_change_leaves_no_task_behind():
    world = World()
    world.catalog.commit({"root/collection/7": b"x"})
    coordinator = world.coordinator()
    assert coordinator.drop() == "done"
    assert read_tasks(world.catalog) == []
    assert world.dropped == set(SHARDS)
    assert coordinator.broadcaster.resume() == 0


def test_a_coordinator_that_dies_at_any_step_leaves_all_or_nothing_to_the_next():
    outcomes = set()
    for crash_at in range(40):
        world = World(crash_at=crash_at)
        world.catalog.commit({"root/collection/7": b"x"})
        try:
            world.coordinator().drop()
        except Crash:
            finished = False
        else:
            finished = True
        world.crash_at = -1
        heir = world.coordinator()
        assert heir.broadcaster.resume() == 0
        is_there = world.catalog.get("root/collection/7") is not None
        assert world.dropped == (set() if is_there else set(SHARDS)), f"half applied at step {crash_at}"
        assert read_tasks(world.catalog) == []
        outcomes.add(is_there)
        if finished:
            break
    assert finished
    assert outcomes == {True, False}


def test_the_next_coordinator_may_die_as_well():
    for first in range(3, 9):
        for second in range(8):
            world = World(crash_at=first)
            world.catalog.commit({"root/collection/7": b"x"})
            with pytest.raises(Crash):
                world.coordinator().drop()
            world.crash_at = world.steps + second
            try:
                world.coordinator().broadcaster.resume()
            except Crash:
                world.crash_at = -1
                assert world.coordinator().broadcaster.resume() == 0
            is_there = world.catalog.get("root/collection/7") is not None
            assert world.dropped == (set() if is_there else set(SHARDS))


def test_what_a_node_does_not_answer_is_done_when_it_does():
    world = World(unreachable={"b"})
    world.catalog.commit({"root/collection/7": b"x"})
    coordinator = world.coordinator()
    with pytest.raises(Unavailable):
        coordinator.drop()
    assert world.catalog.get("root/collection/7") is None
    assert coordinator.broadcaster.resume() == 1
    coordinator.broadcaster.finish_earlier(NUMBER)
    with pytest.raises(Unavailable, match="an earlier change of collection 7 is decided"):
        coordinator.drop()
    coordinator.broadcaster.finish_earlier(NUMBER + 1)
    world.unreachable.clear()
    coordinator.broadcaster.finish_earlier(NUMBER)
    assert world.dropped == set(SHARDS)
    assert read_tasks(world.catalog) == []


def test_a_change_that_is_refused_leaves_nothing():
    world = World()
    coordinator = world.coordinator()

    def refuse() -> None:
        raise Conflict("not now")

    with pytest.raises(Conflict):
        coordinator.broadcaster.change([Key("x")], lambda: [Follow(collection_id=NUMBER)], refuse)
    assert read_tasks(world.catalog) == []
    coordinator.broadcaster.change([Key("x")], lambda: [Follow(collection_id=NUMBER)], lambda: None)
    assert read_tasks(world.catalog) == [], "nothing was decided, so nothing is to be done"


def test_a_change_without_a_commit_of_its_own_is_decided_by_saying_so():
    decide()  # outside of a change: nothing
    for crash_at in range(8):
        world = World(crash_at=crash_at)
        coordinator = world.coordinator()
        work = TruncateTo(collection_id=NUMBER, timestamp=5)

        def act(coordinator: Coordinator = coordinator, work: TruncateTo = work) -> None:
            decide()
            coordinator.carry_out(work)

        try:
            coordinator.broadcaster.change([Key("x")], lambda work=work: [work], act)
        except Crash:
            world.crash_at = -1
            world.coordinator().broadcaster.resume()
        assert world.dropped in (set(), set(SHARDS))
        assert bool(world.dropped) == (crash_at > 0)


def test_later_changes_of_a_collection_wait_for_earlier_ones_and_those_of_others_do_not():
    world = World()
    done: list[int] = []
    broken = {1}

    def carry_out(work, _) -> None:
        if work.collection_id in broken:
            raise Unavailable("no answer")
        done.append(work.timestamp)

    ids = iter(range(1, 10))
    broadcaster = Broadcaster(simulated_env(1), SteppedCatalog(world), lambda: next(ids), carry_out)

    def undone(collection_id: int, timestamp: int) -> None:
        def act() -> None:
            decide()
            raise Unavailable("cut off")

        work = TruncateTo(collection_id=collection_id, timestamp=timestamp)
        with pytest.raises(Unavailable, match="cut off"):
            broadcaster.change([Key("x")], lambda: [work], act)

    undone(1, 10)
    undone(2, 20)
    undone(1, 11)
    assert broadcaster.resume() == 2
    assert done == [20]
    broken.clear()
    assert broadcaster.resume() == 0
    assert done == [20, 10, 11]


# -- locks ----------------------------------------------------------------------------------------
def test_keys_are_shared_or_had_alone_and_waits_are_measured():
    env = Env.real()
    locks = ResourceLocks(env.tasks, env.clock)
    inside = threading.Barrier(2, timeout=60)
    order: list[str] = []

    def share() -> None:
        with locks.holding([Key("collection/1")]):
            inside.wait()  # both at once
            order.append("shared")

    def alone() -> None:
        with locks.holding([Key("collection/1", alone=True)]):
            order.append("alone")

    with locks.holding([Key("collection/1", alone=True), Key("collection/1")]):
        threads = [threading.Thread(target=share) for _ in range(2)]
        for thread in threads:
            thread.start()
        while sum(len(held.waiting) for held in locks._held.values()) < 2:
            threading.Event().wait(0.001)
        last = threading.Thread(target=alone)
        last.start()
    for thread in (*threads, last):
        thread.join(60)
    assert sorted(order) == ["alone", "shared", "shared"]
    waits = locks.waits["collection"]
    assert waits.taken == 4
    assert waits.waited >= 2
    assert waits.seconds >= waits.longest > 0
    assert locks._held == {}


def test_nobody_waits_for_ever_and_who_gives_up_holds_nothing():
    env = Env.real()
    locks = ResourceLocks(env.tasks, env.clock)
    with locks.holding([Key("database/a", alone=True)]):
        with (
            pytest.raises(Unavailable, match=r"another change of 'database/a' takes longer than 0\.01 s"),
            locks.holding([Key("collection/1", alone=True), Key("database/a")], 0.01),
        ):
            pytest.fail("it is held")
        with locks.holding([Key("collection/1", alone=True)], 0.01):
            pass
    with locks.holding([Key("database/a", alone=True)], 0.01):
        pass
    assert locks._held == {}


def test_keys_are_taken_in_one_order_by_everybody():
    env = Env.real()
    locks = ResourceLocks(env.tasks, env.clock)
    done = []

    def take(names: list[str]) -> None:
        for _ in range(200):
            with locks.holding([Key(name, alone=True) for name in names]):
                done.append(1)

    threads = [threading.Thread(target=take, args=(names,)) for names in (["a", "b", "c"], ["c", "a"], ["b", "c"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 600


def test_a_request_that_was_decided_is_not_decided_again_until_it_is_forgotten():
    world = World()
    world.catalog.commit({"root/collection/7": b"x"})
    coordinator = world.coordinator()
    keys = [Key(f"collection/{NUMBER}", alone=True)]

    def ask(number: int, key: str = "root/collection/7") -> str:
        def act() -> str:
            coordinator.catalog.commit({}, [key])
            return "done"

        return coordinator.broadcaster.change(keys, list, act, number, lambda: "done before")

    assert ask(5, "ids/next") == "done"  # decides nothing
    assert ask(5) == "done"
    assert ask(5) == "done before"
    assert ask(6) == "done"
    coordinator.broadcaster.forget_requests()
    assert ask(5) == "done before"
    coordinator.broadcaster._clock.advance(299)
    coordinator.broadcaster.forget_requests()
    assert ask(6) == "done before"
    coordinator.broadcaster._clock.advance(2)
    coordinator.broadcaster.forget_requests()
    assert not world.catalog.scan("decided/")


def test_who_has_done_its_part_is_not_asked_again_and_who_cannot_keeps_no_other_from_it():
    world = World(unreachable={"a"})
    world.catalog.commit({"root/collection/7": b"x"})
    with pytest.raises(Unavailable, match="a does not answer"):
        world.coordinator().drop()
    assert world.asked == ["b", "c"]
    second = world.coordinator()
    assert second.broadcaster.resume() == 1
    assert world.asked == ["b", "c", "b", "c"]  # the first one had not noted it
    (task,) = read_tasks(world.catalog)
    assert task.acknowledged == ("b", "c")
    world.unreachable.clear()
    assert world.coordinator().broadcaster.resume() == 0
    assert world.asked == ["b", "c", "b", "c", "a"]
    assert read_tasks(world.catalog) == []
