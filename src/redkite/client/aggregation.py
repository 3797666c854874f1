"""Buckets of hits: how a user asks for them, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redkite.errors import ParamError
from redkite.model import buckets
from redkite.model.requests import Aggregation, Measure, Ordering
from redkite.model.requests import TopHits as TopHitsRequest

_OPERATIONS = ("avg", "count", "max", "min", "sum")
_OWN_KEYS = ("_count", "_key")


class TopHits:
    """The hits that are shown of each bucket.

        TopHits(size=3, sort=[{"price": "asc"}, {"_score": "desc"}])

    Args:
        size: Hits of a bucket, at most.
        sort: Fields or `_score`, each `"asc"` or `"desc"`; the closest come first without it.
    """

    def __init__(self, size: int, sort: Sequence[Mapping[str, str]] | None = None) -> None:
        keys = _orderings("TopHits.sort", sort)
        self.request: TopHitsRequest = TopHitsRequest(size=_size("TopHits.size", size), sort=keys)


class SearchAggregation:
    """One level of buckets that the hits of a search are put in.

        SearchAggregation(
            fields=["brand"], size=5, metrics={"price": {"avg": "price"}}, order=[{"price": "asc"}],
            top_hits=TopHits(size=3),
        )

    Args:
        fields: Whose values make the key of a bucket.
        size: Buckets, at most.
        metrics: Alias -> `{operation: field}`, with avg, sum, min, max (of a field or `_score`) or count (also `"*"`).
        order: Aliases, `_count` or `_key`, each `"asc"` or `"desc"`; the bucket of the closest hit first without it.
        top_hits: Show some hits of each bucket. Also says how many hits of each key are looked at; else one.
        sub_aggregation: Buckets within each bucket; four levels at most.
        search_size: Keys to look for at this level, where `order` is to choose among more than `size`.
    """

    def __init__(
        self,
        fields: Sequence[str],
        size: int,
        metrics: Mapping[str, Mapping[str, str]] | None = None,
        order: Sequence[Mapping[str, str]] | None = None,
        top_hits: TopHits | None = None,
        sub_aggregation: SearchAggregation | None = None,
        search_size: int | None = None,
    ) -> None:
        _check("fields", fields, list | tuple)
        _check("top_hits", top_hits, TopHits | None)
        _check("sub_aggregation", sub_aggregation, SearchAggregation | None)
        if not fields or not all(fields):
            raise ParamError(f"SearchAggregation.fields must be a list of names, got {fields!r}")
        measures = _measures(metrics)
        keys = _orderings("SearchAggregation.order", order)
        known = {*_OWN_KEYS, *(measure.alias for measure in measures)}
        for key in keys:
            if key.field not in known:
                raise ParamError(f"SearchAggregation.order: {key.field!r} is none of {sorted(known)}")
        self.request: Aggregation = Aggregation(
            fields=tuple(fields),
            size=_size("SearchAggregation.size", size),
            measures=measures,
            order=keys,
            top_hits=None if top_hits is None else top_hits.request,
            below=None if sub_aggregation is None else sub_aggregation.request,
            search_size=0 if search_size is None else _size("SearchAggregation.search_size", search_size),
        )


def _check(name: str, value: object, kind: Any) -> None:
    if not isinstance(value, kind):
        wanted = getattr(kind, "__name__", str(kind))
        raise ParamError(f"SearchAggregation.{name} must be {wanted}, got {type(value).__name__}")


def _size(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ParamError(f"{name} must be a positive whole number, got {value!r}")
    return value


def _pair(name: str, item: object) -> tuple[str, str]:
    if not isinstance(item, Mapping) or len(item) != 1:
        raise ParamError(f"{name}: {item!r} is no dict of one key and its value")
    key, value = next(iter(item.items()))
    if not isinstance(key, str) or not isinstance(value, str) or not key or not value:
        raise ParamError(f"{name}: {item!r} is no text and its text")
    return key, value


def _orderings(name: str, given: Sequence[Mapping[str, str]] | None) -> tuple[Ordering, ...]:
    keys = []
    for item in given or ():
        key, direction = _pair(name, item)
        if direction not in ("asc", "desc"):
            raise ParamError(f"{name}: direction {direction!r} of {key!r} must be 'asc' or 'desc'")
        keys.append(Ordering(field=key, descending=direction == "desc", nulls_last=True))
    return tuple(keys)


def _measures(metrics: Mapping[str, Mapping[str, str]] | None) -> tuple[Measure, ...]:
    measures = []
    for alias, item in (metrics or {}).items():
        if not alias:
            raise ParamError(f"SearchAggregation.metrics: alias {alias!r} must be a text")
        operation, field = _pair(f"SearchAggregation.metrics[{alias!r}]", item)
        if operation not in _OPERATIONS:
            known = ", ".join(_OPERATIONS)
            raise ParamError(f"SearchAggregation.metrics[{alias!r}]: operation {operation!r} is none of {known}")
        if field == "*" and operation != "count":
            raise ParamError(f"SearchAggregation.metrics[{alias!r}]: '*' is only for count, not for {operation}")
        measures.append(Measure(alias=alias, op=operation, field=field))
    return tuple(measures)


# -- results ------------------------------------------------------------------------------------
class AggregationHit:
    """One hit of a bucket: `pk`, `score`, and `fields` by name."""

    __slots__ = ("_hit",)

    def __init__(self, hit: buckets.BucketHit) -> None:
        self._hit = hit

    @property
    def pk(self) -> int | str:
        """The primary key."""
        return self._hit.key

    @property
    def score(self) -> float:
        """The distance or similarity."""
        return self._hit.score

    @property
    def fields(self) -> dict[str, Any]:
        """The output fields that are not null."""
        return dict(self._hit.fields)

    def field_ids(self) -> dict[str, int]:
        """The id of each of the output fields."""
        return dict(self._hit.field_ids)

    def __repr__(self) -> str:
        return f"AggregationHit(pk={self.pk!r}, score={self.score}, fields={self.fields!r})"


class AggregationBucket:
    """One bucket: its `key`, how many hits it holds, what was measured, hits to show, buckets below."""

    __slots__ = ("_bucket",)

    def __init__(self, bucket: buckets.Bucket) -> None:
        self._bucket = bucket

    @property
    def key(self) -> list[dict[str, Any]]:
        """One dict for each field of the key: `field_name`, `field_id` and `value`."""
        return [{"field_name": p.field, "field_id": p.field_id, "value": p.value} for p in self._bucket.key]

    @property
    def count(self) -> int:
        """Hits in the bucket."""
        return self._bucket.count

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured, by alias."""
        return dict(self._bucket.measures)

    @property
    def hits(self) -> list[AggregationHit]:
        """The hits to show; empty without `top_hits`."""
        return [AggregationHit(hit) for hit in self._bucket.hits]

    @property
    def sub_groups(self) -> list[AggregationBucket]:
        """The buckets of the level below."""
        return [AggregationBucket(bucket) for bucket in self._bucket.groups]

    def __repr__(self) -> str:
        return (
            f"AggregationBucket(key={self.key!r}, count={self.count}, metrics={self.metrics!r}, "
            f"hits={len(self._bucket.hits)}, sub_groups={len(self._bucket.groups)})"
        )
