"""The words of one column of a segment with their places: what answers `text_match` and `phrase_match`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import Corruption
from redkite.filter.columns import Columns
from redkite.filter.indexed import IndexedLeaf
from redkite.filter.matching import Matching, matched
from redkite.filter.numbers import Mask, settled
from redkite.index.scalar.layout import Array, Arrays, Stored, prefixed
from redkite.index.scalar.postings import packed, unpacked
from redkite.text.analyzer import Analyzer
from redkite.text.inverted import Inverted, invert
from redkite.text.words import Words

_BYTES_A_BYTE = 6
"""Memory that building takes for each byte of text, about: a word has some five of them."""


class MatchIndex:
    """Words and their occurrences, and which rows have a text at all."""

    def __init__(self, inverted: Inverted, valid: npt.NDArray[np.uint8] | None) -> None:
        """`valid`: rows that are not null, packed; None: all."""
        self._inverted = inverted
        self._valid = valid
        self.rows = inverted.texts
        self.answers = 0

    def answer(self, leaf: IndexedLeaf, columns: Columns, limit: float) -> Mask | None:  # noqa: ARG002
        """See `FieldIndex.answer`. It always costs less than finding the words of the rows."""
        if not isinstance(leaf, Matching):
            return None
        valid = None if self._valid is None else unpacked(self._valid, self.rows)
        return settled(matched(leaf, self._inverted), leaf.negated, valid)


def match_arrays(texts: pa.Array, analyzer: Analyzer, wanted: Callable[[], bool]) -> Arrays | None:
    """The arrays of an index over texts; None when it is not wanted any more."""
    made = invert(texts, analyzer, wanted)
    if made is None:
        return None
    arrays: dict[str, Array] = {
        **prefixed("words", {"offsets": made.words.offsets, "data": made.words.data}),
        "offsets": made.offsets,
        "rows": made.rows,
        "positions": made.positions,
    }
    if texts.null_count:
        arrays["valid"] = packed(np.asarray(texts.is_valid().to_numpy(zero_copy_only=False)))
    return arrays


def open_match(stored: Stored) -> MatchIndex:
    """Raises Corruption."""
    spelled = stored.part("words")
    inverted = Inverted(
        words=Words(spelled.array("offsets"), spelled.array("data")),
        offsets=stored.array("offsets"),
        rows=stored.array("rows"),
        positions=stored.array("positions"),
        texts=stored.rows,
    )
    occurrences = int(inverted.offsets[-1]) if len(inverted.offsets) else -1
    fits = len(inverted.offsets) == len(inverted.words) + 1 and len(inverted.rows) == occurrences
    if not fits or len(inverted.positions) != occurrences:
        raise Corruption("the arrays of an index over words do not fit each other")
    return MatchIndex(inverted, stored.arrays.get("valid"))


def build_memory(column_bytes: int) -> int:
    """What `match_arrays` takes at most, about."""
    return column_bytes * _BYTES_A_BYTE
