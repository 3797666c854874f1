"""An interrupt of a thread at a chosen point: what Ctrl-C does, where nobody can choose.

The interpreter looks for signals when a function begins, at the end of each call of what is not written in Python, and
at each turn of a loop. `Interrupted` counts these points in the code that is watched, and raises KeyboardInterrupt at
one of them. So a test can go through all of them, one after another.
"""

from __future__ import annotations

import concurrent.futures
import dis
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

import redkite

_CALLS = frozenset(dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "CALL_KW") if name in dis.opmap)
_JUMPS = frozenset(dis.opmap[name] for name in ("JUMP_BACKWARD",) if name in dis.opmap)
PATIENCE: Final = 60.0
WATCHED = (str(Path(redkite.__file__).parent), str(Path(concurrent.futures.__file__).parent), threading.__file__)


class _Step(NamedTuple):
    """What a frame did last: an instruction, and whether it went into a function written in Python."""

    at: int
    into_python: bool


class Interrupted:
    """Runs a function with an interrupt at its `at`-th point, the first being 1; at none when it has fewer."""

    def __init__(self, at: int, watched: Sequence[str] = WATCHED) -> None:
        self._at = at
        self._watched = tuple(watched)
        self._last: dict[FrameType, _Step] = {}
        self.points = 0
        self.place = ""
        """Where it was interrupted."""

    def run(self, work: Callable[[], Any]) -> Any:
        """What `work` returns. Raises what it does, KeyboardInterrupt for one."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return work()
        finally:
            sys.settrace(before)
            self._last.clear()

    def _enter(self, frame: FrameType, _: str, __: Any) -> Callable[..., Any] | None:
        caller = frame.f_back
        if caller is not None and caller in self._last:
            self._last[caller] = self._last[caller]._replace(into_python=True)
        if not frame.f_code.co_filename.startswith(self._watched):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        if not frame.f_lasti > 0:  # else a generator goes on
            self._point(frame)
        return self._step

    def _step(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event == "opcode":
            last, code = self._last.get(frame), frame.f_code
            self._last[frame] = _Step(frame.f_lasti, False)
            if last is not None and _is_point(code, last, frame.f_lasti):
                self._point(frame)
        elif event == "return":
            self._last.pop(frame, None)
        return self._step

    def _point(self, frame: FrameType) -> None:
        self.points += 1
        if self.points == self._at:
            self.place = f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_qualname})"
            raise KeyboardInterrupt


def _is_point(code: CodeType, last: _Step, now: int) -> bool:
    """What is raised before an instruction stands for what was raised at the end of the one before: only where the same
    handler would see it."""
    opcode = _instructions(code)[last.at]
    is_looked_at = opcode in _JUMPS or (opcode in _CALLS and not last.into_python)
    return is_looked_at and _handler(code, last.at) == _handler(code, now)


@cache
def _instructions(code: CodeType) -> bytes:
    return code.co_code


@cache
def _handler(code: CodeType, at: int) -> int | None:
    """Where an exception at an instruction is handled."""
    entries: Any = dis._parse_exception_table(code)  # type: ignore[attr-defined]  # nothing public tells it
    return next((entry.target for entry in entries if entry.start <= at < entry.end), None)


def elsewhere(work: Callable[[], Any]) -> Any:
    """What another thread gets, which must not wait for ever."""
    outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001  for whoever waits
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(PATIENCE)
