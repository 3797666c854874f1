"""How far a search looks that does not say how far: measured when an index is built.

The defaults of the protocol (`nprobe` 8, `ef` the limit or 16) find nearly all neighbours in data that has clusters,
and half of them in data that has none. So a sample of the rows is searched for with that effort and with more, until
most of their true neighbours are found, and the stored index remembers the least effort that did. It is a default only:
what a search names itself is what it gets.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from redkite.index.base import Bitmap, Queries, RowNumbers, Scores, SearchParams
from redkite.index.binary import BinaryColumn
from redkite.index.building import Build, whole
from redkite.index.dense import ByteColumn

MEASURED = "measured"
"""Among the parameters of a search: the names of those that are defaults, which the index may raise."""
SAMPLE = 200
NEIGHBOURS = 10
ENOUGH = 0.98
MIXED = 10
HARDLY_MORE = 0.01
"""Where there is no effort that finds enough, the least that finds about what the greatest does."""
_SLACK = 1e-5
LEAST = {"ef": 16, "nprobe": 8, "search_list": 16}
"""What efforts begin at."""


class Measurable(Protocol):
    """An index whose default effort may be set."""

    effort: str
    least: int

    def search(
        self, queries: Queries, k: int, params: SearchParams, allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]: ...


def resolved(params: SearchParams, name: str, least: int) -> int:
    """The effort of a search: as it says, or by default as it says and at least as measured."""
    asked = whole(params, name)
    return max(asked, least) if MEASURED in params else asked


def settled(params: SearchParams, name: str, least: int) -> SearchParams:
    """The parameters with the effort that they come to."""
    if MEASURED not in params:
        return params
    return {key: value for key, value in params.items() if key != MEASURED} | {name: resolved(params, name, least)}


def measured_effort(build: Build, index: Measurable, params: SearchParams, most: int) -> int:
    """The least default effort that finds enough of what searches with these parameters ask for: what the protocol says
    times a power of two, `most` at most. Raises BuildCancelled."""
    rows = np.linspace(0, build.rows - 1, min(SAMPLE, build.rows)).astype(np.int64)
    queries = _queries(build, rows)
    k = min(NEIGHBOURS, build.rows)
    build.check()
    true, _ = build.column.search(queries, k, build.metric, None)
    found: list[tuple[int, float]] = []
    index.least = min(LEAST[index.effort], most)
    while True:
        build.begin()
        _, candidates = index.search(queries, k, {index.effort: index.least, **params}, None)
        scores, places = build.column.ranked(queries, candidates, k, build.metric)
        found.append((index.least, _share(scores, places, true, build)))
        if found[-1][1] >= ENOUGH or index.least >= most:
            break
        index.least = min(2 * index.least, most)
    best = max(share for _, share in found)
    return next(effort for effort, share in found if share >= min(ENOUGH, best - HARDLY_MORE))


def _queries(build: Build, rows: RowNumbers) -> Any:
    """Rows with a tenth of another one in each: near what there is, and no row itself."""
    others = np.roll(rows, 1)
    if isinstance(build.column, BinaryColumn):
        matrix = build.column.matrix
        bits = np.arange(matrix.shape[1] * 8)
        mixed = np.packbits((7 * np.arange(len(rows))[:, None] + 13 * bits) % MIXED == 0, axis=1)
        return np.ascontiguousarray((matrix[rows] & ~mixed) | (matrix[others] & mixed))
    own, other = build.dense.floats(rows), build.dense.floats(others)
    between = (1 - 1 / MIXED) * own + 1 / MIXED * other
    if isinstance(build.column, ByteColumn):  # whose queries are whole numbers
        between = np.round(between)
    return np.ascontiguousarray(between, np.float32)


def _share(scores: Any, places: RowNumbers, true: Any, build: Build) -> float:
    """The part of the true neighbours, or of others that are as near."""
    sign = -1.0 if build.metric.larger_is_closer else 1.0
    bound = sign * true[:, -1:]
    near = (sign * scores <= bound + _SLACK * np.maximum(1.0, np.abs(bound))) & (places >= 0)
    return float(near.mean()) if near.size else 1.0
