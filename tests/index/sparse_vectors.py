"""Sparse vectors for tests, and what their search should answer, in plain numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from redkite.model.sparse import SparseRows

Dense = npt.NDArray[np.float64]


def sparse_of(dense: npt.NDArray[np.floating]) -> SparseRows:
    """The numbers of a matrix that are not zero."""
    rows, columns = np.nonzero(dense)
    starts = np.zeros(len(dense) + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=len(dense)), out=starts[1:])
    return SparseRows(starts, columns.astype(np.uint32), dense[rows, columns].astype(np.float32))


def texts(rows: int, dims: int, terms: int, seed: int = 0) -> Dense:
    """Rows like texts: few dimensions in most rows, most in few, weights of all sizes. One row in thirty is empty, and
    some are there twice."""
    rng = np.random.default_rng(seed)
    frequent = 1 / np.arange(1, dims + 1) ** 0.8
    chosen = rng.choice(dims, (rows, terms), p=frequent / frequent.sum())
    dense = np.zeros((rows, dims), np.float32)
    dense[np.arange(rows)[:, None], chosen] = rng.lognormal(0, 0.8, (rows, terms))
    dense[::30] = 0
    dense[7::50] = dense[min(8, rows - 1)]
    return dense.astype(np.float64)


def best_products(
    dense: Dense, queries: Dense, k: int, allowed: npt.NDArray[np.bool_] | None = None
) -> list[npt.NDArray[np.float64]]:
    """The `k` largest positive inner products of each query, largest first."""
    products = queries @ dense.T
    if allowed is not None:
        products[:, ~allowed] = 0
    found = -np.sort(-products, axis=1)[:, :k]
    return [each[each > 0] for each in found]
