"""How a filter that cannot be used is shown to the one who wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal

import msgspec

from redkite.errors import InvalidParameter

Purpose = Literal["query", "delete"]

_SHOWN = 1_000
"""Characters of a long filter that an error quotes."""
_WINDOW = 60
"""Characters shown on each side of the fault."""


def parse_error(
    text: str, detail: str, position: int | None = None, kind: Purpose = "query", hint: str = ""
) -> InvalidParameter:
    """The error for a filter that cannot be used.

    `position` is the offset of the fault in `text`: the line it stands on is then quoted with a caret under the fault,
    and `hint` stands beside the caret.
    """
    message = f"failed to create {kind} plan: cannot parse expression: {_shortened(text)}: {detail}"
    if position is not None and text:
        message += "\n" + _excerpt(text, position, hint or "here")
    elif hint:
        message += f" ({hint})"
    return InvalidParameter(message)


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Line counted from 1 and column counted from 0, as Milvus counts them."""
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely meant."""
    candidates = list(known)
    same = next((c for c in candidates if c.lower() == name.lower()), None)
    if same is not None:
        return same
    close = difflib.get_close_matches(name[:100], candidates, n=1, cutoff=0.7)
    return close[0] if close else None


class Source(msgspec.Struct, frozen=True):
    """The text of a filter and what it is for: all an error needs to know."""

    text: str
    purpose: Purpose = "query"

    def error(self, detail: str, position: int | None = None, hint: str = "") -> InvalidParameter:
        return parse_error(self.text, detail, position, self.purpose, hint)

    def syntax_error(self, detail: str, position: int, hint: str = "") -> InvalidParameter:
        """As `error`, with the line and the column in front."""
        line, column = line_and_column(self.text, position)
        return self.error(f"line {line}:{column} {detail}", position, hint)

    def excerpt(self, start: int, end: int) -> str:
        """A part of the text, cut where it is long."""
        return _shortened(self.text[start:end], 120)


def _shortened(text: str, limit: int = _SHOWN) -> str:
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def _excerpt(text: str, position: int, note: str) -> str:
    position = min(position, len(text))
    first = text.rfind("\n", 0, position) + 1
    last = text.find("\n", position)
    last = len(text) if last < 0 else last
    left = max(first, position - _WINDOW)
    right = min(last, position + _WINDOW)
    line = ("..." if left > first else "") + text[left:right] + ("..." if right < last else "")
    indent = position - left + (3 if left > first else 0)
    return f"  {line.translate(_BLANKS)}\n  {' ' * indent}^ {note}"


_BLANKS = str.maketrans("\t\r", "  ")
