"""The public API against a model, through every door. `HYPOTHESIS_PROFILE=thorough` runs it long."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.proof.doors import DOORS
from tests.proof.wider import WiderMachine

QUICK = {"embedded": 12, "simulated": 20, "wire": 8, "pymilvus": 6}
"""Examples of a quick run, each of up to `STEPS` calls."""
STEPS = 30
THOROUGH = 25
"""So many times as many."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("door", DOORS)
def test_every_answer_is_the_models(door: str) -> None:
    long = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
    machine = type(f"{door.title()}Machine", (WiderMachine,), {"make_door": DOORS[door]})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=QUICK[door] * (THOROUGH if long else 1),
            stateful_step_count=STEPS * (2 if long else 1),
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
