"""Kill a writing process again and again, and let the next one check what it left.

    python -m tests.proof.kills --rounds 1000
    python -m tests.proof.kills --rounds 1000 --jobs 4

Each round is a fresh process over the same path. Half of them are killed at a random moment, in the middle of their
writing or while they still recover from the kill before; the others end themselves at a chosen point: before, half-way
through or after the n-th call of one kind. What was acknowledged lies in a ledger outside the database. After the last
round the database is checked once more, and every so often `redkite verify` reads it whole.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from tests.proof import deadly

REPOSITORY = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 600.0
"""For a process to recover, check and begin: no more than this, however slow the machine."""
FRESH_EVERY = 100
"""Rounds on one path before a new one is begun."""


@dataclass
class Tally:
    """What a run amounted to."""

    rounds: int = 0
    kills: int = 0
    at_points: int = 0
    while_opening: int = 0
    acknowledged: int = 0
    seconds: float = 0.0
    points: dict[str, int] = field(default_factory=dict)

    def plus(self, other: Tally) -> Tally:
        """Of two runs side by side."""
        points = {point: self.points.get(point, 0) + other.points.get(point, 0) for point in self.points | other.points}
        return Tally(
            self.rounds + other.rounds, self.kills + other.kills, self.at_points + other.at_points,
            self.while_opening + other.while_opening, self.acknowledged + other.acknowledged,
            max(self.seconds, other.seconds), points,
        )  # fmt: skip


class Failed(AssertionError):
    """A round found something wrong. The text names the seed and what the process said."""


class Loop:
    """Rounds over one folder that holds the database and the ledger."""

    def __init__(self, folder: Path, seed: int, longest: float = 0.8) -> None:
        self.folder = folder
        self.seed = seed
        self.rng = random.Random(seed)
        self.longest = longest
        self.tally = Tally()

    @property
    def database(self) -> Path:
        return self.folder / "killed.db"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    def round(self) -> None:
        """Start a process, end it, count what it had been told."""
        number = self.tally.rounds
        point = deadly.choose(self.rng) if self.rng.random() < 0.5 else ""
        while_opening = not point and self.rng.random() < 0.2
        child = self._start(str(self.rng.randrange(2**32)), point)
        if while_opening:
            time.sleep(self.rng.uniform(0.2, 1.2))
            begun = True
        else:
            begun = self._wait_until_ready(child)
        if begun and not while_opening:
            self._end(child, point)
        child.send_signal(signal.SIGKILL)
        _, errors = child.communicate(timeout=WAIT_SECONDS)
        if child.returncode != -signal.SIGKILL:
            raise Failed(f"seed {self.seed}, round {number}, point {point or 'none'}: {errors}")
        self.tally.rounds += 1
        self.tally.kills += 1
        if begun and not while_opening:
            self.tally.acknowledged += self.ledger.read_bytes().count(b'"done": true')
        else:
            self.tally.while_opening += 1
        if point:
            self.tally.at_points += 1
            kind = ":".join(point.split(":")[:2])
            self.tally.points[kind] = self.tally.points.get(kind, 0) + 1

    def check(self) -> None:
        """One more process that only looks."""
        child = self._start("0", "check")
        _, errors = child.communicate(timeout=WAIT_SECONDS)
        if child.returncode:
            raise Failed(f"seed {self.seed}, after round {self.tally.rounds}: {errors}")

    def _start(self, seed: str, point: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.proof.victim", str(self.database), str(self.ledger), seed, point]
        return subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    @staticmethod
    def _wait_until_ready(child: subprocess.Popen[str]) -> bool:
        """False when it ended before it began to write."""
        out: IO[str] | None = child.stdout
        assert out is not None
        return out.readline() == "ready\n"

    def _end(self, child: subprocess.Popen[str], point: str) -> None:
        """Let it write for a while; one with a point ends by itself, if it comes to it."""
        limit = self.longest * 3 if point else self.rng.uniform(0.01, self.longest)
        try:
            child.wait(limit)
        except subprocess.TimeoutExpired:
            return


def verify(database: Path) -> None:
    """`redkite verify` on a database that nobody has open."""
    command = [sys.executable, "-m", "redkite", "verify", str(database)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    if done.returncode:
        raise Failed(f"verify {database}: {done.stdout}{done.stderr}")


def can_verify() -> bool:
    command = [sys.executable, "-m", "redkite", "verify", "--help"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False).returncode == 0


def run_side_by_side(folder: Path, rounds: int, seed: int, jobs: int) -> Tally:
    """So many kills, of `jobs` databases at a time. Raises the first failure when all are over."""
    shares = [rounds // jobs + (number < rounds % jobs) for number in range(jobs)]
    with ThreadPoolExecutor(jobs) as threads:
        runs = [threads.submit(run, folder / str(number), share, seed + number) for number, share in enumerate(shares)]
    total = Tally()
    for done in runs:
        total = total.plus(done.result())
    return total


def run(folder: Path, rounds: int, seed: int, longest: float = 0.8, verify_every: int = 10) -> Tally:
    """So many kills in `folder`. Raises `Failed` at the first thing that is wrong, and leaves the folder as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    loop = Loop(folder, seed, longest)
    started = time.monotonic()
    verifies = can_verify()
    for number in range(1, rounds + 1):
        loop.round()
        if verifies and (number % verify_every == 0 or number == rounds):
            verify(loop.database)
        if number % FRESH_EVERY == 0 or number == rounds:
            loop.check()
        if number % FRESH_EVERY == 0 and number != rounds:
            shutil.rmtree(loop.database)
            shutil.rmtree(loop.folder / "backups", ignore_errors=True)
            loop.ledger.unlink()
        if number % 25 == 0:
            took = time.monotonic() - started
            print(f"seed {seed}: {number} kills, {loop.tally.acknowledged:,} answered writes, {took:.0f} s", flush=True)
    loop.tally.seconds = round(time.monotonic() - started, 1)
    return loop.tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1, help="databases side by side, each with its share of the rounds")
    parser.add_argument("--seed", type=int, default=None, help="repeats the choice of moments and points")
    parser.add_argument("--folder", type=Path, help="where the database is made (default: a temporary folder)")
    chosen = parser.parse_args()
    seed = random.randrange(2**32) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="redkite-kills-"))
    try:
        tally = run_side_by_side(folder, chosen.rounds, seed, chosen.jobs)
    except Failed as failure:
        print(f"{failure}\nthe database and its ledger are kept in {folder}", file=sys.stderr)
        raise SystemExit(1) from None
    print(json.dumps(asdict(tally), indent=1))
    if chosen.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
