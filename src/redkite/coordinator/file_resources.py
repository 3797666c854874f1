"""Files that analyzers read, registered by name and kept in the catalog."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING

from redkite.coordinator.meta import Meta
from redkite.env import Files
from redkite.errors import InvalidParameter
from redkite.text.resources import MOST_BYTES

if TYPE_CHECKING:
    from redkite.storage.catalog import Catalog

_NAMES, _CONTENTS = "files/name/", "files/content/"
CONTENTS = _CONTENTS
"""Begins the keys of the bytes of registered files, by id."""


class FileMeta(Meta, frozen=True, kw_only=True):
    """One registered file. Its bytes lie under its id."""

    name: str
    path: str
    resource_id: int


class FileResourceCoordinator:
    """Safe from any thread. Relative paths begin at `home`, or, where only files `below` a folder may be named, there.
    The files that analyzers see (`text.resources.Resources`)."""

    def __init__(
        self, catalog: Catalog, files: Files, home: str, below: str | None, allocate_id: Callable[[], int]
    ) -> None:
        self._catalog = catalog
        self._files = files
        self._folder = home if below is None else os.path.abspath(below)
        self._confined = below is not None
        self._allocate_id = allocate_id
        self._lock = threading.RLock()  # taken again where one thread does all, and hears of changes as it commits
        self._self = object()  # unlike an id, it is never another's
        self._known = self._load()

    def reload(self) -> None:
        """Take over what another process has committed."""
        self._known = self._load()

    def absorb(self, _changes: Iterable[str]) -> None:
        """Take over what others have committed."""
        with self._lock:
            self._known = self._load()

    def _load(self) -> dict[str, FileMeta]:
        return {meta.name: meta for meta in (FileMeta.from_bytes(data) for _, data in self._catalog.scan(_NAMES))}

    def add(self, name: str, path: str) -> FileMeta:
        """Copy a file and register it. The same name and path again change nothing; raises InvalidParameter for
        another path, or a file that cannot be read."""
        if not name:
            raise InvalidParameter("file resource name is empty")
        if not path:
            raise InvalidParameter("file resource path is empty")
        with self._lock:
            known = self._known.get(name)
            if known is not None:
                if known.path == path:
                    return known
                raise InvalidParameter(f"file resource {name} already exists with path {known.path}")
            content = self.read_local(path)
            meta = FileMeta(name=name, path=path, resource_id=self._allocate_id())
            self._catalog.commit({_NAMES + name: meta.to_bytes(), f"{_CONTENTS}{meta.resource_id}": content})
            self._known = {**self._known, name: meta}
            return meta

    def remove(self, name: str) -> None:
        """Missing is success."""
        with self._lock:
            known = self._known.get(name)
            if known is not None:
                self._catalog.commit({}, [_NAMES + name, f"{_CONTENTS}{known.resource_id}"])
                self._known = {other: meta for other, meta in self._known.items() if other != name}

    def all(self) -> tuple[FileMeta, ...]:
        """By name."""
        known = self._known
        return tuple(known[name] for name in sorted(known))

    # -- for analyzers --------------------------------------------------------------------------
    @property
    def key(self) -> Hashable:
        """Equal for equal files: an id stands for one file for ever."""
        return self._self, tuple(meta.resource_id for meta in self._known.values())

    def read(self, name: str) -> bytes:
        """The bytes of a registered file; InvalidParameter when there is none of that name."""
        known = self._known.get(name)
        content = None if known is None else self._catalog.get(f"{_CONTENTS}{known.resource_id}")
        if content is None:
            raise InvalidParameter(f"file resource {name} not found")
        return content

    def read_local(self, path: str) -> bytes:
        """The bytes of a file where the database runs; InvalidParameter when it cannot be read or is too large."""
        place = os.path.normpath(os.path.join(self._folder, path))
        hint = ""
        if self._confined:
            hint = f", files of this server lie below '{self._folder}'"
            if not place.startswith(f"{self._folder}{os.sep}"):
                raise InvalidParameter(f"file resource path not exist: {path}{hint}")
        try:
            content = self._files.read(place, 0, MOST_BYTES + 1)
        except (OSError, ValueError):
            raise InvalidParameter(f"file resource path not exist: {path}{hint}") from None
        if len(content) > MOST_BYTES:
            raise InvalidParameter(f"file {path} is larger than {MOST_BYTES} bytes")
        return content
