"""While something that nodes share is away, what waits for it keeps nothing else of a node waiting."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from redkite.cluster import peers
from redkite.cluster.config import ClusterConfig
from redkite.cluster.held import HeldState
from redkite.cluster.membership import NodeRecord
from redkite.coordinator import shared_garbage
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.shared_garbage import PREFIX, Collector, Releasing, SharedGarbage
from redkite.env import Env
from redkite.errors import Unavailable
from redkite.launch import checks
from redkite.node.copies import ReadPolicy
from redkite.storage.catalog import MemoryCatalog

SOON = 0.01


class Away:
    """Whatever it is asked, it does not say for long."""

    def __init__(self) -> None:
        self.asked, self.back = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*_: object) -> Any:
            self.asked.set()
            assert self.back.wait(60)
            raise Unavailable("it was away")

        return ask


class Unlucky(MemoryCatalog):
    """Refuses a commit, and leaves the next one waiting."""

    def __init__(self, away: Away) -> None:
        super().__init__()
        self._away, self.tries = away, 0

    def commit(self, *_: Any, **__: Any) -> int:
        self.tries += 1
        if self.tries == 1:
            raise Unavailable("no")
        self._away.commit()
        raise AssertionError


@contextmanager
def releasing(env: Env, away: Away, _: Path) -> Iterator[None]:
    said = Releasing(env, away, MemoryCatalog(), 1, frozenset, 3.0)  # type: ignore[arg-type]
    yield
    said.close()


@contextmanager
def noting(env: Env, away: Away, _: Path) -> Iterator[None]:
    garbage = SharedGarbage(env, None, frozenset, Unlucky(away), lambda: 1)  # type: ignore[arg-type]
    garbage.discard(["object"])
    yield
    garbage.close()


@contextmanager
def collecting(env: Env, away: Away, _: Path) -> Iterator[None]:
    catalog = MemoryCatalog()
    catalog.commit({f"{PREFIX}1": b'{"names":["a"],"at_ms":0}'})
    collector = Collector(env, None, None, frozenset, catalog, away, list, 0.0)  # type: ignore[arg-type]
    yield
    collector.close()


@contextmanager
def looking_after_health(env: Env, away: Away, folder: Path) -> Iterator[None]:
    config = ClusterConfig(state=str(folder), objects=str(folder))
    watch = checks.Watch(env, config, "proxy", away, tuple)  # type: ignore[arg-type]
    yield
    watch.close()


@pytest.mark.parametrize("waiting", [releasing, noting, collecting, looking_after_health])
def test_timers_go_on_while_another_waits_for_what_is_away(
    waiting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_garbage, "LOOK_SECONDS", SOON)
    monkeypatch.setattr(checks, "LOOK_SECONDS", SOON)
    env, away, ticked = Env.real(), Away(), threading.Event()
    with waiting(env, away, tmp_path):
        assert away.asked.wait(30)
        timer = env.tasks.every(SOON, ticked.set, "tick")
        try:
            assert ticked.wait(5), "a timer waits for another one"
        finally:
            timer.cancel()
            away.back.set()


class Hands:
    """A clock that is set, and timers that fire when they are told to."""

    def __init__(self) -> None:
        self.time = 0.0
        self.fire: list[Callable[[], None]] = []
        self._real = Env.real().tasks
        self.future, self.executor = self._real.future, self._real.executor

    def monotonic(self) -> float:
        return self.time

    def every(self, seconds: float, fn: Callable[[], None], name: str, *, alone: bool = False) -> Any:
        self.fire.append(fn)
        return SimpleNamespace(cancel=lambda: None)


class OneNode:
    """A network with one other node, which answers at once or not at all."""

    def __init__(self) -> None:
        self.answers = True

    def connect(self, address: str) -> OneNode:
        return self

    def abandon(self, address: str) -> None: ...

    def ask_soon(self, message: object, timeout: float | None = None) -> Future[Any]:
        answer: Future[Any] = Future()
        if self.answers:
            answer.set_result(HeldState(0, 0, ()))
        return answer


def test_a_query_node_that_answered_every_beat_is_well_however_late_the_next_beat_is() -> None:
    hands, node = Hands(), OneNode()
    env: Any = dataclasses.replace(Env.real(), clock=hands, tasks=hands)
    loads = QueryCoordinator(MemoryCatalog(), ())
    nodes = peers.QueryNodes(env, node, 1, loads, tuple, ReadPolicy(), lease_seconds=3.0)  # type: ignore[arg-type]
    nodes.see([NodeRecord(node_id=7, role="query", address="host:1")])
    (beat,) = hands.fire
    try:
        beat()
        node.answers = False
        for seconds in (30.0, 2.9):  # this process stood still, and then goes on
            hands.time += seconds
            beat()
            assert nodes.health() == ()
        hands.time += 0.2
        beat()
        assert nodes.health() == ("query node 7 does not answer node 1",)
    finally:
        nodes.close()
