"""What is wrong with a file, and where."""

from __future__ import annotations


class BadCell(Exception):
    """A value that its field does not take. `row` counts from the first row of the column at hand."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


class BadColumn(Exception):
    """A column that its field does not take, whatever is in it."""


class BadFile(Exception):
    """A file that is not what its name says, or that a row of cannot be read. `row` counts from the first of the file,
    None where it is not known."""

    def __init__(self, reason: str, row: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.row = row
