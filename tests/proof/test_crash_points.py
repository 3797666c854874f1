"""Whatever a process was doing when the power went, and whichever operation of the disk fails, nothing is lost."""

from __future__ import annotations

import pytest
from tests.proof.traces import Sweep, Tally, Trace

from redkite.simulated import FaultKind


@pytest.mark.parametrize(("seed", "shards"), [(1, 1), (2, 1), (3, 2)])
def test_a_crash_at_any_operation_leaves_the_state_before_or_after_a_step(seed: int, shards: int) -> None:
    tally = Tally()
    Sweep(Trace(seed, 16, shards), tally).crash_everywhere()
    assert tally.crashes > 40, "the trace hardly touched the disk"


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
def test_any_operation_that_fails_is_a_clean_error_and_loses_nothing(kind: FaultKind) -> None:
    tally = Tally()
    Sweep(Trace(4, 10), tally).fail_everywhere(kind, every=3)
    assert tally.faults > 15
    assert tally.refused > 5
