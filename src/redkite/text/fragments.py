"""Parts of a text around the words that matter, with those words marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""Characters `begin` to `end` of a text."""


@dataclass(frozen=True, slots=True)
class Look:
    """How fragments are cut and marked."""

    pre_tags: Sequence[str]
    post_tags: Sequence[str]
    offset: int
    """Characters before the first marked word."""
    size: int
    """Characters in all, tags not counted; more where a marked word would be cut off."""
    most: int


def fragments(text: str, spans: Iterable[Span], look: Look) -> list[str]:
    """The first fragments of a text: each begins before a marked word that is in none yet, and holds what follows."""
    found: list[str] = []
    waiting = merged(spans)
    at = begin = 0
    while at < len(waiting) and len(found) < look.most:
        begin = max(begin, waiting[at][0] - look.offset)
        end = min(len(text), begin + look.size)
        inside: list[Span] = []
        while at < len(waiting) and (waiting[at][0] < end or not inside):
            inside.append(waiting[at])
            end = max(end, waiting[at][1])
            at += 1
        found.append(_marked(text, begin, end, inside, look))
        begin = end
    return found


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in order; those that overlap are one."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if begin >= end:
            continue
        if found and begin < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _marked(text: str, begin: int, end: int, spans: Sequence[Span], look: Look) -> str:
    parts: list[str] = []
    at = begin
    for number, (first, last) in enumerate(spans):
        pre, post = look.pre_tags[number % len(look.pre_tags)], look.post_tags[number % len(look.post_tags)]
        parts += (text[at:first], pre, text[first:last], post)
        at = last
    return "".join((*parts, text[at:end]))
