"""Numbers about the rows of a query: count, sum, min, max and avg, of all rows or by groups.

Each segment and each node answers what can be put together with the others': sums and counts rather than averages.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from redkite.errors import InvalidParameter
from redkite.index.base import RowNumbers
from redkite.model.batch import numbers_to_arrow
from redkite.model.types import DataType
from redkite.query.ordering import first_rows
from redkite.query.plan import Aggregate, AggregatePlan, QueryPartial, SortKey
from redkite.query.sources import Source, plain
from redkite.segment.base import Segment

_MERGED = {"count": "sum", "sum": "sum", "min": "min", "max": "max"}
_WRAPPED = float(1 << 63)


def gather(found: Sequence[tuple[Segment, RowNumbers]], plan: AggregatePlan) -> QueryPartial:
    """What the rows of several segments come to."""
    parts = [_of_segment(segment, rows, plan) for segment, rows in found if len(rows)]
    return _joined(parts, plan) if parts else QueryPartial(0)


def merge_gathered(partials: Sequence[QueryPartial], plan: AggregatePlan) -> QueryPartial:
    """Merge what several nodes gathered."""
    parts = [partial.rows for partial in partials if partial.rows is not None]
    return _joined(parts, plan) if parts else QueryPartial(0)


def finished(partial: QueryPartial, plan: AggregatePlan, columns: dict[str, pa.DataType]) -> pa.RecordBatch:
    """One row for each group in the order of its values, or one row about all rows: keys, then aggregates, each under
    the name it was asked for. `columns`: the types of the fields."""
    gathered = partial.rows
    if gathered is None:
        return _about_nothing(plan, columns)
    if plan.keys:
        keys = [SortKey(Source(key, key, DataType.NONE)) for key in plan.keys]
        gathered = gathered.take(numbers_to_arrow(first_rows(gathered, keys)))
    values = [gathered.column(key) for key in plan.keys]
    values += [_value(gathered, at, aggregate) for at, aggregate in enumerate(plan.aggregates)]
    return pa.RecordBatch.from_arrays(values, [*plan.keys, *(aggregate.name for aggregate in plan.aggregates)])


def _about_nothing(plan: AggregatePlan, columns: dict[str, pa.DataType]) -> pa.RecordBatch:
    """No rows: no groups; of all rows, counts of 0 and nulls."""
    values = [pa.array([], columns[key]) for key in plan.keys]
    rows = 0 if plan.keys else 1
    for aggregate in plan.aggregates:
        if aggregate.op == "count":
            values.append(pa.array([0] * rows, pa.int64()))
        else:
            values.append(pa.nulls(rows, _type_of(aggregate, columns)))
    return pa.RecordBatch.from_arrays(values, [*plan.keys, *(aggregate.name for aggregate in plan.aggregates)])


def _type_of(aggregate: Aggregate, columns: dict[str, pa.DataType]) -> pa.DataType:
    kind = columns[aggregate.field]
    if aggregate.op in ("min", "max"):
        return kind
    return pa.float64() if aggregate.op == "avg" or pa.types.is_floating(kind) else pa.int64()


# -- gathering ----------------------------------------------------------------------------------
def _parts_of(at: int, aggregate: Aggregate) -> list[tuple[str, str]]:
    """(name of what is gathered, operation), to make one aggregate of."""
    match aggregate.op:
        case "avg":
            return [(f"{at} total", "sum"), (f"{at} count", "count")]
        case "sum":
            return [(f"{at} sum", "sum"), (f"{at} total", "sum")]
        case op:
            return [(f"{at} {op}", op)]


def _of_segment(segment: Segment, rows: RowNumbers, plan: AggregatePlan) -> pa.RecordBatch:
    fields = plan.fields
    batch = segment.take(rows, fields)
    columns = {name: plain(batch.column(name)) for name in fields}
    table, asked = {key: columns[key] for key in plan.keys}, []
    for at, aggregate in enumerate(plan.aggregates):
        for name, op in _parts_of(at, aggregate):
            table[name] = _gathered_column(columns, aggregate, name, len(rows))
            asked.append((name, op))
    if not asked:  # groups alone
        table["rows"] = pa.repeat(pa.scalar(1, pa.int64()), len(rows))
        asked.append(("rows", "count"))
    return _grouped(pa.table(table), plan, asked)


def _gathered_column(columns: dict[str, pa.Array], aggregate: Aggregate, name: str, rows: int) -> pa.Array:
    """What one part of an aggregate is made of: totals are of doubles, sums of integers exact."""
    if not aggregate.field:
        return pa.repeat(pa.scalar(1, pa.int64()), rows)
    column = columns[aggregate.field]
    if name.endswith(" total"):
        return pc.cast(column, pa.float64(), safe=False)
    if name.endswith(" sum"):
        return pc.cast(column, pa.float64() if pa.types.is_floating(column.type) else pa.int64())
    return column


def _joined(parts: Sequence[pa.RecordBatch], plan: AggregatePlan) -> QueryPartial:
    if len(parts) == 1:
        whole = parts[0]
    else:
        names = [name for name in parts[0].schema.names if name not in plan.keys]
        # What was gathered is named after its operation; counts are added up.
        asked = [(name, _MERGED.get(name.rpartition(" ")[2], "sum")) for name in names]
        whole = _grouped(pa.Table.from_batches(list(parts)), plan, asked)
    if whole.num_rows > plan.max_groups:
        raise InvalidParameter(
            f"the number of groups of group_by_fields [{', '.join(plan.keys)}] exceeds the limit {plan.max_groups}"
        )
    return QueryPartial(whole.num_rows, rows=whole)


def _grouped(table: pa.Table, plan: AggregatePlan, asked: list[tuple[str, str]]) -> pa.RecordBatch:
    grouped = table.group_by(list(plan.keys), use_threads=False).aggregate(asked)
    columns = [grouped.column(key).combine_chunks() for key in plan.keys]
    columns += [grouped.column(f"{name}_{op}").combine_chunks() for name, op in asked]
    return pa.RecordBatch.from_arrays(columns, [*plan.keys, *(name for name, _ in asked)])


def _value(gathered: pa.RecordBatch, at: int, aggregate: Aggregate) -> pa.Array:
    match aggregate.op:
        case "avg":
            counts = gathered.column(f"{at} count")
            known = pc.if_else(pc.equal(counts, 0), pa.scalar(None, pa.int64()), counts)
            return pc.divide(gathered.column(f"{at} total"), pc.cast(known, pa.float64()))
        case "sum":
            values = gathered.column(f"{at} sum")
            if pa.types.is_integer(values.type):
                # A sum that has wrapped is 2**64, or more, away from the same in doubles.
                away = pc.abs(pc.subtract(gathered.column(f"{at} total"), pc.cast(values, pa.float64(), safe=False)))
                if (pc.max(away).as_py() or 0.0) > _WRAPPED:
                    raise InvalidParameter(f"{aggregate.name} is beyond the integers of 64 bits")
            return values
        case op:
            return gathered.column(f"{at} {op}")
