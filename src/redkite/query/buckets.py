"""Buckets: the hits of a search by groups as trees, with numbers about each bucket."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redkite.index.base import RowNumbers
from redkite.model.batch import numbers_to_arrow
from redkite.model.buckets import Bucket, BucketHit, KeyPart
from redkite.model.moments import show_moments
from redkite.model.requests import Measure, Ordering
from redkite.model.types import DataType
from redkite.query.ordering import Rank, column_of, ranks_of
from redkite.query.plan import GroupPlan, SearchPartial, SortKey
from redkite.query.sources import Codes, codes_of, plain, sortable

SCORE = "_score"


class Level(msgspec.Struct, frozen=True):
    """One level of buckets."""

    keys: tuple[int, ...]
    """Which of the plan's sources make the key."""
    field_ids: tuple[int, ...]
    size: int
    measures: tuple[Measure, ...]
    order: tuple[Ordering, ...]
    hits: int
    """Hits shown of a bucket; 0: none."""
    sort: tuple[SortKey | Ordering, ...]
    """Of the hits; an Ordering is by score."""


class BucketPlan(msgspec.Struct, frozen=True):
    levels: tuple[Level, ...]
    grouping: GroupPlan
    limit: int
    """Groups, of the keys of all levels together, that the search looks for."""
    shown: tuple[str, ...]
    """Output fields."""
    shown_ids: tuple[int, ...]
    columns: tuple[str, ...]
    """What has to be fetched of a hit."""
    larger_is_closer: bool
    """Of the scores."""
    times: frozenset[str]
    """Columns of times, which are shown as texts …"""
    zone: tzinfo
    """… in this zone."""


def buckets_of(partial: SearchPartial, plan: BucketPlan) -> tuple[tuple[Bucket, ...], ...]:
    """The buckets of each query."""
    ends = np.cumsum(partial.topks).tolist()
    return tuple(_Tree(partial, start, end, plan).root() for start, end in zip([0, *ends[:-1]], ends, strict=True))


class _Tree:
    """The buckets of one query's hits."""

    def __init__(self, partial: SearchPartial, start: int, end: int, plan: BucketPlan) -> None:
        self._plan = plan
        self._keys = partial.ids.slice(start, end - start)
        self._scores = partial.scores[start:end].astype(np.float64)
        self._rows = partial.rows.slice(start, end - start)
        groups = [] if partial.groups is None else partial.groups.slice(start, end - start).columns
        self._shown_keys = [
            self._shown(column, source.data_type).to_pylist()
            for column, source in zip(groups, plan.grouping.sources, strict=False)
        ]
        self._groups = groups

    def root(self) -> tuple[Bucket, ...]:
        """The buckets of the first level."""
        if not len(self._scores):
            return ()
        return self._level(0, np.zeros(len(self._scores), np.int64))[0]

    def _level(self, at: int, parents: Codes) -> dict[int, tuple[Bucket, ...]]:
        """The buckets of a level by the code of the bucket they are in."""
        level = self._plan.levels[at]
        keys = [self._groups[key] for key in level.keys]
        codes = codes_of([numbers_to_arrow(parents), *keys])
        below = self._level(at + 1, codes) if at + 1 < len(self._plan.levels) else {}
        firsts = np.sort(np.unique(codes, return_index=True)[1])
        measured = self._measured(level, codes, firsts)
        hits = self._hits(level, codes)
        found: dict[int, list[tuple[Bucket, int]]] = {}
        for place, (count, measures) in zip(firsts.tolist(), measured, strict=True):
            code = int(codes[place])
            bucket = Bucket(
                key=self._key(level, place),
                count=count,
                measures=measures,
                hits=hits.get(code, ()),
                groups=below.get(code, ()),
            )
            found.setdefault(int(parents[place]), []).append((bucket, place))
        return {parent: self._ordered(level, buckets) for parent, buckets in found.items()}

    def _key(self, level: Level, place: int) -> tuple[KeyPart, ...]:
        sources = self._plan.grouping.sources
        return tuple(
            KeyPart(field=sources[key].name, field_id=number, value=self._shown_keys[key][place])
            for key, number in zip(level.keys, level.field_ids, strict=True)
        )

    # -- numbers --------------------------------------------------------------------------------
    def _measured(self, level: Level, codes: Codes, firsts: RowNumbers) -> list[tuple[int, dict[str, Any]]]:
        """How many hits are in each bucket, and what is measured of them, in the order of `firsts`."""
        columns: dict[str, pa.Array] = {"code": numbers_to_arrow(codes)}
        asked: list[tuple[str, str]] = []
        for at, measure in enumerate(level.measures):
            name = f"m{at}"
            columns[name] = self._measured_column(measure, len(codes))
            asked.append((name, "mean" if measure.op == "avg" else measure.op))
        columns["all"] = numbers_to_arrow(np.ones(len(codes), np.int64))
        asked.append(("all", "sum"))
        table = pa.table(columns).group_by(["code"], use_threads=False).aggregate(asked)
        places = pc.index_in(numbers_to_arrow(codes[firsts]), table.column("code").combine_chunks())
        table = table.take(places)
        counts = table.column("all_sum").to_pylist()
        values = {
            measure.alias: self._shown_measure(measure, table.column(f"{name}_{op}").combine_chunks()).to_pylist()
            for measure, (name, op) in zip(level.measures, asked, strict=False)
        }
        return [(count, {alias: column[at] for alias, column in values.items()}) for at, count in enumerate(counts)]

    def _measured_column(self, measure: Measure, rows: int) -> pa.Array:
        if measure.field == "*":
            return numbers_to_arrow(np.ones(rows, np.int64))
        if measure.field == SCORE:
            return numbers_to_arrow(np.ascontiguousarray(self._scores))
        column = plain(self._rows.column(measure.field))
        if measure.op in ("sum", "avg") and pa.types.is_floating(column.type):
            return pc.cast(column, pa.float64())
        return column

    def _shown_measure(self, measure: Measure, values: pa.Array) -> pa.Array:
        if measure.op not in ("min", "max") or measure.field == SCORE:
            return values
        return show_moments(values, self._plan.zone) if measure.field in self._plan.times else values

    def _shown(self, column: pa.Array, kind: DataType) -> pa.Array:
        return show_moments(column, self._plan.zone) if kind is DataType.TIMESTAMPTZ else column

    # -- order ----------------------------------------------------------------------------------
    def _ordered(self, level: Level, buckets: list[tuple[Bucket, int]]) -> tuple[Bucket, ...]:
        """In the order of the level, equal ones by their best hit; as many as it shows."""
        for key in reversed(level.order):
            columns = self._order_columns(level, key, [place for _, place in buckets], [b for b, _ in buckets])
            ranks = [rank for column in columns for rank in ranks_of(column, key)]
            order = np.lexsort([*ranks, np.arange(len(buckets))][::-1])
            buckets = [buckets[at] for at in order.tolist()]
        return tuple(bucket for bucket, _ in buckets[: level.size])

    def _order_columns(self, level: Level, key: Ordering, places: list[int], buckets: list[Bucket]) -> list[pa.Array]:
        if key.field == "_key":
            wanted = numbers_to_arrow(np.array(places))
            return [self._groups[at].take(wanted) for at in level.keys]
        if key.field == "_count":
            return [pa.array([bucket.count for bucket in buckets], pa.int64())]
        return [pa.array([bucket.measures[key.field] for bucket in buckets])]

    # -- hits -----------------------------------------------------------------------------------
    def _hits(self, level: Level, codes: Codes) -> dict[int, tuple[BucketHit, ...]]:
        """The hits shown of each bucket."""
        if not level.hits:
            return {}
        ranks: list[Rank] = [codes]
        for key in level.sort:
            if isinstance(key, Ordering):
                ranks.append(-self._scores if key.descending else self._scores)
            else:
                ranks += ranks_of(column_of(self._rows, key.source), key)
        ranks += [-self._scores if self._plan.larger_is_closer else self._scores, sortable(self._keys)]
        order = np.lexsort(ranks[::-1])
        begins = np.concatenate([[True], np.diff(codes[order]) != 0])
        starts = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        kept = order[np.arange(len(order)) - starts < level.hits]
        made = self._made(kept)
        shown: dict[int, list[BucketHit]] = {}
        for code, hit in zip(codes[kept].tolist(), made, strict=True):
            shown.setdefault(code, []).append(hit)
        return {code: tuple(hits) for code, hits in shown.items()}

    def _made(self, places: RowNumbers) -> list[BucketHit]:
        wanted = numbers_to_arrow(places)
        names, plan = self._plan.shown, self._plan
        columns = [self._shown_field(name).take(wanted).to_pylist() for name in names]
        rows = zip(*columns, strict=True) if columns else [()] * len(places)
        ids = dict(zip(names, plan.shown_ids, strict=True))
        made = []
        for key, score, values in zip(
            self._keys.take(wanted).to_pylist(), self._scores[places].tolist(), rows, strict=True
        ):
            fields = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            made.append(BucketHit(key=key, score=score, fields=fields, field_ids={name: ids[name] for name in fields}))
        return made

    def _shown_field(self, name: str) -> pa.Array:
        column = plain(self._rows.column(name))
        return show_moments(column, self._plan.zone) if name in self._plan.times else column
