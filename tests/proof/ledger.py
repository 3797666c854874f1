"""What a process was told before it was killed, kept outside the database in a file that is synced line by line.

A line says either what a thread is about to do or that it was answered. Reading the lines back gives, for each thread,
what must be stored: all that was answered, and of the one thing that was not, everything or nothing.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

State = dict[str, int | None]
"""The version that each key (or each definition) has; None where it is gone."""


Moment = tuple[int, State]
"""A timestamp, and what was stored then."""
MOMENTS = 3


@dataclass
class Account:
    """One thread's: what was answered, and what was not when the process ended."""

    sure: State = field(default_factory=dict)
    open: State = field(default_factory=dict)
    steps: int = 0
    moments: list[Moment] = field(default_factory=list)
    """What was there at earlier timestamps; the last few."""

    def settle(self, line: dict[str, Any]) -> None:
        if "will" in line:
            self.open = line["will"]
        elif "done" in line:
            self.sure |= self.open
            self.open = {}
            self.steps += 1
        elif "moment" in line:
            self.moments = [*self.moments[1 - MOMENTS :], (line["moment"], self.before())]
        else:
            self.sure, self.open = line["state"], {}
            self.moments = [(timestamp, state) for timestamp, state in line.get("moments", [])]

    def before(self) -> State:
        return {key: version for key, version in self.sure.items() if version is not None}

    def after(self) -> State:
        return {key: version for key, version in (self.sure | self.open).items() if version is not None}


def read(path: Path) -> dict[str, Account]:
    """The accounts of all threads. A line that was cut off was not finished, so what it says did not count yet."""
    accounts: dict[str, Account] = {}
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            entry = json.loads(line)
            accounts.setdefault(entry["of"], Account()).settle(entry)
    return accounts


class Ledger:
    """Appends lines, each of them on disk before `write` returns. Safe from many threads."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lock = threading.Lock()

    def begin(self, path: Path, states: dict[str, State], accounts: dict[str, Account]) -> None:
        """Start over with what was found, in place of the file at `path`; the past stays as it was told."""
        moments = {name: account.moments for name, account in accounts.items()}
        lines = [
            json.dumps({"of": name, "state": state, "moments": moments.get(name, [])}) + "\n"
            for name, state in states.items()
        ]
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(lines))
        descriptor = os.open(fresh, os.O_WRONLY | os.O_APPEND)
        os.fsync(descriptor)
        os.replace(fresh, path)
        os.close(self._fd)
        self._fd = descriptor

    def will(self, name: str, change: State) -> None:
        self._write({"of": name, "will": change})

    def done(self, name: str) -> None:
        self._write({"of": name, "done": True})

    def moment(self, name: str, timestamp: int) -> None:
        """What this thread has been told of by now is what there was of its at a timestamp."""
        self._write({"of": name, "moment": timestamp})

    def _write(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        with self._lock:
            os.write(self._fd, line)
        os.fsync(self._fd)
