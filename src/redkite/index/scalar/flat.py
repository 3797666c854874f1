"""An index over a JSON value with everything below it: one index for each path of keys that its documents have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa

from redkite.filter import bound
from redkite.filter.columns import Columns
from redkite.filter.indexed import FieldLeaf, IndexedLeaf, source_of
from redkite.filter.json_column import JsonPath, shred
from redkite.filter.numbers import Mask
from redkite.index.scalar.layout import Array, Facts, Stored, prefixed
from redkite.index.scalar.paths import Cast, PathIndex, open_path, path_arrays

MOST_PATHS = 64
"""The paths that most documents have are indexed, so many of them."""
MOST_SEEN = 10_000
"""Where documents have more paths than this, their keys are data: later ones are not counted."""
MOST_DEPTH = 16
TOGETHER = 8
"""Paths that are read in one pass over the documents."""
_COMPLETE, _PATHS = "complete", "paths"


class FlatIndex:
    """Answers for every path that is indexed, and, when that is every path there is, for those that no row has."""

    def __init__(self, base: JsonPath, indexes: dict[JsonPath, PathIndex], complete: bool, rows: int) -> None:
        self.rows = rows
        self.answers = 0
        self._base = base
        self._indexes = indexes
        self._complete = complete

    def answer(self, leaf: IndexedLeaf, columns: Columns, limit: float) -> Mask | None:
        """See `FieldIndex.answer`."""
        source = None if isinstance(leaf, FieldLeaf) else source_of(leaf)
        if not isinstance(source, bound.Path):
            return None
        found = self._indexes.get(source.path)
        if found is not None:
            return found.answer(leaf, columns, limit)
        if not self._complete or not self._is_below(source.path):
            return None
        # No row has a value there: the leaf is NULL everywhere, but that it does not exist is TRUE.
        return np.full(self.rows, isinstance(leaf, bound.Exists) and leaf.negated)

    def _is_below(self, path: JsonPath) -> bool:
        """Whether a path goes on from the base by nothing but keys."""
        size = len(self._base)
        return path[:size] == self._base and len(path) <= MOST_DEPTH and all(isinstance(k, str) for k in path[size:])


def flat_arrays(
    column: pa.Array, base: JsonPath, most_bitmaps: int, wanted: Callable[[], bool]
) -> tuple[Facts, dict[str, Array]] | None:
    """Facts and arrays of an index over JSON texts; None when it is not wanted any more."""
    paths, complete = _paths_of(column, base)
    arrays: dict[str, Array] = {}
    for start in range(0, len(paths), TOGETHER):
        if not wanted():
            return None
        some = paths[start : start + TOGETHER]
        found = shred(column, some)
        for number, path in enumerate(some, start):
            arrays |= prefixed(str(number), path_arrays(found[path], Cast.JSON, most_bitmaps))
    return {_COMPLETE: complete, _PATHS: msgspec.json.encode(paths).decode()}, arrays


def open_flat(stored: Stored, base: JsonPath, keeps: bool) -> FlatIndex:
    """`keeps`: see `Bitmaps`."""
    paths = [tuple(keys) for keys in msgspec.json.decode(str(stored.facts[_PATHS]), type=list[list[int | str]])]
    indexes = {path: open_path(stored.part(str(number)), path, Cast.JSON, keeps) for number, path in enumerate(paths)}
    return FlatIndex(base, indexes, bool(stored.facts[_COMPLETE]), stored.rows)


def _paths_of(column: pa.Array, base: JsonPath) -> tuple[list[JsonPath], bool]:
    """The base and the paths of keys below it that most documents have; and whether those are all."""
    seen: Counter[JsonPath] = Counter()
    complete = True
    for text in column.to_pylist():
        if text is not None:
            complete &= _count(_at(text, base), base, seen)
    ranked = [path for path, _ in seen.most_common(MOST_PATHS - 1)]
    return [base, *ranked], complete and len(seen) < MOST_PATHS


def _at(text: bytes, path: JsonPath) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    for key in path:
        if isinstance(key, str):
            value = value.get(key) if isinstance(value, dict) else None
        else:
            value = value[key] if isinstance(value, list) and key < len(value) else None
    return value


def _count(value: Any, path: JsonPath, seen: Counter[JsonPath]) -> bool:
    """Count the paths of keys in a value; False when some were left out."""
    if not isinstance(value, dict):
        return True
    complete = True
    waiting: list[tuple[JsonPath, dict[str, Any]]] = [(path, value)]
    while waiting:
        here, held = waiting.pop()
        if len(here) >= MOST_DEPTH:
            return False
        for key, child in held.items():
            place = (*here, key)
            if len(seen) < MOST_SEEN or place in seen:
                seen[place] += 1
            else:
                complete = False
            if isinstance(child, dict):
                waiting.append((place, child))
    return complete
