"""What a writer tells the readers beside it at once: how far each topic is durable, and that the catalog changed.

The files say the same some milliseconds later. A reader that looks at the board before it answers sees every write that
was acknowledged before.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Protocol

from redkite.storage.catalog import Catalog

CATALOG = ":catalog"
"""The word that counts commits to the catalog. No topic has such a name."""


class Board(Protocol):
    """Numbers by name, in memory that processes share."""

    def publish(self, name: str, number: int) -> None:
        """One process does that. Durable facts only: whoever reads the number relies on it."""
        ...

    def read(self, name: str) -> int:
        """What was published last under a name; 0 when nothing was."""
        ...


class PublishedCatalog:
    """A catalog whose commits are counted on a board."""

    def __init__(self, catalog: Catalog, board: Board) -> None:
        self._catalog = catalog
        self._board = board
        self._commits = itertools.count(1)
        self.get = catalog.get
        self.scan = catalog.scan
        self.close = catalog.close

    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        try:
            self._catalog.commit(puts, deletes, expect)
        finally:  # after some errors nobody knows whether it was done: readers look
            self._board.publish(CATALOG, next(self._commits))
