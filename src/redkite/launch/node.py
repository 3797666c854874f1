"""`redkite cluster node`: one node of a cluster in this process, from its checks to its last reply.

SIGTERM hands over what the node has, then ends it: what is asked meanwhile is answered. SIGINT, and a second SIGTERM,
end it at once, which costs nothing but the time that others take to notice.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from redkite.cluster.backends import Backends, open_backends
from redkite.cluster.config import ClusterConfig
from redkite.cluster.config import Role as RoleName
from redkite.cluster.grpc_network import GrpcNetwork
from redkite.cluster.membership import take_node_id
from redkite.env import Env
from redkite.errors import Unavailable
from redkite.launch.checks import Watch, before_start, same_log, same_store
from redkite.launch.facts import NodeFacts, Presence, PresentNetwork, Role
from redkite.launch.greeting import NODES, greet
from redkite.launch.pages import Pages
from redkite.launch.signals import Signals
from redkite.logs import get_logger
from redkite.model.version import VERSION
from redkite.server.process import begin_process

log = get_logger(__name__)

_ROLES: Final[dict[RoleName, tuple[str, str]]] = {
    "coordinator": ("redkite.cluster.roles.coordinator", "CoordinatorRole"),
    "streaming": ("redkite.cluster.roles.streaming", "StreamingRole"),
    "query": ("redkite.cluster.roles.query", "QueryRole"),
    "data": ("redkite.cluster.roles.data", "DataRole"),
    "proxy": ("redkite.cluster.roles.proxy", "ProxyRole"),
}
DRAIN_SECONDS: Final = 120.0
"""How long SIGTERM waits for what is handed over."""
_TOLD_SECONDS: Final = 0.2


class Node:
    """One node, assembled: its backends, its way to others, its role. Made by whoever runs it, used by one thread."""

    def __init__(self, config: ClusterConfig, role: RoleName, address: str = "", env: Env | None = None) -> None:
        """`address` is `host:port` where others ask it; by default the config's host and a free port. Connects to the
        parts. Raises MilvusException when this node cannot be part of its cluster."""
        before_start(config, role)
        self.config, self.role_name = config, role
        self.env = env or Env.real()
        self._stack = ExitStack()
        try:
            self.backends = self._opened(open_backends(config, self.env))
            if role != "proxy":  # which keeps nothing there
                same_store(config, self.backends)
                same_log(config, self.backends)
            self.node_id = take_node_id(self.backends.catalog())
            self._network = network = GrpcNetwork(self.env, config.name, self.node_id, config.tls)
            self._stack.callback(network.close)
            self._watch = Watch(self.env, config, role, self.backends, network.health)
            self._stack.callback(self._watch.close)
            self.presence = Presence(self.env, self.node_id, role, platform.node(), self._watch.reasons)
            module, name = _ROLES[role]
            made: Any = getattr(import_module(module), name)
            self.role: Any = made(
                self.node_id, config, self.env, self.backends, PresentNetwork(network, self.presence),
                address or f"{own_host(config)}:0",
            )  # fmt: skip
        except BaseException:
            self._stack.close()
            raise

    def _opened(self, backends: Backends) -> Backends:
        self._stack.callback(backends.close)
        return backends

    def start(self) -> None:
        """Raises MilvusException: another version in the cluster, certificates that others refuse, an address that is
        taken."""
        greet(self.backends.coordination.present(NODES), self._network)
        if self.role_name != "proxy":  # which has pages for clients, and these among them
            pages = Pages(own_host(self.config), self.config.metrics_port, self.presence.health, self.role.figures)
            self._stack.callback(pages.close)
            self.presence.metrics_port = pages.port
        self.role.start()
        self.presence.role = cast(Role, self.role)

    def facts(self) -> NodeFacts:
        return self.presence.facts()

    def drain(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Hand over everything, within so long; whether that is done."""
        self.presence.drain()
        return self.presence.wait_drained(seconds)

    def close(self) -> None:
        """Leave the cluster."""
        try:
            self.role.close()
        finally:
            self._stack.close()


def own_host(config: ClusterConfig) -> str:
    """The address of this host that others are told."""
    if config.host != "auto":
        return config.host
    host, _, port = config.etcd[0].rpartition(":")
    reason = "its name is not known"
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                try:
                    probe.connect(address)  # sends nothing: the system only says which way it would go
                    return str(probe.getsockname()[0])
                except OSError as error:
                    reason = error.strerror or str(error)
    except socket.gaierror as error:
        reason = error.strerror or reason
    raise Unavailable(
        f"host = 'auto': the address of this host cannot be told, as etcd at {config.etcd[0]} is not to be reached "
        f"({reason}); set `host` to it"
    )


# -- a process ----------------------------------------------------------------------------------
def run(config: ClusterConfig, role: RoleName, address: str = "", report: str = "") -> int:
    """Be one node until a signal ends it; the result is the exit status. `report` is a file that gets the node's
    facts, as JSON, when it is ready."""
    begin_process(config.settings)
    if role == "proxy":
        return asyncio.run(_proxy(config, address, report))
    node = Node(config, role, address)
    ending = _Ending(node)
    try:
        node.start()
        _ready(node, report)
        ending.wait()
    finally:
        node.close()
    return 0


class _Ending:
    """Signals, and what they mean. Belongs to the main thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._signals = Signals(signal.SIGTERM, signal.SIGINT)

    def wait(self) -> None:
        """Until a signal, and with SIGTERM until everything is handed over."""
        while (number := self._signals.next(_TOLD_SECONDS * 5)) is None:
            continue
        if number == signal.SIGINT:
            return
        self._node.presence.drain()
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._signals.next(0) is None and time.monotonic() < deadline:
            if self._node.presence.wait_drained(_TOLD_SECONDS):
                return
        log.warning("node %d ends before everything was handed over", self._node.node_id)


def _ready(node: Node, report: str) -> None:
    """Tell the person, the supervisor and systemd."""
    facts = node.facts()
    shown = f", clients on port {facts.port}" if facts.port else ""
    print(f"Redkite {VERSION}: {facts.role} node {facts.node_id} at {facts.address}{shown}", flush=True)
    if report:
        part = Path(f"{report}.part")
        part.write_bytes(msgspec.json.encode(facts))
        part.replace(report)
    _notify_systemd("READY=1")


def _notify_systemd(text: str) -> None:
    """For units of `Type=notify`."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.sendto(text.encode(), "\0" + path[1:] if path.startswith("@") else path)


# -- a proxy ------------------------------------------------------------------------------------
class Doors:
    """The ports of a proxy: gRPC and REST, health and metrics. Belongs to one event loop."""

    def __init__(self, node: Node) -> None:
        from redkite.server.main import Server

        self.node = node
        settings = msgspec.structs.replace(node.config.settings, metrics_port=_metrics_port(node.config))
        self._server = Server(settings, open_database=self._open, shared_port=True)

    def _open(self, _: object) -> Any:
        self.node.start()
        return self.node.role

    async def open(self) -> None:
        """Start the node and answer clients. Raises MilvusException; `close` is needed all the same."""
        await self._server.start()
        presence = self.node.presence
        presence.port, presence.metrics_port = self._server.port, self._server.metrics_port

    async def drain(self, at_once: Callable[[], bool]) -> None:
        """Say to others that this node leaves; come back when nothing is left to hand over, or when told."""
        self.node.presence.drain()
        deadline = time.monotonic() + DRAIN_SECONDS
        while not at_once() and time.monotonic() < deadline and not self.node.presence.wait_drained(0):
            await asyncio.sleep(_TOLD_SECONDS)

    async def close(self) -> None:
        """Accept nothing more, finish what runs, leave the cluster."""
        await self._server.stop()
        await asyncio.get_running_loop().run_in_executor(None, self.node.close)


async def _proxy(config: ClusterConfig, address: str, report: str) -> int:
    """A node whose role answers clients, until a signal."""
    loop = asyncio.get_running_loop()
    told, at_once = asyncio.Event(), asyncio.Event()

    def tell(number: int) -> None:
        if number == signal.SIGINT or told.is_set():
            at_once.set()
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell, number)
    doors = Doors(await loop.run_in_executor(None, Node, config, "proxy", address))
    try:
        await doors.open()
        _ready(doors.node, report)
        await told.wait()
        if not at_once.is_set():
            await doors.drain(at_once.is_set)
    finally:
        await doors.close()
    return 0


def _metrics_port(config: ClusterConfig) -> int:
    """The one that is set, or a free one where another proxy of this host has it."""
    wanted = config.settings.metrics_port
    with socket.socket(socket.AF_INET6 if ":" in config.settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.settings.host, wanted))
        except OSError:
            return 0
    return wanted
