"""Pages of a search iterator, as the older interface has them: `ids()` and `distances()` are calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from redkite.client.results import HybridHits

if TYPE_CHECKING:
    from redkite.client.iterators import PageIterator

Hits = HybridHits
"""The older name of the hits of one query vector."""


class SearchPage(list[Any]):
    """The hits of one page, closest first; an empty one is the last."""

    def __init__(self, hits: Iterable[Any]) -> None:
        super().__init__(hits)

    def ids(self) -> list[Any]:
        return [hit.id for hit in self]

    def distances(self) -> list[float]:
        return [hit.distance for hit in self]


class SearchPages:
    """A search iterator."""

    def __init__(self, pages: PageIterator[Any]) -> None:
        self._pages = pages

    def next(self) -> SearchPage:
        return SearchPage(self._pages.next())

    def close(self) -> None:
        self._pages.close()
