"""Asking what a cluster stands on whether it answers."""

from __future__ import annotations

import threading

import pytest

from redkite.cluster import probing
from redkite.cluster.probing import Probes
from redkite.env import Env
from redkite.errors import StorageError, Unavailable


def raises(error: Exception) -> object:
    raise error


def test_what_answers_is_no_reason_and_what_fails_says_why() -> None:
    probes = Probes(Env.real(), {
        "etcd": lambda: 7,
        "the log": lambda: raises(Unavailable("nobody listens")),
        "the objects": lambda: raises(StorageError("no such bucket")),
    })  # fmt: skip
    assert probes.reasons() == ("the log: nobody listens", "the objects: no such bucket")
    probes.close()


def test_what_stands_still_is_told_in_time_and_asked_once_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "PATIENCE_SECONDS", 0.05)
    go_on, asked = threading.Event(), []

    def stands_still() -> None:
        asked.append(1)
        go_on.wait(60)

    probes = Probes(Env.real(), {"the objects": stands_still})
    for _ in range(3):
        assert probes.reasons() == ("the objects: no answer for 0 s",)
    assert len(asked) == 1
    go_on.set()
    monkeypatch.setattr(probing, "PATIENCE_SECONDS", 60.0)
    assert probes.reasons() == ()
    assert probes.reasons() == ()
    assert len(asked) == 2
    probes.close()


def test_a_mistake_of_ours_is_no_reason_but_an_error() -> None:
    probes = Probes(Env.real(), {"etcd": lambda: raises(ValueError("ours"))})
    with pytest.raises(ValueError, match="ours"):
        probes.reasons()
    probes.close()
