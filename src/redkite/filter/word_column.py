"""A column of texts as the words that are in them, analysed once and kept while rows come behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.text.analyzer import Analyzer
from redkite.text.inverted import Inverted, invert

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class WordColumn:
    """The words of the first `rows` texts of its parts, which follow each other. To be read only."""

    rows: int
    parts: tuple[Inverted, ...]
    present: Mask | None
    """(rows,) where there is a text; None: everywhere."""

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts) + (0 if self.present is None else self.present.nbytes)

    @staticmethod
    def from_texts(texts: pa.Array, analyzer: Analyzer) -> WordColumn:
        """Analyse a column of strings."""
        made = invert(texts, analyzer)
        assert made is not None, "nobody said that it is not wanted"
        valid = np.asarray(texts.is_valid().to_numpy(zero_copy_only=False)) if texts.null_count else None
        return WordColumn(len(texts), (made,), valid)

    def head(self, rows: int) -> WordColumn:
        """The first rows."""
        return replace(self, rows=rows, present=None if self.present is None else self.present[:rows])

    def and_more(self, more: WordColumn) -> WordColumn:
        """These rows and more behind them. A part that has grown as large as the one before it is made one with it, so
        a text is moved about as often as its column has doubled."""
        parts = [*self.parts, *more.parts]
        while len(parts) > 1 and parts[-2].texts <= parts[-1].texts:
            last = parts.pop()
            parts[-1] = parts[-1].and_more(last)
        present = [np.ones(c.rows, np.bool_) if c.present is None else c.present for c in (self, more)]
        valid = None if self.present is None and more.present is None else np.concatenate(present)
        return WordColumn(self.rows + more.rows, tuple(parts), valid)
