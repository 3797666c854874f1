"""What Kafka's library says of its connections: the same twice a second while a broker is away, and here once."""

from __future__ import annotations

import logging
import re
import threading
from typing import Final

from redkite.env import Clock

AGAIN_SECONDS: Final = 60.0
"""The same is logged again after so long."""
_THREAD: Final = re.compile(r"^\[thrd:[^\]]*\]:?\s*")
_BESIDE: Final = re.compile(r"\s*\((?:after )?\d.*\)$")
"""How long it took, and how often it was not said."""
_MOST_KEPT: Final = 100


class Words:
    """Stands where the library expects a logger. Safe from any thread."""

    def __init__(self, clock: Clock, log: logging.Logger) -> None:
        self._clock, self._log = clock, log
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}
        """What was said -> when it was logged."""
        self._trouble = ("", 0.0)

    def log(self, level: int, text: str, *arguments: object) -> None:
        """Called by the library, with the kind of event, who has it, and what it is."""
        words = _BESIDE.sub("", _THREAD.sub("", str(arguments[-1]) if arguments else text))
        now = self._clock.monotonic()
        with self._lock:
            if level >= logging.ERROR:
                self._trouble = (words, now)
            before = self._said.get(words)
            if before is not None and now - before < AGAIN_SECONDS:
                return
            if len(self._said) >= _MOST_KEPT:
                self._said.clear()
            self._said[words] = now
        self._log.log(level, "%s", words)

    def trouble(self, seconds: float) -> str:
        """The newest error, unless it is older than this; empty when there is none."""
        with self._lock:
            words, when = self._trouble
        return words if words and self._clock.monotonic() - when <= seconds else ""
