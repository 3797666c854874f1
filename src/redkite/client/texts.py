"""Values as text, the way parameters and properties travel."""

from __future__ import annotations

import orjson


def text(value: object) -> str:
    """Booleans in lower case, dicts and lists as JSON, anything else by `str`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return str(value)
