"""A segment's vectors and their index as the metric of a plan compares them."""

from __future__ import annotations

from redkite.index.base import VectorColumn, VectorIndex
from redkite.index.bm25 import Bm25
from redkite.index.minhash import as_signatures
from redkite.index.sparse import SparseColumn
from redkite.index.sparse_index import SparseIndex
from redkite.index.sparse_lists import SparseLists
from redkite.query.plan import SearchPlan


def prepared(
    column: VectorColumn, index: VectorIndex | None, plan: SearchPlan, known: VectorIndex | None = None
) -> tuple[VectorColumn, VectorIndex | None]:
    """The column, and the index if there is one to ask. `known`: the one over all rows of the segment, also where it is
    not to be asked."""
    scoring = plan.scoring
    if scoring is None:
        return as_signatures(column, plan.metric, plan.params), index
    assert isinstance(column, SparseColumn), "words are sparse vectors"
    lists = lists_of(column, known)
    scored = column.scored_by(Bm25(scoring.rows, scoring.average, scoring.k1, scoring.b), lists)
    if isinstance(index, SparseIndex) and len(column) == index.rows:
        index = index.scored_by(scored.norms)
    return scored, index


def lists_of(column: SparseColumn, index: VectorIndex | None) -> SparseLists | None:
    """Inverted lists of all rows of a column with nothing left out, and the rows' lengths; None: there are none."""
    if not isinstance(index, SparseIndex) or index.approximate or index.rows != len(column):
        return None
    return index.lists if len(index.lists.sums) == index.rows else None
