"""A runtime in memory, whose nodes do what a test wants."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from redkite.cluster.config import Role
from redkite.launch.runtime import Placed


class FakeRuntime:
    """Nodes are ready, and gone, `delay` looks after they were asked to be. Time passes when somebody waits."""

    def __init__(self, delay: int = 2) -> None:
        self.delay = delay
        self.nodes: dict[str, Placed] = {}
        self.due: dict[str, int] = {}
        self.next_id = 1
        self.history: list[str] = []
        self.refusing: set[str] = set()
        """Names of nodes that never become ready."""
        self.now = 0.0
        self.ended = False
        self.on_look: Callable[[], None] | None = None

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for name in list(self.due):
            self.due[name] -= 1
            if self.due[name] <= 0:
                del self.due[name]
                self._arrive(name)

    def _arrive(self, name: str) -> None:
        node = self.nodes[name]
        if node.stage == "leaving":
            del self.nodes[name]
            self.history.append(f"gone {name}")
        elif name in self.refusing:
            self.nodes[name] = msgspec.structs.replace(
                node, stage="failed", restarts=node.restarts + 1, error="it has no key"
            )
            self.due[name] = self.delay
        else:
            self.nodes[name] = msgspec.structs.replace(
                node, stage="ready", node_id=self.next_id, address=f"host:{self.next_id}"
            )
            self.next_id += 1
            self.history.append(f"ready {name}")

    def placed(self) -> dict[str, Placed]:
        if self.on_look is not None:
            self.on_look()
        return dict(self.nodes)

    def start(self, name: str, role: Role) -> None:
        assert name not in self.nodes, "a place is taken once"
        self.nodes[name] = Placed(name=name, role=role, stage="starting")
        self.due[name] = self.delay
        self.history.append(f"start {name}")

    def stop(self, name: str) -> None:
        self.nodes[name] = msgspec.structs.replace(self.nodes[name], stage="leaving")
        self.due[name] = self.delay
        self.history.append(f"stop {name}")

    def end(self) -> None:
        self.ended = True

    def close(self) -> None:
        """Nothing is held."""
