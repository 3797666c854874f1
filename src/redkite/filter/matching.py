"""Predicates over the words of texts: `text_match(field, "some words")` and its kin.

The query is analysed when the filter is bound, by the field's analyzer; what is left of it are words and their places.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
import numpy as np

from redkite.filter.numbers import Mask, settled
from redkite.filter.word_column import WordColumn
from redkite.text.analyzer import Analyzer
from redkite.text.inverted import Inverted


class MatchKind(StrEnum):
    """Names of the functions."""

    WORDS = "text_match"
    """At least `number` of the words occur."""
    FUZZY = "text_match_fuzzy"
    """A word occurs that is at most `number` edits away from one of the words."""
    PHRASE = "phrase_match"
    """The words stand one after another, moved by at most `number` positions in all."""


class Matching(msgspec.Struct, frozen=True):
    field: str
    kind: MatchKind
    words: tuple[str, ...]
    """Of the query, in its order."""
    places: tuple[int, ...]
    """Where each of them stands in the query; a word that the analyzer left out leaves a gap."""
    number: int
    analyzer: Analyzer
    """That of the field."""
    negated: bool = False


def evaluate_matching(predicate: Matching, column: WordColumn) -> Mask:
    """(rows,) True where the texts match (negated: where they do not); False where there is no text."""
    mask = np.zeros(column.rows, np.bool_)
    start = 0
    for part in column.parts:
        if start >= column.rows:
            break
        found = matched(predicate, part)[: column.rows - start]
        mask[start : start + len(found)] = found
        start += part.texts
    return settled(mask, predicate.negated, column.present)


def matched(predicate: Matching, index: Inverted) -> Mask:
    """(index.texts,) True where the texts match, whatever is negated."""
    kind, words, number = predicate.kind, predicate.words, predicate.number
    if kind is MatchKind.PHRASE and len(words) > 1:
        return index.phrase(words, predicate.places, number)
    if kind is MatchKind.FUZZY and number:
        return index.near(words, number)
    return index.any_of(words, number if kind is MatchKind.WORDS else 1)
