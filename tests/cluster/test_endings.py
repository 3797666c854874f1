"""How nodes end: whole, whatever fails meanwhile, and so that who asks them goes on to others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.clusters import ClusterEngine
from tests.cluster.test_in_process import fill, vectors
from tests.engine import NAME, result
from tests.leftovers import nothing_left, timers

from redkite.cluster import election, leading
from redkite.cluster.backends import MemoryWorld
from redkite.cluster.closing import close_each
from redkite.cluster.election import Election
from redkite.cluster.in_process import Running
from redkite.cluster.roles.coordinator import CoordinatorRole
from redkite.cluster.roles.streaming import StreamingRole
from redkite.coordinator.shared_garbage import Releasing
from redkite.env import Env
from redkite.errors import Unavailable
from redkite.model import requests as rq
from redkite.storage.log_channel_format import physical_name


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    made = ClusterEngine(str(tmp_path / "objects"), lease_seconds=2.0)
    yield made
    made.close()


def owner_of(engine: ClusterEngine, number: int = 0) -> tuple[Running, StreamingRole]:
    """The node that owns one of the collection's channels."""
    channel = engine.cluster.proxy().topology.root.find("", NAME).channels[number]
    for running in engine.cluster.nodes("streaming"):
        assert isinstance(running.node, StreamingRole)
        if running.node.owning.owns(physical_name(channel)):
            return running, running.node
    raise AssertionError(f"nobody owns {channel}")


def test_nodes_that_are_killed_or_closed_leave_no_timer_and_no_busy_thread(tmp_path: Path) -> None:
    with nothing_left():
        engine = ClusterEngine(str(tmp_path / "objects"), coordinators=2, data=1)
        fill(engine, 10)
        for role in ("coordinator", "streaming", "query", "data"):
            engine.cluster.kill(engine.cluster.nodes(role)[0])  # type: ignore[arg-type]  # one of the roles
        engine.close()


def test_a_cluster_that_cannot_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamingRole, "start", lambda _: (_ for _ in ()).throw(Unavailable("no")))
    with nothing_left(), pytest.raises(Unavailable):
        ClusterEngine(str(tmp_path / "objects"), lease_seconds=1.0)


def test_a_part_that_cannot_be_closed_keeps_no_other_open(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[str] = []

    def fails(error: Exception) -> None:
        raise error

    close_each("node 7", [
        lambda: closed.append("first"), lambda: fails(TimeoutError()), lambda: fails(Unavailable("gone")),
        lambda: fails(ValueError("a mistake")), lambda: closed.append("last"),
    ])  # fmt: skip
    assert closed == ["first", "last"]
    assert [record.getMessage() for record in caplog.records] == [
        "node 7 did not end in good order: it took too long", "node 7 did not end in good order: gone",
        "node 7 did not end in good order",
    ]  # fmt: skip


def test_a_coordinator_whose_election_cannot_end_is_gone_all_the_same(
    engine: ClusterEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (running,) = engine.cluster.nodes("coordinator")
    whole = Election.close

    def fails(self: Election) -> None:
        whole(self)
        raise TimeoutError

    monkeypatch.setattr(Election, "close", fails)
    engine.cluster.stop(running)
    node = running.node
    assert isinstance(node, CoordinatorRole)
    assert not node.members.is_alive
    assert node.leading is None
    until = time.monotonic() + 1.0  # less than its lease
    while any(record.role == "coordinator" for record in engine.cluster.proxy().members.nodes()):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_election_ends_in_time_while_its_node_begins_to_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(election, "LEAVE_SECONDS", 0.0)
    env = Env.real()
    world = MemoryWorld(env, str(tmp_path))
    backends = world.backends(env, "one")
    begins, goes_on, lost = threading.Event(), threading.Event(), threading.Event()

    def lead(_: Any) -> None:
        begins.set()
        goes_on.wait(60)

    candidate = Election(backends.coordination, env, 1, "here:1", 0.3, lead, lost.set)
    assert begins.wait(30)
    candidate.close()
    assert "still beginning to lead" in caplog.text
    goes_on.set()
    assert lost.wait(30)  # it does not lead in secret
    assert not candidate.is_leader
    backends.close()
    world.close()


def test_a_coordinator_that_cannot_begin_to_lead_keeps_nothing_of_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def fails(*_: Any) -> None:
        nonlocal tries
        tries += 1
        raise Unavailable("the store of objects does not answer")

    engine = ClusterEngine(str(tmp_path / "objects"), lease_seconds=1.0)
    (first,) = engine.cluster.nodes("coordinator")
    monkeypatch.setattr(leading, "TakingOver", fails)
    running = engine.cluster.start_node("coordinator")
    assert isinstance(running.node, CoordinatorRole)
    members, copy = running.node.members, running.node.catalog._copy
    told, listeners = len(members._tell), len(copy._listeners)
    engine.cluster.kill(first)
    until = time.monotonic() + 120
    while tries < 3 and time.monotonic() < until:
        time.sleep(0.02)
    assert tries >= 3
    running.node.drain()  # it tries no more
    assert (len(members._tell), len(copy._listeners)) == (told, listeners)
    assert "settle" not in timers().values()
    monkeypatch.undo()
    engine.close()


def test_a_node_whose_connection_is_closed_stops_saying_what_it_uses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    env = Env.real()
    world = MemoryWorld(env, str(tmp_path))
    backends = world.backends(env, "one")
    said = Releasing(env, backends.coordination, backends.catalog(), 1, frozenset, 1.0)
    said.look()
    assert "objects in use" in timers().values()
    backends.abandon()
    said._said = None
    for _ in range(3):
        said.look()
    assert "objects in use" not in timers().values()
    assert "could not be said" not in caplog.text
    said.close()
    backends.close()
    world.close()


def test_writes_and_flushes_that_meet_a_log_that_is_closed_go_to_the_next_owner(engine: ClusterEngine) -> None:
    fill(engine, 20)
    running, node = owner_of(engine)
    node.log.close()  # the node is ending
    service = engine.cluster.service()
    asked = [
        service.call(rq.Insert(collection=NAME, rows=engine.batch(range(20, 40), vectors(20), range(20, 40)))),
        service.call(rq.Flush(collections=(NAME,))),
    ]
    time.sleep(0.2)
    engine.cluster.stop(running)
    for answer in asked:
        result(answer)
    assert engine.count() == 40
