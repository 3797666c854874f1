"""Compactions that a coordinator asks the owners of shards for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from redkite.cluster.network import Unanswered
from redkite.cluster.shards.compacting import DistantCompactor
from redkite.errors import Unavailable


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Unavailable("no owner"), "no owner"),
        (Unanswered("it went away"), "it is not known whether it was done: it went away"),
        (TypeError("a mistake"), "a mistake"),
    ],
)
def test_a_plan_that_was_not_carried_out_is_told_as_failed_whatever_went_wrong(failure: Exception, reason: str) -> None:
    """Its job would be executing for ever, and whoever waits for it would wait as long."""
    failed: list[str] = []
    went_on: list[int] = []

    def ask(*_: Any) -> Any:
        raise failure

    compactor = object.__new__(DistantCompactor)
    compactor._caller = SimpleNamespace(ask=ask)  # type: ignore[assignment]
    compactor.jobs = SimpleNamespace(fail=lambda _, why: failed.append(why))  # type: ignore[assignment]
    compactor._go_on = went_on.append  # type: ignore[method-assign]
    plan: Any = SimpleNamespace(channel="c", collection_id=7, sources=(1,))
    compactor._ask(plan)
    assert len(failed) == 1
    assert reason in failed[0]
    assert went_on == [7]
