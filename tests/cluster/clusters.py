"""Clusters under test: whole ones in this process, driven like any engine."""

from __future__ import annotations

from typing import Any

from tests.engine import Engine, result

from redkite.cluster.config import ClusterConfig
from redkite.cluster.in_process import InProcessCluster, MemoryNodes
from redkite.model import requests as rq


class ClusterEngine(Engine):
    """One collection in a cluster of threads; `proxy` says which proxy is asked."""

    def __init__(self, folder: str, config: ClusterConfig | None = None, **counts: int) -> None:
        self.cluster = InProcessCluster(MemoryNodes(folder), config, **counts)
        self.proxy = 0
        self.cluster.start()

    def open(self) -> None:
        """It was started when it was made."""

    def close(self) -> None:
        self.cluster.close()

    def call(self, request: rq.Request) -> Any:
        return result(self.cluster.service(self.proxy).call(request))

    def ask(self, number: int, request: rq.Request) -> Any:
        """Through one of the proxies."""
        return result(self.cluster.service(number).call(request))
