r"""Patterns of `like`: `%` is any run of characters, `_` exactly one; after a backslash a character is plain.

Patterns of `=~` are regular expressions of RE2, found anywhere in a text.
"""

from __future__ import annotations

import re
from enum import Enum

import msgspec
import pyarrow as pa
import pyarrow.compute as pc


class Shape(Enum):
    ANY = "any"
    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    INNER = "inner"
    REGEX = "regex"


class Pattern(msgspec.Struct, frozen=True):
    """`text` is what the shape looks for: plain characters, or a regular expression for REGEX."""

    shape: Shape
    text: str
    pieces: tuple[str, ...] = ()
    """Plain runs that every match holds, where they are known."""

    def match(self, strings: pa.Array) -> pa.Array:
        """(rows,) Arrow booleans, null where the string is null."""
        if self.shape is Shape.EXACT:
            return pc.equal(strings, pa.scalar(self.text, pa.string()))
        if self.shape is Shape.PREFIX:
            return pc.starts_with(strings, self.text)
        if self.shape is Shape.SUFFIX:
            return pc.ends_with(strings, self.text)
        if self.shape is Shape.INNER:
            return pc.match_substring(strings, self.text)
        if self.shape is Shape.ANY:
            return pc.greater_equal(pc.binary_length(strings), 0)
        return pc.match_substring_regex(strings, self.text)


_PLAIN = re.compile(r"[\w \-,:;@#/'\"<>=!%&~]*")
"""Regular expressions of nothing but these characters mean themselves."""


class PatternError(ValueError):
    """A pattern that cannot be used; its text says why."""


def prefix(text: str) -> Pattern:
    """The pattern of strings that start with `text`."""
    return Pattern(Shape.PREFIX, text)


class _Wild(Enum):
    RUN = ".*"
    ONE = "."


def compile_pattern(pattern: str) -> Pattern:
    """The cheapest test that means `pattern`. Raises PatternError for a lone backslash at the end or a huge pattern."""
    pieces = _pieces(pattern)
    plain = [p for p in pieces if isinstance(p, str)]
    if len(plain) <= 1 and _Wild.ONE not in pieces:
        text = plain[0] if plain else ""
        if len(pieces) == len(plain):
            return Pattern(Shape.EXACT, text)
        if not plain:
            return Pattern(Shape.ANY, "")
        if pieces[0] is _Wild.RUN:
            return Pattern(Shape.INNER if pieces[-1] is _Wild.RUN else Shape.SUFFIX, text)
        return Pattern(Shape.PREFIX, text)
    regex = "".join(_quoted(p) if isinstance(p, str) else p.value for p in pieces)
    compiled = Pattern(Shape.REGEX, rf"(?s)\A{regex}\z", tuple(plain))
    try:
        compiled.match(pa.array([""], pa.string()))
    except pa.ArrowInvalid as error:
        raise PatternError("pattern is too large") from error
    return compiled


def compile_regex(pattern: str) -> Pattern:
    """The test that finds a regular expression in a text. Raises PatternError."""
    if _PLAIN.fullmatch(pattern):
        return Pattern(Shape.INNER, pattern) if pattern else Pattern(Shape.ANY, "")
    compiled = Pattern(Shape.REGEX, pattern)
    try:
        compiled.match(pa.array([""], pa.string()))
    except pa.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise PatternError(f"invalid regex pattern '{pattern[:100]}': {reason[:200]}") from error
    return compiled


def _pieces(pattern: str) -> list[str | _Wild]:
    """The pattern as plain runs and wild ones; neighbouring `%` are one."""
    pieces: list[str | _Wild] = []
    plain: list[str] = []
    escaped = False
    for character in pattern:
        if escaped or character not in "%_\\":
            plain.append(character)
            escaped = False
            continue
        if character == "\\":
            escaped = True
            continue
        if plain:
            pieces.append("".join(plain))
            plain = []
        if character == "_":
            pieces.append(_Wild.ONE)
        elif not pieces or pieces[-1] is not _Wild.RUN:
            pieces.append(_Wild.RUN)
    if escaped:
        raise PatternError("invalid pattern: it ends in a lone backslash")
    if plain:
        pieces.append("".join(plain))
    return pieces


def _quoted(text: str) -> str:
    return "".join(c if c.isalnum() or c == "_" or ord(c) > 127 else f"\\x{ord(c):02x}" for c in text)
