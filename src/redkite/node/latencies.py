"""How long answers of other nodes take as a rule, and whether a second question may be asked."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Final

KEPT: Final = 256
"""Answers that are remembered, of each kind."""
LEAST: Final = 32
"""Before so many are known, nobody is called slow."""
SHARE: Final = 0.95
SHORTEST: Final = 0.002
"""Seconds; whoever is faster than that is never too slow."""
LONGEST: Final = 1.0
_EACH: Final = 0.1
_SAVED: Final = 16.0
_AGAIN: Final = 16
"""So many answers later the share is counted anew."""


class Latencies:
    """Safe from any thread. Numbers may be a few answers old."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, deque[float]] = {}
        self._usual: dict[str, float] = {}
        self._noted: dict[str, int] = {}
        self._tokens = _SAVED

    def note(self, kind: str, seconds: float) -> None:
        """An answer came after so long."""
        with self._lock:
            kept = self._kept.setdefault(kind, deque(maxlen=KEPT))
            kept.append(seconds)
            self._tokens = min(_SAVED, self._tokens + _EACH)
            noted = self._noted[kind] = self._noted.get(kind, 0) + 1
            if noted >= LEAST and (kind not in self._usual or noted % _AGAIN == 0):
                ranked = sorted(kept)
                self._usual[kind] = min(LONGEST, max(SHORTEST, ranked[int(SHARE * (len(ranked) - 1))]))

    def usual(self, kind: str) -> float | None:
        """Seconds within which most answers come; None while that is not known."""
        return self._usual.get(kind)

    def may_hedge(self) -> bool:
        """Take leave to ask a second time. There is one for ten answers, so that a cluster that is slow because it has
        much to do does not get more to do."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
