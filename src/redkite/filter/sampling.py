"""`random_sample(f)`: each row that passes the rest of the filter is kept with probability f.

It is no predicate: which rows it keeps differs from read to read. A read draws by its timestamp, so that the same
moment read again gives the same rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from redkite.filter.syntax import Call, Logical, Node

RANDOM_SAMPLE = "random_sample"
NEAREST = 1e-10
"""How near to 0 and to 1 the share may come."""
_WORD = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN = 0x9E37_79B9_7F4A_7C15
_MIX = (0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB)


class Split(NamedTuple):
    rest: Node | None
    """None: every row."""
    sample: Call | None


def split_sample(node: Node) -> Split:
    """A filter without the `random_sample` that its outermost `and` ends in, and that call."""
    return split_last(node, RANDOM_SAMPLE)


def split_last(node: Node, name: str) -> Split:
    """A filter without the call of this name that its outermost `and` ends in, and that call."""
    if isinstance(node, Call) and node.name == name:
        return Split(None, node)
    if not isinstance(node, Logical) or node.operator != "and":
        return Split(node, None)
    inner, sample = split_last(node.operands[-1], name)
    if sample is None:
        return Split(node, None)
    left = node.operands[:-1] if inner is None else (*node.operands[:-1], inner)
    rest = left[0] if len(left) == 1 else Logical(node.start, left[-1].end, node.operator, left)
    return Split(rest, sample)


def drawn(rows: npt.NDArray[np.int64], share: float, seeds: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """(len(rows),) True for the rows that are drawn: each with probability `share`, whatever the others are."""
    seed = 0
    for part in seeds:
        seed = _mixed(seed ^ (part & _WORD))
    # Row numbers through the same mixer (splitmix64): neighbours have nothing in common afterwards.
    words = rows.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(seed)
    for shift, factor in zip((30, 27), _MIX, strict=True):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    words ^= words >> np.uint64(31)
    kept: npt.NDArray[np.bool_] = words < np.uint64(min(int(share * 2.0**64), _WORD))
    return kept


def _mixed(word: int) -> int:
    word = (word + _GOLDEN) & _WORD
    for shift, factor in zip((30, 27), _MIX, strict=True):
        word = ((word ^ (word >> shift)) * factor) & _WORD
    return word ^ (word >> 31)
