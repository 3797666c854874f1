"""Processes that are killed while they write: the next one finds everything that was acknowledged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.proof import deadly, ledger
from tests.proof.kills import Loop, run


@pytest.mark.timeout(600)
def test_twenty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    tally = run(tmp_path, rounds=20, seed=seed, longest=0.4)
    assert tally.kills == 20
    assert tally.acknowledged > 200


def test_a_write_that_is_missing_is_noticed(tmp_path: Path, seed: int) -> None:
    loop = Loop(tmp_path, seed)
    loop.check()
    lie = ledger.Ledger(loop.ledger)
    lie.will("w0", {"100000": 7})
    lie.done("w0")
    with pytest.raises(AssertionError, match="before, after, found"):
        loop.check()


def test_every_point_that_can_be_chosen_is_one(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        death = deadly.Death(deadly.choose(rng))
        assert death.moment in deadly.CALLS[death.call]


def test_an_unanswered_write_may_be_there_and_an_answered_one_must(tmp_path: Path) -> None:
    written = ledger.Ledger(tmp_path / "ledger")
    written.will("w", {"1": 1, "2": 1})
    written.done("w")
    written.will("w", {"2": None, "3": 2})
    account = ledger.read(tmp_path / "ledger")["w"]
    assert account.before() == {"1": 1, "2": 1}
    assert account.after() == {"1": 1, "3": 2}
