"""What libraries that cut one text at a time have found, as columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.text.tokens import Tokens, no_tokens

Array = npt.NDArray[Any]


def tokens_of(counts: Sequence[int], words: Collection[str], begins: Sequence[int], *, by_character: bool) -> Tokens:
    """The tokens of texts that have `counts` words each; all words, one text after another, and the character of its
    text that each begins at. A token's position is that character, and its length the word's, if `by_character`; else
    tokens are counted."""
    if not words:
        return no_tokens(len(counts))
    return _columns(_starts(counts), words, np.array(begins, np.int32), by_character=by_character)


def tokens_of_pieces(texts: Sequence[Sequence[str]], *, by_character: bool) -> Tokens:
    """The same for texts of which the words are the whole."""
    starts = _starts([len(pieces) for pieces in texts])
    words = [piece for pieces in texts for piece in pieces]
    if not words:
        return no_tokens(len(texts))
    sizes = np.fromiter(map(len, words), np.int64, len(words))
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    begins = before[:-1] - np.repeat(before[starts[:-1]], np.diff(starts))
    return _columns(starts, words, begins.astype(np.int32), by_character=by_character)


def _starts(counts: Sequence[int]) -> Array:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)))


def _columns(starts: Array, words: Collection[str], begins: Array, *, by_character: bool) -> Tokens:
    import pyarrow as pa

    coded = pa.array(words, pa.string()).dictionary_encode()
    vocabulary, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy()
    sizes = np.fromiter(map(len, vocabulary), np.int32, len(vocabulary))[codes]
    counted = np.arange(len(begins)) - np.repeat(starts[:-1], np.diff(starts))
    return Tokens(
        starts=starts,
        codes=codes,
        vocabulary=vocabulary,
        positions=begins if by_character else counted.astype(np.int32),
        begins=begins,
        ends=begins + sizes,
        lengths=sizes if by_character else None,
    )
