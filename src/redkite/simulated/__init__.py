"""A world in memory, decided by a seed: time moves only when told, a crash loses what was not synced.

    env = simulated_env(seed=7)
    env.disk.crash_at(12)               # the 12th file operation ends the process with SimulatedCrash
    ...                                 # work until it happens
    env.disk.restart()                  # what was not synced may be gone
    env = simulated_env(seed=7, disk=env.disk)

One thread does everything: submitted work runs when somebody waits on a future, or steps the scheduler.
"""

from __future__ import annotations

from dataclasses import dataclass

from redkite.env import Env
from redkite.simulated.disk import FaultKind, Random, SimulatedCrash, SimulatedDisk, SimulatedTable
from redkite.simulated.files import SimulatedFiles
from redkite.simulated.scheduler import Scheduler, Stalled

__all__ = [
    "FaultKind",
    "Scheduler",
    "SimulatedCrash",
    "SimulatedDisk",
    "SimulatedEnv",
    "SimulatedFiles",
    "SimulatedTable",
    "Stalled",
    "simulated_env",
]


@dataclass(frozen=True, slots=True)
class SimulatedEnv(Env):
    """An `Env` with the handles of its world."""

    disk: SimulatedDisk
    scheduler: Scheduler

    def advance(self, seconds: float) -> None:
        """Let time pass: timers that come due fire in order, and the work they cause is done."""
        self.scheduler.advance(seconds)

    def run_until_idle(self) -> None:
        """Do all the work that is ready."""
        self.scheduler.run_until_idle()


def simulated_env(seed: int, disk: SimulatedDisk | None = None) -> SimulatedEnv:
    """A new world, as after a start of the process; on `disk` when one is given."""
    disk = disk if disk is not None else SimulatedDisk(seed)
    scheduler = Scheduler(Random(f"scheduler {seed}"))
    return SimulatedEnv(
        clock=scheduler,
        random=Random(f"random {seed}"),
        files=SimulatedFiles(disk),
        tasks=scheduler,
        disk=disk,
        scheduler=scheduler,
    )
