"""Ranked rows by groups: the best rows of each of the best groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from redkite.index.base import RowNumbers
from redkite.query.fusion import Mode, Pool, Scored, ordered
from redkite.query.sources import Codes


class GroupRule(NamedTuple):
    size: int
    """Rows of a group at most."""
    scorer: Mode = "max"
    """What ranks a group, of the scores of the rows it shows; `max` is the best of them."""


def best_groups(
    rows: Pool, scored: Scored, codes: Codes, rule: GroupRule, limit: int, offset: int = 0
) -> tuple[RowNumbers, npt.NDArray[np.int64]]:
    """Places of the rows that make the answer, in its order, and how many each query has. `codes` (rows,) says which
    group a row belongs to. Groups of equal score are in the order of their best rows."""
    order = ordered(rows, scored)
    if not len(order):
        return order, np.zeros(rows.nq, np.int64)
    query = rows.queries[order]
    pair = query * (int(codes.max()) + 1) + codes[order]
    together = np.argsort(pair, kind="stable")  # the rows of one group of one query side by side, the best first
    starts = np.flatnonzero(np.concatenate([[True], np.diff(pair[together]) != 0]))
    lengths = np.diff(np.concatenate([starts, [len(together)]]))
    group = np.repeat(np.arange(len(starts)), lengths)
    nth = np.arange(len(together)) - starts[group]
    shown = nth < rule.size
    score = _group_scores(scored.scores[order][together].astype(np.float64), group, nth, shown, rule.scorer)
    rank = -score if scored.larger_is_closer else score
    best = together[starts]
    in_order = np.lexsort((best, rank, query[best]))
    number = np.empty(len(starts), np.int64)
    number[in_order] = np.arange(len(starts))
    of_query = query[best][in_order]
    number -= np.searchsorted(of_query, of_query)[number]
    kept = np.flatnonzero(shown & (number[group] >= offset) & (number[group] < offset + limit))
    asked = query[together[kept]]
    sorting = np.lexsort((nth[kept], number[group[kept]], asked))
    return order[together[kept[sorting]]], np.bincount(asked, minlength=rows.nq)


def _group_scores(
    scores: npt.NDArray[np.float64],
    group: npt.NDArray[np.int64],
    nth: npt.NDArray[np.int64],
    shown: npt.NDArray[np.bool_],
    scorer: Mode,
) -> npt.NDArray[np.float64]:
    """(groups,)"""
    if scorer == "max":
        firsts: npt.NDArray[np.float64] = scores[nth == 0]
        return firsts
    totals = np.bincount(group[shown], scores[shown]).astype(np.float64)
    return totals if scorer == "sum" else totals / np.bincount(group[shown])
