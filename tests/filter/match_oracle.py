"""What `text_match` and its kin mean for one text, in plain Python, by trying every way there is."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import cache


def words_of(text: str) -> list[str]:
    """The words of an ASCII text as the standard analyzer finds them."""
    return re.findall(r"[a-z0-9]+", text.lower())


def holds_words(words: Sequence[str], query: Sequence[str], least: int = 1) -> bool:
    """Whether at least so many words of the query are in a text; all, where there are fewer."""
    return bool(query) and sum(word in words for word in query) >= min(least, len(query))


def fewest_moves(words: Sequence[str], query: Sequence[str]) -> int | None:
    """How differently the words of a phrase have moved from their places in it, at best; None when one is missing."""
    moved = [[at - place for at, word in enumerate(words) if word == wanted] for place, wanted in enumerate(query)]
    return min((max(way) - min(way) for way in itertools.product(*moved)), default=None)


def holds_phrase(words: Sequence[str], query: Sequence[str], slop: int) -> bool:
    moves = fewest_moves(words, query) if query else None
    return moves is not None and moves <= slop


@cache
def edits(one: str, other: str) -> int:
    """How many characters have to be put in, taken out, replaced or swapped with their neighbour."""
    if not one or not other:
        return len(one) + len(other)
    ways = [edits(one[1:], other) + 1, edits(one, other[1:]) + 1, edits(one[1:], other[1:]) + (one[0] != other[0])]
    if len(one) > 1 and len(other) > 1 and one[0] == other[1] and one[1] == other[0]:
        ways.append(edits(one[2:], other[2:]) + 1)
    return min(ways)


def holds_near(words: Sequence[str], query: Sequence[str], distance: int) -> bool:
    return any(edits(word, wanted) <= distance for word in words for wanted in query)
