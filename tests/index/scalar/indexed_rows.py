"""Columns of a few rows with indexes over them that are asked whatever they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tests.filter.rows import DYNAMIC, columns_of

from redkite.filter.columns import ArrowColumns
from redkite.filter.indexed import FieldIndex, IndexedLeaf
from redkite.filter.numbers import Mask
from redkite.index.scalar.column import SEARCH_NS
from redkite.index.scalar.family import ScalarIndex, build_scalar, open_scalar
from redkite.model.segments import IndexSpec


def spec(kind: str, **build: int | str) -> IndexSpec:
    return IndexSpec(index_type=kind, kind=kind, build=dict(build))


def stored(kind: IndexSpec, field: str, columns: ArrowColumns) -> bytes:
    """An index over a field, as bytes."""
    schema_field = DYNAMIC.field(field)
    assert schema_field is not None
    made = build_scalar(kind, schema_field, columns, lambda: True)
    assert made is not None
    return b"".join(bytes(part) for part in made)


def reopened(kind: IndexSpec, field: str, columns: ArrowColumns) -> ScalarIndex:
    """An index over a field, built, stored and opened."""
    return open_scalar(kind, memoryview(stored(kind, field, columns)))


class _Eager:
    """An index for which nothing costs too much."""

    def __init__(self, index: ScalarIndex) -> None:
        self._index = index
        self.answers = 0

    def answer(self, leaf: IndexedLeaf, columns: Any, limit: float) -> Mask | None:
        assert limit >= 0
        mask = self._index.answer(leaf, columns, math.inf)
        hurried = self._index.answer(leaf, columns, SEARCH_NS + columns.rows)
        if mask is not None and hurried is not None:
            assert mask.tolist() == hurried.tolist(), "in little time it says the same, or nothing"
        return mask


class IndexedColumns(ArrowColumns):
    """Rows with eager indexes by field."""

    __slots__ = ("_indexes",)

    def __init__(self, columns: ArrowColumns, indexes: dict[str, list[ScalarIndex]]) -> None:
        super().__init__(columns._batch, DYNAMIC)
        self._indexes = {field: tuple(map(_Eager, held)) for field, held in indexes.items()}

    def indexes_of(self, field: str) -> tuple[FieldIndex, ...]:
        return self._indexes.get(field, ())

    @property
    def answers(self) -> int:
        return sum(index.answers for held in self._indexes.values() for index in held)


def indexed(rows: Sequence[dict[str, Any]], kinds: Sequence[tuple[str, IndexSpec]]) -> IndexedColumns:
    """Rows with an index for each (field, kind)."""
    columns = columns_of(rows)
    indexes: dict[str, list[ScalarIndex]] = {}
    for field, kind in kinds:
        indexes.setdefault(field, []).append(reopened(kind, field, columns))
    return IndexedColumns(columns, indexes)
