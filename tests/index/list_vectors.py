"""Lists of vectors, and a plain model of how they are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.index.lists import ListColumn, VectorLists
from redkite.model.types import DataType, Metric
from redkite.segment.vectors import column_of

DENSE_METRICS = (Metric.MAX_SIM, Metric.MAX_SIM_COSINE, Metric.MAX_SIM_IP, Metric.MAX_SIM_L2)
BIT_METRICS = (Metric.MAX_SIM_HAMMING, Metric.MAX_SIM_JACCARD)


def starts_of(lengths: Any) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def bits_of(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    return np.unpackbits(rows, axis=1).astype(np.float64)


def pairwise_scores(tokens: npt.NDArray[Any], vectors: npt.NDArray[Any], metric: Metric) -> npt.NDArray[np.float64]:
    """(tokens, vectors) scores of single vectors."""
    if metric in BIT_METRICS:
        one, other = bits_of(tokens), bits_of(vectors)
        both = one @ other.T
        sizes = one.sum(axis=1)[:, None] + other.sum(axis=1)
        if metric is Metric.MAX_SIM_HAMMING:
            return sizes - 2 * both
        either = sizes - both
        return 1 - np.divide(both, either, out=np.ones_like(both), where=either > 0)
    one, other = tokens.astype(np.float64), vectors.astype(np.float64)
    if metric is Metric.MAX_SIM_L2:
        return ((one[:, None] - other[None]) ** 2).sum(axis=2)
    products = one @ other.T
    if metric is Metric.MAX_SIM_IP:
        return products
    lengths = np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(other, axis=1)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def model(queries: VectorLists, lists: list[npt.NDArray[Any]], metric: Metric) -> npt.NDArray[np.float64]:
    """(queries, rows) scores; infinitely far where a row has no vector."""
    far = -np.inf if metric.larger_is_closer else np.inf
    out = np.full((len(queries), len(lists)), far)
    for at in range(len(queries)):
        tokens = queries.matrix[queries.starts[at] : queries.starts[at + 1]]
        for row, vectors in enumerate(lists):
            if len(vectors):
                each = pairwise_scores(tokens, vectors, metric)
                out[at, row] = (each.max(axis=1) if metric.larger_is_closer else each.min(axis=1)).sum()
    return out


def column_from(lists: list[npt.NDArray[Any]], kind: DataType = DataType.FLOAT_VECTOR) -> ListColumn:
    flat = np.concatenate(lists) if lists else np.empty((0, 1), np.float32)
    return ListColumn(starts_of([len(some) for some in lists]), column_of(kind, flat))


def random_lists(rows: int, dim: int, most: int, seed: int = 0, clusters: int = 0) -> list[npt.NDArray[np.float32]]:
    """`rows` lists of 0 to `most` vectors; around `clusters` centres, if any."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dim)) if clusters else None
    made = []
    for _ in range(rows):
        vectors = rng.normal(size=(int(rng.integers(0, most + 1)), dim))
        if centres is not None:
            vectors = centres[rng.integers(0, clusters, len(vectors))] + 0.4 * vectors
        made.append(vectors.astype(np.float32))
    return made


def random_queries(count: int, dim: int, tokens: int, seed: int = 1, clusters: int = 0) -> VectorLists:
    lists = [some for some in random_lists(4 * count, dim, tokens, seed, clusters) if len(some)][:count]
    return VectorLists(starts_of([len(some) for some in lists]), np.concatenate(lists))
