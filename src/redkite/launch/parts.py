"""The parts of a cluster that are other projects' servers, for one machine: etcd, Kafka, Pulsar, a store of objects.

Each is found on the machine or fetched, gets a folder and free ports, and is run as a process of its own. In earnest
they are run by whoever knows them, on several machines; these are for trying a cluster, and for its tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from redkite.config import BROKERS_VARIABLE
from redkite.errors import Corruption, Unavailable
from redkite.launch.child import STARTED_AS, ProcessId, began_at, start, started_as, tail, wait_until

READY_SECONDS: Final = 90.0
STOP_SECONDS: Final = 20.0
RAY_PATIENCE_SECONDS: Final = 7 * 86_400
_RAY_MARK: Final = "RAY_STARTED_FOR"
_NOTES: Final = "part.json"
HOST: Final = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def answers_at(port: int, host: str = HOST) -> bool:
    """Whether somebody listens there."""
    with suppress(OSError):
        socket.create_connection((host, port), 1).close()
        return True
    return False


class _Notes(msgspec.Struct):
    """What is kept about a part in its folder."""

    ports: tuple[int, ...]
    process: ProcessId | None = None


class Part(ABC):
    """What a cluster stands on, run here. Its data and its ports stay when it ends, so that it can be started again
    where it was."""

    name: ClassVar[str] = ""
    port_count: ClassVar[int] = 1
    host: str = HOST
    """Where it listens."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the part's own. Raises Corruption when what was noted there cannot be read."""
        self.folder = folder
        self.for_nodes: Mapping[str, str] = {}
        """What nodes need in their environment, for a part that starts them: the others' credentials."""
        self._notes = self._read() or _Notes(tuple(free_ports(self.port_count)))

    # -- what each says -------------------------------------------------------------------------
    @abstractmethod
    def missing(self) -> list[str]:
        """What has to be on the machine for it and is not, and how to get it: one line for each."""

    @abstractmethod
    def launch(self) -> None:
        """Start it unless it runs. Raises Unavailable."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether it is there, whether it answers or not."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, str]:
        """What the config of a cluster that uses it says."""

    @abstractmethod
    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Let it end in good order."""

    @property
    def credentials(self) -> Mapping[str, str]:
        """What nodes that use it need in their environment."""
        return {}

    def is_ready(self) -> bool:
        """Whether it answers."""
        return answers_at(self.port, self.host)

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return next(iter(self.settings.values()))

    # -- what all do ----------------------------------------------------------------------------
    @property
    def port(self) -> int:
        return self._notes.ports[0]

    @property
    def ports(self) -> tuple[int, ...]:
        return self._notes.ports

    @property
    def output(self) -> Path:
        """What it has said."""
        return self.folder / "output.log"

    def keep_ports(self) -> None:
        """Have the same ones whenever it is started from this folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write()

    def start(self, seconds: float = READY_SECONDS) -> None:
        """Start it unless it runs, and wait until it answers. Raises Unavailable with what it said last."""
        self.launch()
        self.wait_ready(seconds)

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Raises Unavailable when it does not answer in time, or has ended."""
        came = wait_until(lambda: self.is_ready() or not self.is_running, seconds, 0.05)
        if not came or not self.is_running:
            what = "did not answer in time" if came is False else "ended"
            raise Unavailable(f"{self.name} {what}; {self.output} ends with: {tail(self.output) or 'nothing'}")

    def _read(self) -> _Notes | None:
        path = self.folder / _NOTES
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Notes)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise Corruption(
                f"{path} cannot be read: {error}; it says at which ports {self.name or 'it'} is: end the cluster, then "
                "remove it"
            ) from None

    def _write(self) -> None:
        """Whole, or not at all."""
        part = self.folder / f"{_NOTES}.{os.getpid()}"
        part.write_bytes(msgspec.json.encode(self._notes))
        part.replace(self.folder / _NOTES)


class Server(Part):
    """A part that is a process."""

    begun_by: tuple[str, ...] = ()
    """Words before its command, of a program that becomes it: `ip netns exec NAME`."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What is run, in its folder."""

    def prepare(self) -> None:
        """Before it is started: settings, formatting, what is to be fetched. Raises Unavailable."""

    def environment(self) -> Mapping[str, str]:
        """Beside what there is already."""
        return {}

    @property
    def process(self) -> ProcessId | None:
        return self._notes.process

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_alive

    def launch(self) -> None:
        if self.is_running:
            return
        place = self.folder.absolute()
        self._notes.process = started_as(place) or self._started({**self.environment(), STARTED_AS: str(place)})
        self._write()

    def _started(self, environment: Mapping[str, str]) -> ProcessId:
        lacking = self.missing()
        if lacking:
            raise Unavailable(f"{self.name} cannot be started: {'; '.join(lacking)}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        return start((*self.begun_by, *self.command()), self.output, environment, self.folder)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        if self.process is not None:
            self.process.end(seconds)

    def pause(self) -> None:
        """It stands still until `go_on`."""
        if self.process is not None:
            self.process.tell(signal.SIGSTOP)

    def go_on(self) -> None:
        if self.process is not None:
            self.process.tell(signal.SIGCONT)

    def kill(self) -> None:
        """Take its process away; its data stays."""
        if self.process is not None:
            self.process.kill()


class Etcd(Server):
    """One member."""

    name = "etcd"
    port_count = 2

    def missing(self) -> list[str]:
        if shutil.which("etcd"):
            return []
        return ["etcd is not on the PATH: apt install etcd-server, or set `etcd` to one that runs"]

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def settings(self) -> Mapping[str, str]:
        return {"etcd": self.endpoint}

    def command(self) -> Sequence[str]:
        client, peer = f"http://{self.endpoint}", f"http://{self.host}:{self.ports[1]}"
        return (
            "etcd", "--data-dir", str(self.folder / "data"), "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}", "--log-level", "error", "--heartbeat-interval", "20",
            "--election-timeout", "200", "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1h",
            "--quota-backend-bytes", str(4 << 30),
        )  # fmt: skip


def jars_folder() -> Path:
    """Where the jars of brokers are kept: the folder that REDKITE_BROKERS names, or one in the user's cache."""
    return Path(os.environ.get(BROKERS_VARIABLE) or Path.home() / ".cache/redkite-brokers")


class FolderObjects(Part):
    """No server: a folder, which serves as well where all nodes are on one machine."""

    name = "objects"
    port_count = 0

    def missing(self) -> list[str]:
        return []

    @property
    def settings(self) -> Mapping[str, str]:
        return {"objects": str(self.folder.absolute())}

    def launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def is_ready(self) -> bool:
        return self.is_running

    def wait_ready(self, seconds: float = 0.0) -> None:
        """It is."""

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """A folder stays."""

    @property
    def is_running(self) -> bool:
        return self.folder.is_dir()


class S3Gateway(Server):
    """versitygw: S3 over a folder, with conditional puts."""

    name = "S3"
    bucket: ClassVar[str] = "redkite"
    key: ClassVar[str] = "redkite"
    secret: ClassVar[str] = "redkite-local"

    @staticmethod
    def program() -> str | None:
        beside = jars_folder() / "bin" / "versitygw"
        return shutil.which("versitygw") or (str(beside) if beside.exists() else None)

    def missing(self) -> list[str]:
        if self.program():
            return []
        return [
            "versitygw is not on the PATH: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0, or leave "
            "--objects out for a folder, or set `objects` to a store"
        ]

    def prepare(self) -> None:
        (self.folder / "data" / self.bucket).mkdir(parents=True, exist_ok=True)
        (self.folder / "sidecar").mkdir(exist_ok=True)

    def command(self) -> Sequence[str]:
        program = self.program()
        assert program is not None, "it was looked for"
        return (program, "--port", f"{self.host}:{self.port}", "posix", "--sidecar", str(self.folder / "sidecar"),
                str(self.folder / "data"))  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        return {"ROOT_ACCESS_KEY_ID": self.key, "ROOT_SECRET_ACCESS_KEY": self.secret}

    @property
    def credentials(self) -> Mapping[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}

    @property
    def settings(self) -> Mapping[str, str]:
        return {"objects": f"s3://{self.bucket}?endpoint=http://{self.host}:{self.port}&region=us-east-1"}


class RayHead(Server):
    """Ray on this machine, without its dashboard. Several processes, which are told by the folder that they share; one
    that ends does not end the others, and nodes among them go on."""

    name = "Ray"
    port_count = 1

    def missing(self) -> list[str]:
        if _ray_command().exists():
            return []
        return ["Ray is not installed: pip install 'redkite[ray]', or leave --runtime out"]

    def command(self) -> Sequence[str]:
        return (
            str(_ray_command()), "start", "--head", "--port", str(self.port), "--node-ip-address", self.host,
            "--include-dashboard", "false", "--disable-usage-stats", "--temp-dir", str(self.temporary),
            "--object-store-memory", str(100 << 20), "--num-cpus", "64",
        )  # fmt: skip

    @property
    def temporary(self) -> Path:
        """Sockets are in it, whose paths must be short."""
        return Path(tempfile.gettempdir()) / f"redkite-ray-{self.port}"

    def environment(self) -> Mapping[str, str]:
        """Without its head, Ray ends the nodes after this long. A head would want a token where one lies in the home of
        the user, and who comes to its address would bring none unless told to: both go by the same word."""
        return {
            **self.for_nodes, "RAY_gcs_rpc_server_reconnect_timeout_s": str(RAY_PATIENCE_SECONDS),
            "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled"), _RAY_MARK: str(self.folder),
        }  # fmt: skip

    @property
    def address(self) -> str:
        """What nodes and commands connect to."""
        return f"{self.host}:{self.port}"

    @property
    def settings(self) -> Mapping[str, str]:
        return {}

    @property
    def place(self) -> str:
        return self.address

    def processes(self) -> list[ProcessId]:
        """Those whose environment says that they are of this head, and those of the same session: they begin one
        another, and some write their names over what they were begun with."""
        mark = f"{_RAY_MARK}={self.folder}\0".encode()
        sessions: dict[int, int] = {}
        marked: set[int] = set()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal():
                    pid = int(entry.name)
                    sessions[pid] = os.getsid(pid)
                    if mark in (entry / "environ").read_bytes():
                        marked.add(sessions[pid])
        found = [ProcessId(pid, began_at(pid)) for pid, session in sessions.items() if session in marked]
        return [one for one in found if one.began]

    @property
    def is_running(self) -> bool:
        """As long as nodes may be there: a head is not started beside what another one has left."""
        return bool(self.processes())

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        if not wait_until(self.is_ready, seconds, 0.1):
            raise Unavailable(
                f"Ray at {self.address} does not answer, its nodes go on; `redkite cluster down`, `up` begin anew. It "
                f"said: {tail(self.output, 1)}"
            )

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        processes = self.processes()
        for one in processes:
            one.tell(signal.SIGTERM)
        wait_until(lambda: not any(one.is_alive for one in processes), seconds)
        for one in processes:
            one.tell(signal.SIGKILL)
        shutil.rmtree(self.temporary, ignore_errors=True)

    def kill(self) -> None:
        for one in self.processes():
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)


def _ray_command() -> Path:
    return Path(sys.executable).parent / "ray"


def part_named(name: str, folder: Path) -> Part:
    """The part of a name, in its folder."""
    from redkite.launch.brokers import Kafka, Pulsar

    kinds: dict[str, type[Part]] = {
        "etcd": Etcd, "kafka": Kafka, "pulsar": Pulsar, "objects": FolderObjects, "s3": S3Gateway, "ray": RayHead,
    }  # fmt: skip
    return kinds[name](folder)
