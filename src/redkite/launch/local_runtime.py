"""A runtime of processes: commands say in the state folder what is wanted, its supervisor does it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from redkite.cluster.config import Role
from redkite.errors import Unavailable
from redkite.launch.child import tail, wait_until
from redkite.launch.runtime import Placed
from redkite.launch.state import State, Wanted, Watched
from redkite.launch.supervisor import start_supervisor

_START_SECONDS = 20.0
END_SECONDS = 180.0


class LocalRuntime:
    """The nodes of one machine."""

    def __init__(self, state: State) -> None:
        self.state = state

    def supervise(self, parts: tuple[str, ...] = ()) -> None:
        """Have somebody look after the folder, with these parts beside its nodes."""
        self.state.change(lambda wanted: msgspec.structs.replace(wanted, parts=parts or wanted.parts, ending=False))
        if self.state.is_supervised:
            return
        process = start_supervisor(self.state)
        if not wait_until(lambda: self.state.is_supervised or not process.is_alive, _START_SECONDS):
            raise Unavailable(f"the supervisor did not begin: {self._said('supervisor')}")
        if not self.state.is_supervised:
            raise Unavailable(f"the supervisor ended: {self._said('supervisor')}")

    def faults(self) -> dict[str, str]:
        """Part -> why it does not run."""
        return {name: fault for name, fault in self.state.present().parts.items() if fault}

    # -- a Runtime ------------------------------------------------------------------------------
    def placed(self) -> dict[str, Placed]:
        if not self.state.is_supervised:
            raise Unavailable(
                f"nobody looks after the cluster of {self.state.folder}: `redkite cluster up` brings it up again"
            )
        wanted = self.state.wanted().nodes
        found = {name: _now(watched) for name, watched in self.state.present().nodes.items()}
        coming = {
            name: Placed(name=name, role=role, stage="starting") for name, role in wanted.items() if name not in found
        }
        leaving = {
            name: msgspec.structs.replace(placed, stage="leaving")
            for name, placed in found.items()
            if name not in wanted
        }
        return found | coming | leaving

    def start(self, name: str, role: Role) -> None:
        def add(wanted: Wanted) -> Wanted:
            return msgspec.structs.replace(wanted, nodes={**wanted.nodes, name: role})

        self.state.change(add)

    def stop(self, name: str) -> None:
        def remove(wanted: Wanted) -> Wanted:
            return msgspec.structs.replace(wanted, nodes={n: role for n, role in wanted.nodes.items() if n != name})

        self.state.change(remove)

    def end(self) -> None:
        """Parts end, too."""
        supervisor = self.state.present().supervisor
        self.state.change(lambda wanted: msgspec.structs.replace(wanted, nodes={}, ending=True))
        if supervisor is None or not supervisor.is_alive:  # it was killed: another one ends what it has left
            supervisor = start_supervisor(self.state)
        if not supervisor.wait(END_SECONDS):
            raise Unavailable(f"the supervisor did not end everything: {self._said('supervisor')}")

    def close(self) -> None:
        """Nothing is held."""

    def _said(self, name: str) -> str:
        log: Path = self.state.log(name)
        return tail(log) or f"{log} is empty"


def _now(watched: Watched) -> Placed:
    """What the supervisor noted may be of before the machine failed: it has not looked at every node yet."""
    placed, process = watched.placed, watched.process
    if placed.stage == "ready" and (process is None or not process.is_alive):
        return msgspec.structs.replace(placed, stage="starting", error="it has ended")
    return placed
