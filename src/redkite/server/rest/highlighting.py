"""REST: marked words in the texts of hits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from redkite.errors import InvalidParameter
from redkite.model.highlighting import LEXICAL, Highlighter, read_highlighter
from redkite.model.results import Hits

_TYPE, _PARAMS, _HIGHLIGHT = "type", "params", "highlight"


def highlighter_of(given: Mapping[str, Any]) -> Highlighter | None:
    """`{"type": "lexical", "params": {"preTags": […], …}}`, the parameters also beside the type; in either case."""
    if not given:
        return None
    inner = given.get(_PARAMS, {})
    if not isinstance(inner, dict):
        raise InvalidParameter(f"highlighter.params must be an object, got {inner!r:.80}")
    kind = given.get(_TYPE, LEXICAL)
    if not isinstance(kind, str):
        raise InvalidParameter(f"highlighter.type must be a text, got {kind!r:.80}")
    outer = {key: value for key, value in given.items() if key not in (_TYPE, _PARAMS)}
    return read_highlighter(kind, {_snake(key): value for key, value in {**inner, **outer}.items()})


def add_highlights(rows: list[dict[str, Any]], found: Hits) -> list[dict[str, Any]]:
    """The rows with what is marked in each."""
    for marked in found.highlights:
        for row, shown in zip(rows, marked.shown(), strict=True):
            row.setdefault(_HIGHLIGHT, {})[marked.field] = shown
    return rows


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)
