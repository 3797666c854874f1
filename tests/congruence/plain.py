"""Answers of any client as plain JSON, without what differs from run to run."""

import enum
import re
from collections.abc import Mapping

_IDS = (440_000_000_000_000_000, 600_000_000_000_000_000)
"""Between these are the ids and timestamps that servers make up."""
_MILLIS = (1_600_000_000_000, 2_200_000_000_000)
_VOLATILE = {"collection_id", "created_timestamp", "update_timestamp", "created_utc_timestamp", "cost", "db_id"}
_DIGITS = 5


def plain(value):
    """`value` as JSON can hold it. Floats keep 5 digits: a column of 32 bits promises little more."""
    if value is None or isinstance(value, (bool, str)):
        return plain_text(value) if isinstance(value, str) else value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, int):
        return _number(int(value))
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if key not in _VOLATILE}
    if hasattr(value, "to_dict") and not isinstance(value, (list, tuple)):
        return plain(value.to_dict())
    if hasattr(value, "tokens"):  # what pymilvus wraps an analyzer's answer into
        return plain(value.tokens)
    if hasattr(value, "__iter__") or (hasattr(value, "__len__") and hasattr(value, "__getitem__")):
        return [plain(item) for item in value]
    return plain_text(repr(value))


def plain_text(text):
    """A text without the ids that a server made up, and without addresses of objects."""
    text = re.sub(r"\b4[4-9]\d{16}\b", "<id>", text)
    text = re.sub(r"\b1[6-9]\d{11}\b", "<time>", text)
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _number(value):
    if _IDS[0] < value < _IDS[1]:
        return "<id>"
    return "<time>" if _MILLIS[0] < value < _MILLIS[1] else value
