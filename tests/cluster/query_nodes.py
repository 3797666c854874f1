"""A database whose sealed segments are on query nodes behind a network, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.engine import DIM, Engine

from redkite.cluster.backends import MemoryWorld
from redkite.cluster.config import ClusterConfig
from redkite.cluster.local_network import LocalHub, LocalNetwork
from redkite.cluster.membership import Membership
from redkite.cluster.peers import QueryNodes
from redkite.cluster.roles.query import QueryRole
from redkite.coordinator.compaction import CompactionPolicy
from redkite.env import Env
from redkite.node.copies import ReadPolicy

OWNER = 1


class QueryCluster:
    """One owner of shards, number 1, and query nodes that come and go."""

    def __init__(
        self, path: Path, nodes: int = 2, policy: ReadPolicy | None = None, lease: float = 1.0, **options: Any
    ) -> None:
        self.env = Env.real()
        self.hub = LocalHub(self.env)
        self.engine = Engine(str(path / "db"), options={"compaction": CompactionPolicy(enabled=False)} | options)
        self.world = MemoryWorld(self.env, str(path / "db" / "objects"))
        self.config = ClusterConfig(objects=str(path / "db" / "objects"), lease_seconds=lease)
        topology = self.engine.database.topology
        self.loads = topology.loads
        (self.streaming,) = list(topology.streaming)
        backends = self.world.backends(self.env, "owner")
        self.member = Membership(backends.coordination, self.env, OWNER, lease)
        self.member.register("streaming", "127.0.0.1:1")
        self.nodes = QueryNodes(
            self.env,
            self.hub.network(OWNER),
            OWNER,
            self.loads,
            self.shards,
            policy or ReadPolicy(),
            lease_seconds=lease,
        )
        self.streaming._peers = self.nodes
        self.roles: dict[int, QueryRole] = {}
        self.networks: dict[int, LocalNetwork] = {}
        self.seer = self.env.tasks.executor("see", 1)
        self.next = 10
        for _ in range(nodes):
            self.start()
        self.member.when_changed(lambda: self.seer.submit(self.see))
        until(lambda: len(self.member.nodes("query")) == nodes)
        self.see()

    def shards(self) -> list[Any]:
        return list(self.streaming._shards.values())

    def see(self) -> None:
        self.nodes.see(self.member.nodes("query"))

    def start(self) -> QueryRole:
        """One more query node."""
        number, self.next = self.next, self.next + 1
        backends = self.world.backends(self.env, f"query-{number}")
        network = self.networks[number] = self.hub.network(number)
        role = QueryRole(number, self.config, self.env, backends, network)
        role.start()
        self.roles[number] = role
        return role

    def kill(self, number: int) -> None:
        """Nothing is said, and its lease runs out."""
        role = self.roles.pop(number)
        role.backends.abandon()  # type: ignore[attr-defined]
        self.networks.pop(number).close()
        role._timer.cancel()  # type: ignore[union-attr]
        role._releasing._timer.cancel()  # type: ignore[union-attr]

    def held(self) -> dict[int, set[int]]:
        """Query node -> the segments that it serves, as its owner sees it."""
        found: dict[int, set[int]] = {}
        for shard in self.shards():
            for served in shard.served():
                found.setdefault(served.node_id, set()).update(served.segment_ids)
        return found

    def filled(self, segments: int = 6, rows: int = 50, **options: Any) -> np.ndarray:
        """A loaded collection of so many sealed segments."""
        self.engine.create(**{"index": "FLAT"} | options)
        vectors = np.random.default_rng(3).normal(size=(segments * rows, DIM)).astype(np.float32)
        for at in range(0, len(vectors), rows):
            self.engine.insert(range(at, at + rows), vectors[at : at + rows], range(at, at + rows))
            self.engine.flush()
        return vectors

    def close(self) -> None:
        self.nodes.close()
        for role in self.roles.values():
            role.close()
        self.member.close()
        self.engine.close()
        self.world.close()


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.01)
