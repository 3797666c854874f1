"""Passwords and keys, as they are kept: nobody can read them back."""

from __future__ import annotations

import hmac
import secrets  # noqa: TID251  a key must not follow from the seed of a simulation
from functools import cache
from hashlib import sha256
from typing import Any

from redkite.errors import Unavailable

ROUNDS = 10
"""2^10 rounds of bcrypt: some 50 ms, each time a password is seen for the first time."""
KEY_PREFIX = "rk_"
NOBODYS_HASH = "$2b$10$" + "." * 53
"""The hash of no password, as slow to compare as any."""


@cache
def _library() -> Any:
    try:
        import bcrypt
    except ImportError:
        raise Unavailable("passwords need the library bcrypt: pip install 'redkite[server]'") from None
    return bcrypt


def hashed(password: str) -> str:
    """What is kept of a password: bcrypt, as Milvus and its backup tool keep it."""
    library = _library()
    text: str = library.hashpw(password.encode(), library.gensalt(ROUNDS)).decode()
    return text


def matches(password: str, kept: str) -> bool:
    try:
        return bool(_library().checkpw(password.encode(), kept.encode()))
    except ValueError:  # too long for bcrypt, a NUL in it, or what is kept is no hash of bcrypt's
        return False


def is_hash(text: str) -> bool:
    return text.startswith(("$2a$", "$2b$", "$2y$")) and len(text) == 60


def new_key() -> str:
    return KEY_PREFIX + secrets.token_hex(32)


def key_digest(key: str) -> str:
    """What is kept of an API key. Keys are random and long: one round of a fast hash hides them."""
    return sha256(key.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Takes as long wherever the two differ."""
    return hmac.compare_digest(one.encode(), other.encode())
