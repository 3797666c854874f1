"""Dictionaries that lie in files: read once, then kept with the schema that names them.

An analyzer names a file as `{"type": "remote", "resource_name": …, "file_name": …}`, one that was registered with the
database, or as `{"type": "local", "path": …}`, one where the database runs. When a collection is created, the files
that its analyzers name are packed into the type param `analyzer.files` of the field. So a collection keeps its
dictionaries whatever becomes of the files, and finds equal words in equal texts for ever.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Hashable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from redkite.errors import InvalidParameter

FILES_PARAM = "analyzer.files"
MOST_BYTES = 16 << 20
"""Of one file."""


class Resources(Protocol):
    """Files, by name."""

    @property
    def key(self) -> Hashable:
        """Equal for equal files."""
        ...

    def read(self, name: str) -> bytes:
        """The file registered under a name; raises InvalidParameter when there is none."""
        ...

    def read_local(self, path: str) -> bytes:
        """The file at a path; raises InvalidParameter when there is none."""
        ...


class NoResources:
    """No file at all."""

    key = ""

    def read(self, name: str) -> bytes:
        raise InvalidParameter(f"file resource {name} not found")

    def read_local(self, path: str) -> bytes:
        raise InvalidParameter(f"local file {path} cannot be read here")


NONE = NoResources()


class PackedFiles:
    """The files that a field's `analyzer.files` holds."""

    def __init__(self, packed: str) -> None:
        self.key = packed
        self._files = msgspec.json.decode(packed, type=dict[str, str])

    def read(self, name: str) -> bytes:
        return self._unpacked(_REMOTE + name)

    def read_local(self, path: str) -> bytes:
        return self._unpacked(_LOCAL + path)

    def _unpacked(self, name: str) -> bytes:
        if name not in self._files:
            raise InvalidParameter(f"file resource {name.partition(':')[2]} is not kept with the collection")
        return zlib.decompress(base64.b85decode(self._files[name]))


_REMOTE, _LOCAL = "remote:", "local:"


@lru_cache(maxsize=64)
def packed_files(packed: str) -> Resources:
    """The files of a field's `analyzer.files`; none for an empty text."""
    return PackedFiles(packed) if packed else NONE


def pack(params: object, resources: Resources) -> str:
    """Every file that analyzer params name, in one text; empty when they name none."""
    files: dict[str, str] = {}
    for place in _places(params):
        if place not in files:
            kind, _, name = place.partition(":")
            content = resources.read(name) if kind == "remote" else resources.read_local(name)
            files[place] = base64.b85encode(zlib.compress(content)).decode()
    return msgspec.json.encode(files, order="sorted").decode() if files else ""


def _places(params: object) -> Iterator[str]:
    """Each file named anywhere in params."""
    if isinstance(params, dict):
        for key, value in params.items():
            if key.endswith("_file"):
                yield _place(value, key)
            else:
                yield from _places(value)
    elif isinstance(params, list):
        for item in params:
            yield from _places(item)


def lines_of_file(where: object, label: str, resources: Resources) -> list[str]:
    """The lines of the file that `where` names; blank ones are left out. `label` is how messages call it."""
    kind, _, name = _place(where, label).partition(":")
    content = resources.read(name) if kind == "remote" else resources.read_local(name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"read {label} file failed, error: {error.reason} at byte {error.start}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _place(where: object, label: str) -> str:
    if not isinstance(where, dict):
        raise InvalidParameter(f"file config of {label} must be object")
    kind = _text(where, "type", f"file type of {label}")
    if kind == "local":
        return _LOCAL + _text(where, "path", f"file path of local file `{label}`")
    if kind == "remote":
        _text(where, "file_name", f"file name of remote file `{label}`")
        return _REMOTE + _text(where, "resource_name", f"resource name of remote file `{label}`")
    raise InvalidParameter(f"unsupported file type {kind} of {label}")


def _text(where: Mapping[Any, Any], key: str, what: str) -> str:
    if key not in where:
        raise InvalidParameter(f"{what} must be set")
    value = where[key]
    if not isinstance(value, str):
        raise InvalidParameter(f"{what} must be string")
    return value
