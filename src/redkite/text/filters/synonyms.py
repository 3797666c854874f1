"""Words that stand for one another."""

from __future__ import annotations

import re
from collections.abc import Iterable

from redkite.errors import InvalidParameter
from redkite.text.filters.base import Expand, Filter

_PIECE = re.compile(r"\\(=>|[,\\ ])|(=>)|(,)|( +)|(\\.?)|([^\\, ])", re.DOTALL)


def synonym_filter(rules: Iterable[str], *, expand: bool) -> Filter:
    """A word that a rule names becomes what the rule says, all in its place.

    `happy, joyful`: with `expand` each of them becomes all of them, else the first. `small => tiny, compact`: what is
    on the left becomes what is on the right, and with `expand` stays beside it. A backslash takes their meaning from
    `,`, `=>`, a space and itself.
    """
    table: dict[str, dict[str, None]] = {}
    for rule in rules:
        left, right = _read(rule)
        for word in left:
            found = table.setdefault(word, {})
            if expand:
                found[word] = None
            found.update(dict.fromkeys(right if right is not None else left if expand else left[:1]))
    known = {word: tuple(found) for word, found in table.items() if found}
    return Expand(lambda word: known.get(word) or (word,))


def _read(rule: str) -> tuple[list[str], list[str] | None]:
    """The words on the left of `=>` and on its right; None for a rule without one."""
    sides: list[list[str]] = [[]]
    word, ended = "", False
    for match in _PIECE.finditer(rule.strip("\r\n")):
        escaped, arrow, comma, space, bad, plain = match.groups()
        if bad is not None:
            raise _bad_escape(rule, bad)
        if space is not None:
            ended = bool(word)
            continue
        if arrow is None and comma is None:
            if ended:
                raise InvalidParameter(
                    f"read synonym dict failed, has space between words {rule}, please use \\ to escape space"
                )
            word += escaped or plain
            continue
        if word:
            sides[-1].append(word)
        word, ended = "", False
        if arrow is not None:
            if len(sides) > 1:
                raise InvalidParameter(f'read synonym dict failed, has more than one "=>" in {rule}')
            sides.append([])
    if word:
        sides[-1].append(word)
    return sides[0], sides[1] if len(sides) > 1 else None


def _bad_escape(rule: str, found: str) -> InvalidParameter:
    if found == "\\":
        return InvalidParameter(f"invalid synonym escaped in the end: {rule}")
    return InvalidParameter(f"invalid synonym escaped: {found} in {rule}")
