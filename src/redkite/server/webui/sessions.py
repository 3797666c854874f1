"""Who has logged in at the page: a token in a cookie stands for the `authorization` header that was right once.

The header is looked at anew with every request, by the guard that looks at all others. A password that was changed, a
user or a key that was dropped ends its sessions at once.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple

COOKIE: Final = "redkite_session"
PATH: Final = "/webui"
_LONGEST_SECONDS: Final = 12 * 3600.0
_IDLE_SECONDS: Final = 2 * 3600.0
MOST_SESSIONS: Final = 1_000
"""Beyond these the one that was used least recently ends."""
MOST_OF_ONE: Final = 50
"""Of one user's, so that nobody ends the sessions of others."""
_TOKEN_BYTES: Final = 32


class _Session(NamedTuple):
    header: bytes
    user: str
    began: float
    used: float


class Sessions:
    """Of one process, in its memory. Belongs to the event loop's thread. Tokens are kept as hashes."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._sessions: dict[bytes, _Session] = {}
        """By the hash of the token, the one used last at the end."""

    def begin(self, header: bytes, user: str) -> str:
        """The token of a new session."""
        own = [key for key, session in self._sessions.items() if session.user == user]
        if len(own) >= MOST_OF_ONE:
            del self._sessions[own[0]]
        while len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        now = self._now()
        self._sessions[_hashed(token)] = _Session(header, user, now, now)
        return token

    def header(self, token: str) -> bytes | None:
        """What the session's user said; None where there is no such session any more."""
        key = _hashed(token)
        found = self._sessions.pop(key, None)
        now = self._now()
        if found is None or now - found.began > _LONGEST_SECONDS or now - found.used > _IDLE_SECONDS:
            return None
        self._sessions[key] = found._replace(used=now)
        return found.header

    def end(self, token: str) -> None:
        self._sessions.pop(_hashed(token), None)


def token_of(header: bytes) -> str:
    """The token in a `cookie` header; empty where there is none."""
    for part in header.decode("latin-1").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def cookie(token: str, *, encrypted: bool) -> bytes:
    """The `set-cookie` header that hands a token out, or with an empty one takes it back."""
    ending = "" if token else "; Max-Age=0"
    secure = "; Secure" if encrypted else ""
    return f"{COOKIE}={token}; Path={PATH}; HttpOnly; SameSite=Strict{ending}{secure}".encode("latin-1")


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
