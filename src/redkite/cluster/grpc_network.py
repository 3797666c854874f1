"""The network between machines: one gRPC method that takes bytes and answers bytes.

The bytes are the codec's, Arrow batches among them, so there is nothing left to encode. What nodes say to each other is
gRPC on the wire, and any client of gRPC may ask one; but it is spoken by `cluster.grpc`, over sockets, as gRPC's own
library takes ten times the processor time for a call (`benchmarks/results/cluster_search.md`).

With `TlsFiles` both sides prove who they are. Certificates are read anew when they were renewed, without a restart.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import Lock
from typing import Final
from weakref import WeakSet, WeakValueDictionary

from redkite.cluster.config import TlsFiles
from redkite.cluster.grpc.pump import Pump
from redkite.cluster.grpc.remote import GrpcRemote
from redkite.cluster.grpc.serving import GrpcServing
from redkite.cluster.network import Handler, HybridClock
from redkite.cluster.party import Party
from redkite.cluster.tls import Certificates
from redkite.cluster.traffic import Traffic
from redkite.env import Env

METHOD: Final = "/redkite.Nodes/Ask"
ASKING_THREADS: Final = 64
"""Long or short messages to one node that threads wait for, of those that nobody waits for."""
LARGEST_MESSAGE: Final = 512 * 1024 * 1024
KEPT_SECONDS: Final = 60.0
"""A node to which nothing has been open for so long is forgotten, unless somebody holds on to it."""
LOOK_SECONDS: Final = 0.5
"""How often it is looked whose time is over."""


class GrpcNetwork:
    """One node's."""

    def __init__(self, env: Env, cluster: str, node_id: int, tls: TlsFiles | None = None) -> None:
        """Raises InvalidParameter for TLS files that cannot be used."""
        self._party = Party(env, cluster, node_id)
        self._certificates = None if tls is None else Certificates(env, tls)
        self._pump = Pump(env, f"messages-{node_id}")
        self._lock = Lock()
        self._servings: list[GrpcServing] = []
        self._remotes: WeakValueDictionary[str, GrpcRemote] = WeakValueDictionary()
        self._kept: dict[GrpcRemote, float] = {}
        """Those that are used, and until when they are kept for whoever asks for their address."""
        self._closed = False
        _OPEN.add(self)
        self._timer = env.tasks.every(LOOK_SECONDS, self._look, "calls to nodes")

    @property
    def traffic(self) -> Traffic:
        return self._party.traffic

    def health(self) -> tuple[str, ...]:
        """Why this node may not be able to talk to others; empty: it is."""
        trouble = "" if self._certificates is None else self._certificates.trouble()
        return (trouble,) if trouble else ()

    def serve(self, address: str, handlers: Mapping[type, Handler]) -> GrpcServing:
        serving = GrpcServing(self._party, self._pump, self._certificates, address, handlers, METHOD, LARGEST_MESSAGE)
        with self._lock:
            self._servings.append(serving)
        return serving

    def connect(self, address: str) -> GrpcRemote:
        remote = self._remotes.get(address)
        if remote is None:
            with self._lock:
                remote = self._remotes.get(address)
                if remote is None:
                    remote = self._remotes[address] = GrpcRemote(
                        self._party, self._pump, self._certificates, address, METHOD, LARGEST_MESSAGE, ASKING_THREADS
                    )
                    if self._closed:  # who asks nevertheless is told so
                        remote.close()
                    else:
                        self._kept[remote] = self._party.env.clock.monotonic() + KEPT_SECONDS
        return remote

    def abandon(self, address: str) -> None:
        with self._lock:
            remote = self._remotes.get(address)
        if remote is not None:
            remote.abandon()

    def keep_time(self, oracle: HybridClock) -> None:
        self._party.keep_time(oracle)

    def _look(self) -> None:
        now = self._party.env.clock.monotonic()
        for remote in self._known():
            remote.look(now)
            with self._lock:
                if remote.is_used and not self._closed:
                    self._kept[remote] = now + KEPT_SECONDS
                elif self._kept.get(remote, now) <= now:
                    self._kept.pop(remote, None)

    def after_fork(self) -> None:
        """In a child: all that is open is its parent's, and nobody can be asked."""
        self._lock = Lock()
        self._closed = True
        for serving in self._servings:
            serving.after_fork()
        for remote in self._known():
            remote.after_fork()

    def _known(self) -> list[GrpcRemote]:
        """The nodes that were asked, and that somebody may ask again."""
        return [remote for found in self._remotes.valuerefs() if (remote := found()) is not None]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            servings, self._servings = self._servings, []
            remotes, self._kept = self._known(), {}
        self._timer.cancel()
        for serving in servings:
            serving.close()
        for remote in remotes:
            remote.close()
        self._pump.close()


_OPEN: WeakSet[GrpcNetwork] = WeakSet()


def _forget_in_child() -> None:
    for network in [*_OPEN]:
        network.after_fork()
    _OPEN.clear()


os.register_at_fork(after_in_child=_forget_in_child)
