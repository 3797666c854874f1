"""Compound words, taken apart."""

from __future__ import annotations

from collections.abc import Iterable

from redkite.text.filters.base import Expand, Filter


def decompounder(parts: Iterable[str]) -> Filter:
    """A word that consists of `parts` from its first to its last letter becomes those; the longest part that fits is
    taken each time. Any other word stays."""
    known = frozenset(part for part in parts if part)
    sizes = sorted({len(part) for part in known}, reverse=True)

    def taken_apart(word: str) -> list[str]:
        found: list[str] = []
        place = 0
        while place < len(word):
            part = next((word[place : place + size] for size in sizes if word[place : place + size] in known), None)
            if part is None:
                return [word]
            found.append(part)
            place += len(part)
        return found or [word]

    return Expand(taken_apart)
