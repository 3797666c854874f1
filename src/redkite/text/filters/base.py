"""What a filter is: something done to words, each of which it sees once, however often it occurs in texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from redkite.text.tokens import Tokens

_FEW = 64
"""Up to so many words are remembered one by one."""
_KNOWN = 50_000
"""So many are remembered at a time."""


@dataclass(frozen=True, slots=True)
class Words:
    """What has become of the words of a text so far. `words[i]` is made of word `sources[i]` of the tokenizer;
    ascending, so that a source that is missing was dropped and one that comes again became several words."""

    sources: list[int]
    words: list[str]


class Filter(Protocol):
    """Says what becomes of words. Any thread may call it."""

    def apply(self, words: Words) -> Words: ...


class Change:
    """Each word becomes another one. `spares_ascii`: but none that is of ASCII."""

    def __init__(self, change: Callable[[list[str]], list[str]], *, spares_ascii: bool = False) -> None:
        self._change = change
        self.spares_ascii = spares_ascii

    def apply(self, words: Words) -> Words:
        return Words(words.sources, self._change(words.words))


class Lowercase(Change):
    """Each word becomes one of small letters."""

    def __init__(self) -> None:
        super().__init__(_lowered)


def _lowered(words: list[str]) -> list[str]:
    return list(map(str.lower, words))


class Keep:
    """A word stays or goes."""

    def __init__(self, test: Callable[[str], bool]) -> None:
        self._test = test

    def apply(self, words: Words) -> Words:
        test = self._test
        kept = [place for place, word in enumerate(words.words) if test(word)]
        return Words([words.sources[place] for place in kept], [words.words[place] for place in kept])


class Expand:
    """A word becomes any number of words, all in its place."""

    def __init__(self, expand: Callable[[str], Iterable[str]]) -> None:
        self._expand = expand

    def apply(self, words: Words) -> Words:
        sources: list[int] = []
        made: list[str] = []
        for source, word in zip(words.sources, words.words, strict=True):
            for other in self._expand(word):
                sources.append(source)
                made.append(other)
        return Words(sources, made)


class Chain:
    """Filters, one behind another. What becomes of single words is remembered, as far as they came in searches and
    short texts, of which many have the same words."""

    def __init__(self, filters: Iterable[Filter]) -> None:
        self._filters = tuple(filters)
        self._known: dict[str, list[str]] = {}

    @property
    def lowers_ascii(self) -> bool | None:
        """Whether small letters are all that becomes of words of ASCII (True), or nothing (False); None: neither."""
        rules = [rule for rule in self._filters if not (isinstance(rule, Change) and rule.spares_ascii)]
        return bool(rules) if all(isinstance(rule, Lowercase) for rule in rules) else None

    def apply(self, tokens: Tokens) -> Tokens:
        """The tokens after all filters. What comes of one token has its position and offsets; of what has become empty
        nothing is left."""
        vocabulary = tokens.vocabulary
        if not self._filters or not vocabulary:
            return tokens
        return _replaced(tokens, self._few(vocabulary) if len(vocabulary) <= _FEW else self._all(vocabulary))

    def made_of(self, vocabulary: list[str]) -> Words:
        """What becomes of some words, none of them remembered."""
        return self._all(vocabulary)

    def _all(self, vocabulary: list[str]) -> Words:
        words = Words(list(range(len(vocabulary))), vocabulary)
        for rule in self._filters:
            words = rule.apply(words)
        return Keep(bool).apply(words) if "" in words.words else words

    def _few(self, vocabulary: list[str]) -> Words:
        known = self._known
        new = [word for word in vocabulary if word not in known]
        if new:
            if len(known) > _KNOWN:
                self._known = known = {}
                new = vocabulary
            made: list[list[str]] = [[] for _ in new]
            words = self._all(new)
            for source, word in zip(words.sources, words.words, strict=True):
                made[source].append(word)
            known.update(zip(new, made, strict=True))
        found = [known[word] for word in vocabulary]
        return Words([at for at, one in enumerate(found) for _ in one], [word for one in found for word in one])


def _replaced(tokens: Tokens, words: Words) -> Tokens:
    """Tokens whose vocabulary has become these words."""
    size = len(tokens.vocabulary)
    one_each = len(words.sources) == size and words.sources == list(range(size))
    if one_each and len(set(words.words)) == size:
        return replace(tokens, vocabulary=words.words)
    places: dict[str, int] = {}
    codes = np.array([places.setdefault(word, len(places)) for word in words.words], np.int32)
    if one_each:
        return replace(tokens, codes=codes[tokens.codes], vocabulary=list(places))
    counts = np.bincount(np.array(words.sources, np.int64), minlength=size)
    firsts = np.cumsum(counts) - counts
    made = counts[tokens.codes]
    total = np.concatenate((np.zeros(1, np.int64), np.cumsum(made)))
    rows = np.repeat(np.arange(len(made)), made)
    within = np.arange(len(rows)) - total[rows]
    return Tokens(
        starts=total[tokens.starts],
        codes=codes[firsts[tokens.codes[rows]] + within],
        vocabulary=list(places),
        positions=tokens.positions[rows],
        begins=tokens.begins[rows],
        ends=tokens.ends[rows],
        lengths=None if tokens.lengths is None else tokens.lengths[rows],
    )
