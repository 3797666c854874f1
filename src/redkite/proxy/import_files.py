"""Where the files of imports are: folders and stores of objects, and that none outside of them can be named."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from redkite.backup.place import is_url, resolve
from redkite.env import Env, Files
from redkite.errors import ImportFailed, InvalidParameter, ObjectNotFound
from redkite.formats.readers import Stored

_PAGE_BYTES = 1 << 20


class FileMissing(ImportFailed):
    """There is no such file here; elsewhere there may be one."""


class ImportFolder:
    """`roots`: folders and URLs below which files may be named; None: any file, as whoever runs this process may."""

    def __init__(self, env: Env, roots: Sequence[str] | None) -> None:
        self._env = env
        self._roots = roots

    def check(self, name: str) -> None:
        """Raise ImportFailed for a name that leads where nobody may look."""
        if self._roots is None:
            return
        for root in self._roots:
            try:
                self._place(name, root)
            except InvalidParameter:
                continue
            return
        raise self._refused(name)

    def find(self, name: str) -> Stored:
        """The file of that name. Raises ImportFailed when there is none, or it lies where nobody may look."""
        refused = bool(self._roots)
        for place in (None,) if self._roots is None else self._roots:
            try:
                found = self._in(name, place)
            except InvalidParameter:
                continue
            refused = False
            if found is not None:
                return found
        if refused:
            raise self._refused(name)
        below = "" if self._roots is None else f" below {self._shown()}"
        raise FileMissing(f"file '{name}' does not exist{below}")

    def _refused(self, name: str) -> ImportFailed:
        return ImportFailed(f"file '{name}' may not be read: files of imports lie below {self._shown()}")

    def _shown(self) -> str:
        """The places, without what a URL may have of keys."""
        return ", ".join(f"'{root.partition('?')[0]}'" for root in self._roots or ())

    @staticmethod
    def _place(name: str, root: str | None) -> str:
        """The path or URL that a name means. Raises InvalidParameter for one that leads elsewhere, also by a link."""
        if "\0" in name:
            raise InvalidParameter("a name of a file holds a zero character")
        place = resolve(name, root)
        if is_url(place) or root is None:
            return place
        real, home = os.path.realpath(place), os.path.realpath(root)
        if real != home and not real.startswith(f"{home}{os.sep}"):
            raise InvalidParameter(f"'{name}' leads elsewhere")
        return place

    def _in(self, name: str, root: str | None) -> Stored | None:
        place = self._place(name, root)
        return _remote(name, place) if is_url(place) else self._local(name, place)

    def _local(self, name: str, path: str) -> Stored | None:
        files = self._env.files
        local = files.local_path(path)
        if not (files.exists(path) if local is None else os.path.isfile(local)):
            return None
        size = files.size(path)
        return Stored(name, size, lambda: io.BufferedReader(_Reading(files, path, size), _PAGE_BYTES))


class _Reading(io.RawIOBase):
    """A file that is read piece by piece. One that is cut short meanwhile ends there."""

    def __init__(self, files: Files, path: str, size: int) -> None:
        super().__init__()
        self._files = files
        self._path = path
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        data = self._files.read(self._path, self._at, min(len(buffer), max(0, self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _remote(name: str, url: str) -> Stored | None:
    from redkite.storage.remote_objects import open_remote

    parts = urlsplit(url)
    folder, _, last = parts.path.rpartition("/")
    query = f"?{parts.query}" if parts.query else ""
    store = open_remote(f"{parts.scheme}://{parts.netloc}{folder}{query}")
    try:
        size = store.size(last)
    except ObjectNotFound:
        return None
    opened: Callable[[], BinaryIO] = partial(store.reader, last)
    return Stored(name, size, opened)
