"""How far a migration has come, in a file, so that one that was cut off goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redkite.errors import ParamError
from redkite.migration.plan import Place


class State:
    """One file of JSON. It is replaced as a whole after every write that the target has acknowledged."""

    def __init__(self, path: Path, source: str, target: str, settings: Mapping[str, str] | None = None) -> None:
        """`settings`: what else has to be the same for a migration to go on. Nothing here may be a secret."""
        self.path = path
        self._content: dict[str, Any] = {
            "source": source, "target": target, "settings": dict(settings or {}), "collections": {},
        }  # fmt: skip
        self.is_resumed = path.exists()
        if self.is_resumed:
            self._content = self._read(source, target, dict(settings or {}))

    @classmethod
    def default_path(cls, *ends: str) -> Path:
        """Beside the program, called after both ends."""
        mark = hashlib.sha256("\n".join(ends).encode()).hexdigest()[:12]
        return Path(f"redkite-migration-{mark}.json")

    def _read(self, source: str, target: str, settings: dict[str, str]) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self.path.read_text())
            ends = (content["source"], content["target"])
            others = {key for key, value in content["settings"].items() if settings.get(key) != value}
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ParamError(f"{self.path} is not the file of a migration: remove it, or name another") from error
        if ends != (source, target):
            raise ParamError(f"{self.path} is of the migration from {ends[0]} to {ends[1]}: name another file")
        if others:
            raise ParamError(
                f"{self.path} is of a migration with another {', '.join(sorted(others))}: give the same command again, "
                "or name another file"
            )
        return content

    def knows(self, name: str, source: str) -> bool:
        """Whether this migration has made the collection, of that one of the source."""
        return bool(self._content["collections"].get(name, {}).get("source") == source)

    def begin(self, name: str, source: str) -> None:
        """Remember that a collection is going to be made: from now on it is ours."""
        self._content["collections"][name] = {"source": source, "place": {}, "rows": 0, "done": False}
        self._write()

    def place(self, name: str) -> Place:
        found: Place = self._content["collections"].get(name, {}).get("place", {})
        return found

    def rows(self, name: str) -> int:
        return int(self._content["collections"].get(name, {}).get("rows", 0))

    def is_done(self, name: str) -> bool:
        return bool(self._content["collections"].get(name, {}).get("done"))

    def note(self, name: str, place: Place, rows: int, *, done: bool = False) -> None:
        """Remember how far a collection is."""
        self._content["collections"][name] |= {"place": place, "rows": rows, "done": done}
        self._write()

    def _write(self) -> None:
        fresh = self.path.with_name(f"{self.path.name}.new")
        with fresh.open("w") as file:
            file.write(json.dumps(self._content))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)

    def remove(self) -> None:
        """All is done."""
        self.path.unlink(missing_ok=True)
