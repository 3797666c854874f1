"""Numbers that travel as text."""

from __future__ import annotations

import re

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")


def whole_number(text: str) -> int | None:
    """The integer a parameter's text spells in plain decimal digits, else None."""
    return int(text) if _WHOLE.fullmatch(text) else None


def truth(text: str) -> bool | None:
    """The boolean a parameter's text spells, in any case, else None."""
    return {"true": True, "false": False}.get(text.lower())
