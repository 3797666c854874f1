"""Sizes as people write them."""

from __future__ import annotations

import re
from typing import Final

from redkite.errors import InvalidParameter

_UNITS: Final = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TOO_MUCH: Final = 2.0**63
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", re.ASCII | re.IGNORECASE)


def parse_size(value: int | str) -> int:
    """Bytes: of a number as it is, of a text such as `512MB`, `1.5 GiB` or `4096`. Every unit is a power of 1024.

    Raises InvalidParameter for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidParameter(f"{value!r} is no size: expected bytes, or a text such as '512MB' or '1.5GB'")
    number, unit = found.groups()
    size = float(number) * _UNITS[unit.upper()]
    if size >= _TOO_MUCH:
        raise InvalidParameter(f"'{number[:40]}{unit}' is more than any disk or memory has")
    return int(size)
