"""What the name of a host says by itself."""

from __future__ import annotations

from ipaddress import ip_address

from redkite.model.calling import LOOPBACK


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or number alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == LOOPBACK
