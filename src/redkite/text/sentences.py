"""Where the sentences of a text are, by its marks and lines alone."""

from __future__ import annotations

import re

from redkite.text.fragments import Span

_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s)|[\u3002\uff01\uff1f]+[\"”’」』)]*|\n+")
"""A mark before a blank, a full-width mark, or the end of a line. A row of marks is looked at once, as a whole: a text
may have nothing else."""
_WORDLESS = re.compile(r"\W*")


def sentences(text: str) -> list[Span]:
    """The sentences of a text in order, without blanks around them. What has no letter and no digit is none."""
    found: list[Span] = []
    begin = 0
    for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
        piece = text[begin:end]
        if not _WORDLESS.fullmatch(piece):
            blanks = len(piece) - len(piece.lstrip())
            found.append((begin + blanks, begin + len(piece.rstrip())))
        begin = end
    return found
