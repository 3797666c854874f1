"""Simulated worlds, a few seeds of each kind, in processes of their own: the locks of `threading` are others there."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest

pytest.importorskip("greenlet")
from tests.simulation import primitives
from tests.simulation.fibers import Process, Stuck, World

REPOSITORY = Path(__file__).resolve().parents[2]


def simulate(*arguments: object, hashes: int = 0) -> tuple[int, str, dict[str, float]]:
    """Status, all that was said, and the sums."""
    command = [sys.executable, "-m", "tests.simulation", *map(str, arguments)]
    env = os.environ | {"PYTHONHASHSEED": str(hashes), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=110, check=False)
    said = done.stdout + done.stderr
    assert done.stdout, said
    return done.returncode, said, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("scenario", "seeds"), [("standalone", 8), ("catalog", 180), ("cluster", 12)])
def test_nothing_is_wrong_in_a_few_worlds(scenario, seeds):
    status, said, sums = simulate("--scenario", scenario, "--seeds", seeds, "--seconds", 40)
    assert status == 0, said
    assert sums["seeds"] and sums["answered"] > 20 * sums["seeds"]


def test_a_seed_decides_everything_whatever_was_run_before_and_however_texts_are_hashed():
    chosen = ["--scenario", "standalone", "--scenario", "catalog", "--scenario", "cluster", "--traces"]
    one, another = (
        simulate(*chosen, "--first", first, "--seeds", 5 - first, hashes=hashes)[1].splitlines()[:-1]
        for first, hashes in ((3, 1), (2, 77))
    )
    assert len(one) == 6
    assert set(one) < set(another)


@pytest.fixture
def world() -> Iterator[World]:
    world = World(1)
    primitives.enter(world)
    yield world
    world.end()
    primitives.enter(None)


class Kept:
    """Something that a fiber knows of."""


def who_waited() -> tuple[list[weakref.ref[object]], list[int]]:
    """What is known of a world that is over, and of what its fibers had; and when those were ended."""
    world = World(1)
    primitives.enter(world)
    process = Process(world, "p")
    known, ended = [weakref.ref(world)], []

    def wait() -> None:
        kept = Kept()
        known.append(weakref.ref(kept))
        try:
            world.park()
        finally:
            ended.append(process.now_ms())

    for home in (None, process):
        world.spawn(wait, "waits", home)
        world.spawn(lambda: None, "is done", home)
    world.run(lambda: len(known) == 3 and world.current is None, 2)
    assert not ended
    world.end()
    primitives.enter(None)
    return known, ended


def test_a_world_that_is_over_keeps_nothing_of_whoever_still_waited_there():
    known, ended = who_waited()
    gc.collect()
    assert len(ended) == 2
    assert [kept() for kept in known] == [None] * 3


def set_of_futures(between: random.Random) -> list[int]:
    """How many of those that were made before, of each future of a set."""
    primitives.enter(World(1))
    made, others = [], []
    for _ in range(50):
        others += [object.__new__(primitives.Future) for _ in range(between.randrange(4))]
        made.append(primitives.Future())
    return [made.index(future) for future in set(made)]


def test_the_futures_of_a_set_come_in_the_same_order_wherever_they_lie_in_memory(world):
    one, *others = (set_of_futures(random.Random(seed)) for seed in range(4))
    assert others == [one] * 3


def test_a_fiber_knows_nothing_of_the_one_that_ran_before_it_in_the_same_place(world):
    var, seen, places = ContextVar("var", default="nothing"), [], []

    def act() -> None:
        seen.append((var.get(), world.current.locals))
        places.append(world.current.frame)
        var.set("something")

    for turn in range(2):
        world.spawn(act, "acts")
        world.run(lambda turn=turn: len(places) > turn and world.current is None, 1)
    assert seen == [("nothing", {}), ("nothing", {})]
    assert places[0] is places[1]


def test_who_is_killed_runs_to_no_end_and_nobody_runs_in_its_place(world):
    process, said = Process(world, "killed"), []

    def wait() -> None:
        try:
            world.sleep(5)
            said.append("slept")
        finally:
            said.append("ended")

    fiber = process.spawn(wait, "waits")
    world.spawn(lambda: (world.sleep(1), world.kill(process), said.append("killed")), "kills")
    world.run(lambda: len(said) == 2, 10)
    place = fiber.frame
    other = world.spawn(lambda: said.append("another"), "another")
    world.run(lambda: len(said) == 3, 10)
    assert said == ["ended", "killed", "another"]
    assert place.dead and other.frame is not place


def test_who_kills_its_own_process_waits_for_none_of_its_fibers(world):
    """As an owner that dies at its answer, while another of its threads is being told of a change."""
    lock = primitives.Lock()
    process = Process(world, "killed")
    process.spawn(lambda: (lock.acquire(), world.sleep(5)), "holds")
    process.at_end.append(lambda: lock.acquire() and lock.release())
    process.spawn(lambda: (world.sleep(1), world.kill(process)), "kills")
    with pytest.raises(Stuck, match="at the end of killed waits"):
        world.run(lambda: False, 10)


@pytest.mark.parametrize(
    ("plant", "scenario", "first"),
    [
        ("refresh-without-asking", "catalog", 0),
        ("expectations-unchecked", "catalog", 0),
        ("checkpoint-too-far", "standalone", 0),
        ("clocks-unheard", "cluster", 0),
        ("moments-before-answers", "cluster", 10),
        ("reads-of-the-dead", "cluster", 18),
        ("changes-not-resumed", "cluster", 0),
        ("imports-not-noted", "cluster", 1),
        ("numbered-anew", "cluster", 0),
    ],
)
def test_a_planted_fault_is_found(plant, scenario, first):
    chosen = ["--scenario", scenario, "--first", first, "--seeds", 60]
    status, said, _ = simulate(*chosen, "--plant", plant, "--until-found")
    assert status == 1, said
    assert f"again: python -m tests.simulation --scenario {scenario} --seed" in said
