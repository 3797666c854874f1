"""The words of texts, numbered in the order in which they were first seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.text.characters import Table
from redkite.text.texts import Texts

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
_FIRST_SLOTS = 1 << 12
"""Half of them stay free, and each takes two numbers."""
_FIRST_BYTES = 1 << 16
_FEWEST_BYTES = 2
"""Of a word and the gap behind it."""
_BEHIND = bytes(8)
"""Words are read by eight bytes, and the last one, too."""


class Vocabulary:
    """Words that are runs of the characters whose place in `table` is true. One thread at a time."""

    def __init__(self, table: Table) -> None:
        self._table = table.view(np.uint8)
        self._slots = np.zeros(2 * _FIRST_SLOTS, np.uint64)
        self._letters = np.empty(_FIRST_BYTES, np.uint8)
        self._ends = np.zeros(_FIRST_SLOTS // 2 + 2, np.int64)
        self._known = 0

    def __len__(self) -> int:
        """How many words are known."""
        return self._known

    @property
    def word_bytes(self) -> int:
        """The length of all words together."""
        return int(self._ends[self._known])

    def numbers(self, texts: Texts) -> tuple[Int64s, Int32s]:
        """(texts + 1,) where the words of each text begin, and their numbers. Texts are valid UTF-8."""
        from redkite.text.vocabulary_kernels import number_words

        data, end = np.frombuffer(texts.data + _BEHIND, np.uint8), len(texts)
        starts = np.zeros(end + 1, np.int64)
        codes = np.empty((len(data) + end) // _FEWEST_BYTES + 1, np.int32)
        at = 0
        while at < end:
            known = self._slots, self._letters, _eights(self._letters), self._ends, self._known
            at, self._known = number_words(data, _eights(data), texts.bounds, at, self._table, *known, starts, codes)
            if at < end:
                self._grow(int(texts.bounds[at + 1] - texts.bounds[at]))
        return starts, codes[: starts[-1]]

    def words(self, first: int) -> list[str]:
        """The words from this number on."""
        ends, count = self._ends[first : self._known + 1], self._known - first
        bounds = (ends - ends[0]).astype(np.int32)
        letters = self._letters[ends[0] : ends[-1]]
        words: list[str] = pa.StringArray.from_buffers(count, pa.py_buffer(bounds), pa.py_buffer(letters)).to_pylist()
        return words

    def _grow(self, size: int) -> None:
        """Make room for the words of a text of so many bytes."""
        from redkite.text.vocabulary_kernels import move_words

        if len(self._letters) < self.word_bytes + size + len(_BEHIND):
            letters = np.empty(2 * (self.word_bytes + size + len(_BEHIND)), np.uint8)
            letters[: self.word_bytes] = self._letters[: self.word_bytes]
            self._letters = letters
        most = self._known + (size + 1) // _FEWEST_BYTES
        if len(self._slots) < 4 * most:
            slots = np.zeros(1 << (4 * most).bit_length(), np.uint64)
            ends = np.zeros(len(slots) // 4 + 2, np.int64)
            ends[: self._known + 1] = self._ends[: self._known + 1]
            move_words(self._slots, slots)
            self._slots, self._ends = slots, ends


def _eights(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """The eight bytes from each byte on, as numbers."""
    return np.ndarray((len(data) - len(_BEHIND) + 1,), np.uint64, data, strides=(1,))
