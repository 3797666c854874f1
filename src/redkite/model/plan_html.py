"""An explanation as a tree of HTML, for notebooks. Every text is escaped: filters hold what users wrote."""

from __future__ import annotations

from html import escape
from typing import Final

_STEP: Final = 2
"""Blanks that a line of the text is further in than the one it belongs to."""


def plan_html(text: str) -> str:
    """Lines that are indented below each other, as nested lists."""
    parts: list[str] = []
    depth = 0
    for line in text.split("\n"):
        level = 1 + (len(line) - len(line.lstrip(" "))) // _STEP
        parts.append("</li>" if level == depth else "")
        while depth < level:
            parts.append("<ul>")
            depth += 1
        while depth > level:
            parts.append("</li></ul>" + ("</li>" if depth - 1 == level else ""))
            depth -= 1
        parts.append(f"<li>{escape(line.strip())}")
    return "".join(parts) + "</li></ul>" * depth
