"""What starts, watches and stops the nodes of a cluster, whatever it is: processes of one machine, or Ray."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from redkite.cluster.config import ROLES, Role

Stage = Literal["starting", "ready", "leaving", "failed"]


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """One node that a runtime looks after."""

    name: str
    """`query-1`: its place, which a node that is started again takes over."""
    role: Role
    stage: Stage
    where: str = ""
    """The host and process, for people."""
    node_id: int = 0
    """Of the node that is there now; another one after each start."""
    address: str = ""
    port: int = 0
    metrics_port: int = 0
    restarts: int = 0
    error: str = ""
    """Why it is not there."""


class Runtime(Protocol):
    """Nothing here waits for a node to be ready, or gone."""

    def placed(self) -> dict[str, Placed]:
        """Every node that is wanted, or still there, by its name. Raises Unavailable when nobody looks after them."""
        ...

    def start(self, name: str, role: Role) -> None:
        """Want a node, now and whenever it ends."""
        ...

    def stop(self, name: str) -> None:
        """Have a node hand over what it has, and end for good."""
        ...

    def end(self) -> None:
        """End all nodes at once: nothing is handed over, as nobody is left."""
        ...

    def close(self) -> None: ...


def role_of(name: str) -> Role:
    """Of the name of a place."""
    role = name.rpartition("-")[0]
    return next(known for known in ROLES if known == role)


def number_of(name: str) -> int:
    return int(name.rpartition("-")[2])
