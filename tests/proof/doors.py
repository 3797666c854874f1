"""Ways to one and the same engine, for tests that do the same through each: in process, in a simulated world, over the
wire with Redkite's SDK, over the wire with Milvus's."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pymilvus
from tests.servers import ThreadServer

import redkite
from redkite.client.transports import engines
from redkite.cluster.local import Database, open_database
from redkite.env import Env
from redkite.model.limits import LIMITS
from redkite.model.requests import AllocTimestamp, Request
from redkite.simulated import SimulatedDisk, SimulatedEnv, simulated_env

SMALL = msgspec.structs.replace(LIMITS, min_rows_to_index=8)
"""Limits with which even a few rows get an index."""


class Door(ABC):
    """A client of an engine that can be stopped and started again."""

    module: Any = redkite
    client: Any
    can_crash = False
    can_wait = False
    knows_time = True
    """Whether reads may be asked for at a moment."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redkite-proof-"))

    @abstractmethod
    def restart(self) -> None:
        """Close the database and open it again."""

    def crash(self) -> None:
        """Cut the power, and open the database again."""
        raise AssertionError(f"{type(self).__name__} cannot crash: can_crash says so")

    def idle(self) -> None:
        """Let work that waits in the background be done; where threads do it, nothing need be done here."""
        return

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        raise AssertionError(f"{type(self).__name__} cannot wait: can_wait says so")

    def now_ms(self) -> int:
        return Env.real().clock.now_ms()

    def timestamp(self) -> int:
        """A hybrid timestamp above everything done so far, and below everything that comes."""
        stamp: int = self.client._transport.call(AllocTimestamp(), None).timestamp
        return stamp

    @property
    def backups(self) -> str:
        """A place for backups."""
        return str(self.folder / "backups")

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Embedded(Door):
    """Redkite's SDK on a path, in this process."""

    def __init__(self) -> None:
        super().__init__()
        self._open()

    def _open(self) -> None:
        with opening(lambda path: open_database(path, limits=SMALL)):
            self.client = redkite.MilvusClient(str(self.folder / "proof.db"))

    def restart(self) -> None:
        self.client.close()
        self._open()

    def close(self) -> None:
        self.client.close()
        super().close()


class Simulated(Door):
    """The same over a simulated world: time moves when told, and a crash loses what was not synced."""

    can_crash = can_wait = True
    env: SimulatedEnv

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        self._seed = seed
        self._disk = SimulatedDisk(seed)
        self._elapsed = 0.0
        self._open()

    @property
    def _path(self) -> str:
        return str(self.folder / "simulated.db")

    @property
    def disk(self) -> SimulatedDisk:
        return self._disk

    def _open(self) -> None:
        self._seed += 1
        self.env = simulated_env(self._seed, self._disk)
        self.env.advance(self._elapsed)
        with opening(lambda path: open_database("/proof", env=self.env, limits=SMALL)):
            self.client = redkite.MilvusClient(self._path)

    def restart(self) -> None:
        self._elapsed = self.env.clock.monotonic()
        self.client.close()
        self._open()

    def crash(self) -> None:
        self._disk.crash()
        self.revive()

    def revive(self) -> None:
        """Switch on again after a crash: what was not synced may be gone."""
        self._elapsed = self.env.clock.monotonic()
        self._abandon()
        self._disk.restart()
        self._open()

    def _abandon(self) -> None:
        """Forget an engine whose process is over: closing it would be more than that process did."""
        for key in [key for key, engine in engines._OPEN.items() if engine.path == self._path]:
            del engines._OPEN[key]
        self.client.close()

    def open_if_closed(self) -> None:
        """After a restart that failed half-way."""
        if self.client._transport is None:
            self._open()

    def idle(self) -> None:
        self.env.advance(31)

    def wait(self, seconds: float) -> None:
        self.env.advance(seconds)

    def now_ms(self) -> int:
        return self.env.clock.now_ms()

    def close(self) -> None:
        self._disk.crash_at(0)
        if self._disk.crashed:
            self._abandon()
        self.client.close()
        super().close()


class Switch:
    """A service that stays while the database behind it is closed and opened."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def call(self, request: Request) -> Any:
        return self.database.service.call(request)

    def is_quick(self, request: Request) -> bool:
        return self.database.service.is_quick(request)


class Wire(Door):
    """Redkite's SDK and a server in another thread."""

    def __init__(self) -> None:
        super().__init__()
        self._switch = Switch(self._database())
        self._server = ThreadServer(self._switch)
        self.client = self._connect()

    def _database(self) -> Database:
        return open_database(str(self.folder / "served"), limits=SMALL)

    def _connect(self) -> Any:
        return self.module.MilvusClient(uri=self._server.uri)

    def restart(self) -> None:
        self._switch.database.close()
        self._switch.database = self._database()

    def close(self) -> None:
        self.client.close()
        self._server.stop()
        self._switch.database.close()
        super().close()


class PyMilvus(Wire):
    """Milvus's SDK and a server in another thread."""

    module = pymilvus
    knows_time = False

    def _connect(self) -> Any:
        return pymilvus.MilvusClient(uri=self._server.uri, dedicated=True)

    def timestamp(self) -> int:
        raise AssertionError("knows_time says that moments are not asked for here")


@contextlib.contextmanager
def opening(open_handle: Callable[[str], Any]) -> Any:
    """Clients made meanwhile open their database so."""
    usual = engines.open_handle
    engines.open_handle = open_handle
    try:
        yield
    finally:
        engines.open_handle = usual


DOORS: dict[str, type[Door]] = {"embedded": Embedded, "simulated": Simulated, "wire": Wire, "pymilvus": PyMilvus}
