"""An object that any process may still read is not deleted, and what nobody needs is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redkite.cluster.backends import MemoryWorld
from redkite.coordinator import shared_garbage
from redkite.coordinator.shared_garbage import PREFIX, Collector, Releasing, SharedGarbage
from redkite.simulated import SimulatedEnv, simulated_env


class World:
    """Two nodes that read, and one that leads."""

    def __init__(self) -> None:
        self.env: SimulatedEnv = simulated_env(1)
        self.world = MemoryWorld(self.env)
        self.backends = {n: self.world.backends(self.env, f"node-{n}") for n in (1, 2, 3)}
        self.store = self.backends[1].objects()
        self.named: set[str] = set()
        self.used: dict[int, set[str]] = {1: set(), 2: set()}
        self.alive = [1, 2]
        self.ids = iter(range(1, 1000))
        self.garbage = {n: self.make(n) for n in (1, 3)}
        self.releasing = {
            n: Releasing(
                self.env, self.backends[n].coordination, self.backends[n].catalog(), n, lambda n=n: self.used[n], 3.0
            )
            for n in (1, 2)
        }
        self.collector = Collector(
            self.env, self.store, self.garbage[3], lambda: self.named, self.backends[3].catalog(),
            self.backends[3].coordination, lambda: self.alive, grace_seconds=10.0,
        )  # fmt: skip

    def make(self, number: int) -> SharedGarbage:
        catalog = self.backends[number].catalog()
        return SharedGarbage(self.env, self.store, lambda: self.named, catalog, lambda: next(self.ids))

    def put(self, *names: str) -> None:
        for name in names:
            self.store.put(name, [b"x"])

    def there(self) -> list[str]:
        return list(self.store.list())

    def pass_(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.env.clock.advance(1.0)
            self.env.clock.run_until_idle()


@pytest.fixture
def world() -> Iterator[World]:
    yield World()


def test_what_nobody_needs_goes_after_its_grace(world: World) -> None:
    world.put("segments/1/2/a", "segments/1/2/b", "segments/1/3/c")
    world.garbage[1].discard(["segments/1/2/a", "", "segments/1/2/b"])
    world.pass_(5)
    assert len(world.there()) == 3
    assert world.garbage[1].waiting == 2
    world.pass_(12)
    assert world.there() == ["segments/1/3/c"]
    assert not world.backends[2].catalog().scan(PREFIX)


def test_what_another_node_reads_stays_until_it_lets_go(world: World) -> None:
    world.put("a", "b")
    world.used[2] = {"b", "z"}
    world.garbage[1].discard(["a", "b"])
    world.garbage[1].discard(["z"])
    world.pass_(60)
    assert world.there() == ["a", "b"]
    world.used[2] = set()
    world.pass_(15)
    assert world.there() == []


def test_a_node_that_has_said_nothing_is_waited_for_while_it_lives(world: World) -> None:
    world.put("a")
    world.alive = [1, 2, 9]
    world.garbage[1].discard(["a"])
    world.pass_(60)
    assert world.there() == ["a"]
    world.alive = [1, 2]
    world.pass_(15)
    assert world.there() == []


def test_nothing_goes_while_any_node_has_paused_it_whoever_leads(world: World) -> None:
    world.put("a", "b")
    world.garbage[1].discard(["a"])
    world.garbage[1].pause(30)
    world.pass_(12)
    assert world.garbage[3].is_paused
    assert world.there() == ["a", "b"]
    world.collector.close()
    next_leader = Collector(
        world.env, world.store, world.make(2), lambda: world.named, world.backends[2].catalog(),
        world.backends[2].coordination, lambda: world.alive, grace_seconds=10.0,
    )  # fmt: skip
    assert next_leader.collect() == 0
    world.garbage[3].resume()
    world.pass_(10)
    assert world.there() == ["b"]
    world.garbage[1].pause(30)
    world.garbage[1].discard(["b"])
    world.pass_(20)
    assert world.there() == ["b"]
    world.pass_(20)
    assert world.there() == []
    next_leader.close()


def test_what_the_leader_holds_or_the_catalog_names_again_stays(world: World) -> None:
    world.put("a", "b")
    world.garbage[3].hold("snapshot", ["a"])
    world.garbage[1].discard(["a"])
    world.garbage[1].discard(["b"])
    world.named = {"b"}
    world.pass_(30)
    assert world.there() == ["a", "b"]
    world.garbage[3].release("snapshot")
    world.pass_(30)
    assert world.there() == ["b"]
    assert not world.backends[2].catalog().scan(PREFIX)


def test_what_cannot_be_noted_is_noted_later(world: World) -> None:
    world.put("a")
    world.backends[1].cut()
    world.garbage[1].discard(["a"])
    world.pass_(3)
    assert world.garbage[3].waiting == 0
    world.backends[1].mend()
    world.pass_(40)
    assert world.there() == []


def test_another_leader_goes_on_where_the_first_was_cut_off(world: World) -> None:
    world.put("a")
    world.garbage[1].discard(["a"])
    world.pass_(2)
    world.collector.close()
    world.store.delete("a")  # it had begun
    other = Collector(
        world.env, world.store, world.garbage[1], lambda: world.named, world.backends[1].catalog(),
        world.backends[1].coordination, lambda: world.alive, grace_seconds=1.0,
    )  # fmt: skip
    world.pass_(5)
    assert not world.backends[1].catalog().scan(PREFIX)
    other.close()


def test_orphans_go_after_a_day_in_which_nobody_named_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared_garbage.ORPHAN_SECONDS == 24 * 3600
    monkeypatch.setattr(shared_garbage, "ORPHAN_SECONDS", 100.0)
    world.put("segments/1/2/named", "segments/1/3/orphan")
    world.named = {"segments/1/2/named"}
    assert world.collector.sweep() == 0
    world.env.clock.advance(50.0)
    assert world.collector.sweep() == 0
    world.env.clock.advance(50.0)
    world.collector.sweep()
    assert world.there() == ["segments/1/2/named"]
