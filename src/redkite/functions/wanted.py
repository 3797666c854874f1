"""What a function says about the service that it wants to ask."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from redkite.functions.providers.base import Auth


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a function says about its provider. `home` and `path` may hold names of `parts` in braces."""

    who: str
    """Begins the text of an error: `embedding provider openai`."""
    provider: str
    home: str
    path: str
    endpoint: str = ""
    credential: str = ""
    variables: tuple[str, ...] = ()
    auth: Auth = Auth.BEARER
    parts: Mapping[str, str] = {}
