"""What commands do with the nodes of a cluster, on any runtime: bring up, scale, restart, end.

Each waits until it is done, tells how it goes, and gives up with what keeps it from going on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from redkite.cluster.config import ROLES, ClusterConfig, Role
from redkite.errors import InvalidParameter, Unavailable
from redkite.launch.runtime import Placed, Runtime, number_of

READY_SECONDS: Final = 120.0
LEAVE_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 0.1
MOST_RESTARTS: Final = 4
"""A node that ended so often before it was ready will not become so."""
RESTART_ORDER: Final[tuple[Role, ...]] = ("data", "query", "streaming", "coordinator", "proxy")
"""Proxies last: what they ask is new by then."""

Say = Callable[[str], None]
Wait = Callable[[float], None]


class Control:
    """One command's."""

    def __init__(
        self,
        runtime: Runtime,
        say: Say,
        *,
        faults: Callable[[], Mapping[str, str]] = dict,
        wait: Wait = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`faults`: parts that do not run, and why."""
        self._runtime, self._say = runtime, say
        self._faults = faults
        self._wait, self._clock = wait, clock
        self._told: set[str] | None = None
        """Nodes that are known to be ready."""

    def up(self, config: ClusterConfig, seconds: float = READY_SECONDS) -> dict[str, Placed]:
        """Have at least as many nodes of each role as the config says; all of them are ready then."""
        self._tell(self._runtime.placed())
        for role in ROLES:
            self._add(role, config.count(role) - len(self._of(role)))
        return self.wait_ready(seconds)

    def scale(
        self, counts: Mapping[Role, int], leaving_first: Collection[int] = (), seconds: float = LEAVE_SECONDS
    ) -> None:
        """Have just so many nodes of these roles. Of too many, those in `leaving_first` (node ids: they have handed
        over already) end first, then the newest."""
        _check_counts(counts)
        self._tell(self._runtime.placed())
        for role, count in counts.items():
            here = self._of(role)
            self._add(role, count - len(here))
            going = sorted(here, key=lambda placed: (placed.node_id not in leaving_first, -number_of(placed.name)))
            for placed in going[: max(0, len(here) - count)]:
                self._say(f"{placed.name} hands over what it has, and ends")
                self._runtime.stop(placed.name)
        self.wait_ready(seconds)
        self._wait_gone(
            {placed.name for placed in self._runtime.placed().values() if placed.stage == "leaving"}, seconds
        )

    def restart(self, roles: Sequence[Role] = RESTART_ORDER, leader: Callable[[], int] = int) -> None:
        """Put a new node in the place of each, one after another: the new one is ready before the old one hands over,
        and the old one is gone before the next is touched. `leader` says which node leads: it comes after those that
        stand by, so that there is one change of leader and no more."""
        self._tell(self._runtime.placed())
        for role in (role for role in RESTART_ORDER if role in roles):
            old = sorted(self._of(role), key=lambda placed: number_of(placed.name))
            if role == "coordinator":
                leading = leader()
                old.sort(key=lambda placed: placed.node_id == leading)
            for placed in old:
                (name,) = self._add(role, 1)
                self.wait_ready(READY_SECONDS)
                self._say(f"{name} is there: {placed.name} hands over what it has, and ends")
                self._runtime.stop(placed.name)
                self._wait_gone({placed.name}, LEAVE_SECONDS)

    def restart_at_once(self, roles: Sequence[Role] = RESTART_ORDER) -> None:
        """End all nodes of these roles and start as many; requests fail meanwhile."""
        old = {one.name: one.role for role in roles for one in self._of(role)}
        for name in old:
            self._runtime.stop(name)
        self._wait_gone(set(old), LEAVE_SECONDS)
        for name, role in old.items():
            self._runtime.start(name, role)
        self.wait_ready(READY_SECONDS)

    def down(self) -> None:
        """End everything, with nothing handed over."""
        self._runtime.end()

    # -- waiting --------------------------------------------------------------------------------
    def wait_ready(self, seconds: float) -> dict[str, Placed]:
        """All nodes that are wanted, once each is ready. Raises Unavailable with the reasons of those that are not."""
        deadline = self._clock() + seconds
        while True:
            placed = {name: one for name, one in self._runtime.placed().items() if one.stage != "leaving"}
            self._tell(placed)
            if placed and all(one.stage == "ready" for one in placed.values()):
                return placed
            late = self._clock() >= deadline
            hopeless = [one for one in placed.values() if one.stage == "failed" and one.restarts >= MOST_RESTARTS]
            if late or hopeless:
                raise Unavailable(self._explained(placed, hopeless))
            self._wait(LOOK_SECONDS)

    def _tell(self, placed: Mapping[str, Placed]) -> None:
        """Which nodes have become ready."""
        ready = {name for name, one in placed.items() if one.stage == "ready"}
        for name in sorted(ready - self._told) if self._told is not None else ():
            self._say(f"{name} is ready at {placed[name].address}")
        self._told = ready

    def _explained(self, placed: Mapping[str, Placed], hopeless: Sequence[Placed]) -> str:
        faults = [f"{name}: {fault}" for name, fault in self._faults().items()]
        missing = hopeless or [one for one in placed.values() if one.stage != "ready"]
        reasons = dict.fromkeys(one.error for one in missing if one.error)
        names = ", ".join(one.name for one in missing) or "no node"
        why = "; ".join([*faults, *reasons]) or "nothing was said; the logs in the state folder tell more"
        return f"{names} did not come up: {why}"

    def _wait_gone(self, names: Collection[str], seconds: float) -> None:
        deadline = self._clock() + seconds
        while True:
            left = sorted(name for name in names if name in self._runtime.placed())
            if not left:
                return
            if self._clock() >= deadline:
                raise Unavailable(f"{', '.join(left)} did not end within {seconds:.0f} s")
            self._wait(LOOK_SECONDS)

    # -- places ---------------------------------------------------------------------------------
    def _of(self, role: Role) -> list[Placed]:
        """The nodes of a role that are not about to leave."""
        return [one for one in self._runtime.placed().values() if one.role == role and one.stage != "leaving"]

    def _add(self, role: Role, count: int) -> list[str]:
        taken = {number_of(name) for name, one in self._runtime.placed().items() if one.role == role}
        names: list[str] = []
        number = 1
        while len(names) < count:
            if number not in taken:
                names.append(f"{role}-{number}")
            number += 1
        for name in names:
            self._runtime.start(name, role)
        return names


def _check_counts(counts: Mapping[Role, int]) -> None:
    for role, count in counts.items():
        least = 0 if role == "data" else 1
        if not least <= count <= 4096:
            raise InvalidParameter(f"{role}={count}: there must be {least} to 4096 nodes of this role")


def read_counts(words: Sequence[str]) -> dict[Role, int]:
    """`query=4 data=2` as counts; a role may also be called as the config counts it (`proxies=2`). Raises
    InvalidParameter."""
    names: dict[str, Role] = {role: role for role in ROLES} | {
        "coordinators": "coordinator", "proxies": "proxy", "queries": "query",
    }  # fmt: skip
    counts: dict[Role, int] = {}
    for word in words:
        name, equals, number = word.partition("=")
        if name not in names or not equals or not number.isdecimal():
            raise InvalidParameter(f"'{word}': expected ROLE=NUMBER, as query=4; roles are {', '.join(ROLES)}")
        if names[name] in counts:
            raise InvalidParameter(f"'{word}': how many of role {names[name]} was said before")
        counts[names[name]] = int(number)
    _check_counts(counts)
    return counts
