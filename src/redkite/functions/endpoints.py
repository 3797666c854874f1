"""Which addresses functions may send texts to.

Whoever may create a collection may name an endpoint, and the engine then speaks to it from where it runs. A server
therefore has a list of addresses that may be named, and speaks to no others; the providers' own are always on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from redkite.errors import InvalidParameter
from redkite.model.calling import ANYWHERE, LOOPBACK
from redkite.model.hosts import is_loopback

_PORTS = {"http": 80, "https": 443}


def checked_endpoint(who: str, given: str) -> str:
    """An endpoint that a function names, without a slash at its end. Raises InvalidParameter for what is no plain
    http(s) address."""
    endpoint = given.strip()
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in _PORTS and bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed, a name that is none
        usable = False
    if not usable or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise InvalidParameter(f"{who}: endpoint [{given[:200]}] is invalid, should be an http(s) URL")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidParameter(f"{who}: an endpoint holds no password, query or fragment")
    return endpoint.rstrip("/")


def check_allowed(who: str, endpoint: str, allowed: Sequence[str]) -> None:
    """Raise InvalidParameter unless an address may be named."""
    parts = urlsplit(endpoint)
    if not any(_matches(rule.strip(), parts) for rule in allowed):
        raise InvalidParameter(
            f"{who}: endpoint {parts.scheme}://{parts.netloc} is not one that this server may ask, "
            "its setting model_endpoints lists those"
        )


def _matches(rule: str, parts: SplitResult) -> bool:
    """`*`, `localhost`, `host`, `host:port`, `scheme://host`, `scheme://host:port`; a host may begin with `*.`."""
    if rule == ANYWHERE:
        return True
    host = (parts.hostname or "").lower()
    scheme, _, address = rule.rpartition("://")
    if scheme and scheme.lower() != parts.scheme:
        return False
    wanted = urlsplit(f"//{address}")
    try:
        port = wanted.port or (_PORTS.get(scheme.lower()) if scheme else None)
    except ValueError:
        return False
    if port is not None and port != (parts.port or _PORTS[parts.scheme]):
        return False
    name = (wanted.hostname or "").lower()
    if name == LOOPBACK:
        return is_loopback(host)
    return host.endswith(name[1:]) if name.startswith("*.") else bool(name) and host == name
