"""Columns of texts that are no texts: Arrow takes whatever bytes it is given for UTF-8."""

from __future__ import annotations

import pyarrow as pa


def first_invalid(texts: pa.Array) -> int | None:
    """The place of the first text that is not valid UTF-8, in an Arrow array of them; None where all are."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        for place, text in enumerate(texts.cast(pa.binary()).to_pylist()):
            if text is not None and not is_utf8(text):
                return place
        raise
    return None


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
