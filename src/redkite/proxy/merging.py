"""A partial upsert's columns and the rows that are there, made into whole rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from redkite.errors import InvalidParameter
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType, FieldOp
from redkite.proxy.rules.row_rules import RowRules


def check_field_ops(schema: CollectionSchema, ops: Mapping[str, FieldOp], *, partial: bool) -> None:
    """Operations other than REPLACE need a partial upsert and an array field."""
    for name, op in ops.items():
        field = schema.field(name)
        if schema.struct(name) is not None:
            if op is not FieldOp.REPLACE:
                raise InvalidParameter(
                    f"field_ops of field {name}: {op.name} needs an Array field, this one is an array of structs"
                )
            continue
        if field is None:
            raise InvalidParameter(f"field_ops names field {name}, which collection {schema.name} does not have")
        if op is FieldOp.REPLACE:
            continue
        if not partial:
            raise InvalidParameter(f"field_ops of field {name}: {op.name} needs partial_update=True")
        if field.data_type is not DataType.ARRAY:
            raise InvalidParameter(
                f"field_ops of field {name}: {op.name} needs an Array field, this one is {field.data_type.wire_name}"
            )


def merged(
    given: pa.RecordBatch, there: pa.RecordBatch, places: pa.Array, rules: RowRules, ops: Mapping[str, FieldOp]
) -> pa.RecordBatch:
    """One column per schema field. `there`: rows that exist, all fields. `places`: for each given row its place in
    `there`, null where there is no such row yet; then a field that is not given takes its default."""
    names = set(given.schema.names)
    columns = []
    for field in rules.schema.fields:
        old = there.column(field.name)
        if field.name not in names:
            columns.append(_kept(field, old, places, rules))
        elif field.is_dynamic:
            columns.append(_combined(given.column(field.name), old, places, _merge_objects))
        else:
            combine = _COMBINE.get(ops.get(field.name, FieldOp.REPLACE))
            new = given.column(field.name)
            columns.append(new if combine is None else _combined(new, old, places, combine))
    return pa.RecordBatch.from_arrays(columns, [f.name for f in rules.schema.fields])


def _kept(field: FieldSchema, old: pa.Array, places: pa.Array, rules: RowRules) -> pa.Array:
    """The stored values; defaults for rows that are new."""
    if not places.null_count:
        return old.take(places)
    fresh = places.is_null().to_numpy(zero_copy_only=False)
    wanted = places.fill_null(0).to_numpy(zero_copy_only=False).copy()
    wanted[fresh] = len(old)
    return pa.concat_arrays([old, rules.absent(field, 1)]).take(pa.array(wanted))


def _combined(new: pa.Array, old: pa.Array, places: pa.Array, combine: Callable[[Any, Any], Any]) -> pa.Array:
    """Where there is nothing yet, `combine` is given nothing; a given null leaves what is there."""
    # Python values: this touches only rows that somebody changes by an operation on their content.
    before = old.take(places).to_pylist()
    both = zip(new.to_pylist(), before, strict=True)
    return pa.array([b if a is None else combine(b, a) for a, b in both], new.type)


def _merge_objects(before: bytes | None, after: bytes) -> bytes:
    """JSON objects: keys of `after` win, the others stay."""
    return after if before is None else orjson.dumps({**orjson.loads(before), **orjson.loads(after)})


_COMBINE: dict[FieldOp, Callable[[list[Any] | None, list[Any]], list[Any]]] = {
    FieldOp.ARRAY_APPEND: lambda before, after: [*(before or ()), *after],
    FieldOp.ARRAY_REMOVE: lambda before, after: [item for item in before or () if item not in after],
}


def places_of(keys: pa.Array, there: pa.Array) -> pa.Array:
    """For each key its place in `there` (int64), null where it is not."""
    return pc.index_in(keys, there).cast(pa.int64())


def partitions_of(places: pa.Array, partitions: pa.Array, otherwise: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The partition of each row: where it is, or `otherwise` when it is new."""
    found: np.ndarray[Any, np.dtype[np.int64]] = pc.fill_null(partitions.take(places), otherwise).to_numpy()
    return found
