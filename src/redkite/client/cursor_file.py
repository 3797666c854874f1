"""The file in which a query iterator keeps how far it has come, so that another process can go on.

As Milvus's SDK writes it: the hybrid timestamp that is read at, and below it the last primary key, on a line each. A
key with line breaks is written as a JSON object.
"""

from __future__ import annotations

import json
from pathlib import Path

from redkite.errors import ParamError


class CursorFile:
    """Written after each page, as a whole: what is there is never half a key."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def read(self) -> tuple[int, str] | None:
        """The timestamp and the last key, as text; None when there is no file."""
        try:
            lines = self._path.read_text().split("\n")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ParamError(f"cursor file {self._path} cannot be read: {error}") from error
        lines = [line for line in lines if line]
        if len(lines) < 2:
            raise ParamError(
                f"input cp file:{self._path} should contain at least two lines, but only:{len(lines)} lines"
            )
        if not lines[0].isdigit():
            raise ParamError(f"cursor file {self._path} begins with no timestamp: {lines[0][:40]!r}")
        return int(lines[0]), _key(lines[-1])

    def write(self, timestamp: int, key: int | str) -> None:
        """Remember the last key of a page."""
        text = str(key)
        if text.splitlines() != [text] or text.startswith("{"):
            text = json.dumps({"pk": key})
        beside = self._path.with_name(self._path.name + ".new")
        try:
            beside.write_text(f"{timestamp}\n{text}\n")
            beside.replace(self._path)
        except OSError as error:
            raise ParamError(f"cursor file {self._path} cannot be written: {error}") from error

    def remove(self) -> None:
        """The iterator is closed: nobody goes on from here."""
        self._path.unlink(missing_ok=True)


def _key(line: str) -> str:
    if line.startswith("{"):
        try:
            return str(json.loads(line)["pk"])
        except (ValueError, KeyError, TypeError):
            return line
    return line
