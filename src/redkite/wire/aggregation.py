"""Buckets of hits: what is asked for, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redkite.errors import InvalidParameter
from redkite.model.buckets import Bucket, BucketHit, KeyPart
from redkite.model.requests import Aggregation, Measure, Ordering, TopHits

MAX_DEPTH = 64
"""Deeper nesting is refused while it is read; the engine allows less."""
_DIRECTIONS = {"asc": False, "": False, "desc": True}


# -- asked --------------------------------------------------------------------------------------
def read_aggregation(message: Any, depth: int = 1) -> Aggregation:
    """`common.SearchAggregationSpec` -> Aggregation."""
    if depth > MAX_DEPTH:
        raise InvalidParameter(f"search_aggregation is nested more than {MAX_DEPTH} levels deep")
    top, below = None, None
    if message.HasField("top_hits"):
        sort = tuple(_ordering(key.field_name, key) for key in message.top_hits.sort)
        top = TopHits(size=message.top_hits.size, sort=sort)
    if message.HasField("sub_aggregation"):
        below = read_aggregation(message.sub_aggregation, depth + 1)
    return Aggregation(
        fields=tuple(message.fields),
        size=message.size,
        measures=tuple(
            Measure(alias=alias, op=metric.op, field=metric.field_name)
            for alias, metric in sorted(message.metrics.items())
        ),
        order=tuple(_ordering(key.key, key) for key in message.order),
        top_hits=top,
        below=below,
        search_size=message.search_size,
    )


def _ordering(name: str, message: Any) -> Ordering:
    descending = _DIRECTIONS.get(message.direction.lower())
    if descending is None:
        raise InvalidParameter(f"direction '{message.direction}' of '{name}' must be 'asc' or 'desc'")
    return Ordering(field=name, descending=descending, nulls_last=not message.null_first)


def write_aggregation(out: Any, asked: Aggregation) -> None:
    """Fill a `common.SearchAggregationSpec`."""
    out.fields.extend(asked.fields)
    out.size = asked.size
    out.search_size = asked.search_size
    for measure in asked.measures:
        metric = out.metrics[measure.alias]
        metric.op, metric.field_name = measure.op, measure.field
    for key in asked.order:
        out.order.add(key=key.field, direction=_direction(key), null_first=not key.nulls_last)
    if asked.top_hits is not None:
        out.top_hits.size = asked.top_hits.size
        for key in asked.top_hits.sort:
            out.top_hits.sort.add(field_name=key.field, direction=_direction(key), null_first=not key.nulls_last)
    if asked.below is not None:
        write_aggregation(out.sub_aggregation, asked.below)


def _direction(key: Ordering) -> str:
    return "desc" if key.descending else "asc"


# -- answered -----------------------------------------------------------------------------------
def write_buckets(out: Any, buckets: Iterable[Bucket]) -> None:
    """Add buckets to a repeated `schema.AggBucket`."""
    for bucket in buckets:
        entry = out.add(count=bucket.count)
        for part in bucket.key:
            _set(entry.key.add(field_id=part.field_id, field_name=part.field), part.value, "int_val", "")
        for alias, value in bucket.measures.items():
            _set(entry.metrics[alias], value, "int_val", "double_val")
        for hit in bucket.hits:
            _write_hit(entry.hits.add(score=hit.score), hit)
        write_buckets(entry.sub_groups, bucket.groups)


def _write_hit(out: Any, hit: BucketHit) -> None:
    if isinstance(hit.key, str):
        out.str_pk = hit.key
    else:
        out.int_pk = hit.key
    for name, value in hit.fields.items():
        _set(out.fields.add(field_id=hit.field_ids.get(name, 0), field_name=name), value, "int_val", "double_val")


def _set(out: Any, value: Any, integer: str, floating: str) -> None:
    """Set the branch of a `value` that fits; none for None."""
    match value:
        case None:
            pass
        case bool():
            out.bool_val = value
        case int():
            setattr(out, integer, value)
        case float():
            setattr(out, floating, value)
        case bytes():
            out.bytes_val = value
        case _:
            out.string_val = str(value)


def read_buckets(entries: Iterable[Any]) -> tuple[Bucket, ...]:
    """Repeated `schema.AggBucket` -> buckets."""
    return tuple(
        Bucket(
            key=tuple(KeyPart(field=p.field_name, field_id=p.field_id, value=_value(p)) for p in entry.key),
            count=entry.count,
            measures={alias: _value(value) for alias, value in sorted(entry.metrics.items())},
            hits=tuple(_read_hit(hit) for hit in entry.hits),
            groups=read_buckets(entry.sub_groups),
        )
        for entry in entries
    )


def _read_hit(message: Any) -> BucketHit:
    branch = message.WhichOneof("pk") or "int_pk"
    return BucketHit(
        key=getattr(message, branch),
        score=message.score,
        fields={field.field_name: _value(field) for field in message.fields},
        field_ids={field.field_name: field.field_id for field in message.fields},
    )


def _value(message: Any) -> Any:
    branch = message.WhichOneof("value")
    return None if branch is None else getattr(message, branch)
