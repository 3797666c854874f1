"""Columns of arrays of structs: each sub-field is one of its own, named `struct[sub]`; here they come together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pyarrow as pa

from redkite.model.batch import list_starts, lists_of

_PART = re.compile(r"([A-Za-z_]\w*)\[([A-Za-z_]\w*)\]", re.ASCII)


def split_name(name: str) -> tuple[str, str]:
    """The struct and the sub-field of a column's name; empty texts for a column of its own."""
    found = _PART.fullmatch(name) if name.endswith("]") else None
    return (found[1], found[2]) if found else ("", "")


def runs(names: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Columns by place, in order: those of one struct together under its name, each other by itself."""
    together: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        struct, _ = split_name(name)
        together.setdefault(f"{struct}[" if struct else name, []).append(at)
    for name, places in together.items():
        yield name.removesuffix("["), places


def elements_of(column: pa.Array) -> pa.Array:
    """The elements of all rows of a list column, one after another."""
    starts = list_starts(column)
    return column.values.slice(starts[0], starts[-1] - starts[0])


def joined(rows: pa.RecordBatch, places: Sequence[int]) -> pa.Array:
    """The sub-fields of one struct, none of them renamed, as one column of lists of structs."""
    columns = [rows.column(place) for place in places]
    names = [split_name(rows.schema.names[place])[1] for place in places]
    starts = list_starts(columns[0])
    structs = pa.StructArray.from_arrays([elements_of(column) for column in columns], names)
    valid = columns[0].is_valid().to_numpy(zero_copy_only=False) if columns[0].null_count else None
    return lists_of(starts - starts[0], structs, valid)
