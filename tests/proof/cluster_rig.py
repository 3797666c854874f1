"""A cluster of real processes that can be hurt: each node in a network namespace of its own, so that pulling its cable
is as easy as killing it, and so are etcd, the broker of the log and an S3 server.

Wants root (for namespaces), `etcd`, Java, the jars of a broker and `versitygw`; `why_not` says what is missing.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redkite.launch import parts
from redkite.launch.parts import Part

REPOSITORY = Path(__file__).resolve().parents[2]
READY_SECONDS = 240.0
"""On a machine that others use as well."""
NET = "10.97.0"
BRIDGE = "redkite-proof"
CLIENT_PORT = 19530
ROLES = ("coordinator", "streaming", "query", "data", "proxy")
HURT_ORDER = ("query", "proxy", "data", "coordinator", "streaming")


def ip(*arguments: object) -> None:
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True)


def inside(namespace: str) -> tuple[str, ...]:
    """What begins a command that is to run there."""
    return ("ip", "netns", "exec", namespace)


def why_not(log: str = "kafka") -> str:
    """What keeps a rig from being built here; empty when nothing does."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return "network namespaces want root and iproute2"
    if subprocess.run(["ip", "link", "add", "rkprobe", "type", "bridge"], capture_output=True, check=False).returncode:
        return "bridges cannot be made here"
    ip("link", "del", "rkprobe")
    wanted = [parts.part_named(kind, REPOSITORY / "nowhere") for kind in ("etcd", log, "s3")]
    return "; ".join(line for part in wanted for line in part.missing())


class Cables:
    """A bridge, and a cable from it to each namespace."""

    def __init__(self) -> None:
        self._next = 10
        self._made: list[str] = []
        self.clear()
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{NET}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")

    def plug(self, name: str) -> str:
        """A namespace of this name, and its address."""
        number, self._next = self._next, self._next + 1
        inside, outside = f"rki{number}", f"rko{number}"
        ip("netns", "add", name)
        self._made.append(name)
        ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
        ip("link", "set", outside, "master", BRIDGE, "up")
        ip("-n", name, "addr", "add", f"{NET}.{number}/24", "dev", inside)
        ip("-n", name, "link", "set", inside, "up")
        ip("-n", name, "link", "set", "lo", "up")
        return f"{NET}.{number}"

    def pull(self, address: str) -> None:
        """Nothing reaches whoever is there, and nothing of it reaches others."""
        ip("link", "set", f"rko{address.rpartition('.')[2]}", "down")

    def put_back(self, address: str) -> None:
        ip("link", "set", f"rko{address.rpartition('.')[2]}", "up")

    def clear(self) -> None:
        """Also what an earlier run has left."""
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
        for line in listed.splitlines():
            name = line.split()[0]
            if name.startswith("rk-"):
                subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shown = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=False).stdout
        cables = [line.partition("@")[0] for line in shown.splitlines() if line.startswith("rko")]
        for name in (*cables, BRIDGE):  # a namespace lives as long as a process in it does
            subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)


@dataclass(eq=False)
class Node:
    """A node: a place in the cluster, whose process may be another one after each start."""

    name: str
    role: str
    address: str
    folder: Path
    config: Path
    credentials: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def report(self) -> Path:
        return self.folder / f"report-{self.starts}.json"

    @property
    def output(self) -> Path:
        return self.folder / "output.log"

    def start(self) -> None:
        self.starts += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *inside(f"rk-{self.name}"), sys.executable, "-m", "redkite", "cluster", "node", "--role",
            self.role, "--config", str(self.config), "--report", str(self.report),
        ]  # fmt: skip
        environment = {**os.environ, **self.credentials, "PYTHONPATH": str(REPOSITORY / "src")}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=self.folder)

    def facts(self) -> Any:
        return json.loads(self.report.read_bytes())

    @property
    def is_ready(self) -> bool:
        return self.report.exists()

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tell(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def said(self) -> str:
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-30:])


@dataclass
class Rig:
    """etcd, Kafka, S3 and nodes: `counts` of each role."""

    folder: Path
    counts: dict[str, int] = field(
        default_factory=lambda: {"coordinator": 2, "streaming": 2, "query": 2, "data": 1, "proxy": 2}
    )
    log: str = "kafka"
    settings: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    """By what each is for: etcd, log, s3."""
    nodes: dict[str, Node] = field(default_factory=dict)

    def start(self) -> None:
        """Come back when every node is ready."""
        self.cables = Cables()
        self._start_parts()
        self._start_nodes()

    def _start_parts(self) -> None:
        for name, kind in (("etcd", "etcd"), ("log", self.log), ("s3", "s3")):
            part = self.parts[name] = parts.part_named(kind, self.folder / kind)
            part.host = self.cables.plug(f"rk-{name}")
            part.begun_by = inside(f"rk-{name}")
            part.launch()
        for part in self.parts.values():
            part.wait_ready(READY_SECONDS)

    def _start_nodes(self) -> None:
        for role in ROLES:
            for number in range(1, self.counts.get(role, 0) + 1):
                self._add(role, f"{role}-{number}")
        for node in self.nodes.values():
            node.start()
        self.wait(lambda: all(node.is_ready for node in self.nodes.values()), READY_SECONDS, "every node to be ready")

    def _add(self, role: str, name: str) -> None:
        address = self.cables.plug(f"rk-{name}")
        folder = self.folder / name
        folder.mkdir(parents=True)
        config = folder / "cluster.toml"
        config.write_text(self._config(address, folder))
        self.nodes[name] = Node(name, role, address, folder, config, self.credentials)

    @property
    def credentials(self) -> dict[str, str]:
        """What nodes have in their environment."""
        return {key: value for part in self.parts.values() for key, value in part.credentials.items()}

    def _config(self, address: str, folder: Path) -> str:
        """What `cluster.toml` of a node says."""
        values: dict[str, Any] = {"name": "proof", "host": address, "state": str(folder / "state"), "pchannels": 4}
        options: dict[str, Any] = {}
        for part in self.parts.values():
            for key, value in part.settings.items():
                section, dot, option = key.rpartition(".")
                (options if dot else values)[option] = [value] if option == "etcd" else value
                assert section in ("", "log_options")
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        if options:
            lines += ["[log_options]", *(f"{key} = {json.dumps(value)}" for key, value in options.items())]
        settings = {
            "host": "0.0.0.0",
            "port": CLIENT_PORT,
            "log_level": "info",
            "authorization": "off",
            **self.settings,
        }
        lines += ["[settings]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
        return "\n".join(lines) + "\n"

    # -- looking at it --------------------------------------------------------------------------
    @property
    def uris(self) -> list[str]:
        return [f"http://{node.address}:{CLIENT_PORT}" for node in self.of("proxy")]

    def victims(self) -> tuple[tuple[str, str], ...]:
        """Whom to hurt, and how."""
        return tuple((role, action) for role in (*HURT_ORDER, *self.parts) for action in ("kill", "stop", "cut"))

    def victim_of(self, role: str, rng: random.Random) -> str:
        """A node of a role; of coordinators the one that leads."""
        nodes = self.of(role)
        if role == "coordinator":
            return max(nodes, key=_led_since).name
        return rng.choice(nodes).name if nodes else role

    def of(self, role: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.role == role]

    def wait(self, there: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not there():
            ended = [node for node in self.nodes.values() if node.process is not None and not node.is_alive]
            if ended:
                raise AssertionError(f"{ended[0].name} ended: {ended[0].said()}")
            if time.monotonic() > deadline:
                said = "\n".join(f"{node.name}: {node.said()}" for node in self.nodes.values() if not node.is_ready)
                raise AssertionError(f"waited {seconds:g} s in vain for {what}\n{said}")
            time.sleep(0.05)

    # -- hurting it -----------------------------------------------------------------------------
    def kill(self, name: str) -> None:
        if name in self.nodes:
            self.nodes[name].kill()
        else:
            process = self.parts[name].process
            assert process is not None
            process.kill()

    def restart(self, name: str) -> None:
        if name in self.nodes:
            self.nodes[name].start()
        else:
            self.parts[name].start()

    def pause(self, name: str) -> None:
        self._tell(name, signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        self._tell(name, signal.SIGCONT)

    def _tell(self, name: str, number: int) -> None:
        if name in self.nodes:
            self.nodes[name].tell(number)
        else:
            process = self.parts[name].process
            assert process is not None
            process.tell(number)

    def cut(self, name: str) -> None:
        """Nothing reaches it, and nothing of it reaches others."""
        self.cables.pull(self._address(name))

    def mend(self, name: str) -> None:
        self.cables.put_back(self._address(name))

    def _address(self, name: str) -> str:
        return self.nodes[name].address if name in self.nodes else self.parts[name].host

    def close(self) -> None:
        for node in self.nodes.values():
            node.kill()
        for part in self.parts.values():
            if part.process is not None:
                part.process.kill()
        self.cables.clear()


def _led_since(node: Node) -> str:
    """When it said last that it leads; nobody else does after the newest of these."""
    said = [line[:23] for line in node.output.read_text(errors="replace").splitlines() if " leads from " in line]
    return max(said, default="")
