"""Writes are stopped in every node of a cluster before anybody is told that they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME

from redkite.cluster.backends import MemoryBackends, MemoryWorld
from redkite.cluster.in_process import Running
from redkite.cluster.roles.streaming import StreamingRole
from redkite.cluster.standing_still import Everywhere
from redkite.coordinator.pchannels import PChannel
from redkite.env import Env
from redkite.errors import MilvusException, StandbyMode, Unavailable
from redkite.model import replication as rp
from redkite.model import requests as rq
from redkite.node.shard import Shard

pytestmark = pytest.mark.timeout(120)
FREEZE = rp.FreezeWrites(frozen=True, reason="it moves")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    made = ClusterEngine(str(tmp_path / "objects"), proxies=3)
    yield made
    made.close()


def rows(engine: ClusterEngine, *keys: int) -> rq.Insert:
    return rq.Insert(collection=NAME, rows=engine.batch(keys, np.zeros((len(keys), DIM), np.float32), keys))


def owned_shard(engine: ClusterEngine) -> Shard:
    """The shard of the collection's first channel, where it is."""
    channel = engine.call(rq.DescribeCollection(collection=NAME)).virtual_channels[0]
    for running in engine.cluster.nodes("streaming"):
        assert isinstance(running.node, StreamingRole)
        try:
            return running.node.own_shard(channel)
        except MilvusException:
            continue
    raise AssertionError("nobody owns it")


def begun(engine: ClusterEngine, number: int, request: rq.Request) -> Future[Any]:
    """Asked of one of the proxies, on a thread of its own."""
    done: Future[Any] = Future()

    def ask() -> None:
        try:
            done.set_result(engine.ask(number, request))
        except MilvusException as error:
            done.set_exception(error)

    threading.Thread(target=ask).start()
    return done


def records(engine: ClusterEngine, position: str = "") -> tuple[int, str]:
    """How many writes a follower reads behind a position, and the position behind them."""
    found = 0
    while True:
        page = engine.call(rp.ReadReplication(name="f", position=position))
        found += sum(item.kind == rp.RECORD for item in page.items)
        position = page.end
        if not page.items and not page.more:
            return found, position


def test_writes_of_every_proxy_have_ended_when_writes_are_stopped(engine: ClusterEngine) -> None:
    engine.create()
    position = records(engine)[1]
    engine.call(rows(engine, 1))
    shard = owned_shard(engine)
    with shard.turn():
        write = begun(engine, 1, rq.Delete(collection=NAME, filter="id == 1"))  # it waits for its turn
        with pytest.raises(TimeoutError):
            write.exception(0.3)
        freeze = begun(engine, 0, FREEZE)
        with pytest.raises(TimeoutError):
            freeze.exception(0.5)
    freeze.result(30)
    assert write.done() and write.exception() is None, "it was under way, and is done"
    for number in range(3):
        with pytest.raises(StandbyMode, match="it moves"):
            engine.ask(number, rows(engine, 2))
    assert records(engine, position)[0] == 2
    engine.call(rp.FreezeWrites(frozen=False))
    for number in range(3):
        engine.ask(number, rows(engine, 3 + number))


def test_an_owner_refuses_what_a_proxy_sends_that_has_not_heard(engine: ClusterEngine) -> None:
    engine.create()
    position = records(engine)[1]
    behind = engine.cluster.nodes("proxy")[2]
    connection = backends(behind).connection
    connection.hold()
    try:
        engine.ask(0, FREEZE)  # a proxy that says nothing is waited for as long as it may live
        with pytest.raises(StandbyMode, match="it moves"):
            engine.ask(2, rows(engine, 1))
        assert records(engine, position)[0] == 0
    finally:
        connection.let_go()


def test_whoever_takes_over_a_channel_knows_that_nothing_is_written(engine: ClusterEngine) -> None:
    engine.create(shards=2)
    engine.call(rows(engine, *range(20)))
    engine.ask(0, FREEZE)
    for running in engine.cluster.nodes("streaming"):
        engine.cluster.restart(running)
        engine.cluster.wait_ready()
    with pytest.raises(StandbyMode):
        engine.ask(1, rows(engine, 50))
    assert engine.count() == 20


def test_acknowledged_writes_are_those_that_a_follower_reads_once_writes_are_stopped(engine: ClusterEngine) -> None:
    engine.create(shards=2)
    position = records(engine)[1]
    acknowledged: list[int] = []

    def write(number: int) -> None:
        for key in range(number * 10_000, (number + 1) * 10_000):
            try:
                engine.ask(number, rows(engine, key))
            except StandbyMode:
                return
            acknowledged.append(key)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    while len(acknowledged) < 60:
        threading.Event().wait(0.01)
    engine.ask(0, FREEZE)
    sent = records(engine, position)[0]
    for writer in writers:
        writer.join()
    assert sent == len(acknowledged) == engine.count()


def backends(running: Running) -> MemoryBackends:
    assert isinstance(running.backends, MemoryBackends)
    return running.backends


def test_nothing_is_said_while_who_had_a_channel_may_go_on_by_its_log() -> None:
    env = Env.real()
    world = MemoryWorld(env)
    catalog = world.backends(env, "coordinator").catalog()
    members: Any = SimpleNamespace(nodes=lambda _: (), node=lambda _: None)
    everywhere = Everywhere(env, catalog, members, SimpleNamespace(), 1.0, lambda: ())  # type: ignore[arg-type]
    fresh = PChannel(name="by-dev-rootcoord-dml_0")
    catalog.commit({fresh.key: fresh.to_bytes()})
    everywhere(0.2)
    left = fresh.given_to(1, 0).taken().taken_away(0)
    catalog.commit({left.key: left.to_bytes()})
    with pytest.raises(Unavailable, match="nobody owns channel by-dev-rootcoord-dml_0"):
        everywhere(0.2)
    world.close()
