"""Words that are dropped because they say nothing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from redkite.text.data import lines_of
from redkite.text.filters.base import Filter, Keep

STOP_LISTS = frozenset({
    "arabic", "chinese", "danish", "dutch", "english", "finnish", "french", "german", "hungarian", "italian",
    "norwegian", "portuguese", "russian", "spanish", "swedish", "thai",
})  # fmt: skip
"""Languages that have a list; `_english_` among stop words stands for all words of one."""


@cache
def stop_list(language: str) -> frozenset[str]:
    """The stop words of a language of `STOP_LISTS`."""
    return frozenset(word for line in lines_of(f"stop_words/{language}.txt") for word in line.split())


def stop_filter(words: Iterable[str]) -> Filter:
    """Drops these words, and those of the lists named among them."""
    dropped: set[str] = set()
    for word in words:
        language = word[1:-1]
        if word == f"_{language}_" and language in STOP_LISTS:
            dropped |= stop_list(language)
        else:
            dropped.add(word)
    return Keep(lambda word: word not in dropped)
