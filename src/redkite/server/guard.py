"""Who calls? Told by the `authorization` header, in the forms that gRPC and REST have for it.

A password is slow to compare on purpose. Headers that were right are remembered until anything about users changes.
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from redkite.errors import Unauthenticated

if TYPE_CHECKING:
    from redkite.coordinator.access import AccessCoordinator, Picture
    from redkite.server.calls import Calls

AUTHORIZATION = b"authorization"
REMEMBERED = 10_000
MISSING = "missing authorization in header"
_BAD_TOKEN = "invalid token format"
_BAD_PASSWORD = "auth check failure, please check username and password are correct"
_BAD_KEY = "auth check failure, please check api key is correct"


class Guard:
    """`known` is quick and belongs to the event loop's thread; `grpc_user` and `rest_user` may take a while, and may be
    called from any."""

    def __init__(self, access: AccessCoordinator, follow: Callable[[], None]) -> None:
        """`follow` takes over what other processes have changed about users."""
        self._access = access
        self._follow = follow
        self._memory: tuple[Picture, dict[bytes, str]] = (access.picture, {})
        self._keys: dict[bytes, str] = {}

    def known(self, header: bytes | None) -> str | None:
        """The user behind a header that was right before; None: it has to be looked at. Raises Unauthenticated when
        there is none."""
        if header is None:
            raise Unauthenticated(MISSING)
        self._follow()
        picture, users = self._memory
        return users.get(header) if picture is self._access.picture else None

    def key_of(self, header: bytes | None) -> str:
        """The name of the API key in a header that was right; empty where it holds none."""
        return "" if header is None else self._keys.get(header, "")

    def grpc_user(self, header: bytes) -> str:
        """The user behind base64 of `user:password` or of an API key. Raises Unauthenticated."""
        return self._user(header, _decoded(header))

    def rest_user(self, header: bytes) -> str:
        """The user behind `Bearer user:password`, `Bearer <API key>` or HTTP's Basic. Raises Unauthenticated."""
        text = header.decode(errors="replace").strip()
        scheme, _, rest = text.partition(" ")
        if scheme.lower() == "basic":
            return self._user(header, _decoded(rest.encode()))
        return self._user(header, rest.strip() if scheme.lower() == "bearer" else text)

    async def rest_caller(self, calls: Calls, headers: Mapping[bytes, bytes]) -> str:
        """The user behind the headers of an HTTP request, looked at on a thread of `calls`. Raises Unauthenticated."""
        header = headers.get(AUTHORIZATION)
        user = self.known(header)
        if user is None:
            assert header is not None, "known raises without one"
            user = await calls.checked(functools.partial(self.rest_user, header))
        return user

    def _user(self, header: bytes, token: str) -> str:
        picture = self._access.picture
        name, colon, password = token.partition(":")
        if colon:
            if not self._access.verified(name, password):
                raise Unauthenticated(_BAD_PASSWORD)
        else:
            key = self._access.key(token)
            if key is None:
                raise Unauthenticated(_BAD_KEY)
            name = key.owner
            if len(self._keys) >= REMEMBERED:
                self._keys = {}
            self._keys[header] = key.name
        self._remember(picture, header, name)
        return name

    def _remember(self, picture: Picture, header: bytes, user: str) -> None:
        """`picture` is what the header was compared with: what changed meanwhile makes the answer worthless."""
        held, users = self._memory
        if held is not picture or len(users) >= REMEMBERED:
            users = {}
            self._memory = (picture, users)
        users[header] = user


def _decoded(header: bytes) -> str:
    try:
        return base64.b64decode(header, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthenticated(_BAD_TOKEN) from None
