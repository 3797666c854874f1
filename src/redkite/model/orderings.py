"""Sort keys as text: `price:desc,meta["a"]["b"]:asc:nulls_last`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from redkite.errors import InvalidParameter
from redkite.model.reading import Ordering

_DIRECTIONS = {"asc": False, "ascending": False, "desc": True, "descending": True}
_NULLS = {"nulls_first": False, "null_first": False, "nulls_last": True, "null_last": True}
_PIECES = re.compile(r"""\[(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\]"'])*\]|[^\[,:]+|.""", re.DOTALL)
"""A bracket with what is in it, a run of other characters, or one separator."""


def split_names(text: str) -> list[str]:
    """Names and JSON paths between commas; commas in brackets separate nothing."""
    return [name for entry in _entries(text) if (name := ":".join(entry).strip())]


def read_orderings(text: str) -> tuple[Ordering, ...]:
    """`field[:direction[:nulls]]`, several between commas. Ascending and nulls first where nothing else is said."""
    if not text.strip():
        return ()
    return tuple(ordering(*(part.strip() for part in entry)) for entry in _entries(text))


def ordering(field: str, direction: str = "", nulls: str = "", *more: str) -> Ordering:
    """One sort key from its parts."""
    if not field:
        raise InvalidParameter("empty field name in order_by_fields")
    if more:
        raise InvalidParameter(f"order_by field '{field}' is followed by more than a direction and nulls: '{more[0]}'")
    if direction.lower() in _NULLS and not nulls:
        direction, nulls = "", direction
    descending = _DIRECTIONS.get(direction.lower() or "asc")
    if descending is None:
        raise InvalidParameter(
            f"invalid order direction '{direction}' for field '{field}' "
            "(must be 'asc', 'desc', 'ascending', or 'descending')"
        )
    nulls_last = _NULLS.get(nulls.lower() or "nulls_first")
    if nulls_last is None:
        raise InvalidParameter(
            f"invalid place for nulls '{nulls}' of field '{field}' (must be 'nulls_first' or 'nulls_last')"
        )
    return Ordering(field=field, descending=descending, nulls_last=nulls_last)


def given_orderings(given: object) -> tuple[Ordering, ...]:
    """Sort keys as users write them: a text, or a list of texts and of `{"field": name, "order": "desc"}`."""
    if given is None:
        return ()
    if isinstance(given, str):
        return read_orderings(given)
    if not isinstance(given, Sequence):
        raise InvalidParameter(f"order_by_fields must be a list or a text, not {type(given).__name__}")
    return tuple(key for item in given for key in _given(item))


def _given(item: object) -> tuple[Ordering, ...]:
    if isinstance(item, str):
        return read_orderings(item)
    if isinstance(item, Ordering):
        return (item,)
    if not isinstance(item, Mapping) or not isinstance(item.get("field"), str):
        raise InvalidParameter("missing 'field' key in order_by_fields entry")
    unknown = item.keys() - {"field", "order", "nulls"}
    if unknown:
        raise InvalidParameter(f"order_by_fields entry of field '{item['field']}' has an unknown key '{min(unknown)}'")
    # The direction may carry the place of nulls after a colon, as it does in the text form.
    direction = str(item.get("order", "asc")).split(":")
    nulls = [] if item.get("nulls") is None else [f"nulls_{item['nulls']}"]
    return (ordering(item["field"], *direction, *nulls),)


def write_orderings(orderings: Sequence[Ordering]) -> str:
    """The text that `read_orderings` reads."""
    return ",".join(
        f"{key.field}:{'desc' if key.descending else 'asc'}{':nulls_last' if key.nulls_last else ''}"
        for key in orderings
    )


def _entries(text: str) -> list[list[str]]:
    """The parts of each entry: cut at commas, then at colons, neither within brackets."""
    entries = [[""]]
    for piece in _PIECES.findall(text):
        if piece == ",":
            entries.append([""])
        elif piece == ":":
            entries[-1].append("")
        else:
            entries[-1][-1] += piece
    return entries
