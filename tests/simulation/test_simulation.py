"""Simulated worlds, a few seeds of each kind, in processes of their own: the locks of `threading` are others there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("greenlet")
REPOSITORY = Path(__file__).resolve().parents[2]


def simulate(*arguments: object, hashes: int = 0) -> tuple[int, str, dict[str, float]]:
    """Status, all that was said, and the sums."""
    command = [sys.executable, "-m", "tests.simulation", *map(str, arguments)]
    env = os.environ | {"PYTHONHASHSEED": str(hashes), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=110, check=False)
    said = done.stdout + done.stderr
    assert done.stdout, said
    return done.returncode, said, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("scenario", "seeds"), [("standalone", 8), ("catalog", 60), ("cluster", 12)])
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


@pytest.mark.parametrize(
    ("plant", "scenario"),
    [
        ("refresh-without-asking", "catalog"),
        ("expectations-unchecked", "catalog"),
        ("checkpoint-too-far", "standalone"),
        ("clocks-unheard", "cluster"),
        ("reads-of-the-dead", "cluster"),
        ("changes-not-resumed", "cluster"),
    ],
)
def test_a_planted_fault_is_found(plant, scenario):
    status, said, _ = simulate("--scenario", scenario, "--seeds", 60, "--plant", plant, "--until-found")
    assert status == 1, said
    assert f"again: python -m tests.simulation --scenario {scenario} --seed" in said
