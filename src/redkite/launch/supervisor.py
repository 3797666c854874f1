"""Who looks after the parts and nodes of one machine: starts what is wanted and not there, ends what is not wanted.

It keeps nothing to itself: what it does follows from `wanted.json` and from which processes live. When it ends, or is
killed, they go on, and the next one takes them over.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from redkite.cluster.config import ROLES, Role
from redkite.errors import MilvusException
from redkite.launch.child import STARTED_AS, ProcessId, began_at, start, started_as, tail
from redkite.launch.facts import NodeFacts
from redkite.launch.node import DRAIN_SECONDS
from redkite.launch.parts import Part, part_named
from redkite.launch.runtime import Placed
from redkite.launch.signals import Signals
from redkite.launch.state import Present, State, Wanted, Watched
from redkite.logs import get_logger

log = get_logger(__name__)

LOOK_SECONDS: Final = 0.1
FIRST_PAUSE_MS: Final = 200
LONGEST_PAUSE_MS: Final = 10_000
STEADY_MS: Final = 60_000
"""A node that lasted so long is started again at once."""
END_SECONDS: Final = 15.0
"""How long nodes that are ended all at once may take."""
_LARGEST_LOG: Final = 64 << 20

Launch = Callable[[str, Role], ProcessId]
"""Starts the process of a node: its name and role."""


class Supervisor:
    """Of one state folder. `round` does what is to be done now; nothing else changes anything."""

    def __init__(self, state: State, launch: Launch | None = None, clock_ms: Callable[[], int] | None = None) -> None:
        """`launch` and `clock_ms` are the machine's own, but in tests."""
        self._state = state
        self._launch = launch or self._start_node
        self._now = clock_ms or (lambda: time.time_ns() // 1_000_000)
        before = state.present()
        self._nodes: dict[str, Watched] = dict(before.nodes)
        self._parts: dict[str, Part] = {}
        self._part_faults: dict[str, str] = {}
        self._answering: set[str] = set()
        """Parts that have answered since they were started."""
        self._me = ProcessId(os.getpid(), began_at(os.getpid()))
        self._written: bytes = b""
        self._trouble = ""
        """Why nothing can be noted."""

    def begin(self) -> None:
        """Say that somebody looks after the folder now."""
        self._write()

    def look(self) -> bool:
        """A round, which may find the disk full: then nothing can be noted, and the next one goes on."""
        try:
            goes_on = self.round()
        except OSError as error:
            said = error.strerror or str(error)
            if said != self._trouble:
                log.error("%s cannot be kept: %s", self._state.folder, said)
            self._trouble = said
            return True
        self._trouble = ""
        return goes_on

    def round(self) -> bool:
        """Look once; False when everything has ended that was to end."""
        wanted = self._state.wanted()
        if wanted.ending:
            self._end_all(wanted)
            self._write()
            return False
        if self._look_after_parts(wanted):
            for role in ROLES:
                for name in [name for name, kind in wanted.nodes.items() if kind == role]:
                    self._look_after(name, role)
        for name in [name for name in self._nodes if name not in wanted.nodes]:
            self._let_go(name)
        self._write()
        return True

    # -- parts ----------------------------------------------------------------------------------
    def _look_after_parts(self, wanted: Wanted) -> bool:
        """Whether all of them answer."""
        for name in wanted.parts:
            try:
                part = self._part(name)
                if not part.is_running:
                    self._answering.discard(name)
                    part.for_nodes = self._credentials(wanted)
                    part.launch()
                if name not in self._answering and part.is_ready():
                    self._answering.add(name)
                answers = name in self._answering
                self._part_faults[name] = "" if answers else f"it does not answer yet: {tail(part.output, 1)}"
            except MilvusException as error:
                self._part_faults[name] = error.message
        return not any(self._part_faults.values())

    def _part(self, name: str) -> Part:
        if name not in self._parts:
            self._parts[name] = part_named(name, self._state.part(name))
        return self._parts[name]

    # -- nodes ----------------------------------------------------------------------------------
    def _look_after(self, name: str, role: Role) -> None:
        known = self._nodes.get(name)
        if known is None:
            self._begin(name, role, 0)
            return
        process = known.process
        if process is not None and process.is_alive:
            if known.placed.stage == "starting":
                self._see_whether_ready(name, known)
            return
        if known.placed.stage != "failed":
            said = tail(self._state.log(name), 1)
            log.error("%s has ended: %s", name, said)
            failed = msgspec.structs.replace(known.placed, stage="failed", error=said or "it ended without a word")
            lasted = self._now() - known.began_ms > STEADY_MS
            restarts = 0 if lasted else known.placed.restarts
            self._nodes[name] = known = msgspec.structs.replace(
                known, placed=msgspec.structs.replace(failed, restarts=restarts), process=None, began_ms=self._now()
            )
        pause = 0 if known.placed.restarts == 0 else FIRST_PAUSE_MS << min(known.placed.restarts, 6)
        if self._now() - known.began_ms >= min(pause, LONGEST_PAUSE_MS):
            self._begin(name, role, known.placed.restarts + 1)

    def _begin(self, name: str, role: Role, restarts: int) -> None:
        self._state.report(name).unlink(missing_ok=True)
        error = self._nodes[name].placed.error if name in self._nodes else ""
        try:
            process = self._launch(name, role)
        except MilvusException as failure:
            placed = Placed(name=name, role=role, stage="failed", restarts=restarts, error=failure.message)
            self._nodes[name] = Watched(placed=placed, began_ms=self._now())
            return
        placed = Placed(
            name=name, role=role, stage="starting", where=f"process {process.pid}", restarts=restarts, error=error
        )
        self._nodes[name] = Watched(placed=placed, process=process, began_ms=self._now())
        self._write()  # now: the next supervisor would start another one where this one was not noted

    def _see_whether_ready(self, name: str, known: Watched) -> None:
        try:
            facts = msgspec.json.decode(self._state.report(name).read_bytes(), type=NodeFacts)
        except (FileNotFoundError, msgspec.MsgspecError):
            return
        placed = msgspec.structs.replace(
            known.placed, stage="ready", node_id=facts.node_id, address=facts.address, port=facts.port,
            metrics_port=facts.metrics_port, error="",
        )  # fmt: skip
        self._nodes[name] = msgspec.structs.replace(known, placed=placed)

    def _let_go(self, name: str) -> None:
        """Have a node that is not wanted hand over and end; forget it when it has."""
        known = self._nodes[name]
        process = known.process
        if process is None or not process.is_alive:
            del self._nodes[name]
            self._state.report(name).unlink(missing_ok=True)
            return
        if not known.told:
            process.tell(signal.SIGTERM)
            placed = msgspec.structs.replace(known.placed, stage="leaving")
            self._nodes[name] = msgspec.structs.replace(known, placed=placed, told=1, began_ms=self._now())
        elif self._now() - known.began_ms > (DRAIN_SECONDS + END_SECONDS) * 1000:
            log.error("%s does not end, and is killed", name)
            process.kill()

    def _end_all(self, wanted: Wanted) -> None:
        """Proxies first, so that no client waits for those behind them; parts last."""
        for role in reversed(ROLES):
            ending = [known.process for known in self._nodes.values() if known.placed.role == role and known.process]
            for process in ending:
                process.tell(signal.SIGINT)
            for process in ending:
                if not process.wait(END_SECONDS):
                    process.kill()
        for name in list(self._nodes):
            self._state.report(name).unlink(missing_ok=True)
        self._nodes.clear()
        for name in reversed(wanted.parts):
            self._part(name).stop()

    # -- what others read -----------------------------------------------------------------------
    def _write(self) -> None:
        present = Present(supervisor=self._me, nodes=dict(self._nodes), parts=dict(self._part_faults))
        content = msgspec.json.encode(present)
        if content != self._written:
            self._state.write_present(present)
            self._written = content

    # -- processes ------------------------------------------------------------------------------
    def _start_node(self, name: str, role: Role) -> ProcessId:
        output = self._state.log(name)
        if output.exists() and output.stat().st_size > _LARGEST_LOG:
            output.replace(output.with_suffix(".log.1"))
        place = self._state.report(name).absolute()
        left = started_as(place)
        if left is not None:  # by a supervisor that ended before it had noted it: there would be two of that name
            left.kill()
        environment = {**self._credentials(self._state.wanted()), STARTED_AS: str(place)}
        return start(self._command(name, role), output, environment)

    def _credentials(self, wanted: Wanted) -> dict[str, str]:
        """What nodes need in their environment to use the parts."""
        found: dict[str, str] = {}
        for name in wanted.parts:
            found |= self._part(name).credentials
        return found

    def _command(self, name: str, role: Role) -> Sequence[str]:
        return (
            sys.executable, "-m", "redkite", "cluster", "node", "--role", role, "--config",
            str(self._state.config_path), "--report", str(self._state.report(name)),
        )  # fmt: skip


def supervise(state: State, stop: threading.Event | None = None) -> int:
    """Look after a folder until everything was told to end. SIGTERM and SIGINT end this process and nothing else."""
    ended = stop or threading.Event()
    with state.supervising() as mine:
        if not mine:
            log.warning("another supervisor looks after %s", state.folder)
            return 1
        is_main = threading.current_thread() is threading.main_thread()
        signals = Signals(signal.SIGTERM, signal.SIGINT) if is_main else None
        supervisor = Supervisor(state)
        supervisor.begin()
        while not ended.is_set() and state.exists and supervisor.look():
            if signals is None:
                ended.wait(LOOK_SECONDS)
            elif signals.next(LOOK_SECONDS) is not None:
                break
    return 0


def start_supervisor(state: State, environment: Mapping[str, str] | None = None) -> ProcessId:
    """One that goes on when this process ends."""
    command = (sys.executable, "-m", "redkite", "cluster", "supervise", "--state", str(state.folder))
    return start(command, state.log("supervisor"), environment, Path.cwd())
