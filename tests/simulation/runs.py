"""Runs of scenarios by seeds: each in a world of its own, each repeatable from its number."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from tests.proof.history import History, Operation, violations
from tests.simulation import primitives
from tests.simulation.fibers import World
from tests.simulation.workload import Table

SCENARIOS = {
    "standalone": "tests.simulation.standalone",
    "catalog": "tests.simulation.catalog",
    "cluster": "tests.simulation.cluster",
}
"""Name -> module with a function `run`."""
_LOOK_THROUGH: Final = 50
"""After so many runs everything is looked through, which takes a second or two."""


@dataclass(frozen=True)
class Outcome:
    """What one run amounted to."""

    operations: int
    answered: int
    kills: int = 0
    faults: int = 0
    wrong: tuple[str, ...] = ()
    seconds: float = 0.0
    """Of the world."""
    steps: int = 0
    trace: int = 0
    """Equal for equal runs."""


class Failed(AssertionError):
    """A run found something wrong."""


def wrong_in(operations: Iterable[Operation], bound: float = 5.0, rows: int = 1) -> tuple[str, ...]:
    return tuple(str(found) for found in violations(operations, bound, rows))


def judge(
    history: History, tables: Iterable[Table], bound: float, *, kills: int = 0, answered: int, faults: int = 0
) -> Outcome:
    """What is wrong in the history of a workload."""
    wrong: list[str] = []
    for table in tables:
        ops = [op for op in history.operations if op.register == table.name or op.register[0] == table.name]
        wrong += wrong_in(ops, bound, table.group)
    return Outcome(len(history.operations), answered, kills, faults, tuple(wrong))


def run(scenario: str, seed: int) -> Outcome:
    """One run. Raises what the world or an answer raised; what the history shows is in the outcome."""
    scene: Callable[[World], Outcome] = import_module(SCENARIOS[scenario]).run
    world = World(seed)
    primitives.enter(world)
    if seed % _LOOK_THROUGH == 0:
        gc.unfreeze()  # what an earlier run was not done with when it was frozen would stay for good
    gc.collect()
    gc.freeze()  # what is there stays; only what this run leaves behind has to be looked through
    gc.disable()  # what a collection ends would end at another moment in another run
    try:
        outcome = scene(world)
    finally:
        world.end()
        primitives.enter(None)
        gc.enable()
    made = vars(outcome) | {"seconds": round(world.now, 3), "steps": world.steps, "trace": world.trace}
    return Outcome(**made)


def commit() -> str:
    """The version of the code, as a failure is to be repeated with it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = Path(__file__).parent
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
