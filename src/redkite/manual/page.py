"""What the manual says of one command."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """A line for a shell, and what it does."""

    line: str
    does: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One command."""

    summary: str
    """Its line in a list of commands."""
    text: str
    """Paragraphs, their lines as they are shown."""
    examples: tuple[Example, ...]
    statuses: tuple[tuple[int, str], ...] = ()
    """Beyond those that every command has."""
    variables: tuple[tuple[str, str], ...] = ()
    """Of the environment."""
