"""The folder in which one machine keeps what it knows of its part of a cluster.

cluster.json     the config, as it was resolved; with its secrets, so for its owner alone
runs.json        what runs the nodes: processes of this machine, or Ray
wanted.json      which parts and nodes there are to be: written by commands
placed.json      which there are: written by the supervisor
supervisor.lock  held by the supervisor, whose process id is in placed.json
nodes/           what each node says when it is ready
logs/            what each has said
parts/           etcd, a broker …: the data of parts that run on this machine
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from redkite.cluster.config import ClusterConfig, Role, decode, encode
from redkite.errors import Corruption
from redkite.launch.child import ProcessId
from redkite.launch.runtime import Placed

RuntimeKind = Literal["processes", "ray"]
S = TypeVar("S", bound=msgspec.Struct)
_PRIVATE: Final = 0o600


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to be on this machine."""

    parts: tuple[str, ...] = ()
    """By their names."""
    nodes: dict[str, Role] = {}
    ending: bool = False
    """Nothing, soon."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A node, as the supervisor knows it."""

    placed: Placed
    process: ProcessId | None = None
    began_ms: int = 0
    told: int = 0
    """How often it was told to end."""


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """What there is on this machine."""

    supervisor: ProcessId | None = None
    nodes: dict[str, Watched] = {}
    parts: dict[str, str] = {}
    """Name -> why it does not run, or nothing."""


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """What runs the nodes of the cluster that was brought up from here."""

    kind: RuntimeKind
    ray_address: str = ""


class State:
    """One such folder. Files are replaced whole."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()

    @property
    def exists(self) -> bool:
        """Whether a cluster was brought up from it."""
        return (self.folder / "cluster.json").exists()

    def make(self) -> None:
        for name in ("nodes", "logs", "parts"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    # -- the config -----------------------------------------------------------------------------
    @property
    def config_path(self) -> Path:
        return self.folder / "cluster.json"

    def write_config(self, config: ClusterConfig) -> None:
        self._replace("cluster.json", encode(config))

    def config(self) -> ClusterConfig:
        """Raises ConfigError when it is of another version."""
        return decode(self.config_path.read_bytes())

    def write_runs(self, runs: Runs) -> None:
        self._replace("runs.json", msgspec.json.encode(runs))

    def runs(self) -> Runs | None:
        """None where no cluster was brought up from."""
        return self._read("runs.json", Runs)

    # -- what there is to be, and what there is --------------------------------------------------
    def wanted(self) -> Wanted:
        return self._read("wanted.json", Wanted) or Wanted()

    def change(self, how: Callable[[Wanted], Wanted]) -> Wanted:
        """Change what is wanted; several commands may at a time."""
        with self._locked("wanted.lock"):
            changed = how(self.wanted())
            self._replace("wanted.json", msgspec.json.encode(changed))
            return changed

    def present(self) -> Present:
        return self._read("placed.json", Present) or Present()

    def write_present(self, present: Present) -> None:
        self._replace("placed.json", msgspec.json.encode(present))

    @property
    def is_supervised(self) -> bool:
        """Whether somebody looks after what is wanted."""
        supervisor = self.present().supervisor
        return supervisor is not None and supervisor.is_alive

    @contextmanager
    def supervising(self) -> Iterator[bool]:
        """Whether this process may: one at a time does."""
        with (self.folder / "supervisor.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    # -- places ---------------------------------------------------------------------------------
    def report(self, name: str) -> Path:
        """What a node says when it is ready."""
        return self.folder / "nodes" / f"{name}.json"

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def part(self, name: str) -> Path:
        return self.folder / "parts" / name

    # -- files ----------------------------------------------------------------------------------
    def _read(self, name: str, kind: type[S]) -> S | None:
        path = self.folder / name
        with suppress(FileNotFoundError):
            try:
                return msgspec.json.decode(path.read_bytes(), type=kind)
            except msgspec.MsgspecError as error:
                raise Corruption(f"{path} cannot be read: {error}; remove it, and bring the cluster up again") from None
        return None

    def _replace(self, name: str, content: bytes) -> None:
        path = self.folder / name
        part = path.with_name(f"{name}.{os.getpid()}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        part.replace(path)

    @contextmanager
    def _locked(self, name: str) -> Iterator[Any]:
        with (self.folder / name).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
