"""Vectors of every type as users hold them, and what numpy says about their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DIM = 16


@dataclass(frozen=True)
class VectorKind:
    """One type of vectors, and an index that compares every row of it."""

    data_type: str
    index_type: str
    metrics: tuple[str, ...]
    settings: dict[str, int]

    def draw(self, rng: np.random.Generator, rows: int) -> list[Any]:
        """Vectors as users write them."""
        if self.data_type == "SPARSE_FLOAT_VECTOR":
            return [_sparse(rng) for _ in range(rows)]
        if self.data_type == "BINARY_VECTOR":
            return [row.tobytes() for row in rng.integers(0, 256, (rows, self.settings["dim"] // 8)).astype(np.uint8)]
        if self.data_type == "INT8_VECTOR":
            return list(rng.integers(-128, 128, (rows, DIM)).astype(np.int8))
        floats = rng.normal(size=(rows, DIM)).astype(np.float32)
        return floats.tolist() if self.data_type == "FLOAT_VECTOR" else list(floats.astype(_HALVES[self.data_type]))

    def query(self, rng: np.random.Generator, metric: str) -> Any:
        """A vector to search for, to which some rows are close."""
        (vector,) = self.draw(rng, 1)
        if metric == "SUBSTRUCTURE":
            return bytes([vector[0] & 0b11, *bytes(len(vector) - 1)])
        return bytes([0xFF, 0xFF, *vector[2:]]) if metric == "SUPERSTRUCTURE" else vector

    def shown(self, vector: Any) -> Any:
        """A vector as a query shows it."""
        if self.data_type in ("FLOAT_VECTOR", "SPARSE_FLOAT_VECTOR"):
            return vector
        return [vector if isinstance(vector, bytes) else vector.tobytes()]


_HALVES = {"FLOAT16_VECTOR": np.float16, "BFLOAT16_VECTOR": ml_dtypes.bfloat16}
_FLOAT_METRICS = ("L2", "IP", "COSINE")
KINDS = {
    "float": VectorKind("FLOAT_VECTOR", "FLAT", _FLOAT_METRICS, {"dim": DIM}),
    "float16": VectorKind("FLOAT16_VECTOR", "FLAT", _FLOAT_METRICS, {"dim": DIM}),
    "bfloat16": VectorKind("BFLOAT16_VECTOR", "FLAT", _FLOAT_METRICS, {"dim": DIM}),
    "int8": VectorKind("INT8_VECTOR", "AUTOINDEX", _FLOAT_METRICS, {"dim": DIM}),
    "binary": VectorKind(
        "BINARY_VECTOR", "BIN_FLAT", ("HAMMING", "JACCARD", "SUBSTRUCTURE", "SUPERSTRUCTURE"), {"dim": 24}
    ),
    "sparse": VectorKind("SPARSE_FLOAT_VECTOR", "SPARSE_INVERTED_INDEX", ("IP",), {}),
}
CASES = [(name, metric) for name, kind in KINDS.items() for metric in kind.metrics]


def _sparse(rng: np.random.Generator) -> dict[int, float]:
    dimensions = rng.choice(40, rng.integers(1, 9), replace=False)
    return {int(d): float(np.float32(rng.random() + 0.01)) for d in np.sort(dimensions)}


def scores(query: Any, vectors: Sequence[Any], metric: str) -> Floats:
    """The score of each vector; NaN where there is none."""
    return np.array([np.nan if vector is None else _score(query, vector, metric) for vector in vectors])


def _score(query: Any, vector: Any, metric: str) -> float:
    if isinstance(query, dict):
        shared = query.keys() & vector.keys()
        return sum(query[d] * vector[d] for d in shared) if shared else np.nan
    if isinstance(query, bytes):
        return _bit_score(int.from_bytes(query), int.from_bytes(vector), metric)
    a, b = np.asarray(query, np.float64), np.asarray(vector, np.float64)
    if metric == "L2":
        return float(((a - b) ** 2).sum())
    return float(a @ b if metric == "IP" else a @ b / np.sqrt((a @ a) * (b @ b)))


def _bit_score(query: int, row: int, metric: str) -> float:
    if metric == "HAMMING":
        return (query ^ row).bit_count()
    if metric == "JACCARD":
        return 1 - (query & row).bit_count() / max(1, (query | row).bit_count())
    return 0.0 if query & row == (query if metric == "SUBSTRUCTURE" else row) else np.nan


def nearest(all_scores: Floats, metric: str) -> npt.NDArray[np.int64]:
    """Row numbers by closeness, those without a score left out; of equal scores the smaller number first."""
    rows = np.flatnonzero(~np.isnan(all_scores))
    rank = -all_scores[rows] if metric in ("IP", "COSINE") else all_scores[rows]
    return rows[np.argsort(rank, kind="stable")]
