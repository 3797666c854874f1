"""How many bytes of unfinished requests does a server hold? One count over all connections."""

from __future__ import annotations


class Buffered:
    """Belongs to the event loop's thread."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def take(self, size: int) -> bool:
        """Count further bytes in; False, and nothing is counted, when that would be more than there may be."""
        if self.held + size > self.most:
            return False
        self.held += size
        return True

    def give_back(self, size: int) -> None:
        self.held -= size
        assert self.held >= 0, "more was given back than was taken"
