"""What every node says of itself, and the order to leave: messages that the launcher answers beside the role's own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, Protocol

import msgspec

from redkite.cluster.network import Handler, HybridClock, Message, Network, Remote, Serving
from redkite.env import Env
from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.model.version import VERSION

log = get_logger(__name__)
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Role(Protocol):
    """A node's part in a cluster, as a runtime sees it."""

    def start(self) -> None: ...

    def health(self) -> tuple[str, ...]:
        """What is wrong; nothing when all is well."""
        ...

    def drain(self) -> None:
        """Hand over what it has; then nothing is asked of it. Raises MilvusException when it cannot."""
        ...

    def close(self) -> None: ...


class AskFacts(Message, frozen=True, kw_only=True):
    """Answered with `NodeFacts`."""

    idempotent: ClassVar[bool] = True


class AskDrain(Message, frozen=True, kw_only=True):
    """Begin to hand over; answered with `NodeFacts` at once. The facts say when it is done."""

    idempotent: ClassVar[bool] = True


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One node at one moment."""

    node_id: int
    role: str
    version: str
    address: str
    """Where nodes ask it."""
    pid: int
    host: str
    started_ms: int
    clock_ms: int
    """By the node's own clock."""
    resident_bytes: int
    health: tuple[str, ...]
    port: int = 0
    """Where clients ask it; 0 of a node that they do not ask."""
    metrics_port: int = 0
    draining: bool = False
    drained: bool = False
    drain_error: str = ""
    """Why it could not hand over everything."""


class Presence:
    """One node, as it presents itself. Safe from any thread."""

    def __init__(self, env: Env, node_id: int, role: str, host: str, reasons: Callable[[], tuple[str, ...]]) -> None:
        """`reasons`: what the launcher knows to be wrong beside what the role says."""
        self._env, self._role_name, self._host = env, role, host
        self.node_id = node_id
        self._reasons = reasons
        self._started_ms = env.clock.now_ms()
        self._lock = threading.Lock()
        self.role: Role | None = None
        """Once there is one."""
        self.address = ""
        self.port = self.metrics_port = 0
        self._draining: threading.Thread | None = None
        self._drained = threading.Event()
        self._drain_error = ""

    def facts(self, _message: AskFacts | None = None) -> NodeFacts:
        """What is known now."""
        return NodeFacts(
            node_id=self.node_id, role=self._role_name, version=VERSION, address=self.address, pid=os.getpid(),
            host=self._host, started_ms=self._started_ms, clock_ms=self._env.clock.now_ms(),
            resident_bytes=_resident_bytes(), health=self.health(), port=self.port, metrics_port=self.metrics_port,
            draining=self._draining is not None, drained=self._drained.is_set(), drain_error=self._drain_error,
        )  # fmt: skip

    def health(self) -> tuple[str, ...]:
        role = self.role
        return (*(("it is being started",) if role is None else role.health()), *self._reasons())

    def drain(self, _message: AskDrain | None = None) -> NodeFacts:
        """Begin to hand over, once."""
        with self._lock:
            if self._draining is None:
                self._draining = threading.Thread(target=self._drain, name="drain", daemon=True)
                self._draining.start()
        return self.facts()

    def _drain(self) -> None:
        try:
            if self.role is not None:
                self.role.drain()
        except MilvusException as error:
            self._drain_error = error.message
            log.warning("node %d could not hand over everything: %s", self.node_id, error.message)
        except Exception as error:  # whoever waits must not take it for the end
            self._drain_error = f"{type(error).__name__}: {error}"
            log.exception("node %d could not hand over everything", self.node_id)
        finally:
            self._drained.set()

    def wait_drained(self, seconds: float) -> bool:
        """Whether everything is handed over, or cannot be."""
        return self._drained.wait(seconds)

    def handlers(self) -> dict[type, Handler]:
        return {AskFacts: self.facts, AskDrain: self.drain}


class PresentNetwork:
    """The network that a role is given: what it serves also answers for the node's presence."""

    def __init__(self, network: Network, presence: Presence) -> None:
        self._network, self._presence = network, presence

    def serve(self, address: str, handlers: Mapping[type, Handler]) -> Serving:
        serving = self._network.serve(address, {**self._presence.handlers(), **handlers})
        self._presence.address = serving.address
        return serving

    def connect(self, address: str) -> Remote:
        return self._network.connect(address)

    def keep_time(self, oracle: HybridClock) -> None:
        self._network.keep_time(oracle)

    def abandon(self, address: str) -> None:
        self._network.abandon(address)

    def close(self) -> None:
        self._network.close()


def _resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0
