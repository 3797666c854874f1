"""The loop of a search among lists: the best product of each query vector in each row, summed for each query."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import float32, int64, types

from redkite.native import array, kernel, matrix


@kernel(
    types.void(
        matrix(float32), array(float32), array(float32), array(int64), array(int64), matrix(float32, written=True)
    )
)
def sum_of_best(
    products: npt.NDArray[np.float32],
    scales: npt.NDArray[np.float32],
    shifts: npt.NDArray[np.float32],
    starts: npt.NDArray[np.int64],
    token_starts: npt.NDArray[np.int64],
    out: npt.NDArray[np.float32],
) -> None:
    """`products` (elements, tokens); row r has the elements from `starts[r]`, query q the tokens from
    `token_starts[q]`. Products of element e count times `scales[e]`, less `shifts[e]`. Fills (rows, queries) `out`; a
    row without elements is minus infinity."""
    tokens = products.shape[1]
    best = np.empty(tokens, np.float32)
    for row in range(len(starts) - 1):
        first, last = starts[row], starts[row + 1]
        if first == last:
            for query in range(out.shape[1]):
                out[row, query] = -np.inf
            continue
        best[:] = -np.inf
        for element in range(first, last):
            some, scale, shift = products[element], scales[element], shifts[element]
            for token in range(tokens):
                best[token] = max(best[token], some[token] * scale - shift)
        for query in range(out.shape[1]):
            total = np.float32(0)
            for token in range(token_starts[query], token_starts[query + 1]):
                total += best[token]
            out[row, query] = total
