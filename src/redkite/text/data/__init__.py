"""Tables and word lists, each with its source in the first line."""

from __future__ import annotations

from importlib.resources import files


def lines_of(name: str) -> list[str]:
    """The lines of a file here, without the first one."""
    return (files(__name__) / name).read_text("utf-8").splitlines()[1:]
