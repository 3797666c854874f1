"""What is searched? Data from a fixed seed, with the exact answers of every query.

Real embeddings lie in clusters near a surface of few dimensions, and recall depends on that. So the vectors are 64
clusters in 20 dimensions, projected up, plus noise. `category` is independent of the vector; `zone` is not: it is the
percentile of the vector's projection on one direction, so that the rows of a zone lie in one region and a graph search
that starts elsewhere must cross the rows the filter forbids.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

K = 10
QUERIES = 1_000
FORMAT = 4
COLORS = np.array(["red", "green", "blue", "black", "white", "cyan", "pink", "gold", "gray", "teal"])


@dataclass(frozen=True)
class Spec:
    rows: int
    dim: int
    metric: str
    seed: int


SPECS = {
    "w1": Spec(100_000, 128, "L2", 1234),
    "w2": Spec(50_000, 768, "COSINE", 4321),
    "tiny": Spec(3_000, 32, "L2", 7),
}


@dataclass(frozen=True)
class Filter:
    """A condition on one column of numbers, and what part of the data passes it, in percent."""

    kind: str
    share: float
    column: str
    below: int

    @property
    def label(self) -> str:
        return f"{self.kind}{self.share}"

    @property
    def text(self) -> str:
        return f"{self.column} < {self.below}"

    def mask(self, columns: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        passing: npt.NDArray[np.bool_] = columns[self.column] < self.below
        return passing


FILTERS = (
    *(Filter("independent", percent, "category", percent) for percent in (50, 10, 1)),
    Filter("independent", 0.1, "price", 1),
    *(Filter("correlated", percent, "zone", percent) for percent in (50, 10, 1)),
)


class Workload:
    """`vectors` (rows, dim) and `queries` (1000, dim) float32, scalar columns, and the K nearest ids of each query:
    `truth["none"]` and one entry for each filter, (1000, K) int64."""

    def __init__(self, name: str) -> None:
        self.name, self.spec = name, SPECS[name]
        path = Path(tempfile.gettempdir(), "redkite-bench", f"{name}-{self.spec.seed}-v{FORMAT}.npz")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._generate(path)
        with np.load(path) as arrays:
            self.vectors, self.queries = arrays["vectors"], arrays["queries"]
            self.columns = {name: arrays[name] for name in ("category", "zone", "price", "color")}
            self.truth = {key[6:]: arrays[key] for key in arrays.files if key.startswith("truth_")}

    @property
    def rows(self) -> int:
        return self.spec.rows

    @cached_property
    def query_lists(self) -> list[list[float]]:
        """The queries as lists of floats, as pymilvus users hold them."""
        lists: list[list[float]] = self.queries.tolist()
        return lists

    def dicts(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Rows as a list of dicts of plain Python values."""
        part = slice(start, stop)
        columns = [np.arange(start, stop).tolist(), self.vectors[part].tolist()]
        columns += [column[part].tolist() for column in self.columns.values()]
        names = ("id", "vector", *self.columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def recall(self, found: list[list[int]], truth: str = "none") -> float:
        """Share of the true neighbours that were found, over the first len(found) queries."""
        wanted = self.truth[truth][: len(found)]
        hits = sum(len(set(row) & set(near)) for row, near in zip(found, wanted.tolist(), strict=True))
        return round(hits / np.count_nonzero(wanted >= 0), 4)

    def _generate(self, path: Path) -> None:
        spec, random = self.spec, np.random.default_rng(self.spec.seed)
        latent, clusters = 20, 64
        centers = random.normal(0, 1, (clusters, latent))
        projection = random.normal(0, latent**-0.5, (latent, spec.dim))

        def draw(count: int) -> npt.NDArray[np.float32]:
            points = centers[random.integers(0, clusters, count)] + random.normal(0, 0.6, (count, latent))
            vectors = points @ projection + random.normal(0, 0.05, (count, spec.dim))
            if spec.metric == "COSINE":
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            return vectors.astype(np.float32)

        vectors, queries = draw(spec.rows), draw(QUERIES)
        height = vectors @ random.normal(0, 1, spec.dim).astype(np.float32)
        columns = {
            "category": random.integers(0, 100, spec.rows),
            "zone": (np.argsort(np.argsort(height)) * 100) // spec.rows,
            "price": random.uniform(0, 1000, spec.rows).astype(np.float32),
            "color": COLORS[random.integers(0, len(COLORS), spec.rows)],
        }
        everything = np.ones(spec.rows, dtype=np.bool_)
        truth = {"none": nearest(vectors, queries, everything)}
        truth |= {chosen.label: nearest(vectors, queries, chosen.mask(columns)) for chosen in FILTERS}
        arrays = {f"truth_{key}": value for key, value in truth.items()}
        np.savez(path, vectors=vectors, queries=queries, **columns, **arrays)


def nearest(
    vectors: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], allowed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """(queries, K) ids of the allowed rows nearest by L2, nearest first (also right for normalised COSINE), -1 behind
    them where there are fewer."""
    ids = np.flatnonzero(allowed)
    k = min(K, len(ids))
    base = vectors[ids]
    norms = (base.astype(np.float64) ** 2).sum(axis=1)
    result = np.full((len(queries), K), -1, dtype=np.int64)
    for start in range(0, len(queries), 100):
        part = slice(start, start + 100)
        distances = norms - 2.0 * (queries[part] @ base.T)
        close = np.argpartition(distances, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(distances, close, 1).argsort(axis=1)
        result[part, :k] = ids[np.take_along_axis(close, order, 1)]
    return result
