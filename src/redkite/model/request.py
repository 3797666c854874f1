"""The base of all requests."""

from __future__ import annotations

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all requests. `database` is where names are looked up, `user` is who asks: empty for whoever owns the
    process, who may do everything. `cluster` is who is meant to answer: empty for whoever gets it, otherwise others
    refuse it."""

    database: str = ""
    user: str = ""
    cluster: str = ""
