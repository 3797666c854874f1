"""Processes that outlive whoever started them: started in a group of their own, found again by who they are.

A process is known by its id and the moment it began, so that another one that got the same id later is never taken for
it, nor ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from redkite.errors import Unavailable

_LOOK_SECONDS: Final = 0.02
_BEGAN_FIELD: Final = 19
"""Of /proc/<pid>/stat, behind the name: when it began, in ticks since the machine did."""
_TAIL_BYTES: Final = 2000
STARTED_AS: Final = "STARTED_BY_REDKITE_AS"
"""In the environment of a process: what it was started as, by a path of its own."""


class ProcessId(msgspec.Struct, frozen=True):
    """One process of this machine, for ever."""

    pid: int
    began: int
    """0 of one that had ended before it was looked at."""

    @property
    def is_alive(self) -> bool:
        """Whether it runs, or is paused; not when it has ended and nobody has asked how."""
        with suppress(ChildProcessError):  # a child of another process
            os.waitpid(self.pid, os.WNOHANG)
        return self.began != 0 and began_at(self.pid) == self.began

    def tell(self, number: int) -> bool:
        """Whether it was there to be told."""
        if not self.is_alive:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within so long."""
        return wait_until(lambda: not self.is_alive, seconds)

    def end(self, seconds: float, how: int = signal.SIGTERM) -> bool:
        """Ask it to end, kill its group after so long. Whether it ended by itself; True when it was not there."""
        if not self.tell(how):
            return True
        if self.wait(seconds):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """It and what it started in its group."""
        if self.is_alive:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait(5.0)


def began_at(pid: int) -> int:
    """When a process began; 0 for none, or one that has ended and is not collected yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[_BEGAN_FIELD])


def start(
    command: Sequence[str],
    output: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    descriptors: Sequence[int] = (),
) -> ProcessId:
    """Start a process that goes on when this one ends. What it says goes to the end of `output`. Raises Unavailable."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        log = output.open("ab")
    except OSError as error:
        raise Unavailable(f"cannot start {command[0]}: {output} cannot be written: {error.strerror}") from error
    with log:
        try:
            process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=folder,
                env=None if environment is None else {**os.environ, **environment}, pass_fds=descriptors,
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(f"cannot start {command[0]}: {error.strerror}") from error
    process.returncode = 0  # it is watched by its id from here on, also by others
    return ProcessId(process.pid, began_at(process.pid))


def started_as(path: Path) -> ProcessId | None:
    """The process that lives and was started as this. So one is found whose starter ended before it had noted it."""
    mark = f"{STARTED_AS}={path}".encode()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it has ended, or is another user's
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found = ProcessId(int(entry.name), began_at(int(entry.name)))
                if found.began and os.getsid(found.pid) == found.pid:  # and none that it has started itself
                    return found
    return None


def wait_until(there: Callable[[], bool], seconds: float, look: float = _LOOK_SECONDS) -> bool:
    """Whether it came true within so long."""
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() >= deadline:
            return False
        time.sleep(look)
    return True


def tail(output: Path, lines: int = 5) -> str:
    """The last lines that a process has said."""
    with suppress(OSError), output.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").strip().splitlines()[-lines:])
    return ""
