"""The words of many texts, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

HASHED_BYTES = 100
"""Longer words that begin alike have one hash, as in Milvus."""
_HASHES = 2**32 - 1

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """The tokens of n texts, in order; read only.

    `starts` (n + 1): the tokens of text i are `starts[i]:starts[i + 1]` of the other columns. `codes`: of each token,
    its place in `vocabulary`, which holds every word once and no word that does not occur. `positions`: the place of
    each token in its text, from 0; a word that a filter dropped leaves a gap. They ascend, except where words overlap:
    Jieba's search mode gives the parts of a long word before it. `begins` and `ends`: characters of the original text.
    `lengths`: how many positions a token spans, None where all span one.
    """

    starts: Int64s
    codes: Int32s
    vocabulary: list[str]
    positions: Int32s
    begins: Int32s
    ends: Int32s
    lengths: Int32s | None = None

    def __len__(self) -> int:
        """How many texts."""
        return len(self.starts) - 1

    @property
    def counts(self) -> Int64s:
        """How many tokens each text has."""
        return np.diff(self.starts)

    def hashes(self) -> npt.NDArray[np.uint32]:
        """Of each word of the vocabulary: the dimension that stands for it in a sparse vector."""
        return np.array(token_hashes(self.vocabulary), np.uint32)

    def words(self, text: int) -> list[str]:
        """The tokens of one text, spelled out."""
        codes = self.codes[self.starts[text] : self.starts[text + 1]]
        return [self.vocabulary[code] for code in codes.tolist()]


def token_hash(word: str) -> int:
    """CRC-32 of a word's first 100 bytes, modulo 2³² - 1."""
    return crc32(word.encode()[:HASHED_BYTES]) % _HASHES


def token_hashes(words: list[str]) -> list[int]:
    """`token_hash` of each word."""
    spelled = list(map(str.encode, words))
    if max(map(len, spelled), default=0) > HASHED_BYTES:
        spelled = [word[:HASHED_BYTES] for word in spelled]
    hashes = list(map(crc32, spelled))
    return [one % _HASHES for one in hashes] if _HASHES in hashes else hashes


def no_tokens(texts: int) -> Tokens:
    """The tokens of texts that have none."""
    none = np.empty(0, np.int32)
    return Tokens(np.zeros(texts + 1, np.int64), none, [], none, none, none)


def joined(parts: Sequence[Tokens]) -> Tokens:
    """The tokens of all texts of the parts, one part after another."""
    if len(parts) == 1:
        return parts[0]
    places: dict[str, int] = {}
    codes: list[npt.NDArray[Any]] = []
    starts: list[npt.NDArray[Any]] = [np.zeros(1, np.int64)]
    before = 0
    for part in parts:
        renamed = np.fromiter((places.setdefault(word, len(places)) for word in part.vocabulary), np.int32)
        codes.append(renamed[part.codes])
        starts.append(part.starts[1:] + before)
        before += len(part.codes)
    lengths = None
    if any(part.lengths is not None for part in parts):
        lengths = _column([np.ones(len(p.codes), np.int32) if p.lengths is None else p.lengths for p in parts])
    return Tokens(
        starts=np.concatenate(starts),
        codes=_column(codes),
        vocabulary=list(places),
        positions=_column([part.positions for part in parts]),
        begins=_column([part.begins for part in parts]),
        ends=_column([part.ends for part in parts]),
        lengths=lengths,
    )


def woven(parts: Sequence[tuple[Sequence[int], Tokens]]) -> Tokens:
    """The tokens of texts that were looked at in several parts: the texts of each part are those at the places beside
    it, and together the places are all from 0 on."""
    if len(parts) == 1:
        return parts[0][1]
    places = np.concatenate([np.array(at, np.int64) for at, _ in parts])
    return _in_order(joined([tokens for _, tokens in parts]), np.argsort(places, kind="stable"))


def _in_order(tokens: Tokens, order: Int64s) -> Tokens:
    """The texts in another order: text i is what was text `order[i]`."""
    counts = tokens.counts[order]
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))
    rows = np.arange(starts[-1]) + np.repeat(tokens.starts[:-1][order] - starts[:-1], counts)
    return Tokens(
        starts=starts,
        codes=tokens.codes[rows],
        vocabulary=tokens.vocabulary,
        positions=tokens.positions[rows],
        begins=tokens.begins[rows],
        ends=tokens.ends[rows],
        lengths=None if tokens.lengths is None else tokens.lengths[rows],
    )


def renumbered(tokens: Tokens) -> Tokens:
    """The same tokens, counted anew: no gap is left where one was dropped."""
    counted = np.arange(len(tokens.codes)) - np.repeat(tokens.starts[:-1], tokens.counts)
    return replace(tokens, positions=counted.astype(np.int32))


def _column(parts: list[npt.NDArray[Any]]) -> Int32s:
    return np.concatenate(parts).astype(np.int32, copy=False) if parts else np.empty(0, np.int32)
