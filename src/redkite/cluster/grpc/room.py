"""How many bytes of messages a node holds that it has not answered yet. What does not fit is refused before it is
there: whoever asks tries again, as nothing was done."""

from __future__ import annotations

from threading import Lock
from typing import Final

HELD_BYTES: Final = 1 << 30
"""Of messages that are on their way in, wait or are being answered, over all connections of a node."""
QUEUED_BYTES: Final = 256 << 20
"""Of what one connection has to send, and has not sent yet."""


class Room:
    """Safe from any thread."""

    def __init__(self, limit: int = HELD_BYTES) -> None:
        self.limit = limit
        self.held = 0
        self._lock = Lock()

    def takes(self, size: int) -> bool:
        """Whether a message of so many bytes fits; one alone always does."""
        return not self.held or self.held + size <= self.limit

    def add(self, size: int) -> None:
        """So many more are held; fewer, where it is negative."""
        with self._lock:
            self.held += size
