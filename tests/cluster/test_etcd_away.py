"""A cluster over a real etcd that stops: what can be read meanwhile, and what must not be."""

from __future__ import annotations

import time
from collections.abc import Iterator
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
from redkite.cluster.shards import calling
from redkite.env import Env
from redkite.errors import NotOwner
from redkite.model.types import ConsistencyLevel

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
    def __init__(self, folder: str, etcd: EtcdServer) -> None:
        config = msgspec.structs.replace(SMALL, etcd=(etcd.endpoint,), lease_seconds=LEASE)
        self.cluster = InProcessCluster(EtcdNodes(folder, config), config)
        self.proxy = 0
        self.cluster.start()

    @property
    def owns(self) -> list[bool]:
        """Of each streaming node: whether its lease is held."""
        return [running.node.members.is_alive for running in self.cluster.nodes("streaming")]  # type: ignore[attr-defined]


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    with etcd_server(tmp_path / "etcd") as server:
        yield server


def test_searches_go_on_while_etcd_is_away(tmp_path: Path, etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
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
        assert found(Level.Bounded)
        monkeypatch.setattr(calling, "FIND_SECONDS", 0.2)
        with pytest.raises(NotOwner):
            engine.query("id == 11", consistency_level=Level.Strong)
        monkeypatch.undo()
        assert found(Level.Eventually)
        etcd.go_on()
        for level in (Level.Eventually, Level.Strong):
            assert found(level)
        engine.insert([100], vectors[:1] + 5, [100])
        assert engine.count() == 101
    finally:
        etcd.go_on()
        engine.close()
