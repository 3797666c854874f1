"""A cluster over a real etcd that stops: what can be read meanwhile, and what must not be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.brokers import EtcdServer, etcd_server
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM
from tests.patience import until

from redkite.cluster.backends import Backends, RemoteBackends
from redkite.cluster.config import ClusterConfig
from redkite.cluster.in_process import SMALL, InProcessCluster, MemoryNodes, Running
from redkite.cluster.roles.streaming import StreamingRole
from redkite.coordinator.pchannels import read_pchannels
from redkite.env import Env
from redkite.errors import NotOwner
from redkite.model.types import ConsistencyLevel
from redkite.storage.log_channel_format import physical_name
from redkite.storage.shared_format import Session, begin_message

LEASE = 5.0
STOPPED = 2.0
"""How long etcd is away for a moment: three seconds less than the lease."""
Level = ConsistencyLevel


class EtcdNodes(MemoryNodes):
    """Metadata in a real etcd; the log in memory."""

    def __init__(self, folder: str, config: ClusterConfig) -> None:
        super().__init__(folder)
        self._config = config

    def backends(self, env: Env, name: str) -> Backends:
        from redkite.cluster.backends import etcd_settings
        from redkite.storage.etcd import Etcd

        memory = self.shared.backends(env, name)
        etcd = Etcd(etcd_settings(self._config), env.clock)
        return RemoteBackends(self._config, env, etcd, memory.broker(), memory.objects())

    def kill(self, running: Running) -> None:
        running.backends.close()
        super().kill(running)


class Etcded(ClusterEngine):
    def __init__(self, folder: str, etcd: EtcdServer, lease: float = LEASE) -> None:
        config = msgspec.structs.replace(SMALL, etcd=(etcd.endpoint,), lease_seconds=lease)
        self.cluster = InProcessCluster(EtcdNodes(folder, config), config)
        self.proxy = 0
        self.cluster.start()

    @property
    def streaming(self) -> list[StreamingRole]:
        return [running.node for running in self.cluster.nodes("streaming")]  # type: ignore[misc]

    @property
    def owns(self) -> list[bool]:
        """Of each streaming node: whether its lease is held."""
        return [node.members.is_alive for node in self.streaming]

    @property
    def terms(self) -> int:
        """How often channels were given to nodes, once all have an owner; 0 before."""
        channels = read_pchannels(self.streaming[0].catalog).values()
        return sum(channel.term for channel in channels) if all(channel.is_owned for channel in channels) else 0


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    with etcd_server(tmp_path / "etcd") as server:
        yield server


def test_searches_and_writes_go_on_while_etcd_is_away(tmp_path: Path, etcd: EtcdServer) -> None:
    engine = Etcded(str(tmp_path / "objects"), etcd)
    vectors = np.random.default_rng(1).random((100, DIM), dtype=np.float32)

    def found(level: ConsistencyLevel) -> bool:
        return engine.search(vectors[[11, 90]], 1, consistency_level=level).ids.to_pylist() == [11, 90]

    try:
        engine.create(shards=2)
        engine.insert(range(50), vectors[:50], range(50))
        engine.flush()
        engine.insert(range(50, 100), vectors[50:], range(50, 100))
        until(lambda: all(engine.owns))

        etcd.pause()
        back = time.monotonic() + STOPPED
        answered = 0
        while time.monotonic() < back:
            assert found((Level.Strong, Level.Session, Level.Bounded, Level.Eventually)[answered % 4])
            answered += 1
        etcd.go_on()
        assert answered > 3
        assert all(engine.owns), "nobody has lost a lease"

        etcd.pause()
        until(lambda: not any(engine.owns))
        for level in (Level.Bounded, Level.Strong, Level.Session, Level.Eventually):
            assert found(level)
        engine.insert([100], vectors[:1] + 5, [100])
        assert engine.count() == 101
        engine.delete("id == 100")
        assert engine.count() == 100
        assert not any(engine.owns), "all of it by the log"
        terms = engine.terms
        etcd.go_on()
        until(lambda: all(engine.owns))
        for level in (Level.Eventually, Level.Strong):
            assert found(level)
        until(lambda: engine.terms > terms)
        engine.insert([101], vectors[:1] + 5, [101])
        assert engine.count() == 101
        engine.flush()
        assert engine.count() == 101
    finally:
        etcd.go_on()
        engine.close()


def test_an_owner_without_etcd_answers_nothing_when_the_log_knows_of_another(tmp_path: Path, etcd: EtcdServer) -> None:
    engine = Etcded(str(tmp_path / "objects"), etcd, lease=1.5)
    try:
        engine.create(shards=1)
        engine.insert([1], np.zeros((1, DIM), np.float32), [1])
        (channel,) = engine.streaming[0].metadata.root.all_collections()[0].channels
        etcd.pause()
        until(lambda: not any(engine.owns))
        owner = next(node for node in engine.streaming if node.node.open_shard(channel) is not None)
        owner.prove(channel)
        name = physical_name(channel)
        began = begin_message(Session(owner.owning.term_of(name) + 1, 1))
        sent: Future[object] = Future()
        owner.backends.broker().send(name, began, sent.set_result)
        assert sent.result(10) is None
        with pytest.raises(NotOwner):
            owner.prove(channel)
        until(lambda: _is_refused(owner, channel))
    finally:
        etcd.go_on()
        engine.close()


def _is_refused(owner: StreamingRole, channel: str) -> bool:
    try:
        owner.own_shard(channel, by_log=True)
    except NotOwner:
        return True
    return False
