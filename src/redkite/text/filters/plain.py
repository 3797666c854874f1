"""Filters that look at one word at a time and need no library."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from unicodedata import category, decimal

from redkite.text.characters import HAN
from redkite.text.data import lines_of
from redkite.text.filters.base import Change, Filter, Keep, Lowercase

_ALEFS, _ALEF = "آأإ", "ا"
_TEH_MARBUTA, _HEH, _ALEF_MAKSURA, _YEH, _TATWEEL = "ة", "ه", "ى", "ي", "ـ"
_HARAKAT = "".join(map(chr, range(0x064B, 0x0660)))


@cache
def _folding() -> dict[int, str]:
    table: dict[int, str] = {}
    for line in lines_of("ascii_folding.txt"):
        ascii_text, _, characters = line.partition("\t")
        table.update({ord(character): ascii_text for character in characters})
    return table


def _fold(words: list[str]) -> list[str]:
    table = _folding()
    return [word if word.isascii() else word.translate(table) for word in words]


def _decimal_digits(words: list[str]) -> list[str]:
    return [word if word.isascii() else "".join(map(_ascii_digit, word)) for word in words]


def _ascii_digit(character: str) -> str:
    value = decimal(character, None)
    return character if value is None else str(value)


@cache
def _arabic_table() -> dict[int, str | None]:
    table: dict[int, str | None] = {ord(mark): None for mark in _HARAKAT + _TATWEEL}
    table.update({ord(letter): _ALEF for letter in _ALEFS})
    table.update({ord(_TEH_MARBUTA): _HEH, ord(_ALEF_MAKSURA): _YEH})
    return table


def _arabic(words: list[str]) -> list[str]:
    table = _arabic_table()
    return [word if word.isascii() else word.translate(table) for word in words]


def _is_punctuation(word: str) -> bool:
    return all(category(character)[0] == "P" or character.isspace() for character in word)


def longest(most: int) -> Filter:
    """Drops words of more than `most` bytes of UTF-8."""
    return Keep(lambda word: len(word) <= most and (word.isascii() or len(word.encode()) <= most))


def holding(characters: str) -> Filter:
    """Keeps words with one of these characters, written as in a character class."""
    pattern = re.compile(f"[{characters}]")
    return Keep(lambda word: pattern.search(word) is not None)


_BY_NAME: dict[str, Callable[[], Filter]] = {
    "lowercase": Lowercase,
    "asciifolding": lambda: Change(_fold, spares_ascii=True),
    "alphanumonly": lambda: Keep(lambda word: word.isascii() and word.isalnum()),
    "cncharonly": lambda: holding(HAN),
    "cnalphanumonly": lambda: holding(f"{HAN}a-zA-Z0-9"),
    "removepunct": lambda: Keep(lambda word: not _is_punctuation(word)),
    "decimaldigit": lambda: Change(_decimal_digits, spares_ascii=True),
    "arabic_normalization": lambda: Change(_arabic, spares_ascii=True),
}
PLAIN_NAMES = frozenset(_BY_NAME)


def plain_filter(name: str) -> Filter:
    """The filter of one of `PLAIN_NAMES`."""
    return _BY_NAME[name]()
