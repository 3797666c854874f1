"""What an error may show of an answer."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 200
"""Characters of an answer that an error quotes."""


def hide(text: str, hidden: Sequence[str]) -> str:
    """The text without what must not be shown."""
    for secret in hidden:
        if secret:
            text = text.replace(secret, "***")
    return text


def quoted(body: bytes, hidden: Sequence[str]) -> str:
    """The beginning of an answer, as an error quotes it."""
    return hide(body[: 4 * SHOWN].decode(errors="replace"), hidden)[:SHOWN]
