"""Which web pages may call? What browsers ask of a server before they let a page read its answers (CORS).

A server that asks nobody who they are must not answer every page that its owner's browser happens to show: such a page
could read and drop everything. So what is not allowed is refused, not only hidden from the page.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from redkite.model.hosts import is_loopback

Header = tuple[bytes, bytes]
ORIGIN: Final = b"origin"
_ANY: Final = "*"
_METHODS: Final = (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH")
_HEADERS: Final = (b"access-control-allow-headers", b"*, Authorization")
_EXPOSED: Final = (b"access-control-expose-headers", b"X-Milvus-Trace-Id, Client-Request-Id")
_ALL: Final[list[Header]] = [(b"access-control-allow-origin", b"*"), _HEADERS, _METHODS, _EXPOSED]
_VARY: Final = (b"vary", b"Origin")


class Origins:
    """The setting `rest_origins`."""

    def __init__(self, setting: str = "auto", *, guarded: bool = False) -> None:
        """`guarded`: callers have to say who they are, in a header that a page cannot send without knowing it."""
        named = frozenset(part for name in setting.split(",") if (part := name.strip().rstrip("/").lower()))
        self._any = _ANY in named or (named == {"auto"} and guarded)
        self._local = named == {"auto"} and not guarded
        self._named = named - {"none", "auto", _ANY}

    def headers(self, origin: bytes | None) -> list[Header] | None:
        """What an answer to a page of that origin says (None: to no page); None when it may not call."""
        if origin is None:
            return _ALL if self._any else [_VARY]
        text = origin.decode("latin-1").lower()
        if text in self._named:
            own = (b"access-control-allow-origin", origin)
            return [own, (b"access-control-allow-credentials", b"true"), _HEADERS, _METHODS, _EXPOSED, _VARY]
        if self._any:
            return _ALL
        if self._local and _is_local(text):
            return [(b"access-control-allow-origin", origin), _HEADERS, _METHODS, _EXPOSED, _VARY]
        return None


def _is_local(origin: str) -> bool:
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
