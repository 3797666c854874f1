"""One process may write a path. The second one is told who does."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from redkite.env import Clock, FileLock, Files
from redkite.errors import PathLocked

LOCK_NAME = "LOCK"


class Holder(msgspec.Struct, frozen=True):
    """What the lock file says about the process that holds it."""

    pid: int
    command: str
    since_ms: int

    @property
    def since(self) -> str:
        """UTC, ISO 8601."""
        return datetime.fromtimestamp(self.since_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def lock_path(files: Files, clock: Clock, root: str, pid: int, command: str) -> FileLock:
    """Take the folder `root`, creating it when missing, until `release` or the end of the process.

    Raises `PathLocked`, naming the holder, when another process (or this one, through another client) has it.
    """
    files.make_dirs(root)
    note = msgspec.json.encode(Holder(pid, command, clock.now_ms())).decode()
    taken = files.lock(f"{root}/{LOCK_NAME}", note)
    if isinstance(taken, str):
        raise PathLocked(_explain(root, taken, pid))
    return taken


def _explain(root: str, note: str, pid: int) -> str:
    try:
        holder = msgspec.json.decode(note, type=Holder)
    except msgspec.DecodeError:
        who = "another process"
    else:
        where = "this process" if holder.pid == pid else "process"
        who = f"{where} {holder.pid} ({holder.command}) since {holder.since}"
    return (
        f"'{root}' is in use by {who}, and one process may write a path. "
        f"Close it there, run `redkite serve --data` on it and connect both to that server, or use another path."
    )
