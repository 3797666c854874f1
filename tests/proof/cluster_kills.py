"""Every part of a real cluster is killed, stopped and cut off under a load, and what clients were told is checked.

    python -m tests.proof.cluster_kills                          # each once: some ten minutes
    python -m tests.proof.cluster_kills --only streaming:kill --rounds 10    # and how the times are spread
    python -m tests.proof.cluster_kills --log pulsar --runtime ray           # on another log; nodes as actors of Ray

Each trial: the load runs, the blow falls, what was killed comes again after some seconds as by a supervisor,
what was stopped goes on. Meanwhile clients write, delete and read at all levels, and note what they are told; probes
measure how long nobody could search, or write. In the end every register is read, and the history judged.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.proof.cluster_load import Load
from tests.proof.cluster_ray import RayRig, no_ray
from tests.proof.cluster_rig import Rig, why_not
from tests.proof.history import violations
from tests.simulation.workload import TABLES

BOUND = 5.0
ALLOWED = {"streaming": 10.0, "machine": 10.0}
"""Seconds until searches answer again: of a streaming node, and of a machine, which may have one; …"""
ALLOWED_ELSE = 5.0
"""… of all other roles."""
AWAY_SECONDS = 8.0
BACK_SECONDS = 3.0


@dataclass
class Trial:
    """One blow and what came of it."""

    role: str
    victim: str
    action: str
    searches_out: float
    """The longest time without an answered search at Bounded, in seconds; …"""
    strong_out: float
    """… at Strong."""
    writes_out: float
    definitions_out: float
    search_errors: int
    write_errors: int
    operations: int
    wrong: list[str]
    sample: str = ""
    """An error that the probes were told."""

    @property
    def line(self) -> str:
        wrong = "; ".join(self.wrong[:3]) or "nothing"
        return (
            f"| {self.victim} | {self.action} | {self.searches_out:.2f} | {self.strong_out:.2f} | "
            f"{self.writes_out:.2f} | {self.definitions_out:.2f} | "
            f"{self.search_errors} | {self.write_errors} | {self.operations} | {wrong} |"
        )


HEAD = (
    "| who | what | searches out, s | at Strong, s | writes out, s | definitions out, s | searches failed | "
    "writes failed | operations | wrong |\n|---|---|---|---|---|---|---|---|---|---|"
)


class Proof:
    """A rig, a load on it, and blows."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig, self.seed, self.rng = rig, seed, random.Random(seed)
        self.load = Load(rig.uris, seed)

    def begin(self) -> None:
        self.load.begin()
        time.sleep(3.0)

    def strike(self, role: str, action: str) -> Trial:
        """One blow."""
        rig, world = self.rig, self.load.world
        victim = rig.victim_of(role, self.rng)
        since = world.now
        hurt: dict[str, tuple[Callable[[str], None], Callable[[str], None], float]] = {
            "kill": (rig.kill, rig.restart, BACK_SECONDS),
            "stop": (rig.pause, rig.go_on, AWAY_SECONDS),
            "cut": (rig.cut, rig.mend, AWAY_SECONDS),
        }
        blow, heal, seconds = hurt[action]
        blow(victim)
        time.sleep(seconds)
        heal(victim)
        time.sleep(10.0)
        until = world.now
        searches, strong, writes = self.load.searches, self.load.strong, self.load.writes
        failed, refused = searches.errors(since, until), writes.errors(since, until)
        wrong = [*searches.wrong, *strong.wrong]
        searches.wrong.clear()
        strong.wrong.clear()
        allowed = ALLOWED.get(role, ALLOWED_ELSE)
        out = searches.outage(since, until)
        if role not in rig.parts and out > allowed:
            wrong.append(f"no search was answered for {out:.1f} s")
        count = len(self.load.history.operations)
        sample = (failed or refused or [""])[-1]
        return Trial(
            role, victim, action, out, strong.outage(since, until), writes.outage(since, until),
            self.load.definitions.outage(since, until), len(failed), len(refused), count, wrong, sample,
        )  # fmt: skip

    def judge(self) -> list[str]:
        """End the load, read everything, and say what is wrong."""
        found = [f"{type(failure).__name__}: {failure}" for failure in self.load.end()]
        for client in self.load.clients:
            client.read_everything()
        found += self.load.ledger.judge()
        operations = self.load.history.operations
        for table in TABLES:
            mine = [op for op in operations if op.register == table.name or op.register[0] == table.name]
            if table.group == 1:  # the probes' row is counted as well
                mine = [op for op in mine if op.kind != "count"]
            found += [str(each) for each in violations(mine, BOUND, table.group)]
        return found


def summary(done: list[Trial]) -> Iterator[str]:
    """Least, middle and most of each kind of blow, in seconds."""
    yield "| who | what | blows | searches out | at Strong | writes out | definitions out |"
    yield "|---|---|---:|---|---|---|---|"
    for role, action in dict.fromkeys((trial.role, trial.action) for trial in done):
        mine = [trial for trial in done if (trial.role, trial.action) == (role, action)]
        times = [[trial.searches_out for trial in mine], [trial.strong_out for trial in mine],
                 [trial.writes_out for trial in mine], [trial.definitions_out for trial in mine]]  # fmt: skip
        shown = " | ".join(f"{min(some):.1f}, {statistics.median(some):.1f}, {max(some):.1f}" for some in times)
        yield f"| {role} | {action} | {len(mine)} | {shown} |"


def trials(rig: Rig, only: list[str]) -> list[tuple[str, str]]:
    return [(role, action) for role, action in rig.victims() if not only or f"{role}:{action}" in only or role in only]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="a role, or role:action; repeatable")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--log", choices=("kafka", "pulsar"), default="kafka")
    parser.add_argument("--runtime", choices=("processes", "ray"), default="processes")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path, help="also write the results here")
    chosen = parser.parse_args()
    lacking = why_not(chosen.log) or (no_ray() if chosen.runtime == "ray" else "")
    if lacking:
        print(f"cannot be run here: {lacking}", file=sys.stderr)
        return 2
    seed = random.randrange(2**32) if chosen.seed is None else chosen.seed
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="redkite-proof-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}, in {folder}\n{HEAD}", flush=True)
    rig = (RayRig if chosen.runtime == "ray" else Rig)(folder, log=chosen.log)
    done: list[Trial] = []
    try:
        rig.start()
        proof = Proof(rig, seed)
        proof.begin()
        for _ in range(chosen.rounds):
            for role, action in trials(rig, chosen.only):
                done.append(proof.strike(role, action))
                print(done[-1].line, flush=True)
        wrong = proof.judge()
    finally:
        rig.close()
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([asdict(trial) for trial in done], indent=1))
    if chosen.rounds > 1:
        print("\n".join(summary(done)))
    print("\n".join(wrong) or "nothing acknowledged was lost, doubled or brought back; every answer was right")
    if wrong or any(trial.wrong for trial in done):
        print(f"the nodes' output is kept in {folder}", file=sys.stderr)
        return 1
    if chosen.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
