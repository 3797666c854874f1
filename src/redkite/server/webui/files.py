"""The page's own files: markup, styles and scripts, as they are shipped. Nothing is fetched from elsewhere."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final, NamedTuple

_TYPES: Final = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
INDEX: Final = "index.html"


class PageFile(NamedTuple):
    content: bytes
    content_type: bytes
    tag: bytes
    """An `etag`: equal ones have equal contents."""


def page_files() -> dict[str, PageFile]:
    """Every file by its name."""
    found = {}
    for entry in files("redkite.server.webui").joinpath("files").iterdir():
        content_type = _TYPES.get(entry.name[entry.name.rfind(".") :])
        if content_type is not None and entry.is_file():
            content = entry.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'.encode()
            found[entry.name] = PageFile(content, content_type, tag)
    return found
