"""Which characters are letters and numbers? A table of our own, so that a newer Python finds the same words in a text
that an older one indexed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any
from unicodedata import category

import numpy as np
import numpy.typing as npt

from redkite.text.data import lines_of

CODE_POINTS = 0x110000
Table = npt.NDArray[np.bool_]

_HAN = (
    (0x2E80, 0x2E99), (0x2E9B, 0x2EF3), (0x2F00, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029),
    (0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFA6D), (0xFA70, 0xFAD9), (0x16FE2, 0x16FE3),
    (0x16FF0, 0x16FF6), (0x20000, 0x2A6DF), (0x2A700, 0x2B81E), (0x2B820, 0x2CEAD), (0x2CEB0, 0x2EBE0),
    (0x2EBF0, 0x2EE5D), (0x2F800, 0x2FA1D), (0x30000, 0x3134A), (0x31350, 0x33479),
)  # fmt: skip
"""Where Chinese characters are: Unicode's script Han."""
HAN = "".join(f"{chr(first)}-{chr(last)}" for first, last in _HAN)
"""The same as the inside of a character class of a regular expression."""


@cache
def word_characters() -> Table:
    """Of each code point, whether it belongs to words: Unicode's Alphabetic, Nd, Nl and No."""
    edges = np.cumsum([int(run, 16) for run in " ".join(lines_of("word_characters.txt")).split()])
    steps = np.zeros(CODE_POINTS + 1, np.int8)
    steps[edges] = np.where(np.arange(len(edges)) % 2, -1, 1)
    return _sealed(np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_))


def without(characters: str, groups: Iterable[Table] = ()) -> Table:
    """Of each code point, whether it is none of `characters` and in none of `groups`."""
    table = np.ones(CODE_POINTS, np.bool_)
    table[[ord(character) for character in characters]] = False
    for group_table in groups:
        table &= ~group_table
    return _sealed(table)


ASCII_SPACES = "\t\n\f\r "


# -- groups of characters -----------------------------------------------------------------------
def _of_categories(*letters: str) -> Callable[[str], bool]:
    return lambda character: category(character)[0] in letters


def _matching(pattern: str) -> Callable[[str], bool]:
    found = re.compile(pattern).fullmatch
    return lambda character: found(character) is not None


_ASCII = 128
_GROUPS: dict[str, Callable[[str], bool]] = {
    "whitespace": lambda character: character.isspace() and character not in "\x1c\x1d\x1e\x1f",
    "letter": lambda character: bool(word_characters()[ord(character)]) and category(character) not in ("Nd", "No"),
    "digit": _matching("[0-9]"),
    "punctuation": _of_categories("P"),
    "symbol": _of_categories("S"),
    "ascii_whitespace": _matching("[\t\n\f\r ]"),
    "ascii_letter": _matching("[A-Za-z]"),
    "ascii_digit": _matching("[0-9]"),
    "ascii_punctuation": _matching("[!-/:-@\\[-`{-~]"),
}


@cache
def group(name: str) -> Table | None:
    """Of each code point, whether it is of the group of this name; None when there is no such group."""
    test = _GROUPS.get(name)
    if test is None:
        return None
    looked_at = _ASCII if name == "digit" or name.startswith("ascii_") else CODE_POINTS
    table = np.zeros(CODE_POINTS, np.bool_)
    table[:looked_at] = np.fromiter((test(chr(point)) for point in range(looked_at)), np.bool_, looked_at)
    return _sealed(table)


def _sealed(table: npt.NDArray[Any]) -> Table:
    table.setflags(write=False)
    return table
