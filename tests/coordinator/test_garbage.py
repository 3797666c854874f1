"""Objects go when nothing names them, nothing holds them, and their grace is over."""

from __future__ import annotations

import pytest

from redkite.coordinator.garbage import Garbage
from redkite.simulated import simulated_env
from redkite.storage.objects import FolderObjects


class World:
    def __init__(self, grace: float) -> None:
        self.env = simulated_env(3)
        self.store = FolderObjects(self.env.files, "objects")
        self.named: set[str] = set()
        self.garbage = Garbage(self.env, self.store, lambda: self.named, grace)
        for name in ("segments/1/2/rows", "segments/1/2/order", "segments/1/3/rows"):
            self.store.put(name, [b"x"])

    def left(self) -> list[str]:
        return self.store.list("segments/")


def test_without_a_grace_a_discarded_object_goes_at_once_and_its_empty_folder_too() -> None:
    world = World(0)
    world.garbage.discard(["segments/1/2/rows", ""])
    assert world.left() == ["segments/1/2/order", "segments/1/3/rows"]
    world.garbage.discard_prefix("segments/1/2/")
    assert world.left() == ["segments/1/3/rows"]
    assert "2" not in world.env.files.list("objects/segments/1")


def test_a_discarded_object_stays_for_its_grace() -> None:
    world = World(60)
    world.garbage.discard(["segments/1/2/rows"])
    assert world.garbage.collect() == 0
    world.env.advance(59)
    assert len(world.left()) == 3
    world.env.advance(60)
    assert "segments/1/2/rows" not in world.left()
    assert world.garbage.waiting == 0


def test_a_held_object_goes_when_its_last_holder_lets_go() -> None:
    world = World(0)
    world.garbage.hold("snapshot-a", ["segments/1/2/rows"])
    world.garbage.hold("snapshot-b", ["segments/1/2/rows", "segments/1/3/rows"])
    world.garbage.discard(["segments/1/2/rows"])
    assert world.garbage.holders("segments/1/2/rows") == ["snapshot-a", "snapshot-b"]
    world.garbage.release("snapshot-a")
    assert len(world.left()) == 3
    world.garbage.release("snapshot-b")
    assert world.left() == ["segments/1/2/order", "segments/1/3/rows"]


def test_an_object_that_is_named_again_is_no_garbage() -> None:
    world = World(0)
    world.named.add("segments/1/2/rows")
    world.garbage.discard(["segments/1/2/rows"])
    assert len(world.left()) == 3
    world.named.clear()
    assert world.garbage.collect() == 0, "it was not garbage then, and nobody has discarded it since"


def test_a_sweep_leaves_what_is_named_or_held() -> None:
    world = World(60)
    world.named.add("segments/1/2/rows")
    world.garbage.hold("snapshot", ["segments/1/3/rows"])
    assert world.garbage.sweep("segments/") == 1
    assert world.left() == ["segments/1/2/rows", "segments/1/3/rows"]


def test_an_object_that_cannot_be_deleted_is_left_for_the_next_sweep(caplog: pytest.LogCaptureFixture) -> None:
    world = World(0)
    world.env.disk.fail_at(world.env.disk.operations + 1, "eio")
    world.garbage.discard(["segments/1/2/rows"])
    assert "could not be deleted" in caplog.text
    assert world.garbage.sweep("segments/") == 3
