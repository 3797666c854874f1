"""XXH64, seed 0, of whole columns: of integers as 8 bytes, the least significant first, and of texts as UTF-8."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]

_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
    )
)  # fmt: skip
"""The constants of XXH64."""
_WRAP = (1 << 64) - 1
_LANES = np.array([(int(_P1) + int(_P2)) & _WRAP, int(_P2), 0, -int(_P1) & _WRAP], np.uint64)
"""What the four lanes of a long text begin with."""
_STRIPE = 32
"""Bytes that the four lanes take at a time."""


def hash_integers(values: npt.NDArray[Any]) -> Hashes:
    """(rows,) the hashes of integers of any width, as int64."""
    words = values.astype(np.int64, copy=False).view(np.uint64)
    return _mixed(_with_word(np.full(len(words), int(_P5) + 8, np.uint64), words))


def hash_texts(texts: pa.Array) -> Hashes:
    """(rows,) the hashes of a column of strings without nulls.

    All texts go side by side: what is looped over are the steps that the longest takes.
    """
    data, starts = _bytes_of(texts)
    lengths = np.diff(starts)
    if not len(lengths):
        return np.zeros(0, np.uint64)
    order = np.argsort(-lengths, kind="stable")
    sizes, places = lengths[order], starts[:-1][order]
    hashes = np.full(len(sizes), _P5, np.uint64)
    long = int(np.count_nonzero(sizes >= _STRIPE))
    if long:
        hashes[:long] = _stripes(data, places[:long], sizes[:long])
    hashes += sizes.astype(np.uint64)
    _tails(hashes, data, places, sizes)
    result = np.empty_like(hashes)
    result[order] = _mixed(hashes)
    return result


def _bytes_of(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of all texts and where each begins, and the last ends; eight zeros stand behind them."""
    wide = pa.types.is_large_string(texts.type)
    width = np.int64 if wide else np.int32
    buffers = texts.buffers()
    if buffers[1] is None or not len(texts):
        return np.zeros(8, np.uint8), np.zeros(len(texts) + 1, np.int64)
    first = texts.offset * np.dtype(width).itemsize
    starts = np.frombuffer(buffers[1], width, len(texts) + 1, first).astype(np.int64)
    low, high = int(starts[0]), int(starts[-1])
    data = np.zeros(high - low + 8, np.uint8)
    if high > low:
        data[:-8] = np.frombuffer(buffers[2], np.uint8, high - low, low)
    return data, starts - low


def _words(data: npt.NDArray[np.uint8], size: int) -> npt.NDArray[Any]:
    """The number of `size` bytes that begins at each byte."""
    return np.ndarray((len(data) - size + 1,), f"<u{size}", data, 0, (1,))


def _stripes(data: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Hashes:
    """The hashes of the whole stripes of long texts, the longest first."""
    words = _words(data, 8)
    lanes = np.tile(_LANES, (len(sizes), 1))
    within = 8 * np.arange(4)
    for stripe in range(int(sizes[0]) // _STRIPE):
        active = int(np.count_nonzero(sizes >= (stripe + 1) * _STRIPE))
        at = places[:active, None] + (stripe * _STRIPE + within)
        lanes[:active] = _rounded(lanes[:active], words[at])
    turns = (1, 7, 12, 18)
    hashes = _turned(lanes[:, 0], turns[0])
    for lane in (1, 2, 3):
        hashes += _turned(lanes[:, lane], turns[lane])
    for lane in range(4):
        hashes = (hashes ^ _rounded(np.zeros_like(hashes), lanes[:, lane])) * _P1 + _P4
    return hashes


def _tails(
    hashes: Hashes, data: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> None:
    """Take in what follows the whole stripes: words of eight bytes, then of four, then single ones."""
    left = sizes % _STRIPE
    at = places + (sizes - left)
    for size in (8, 4, 1):
        words = _words(data, size)
        while (rows := np.flatnonzero(left >= size)).size:
            found = words[at[rows]].astype(np.uint64)
            if size == 8:
                hashes[rows] = _with_word(hashes[rows], found)
            elif size == 4:
                hashes[rows] = _turned(hashes[rows] ^ (found * _P1), 23) * _P2 + _P3
            else:
                hashes[rows] = _turned(hashes[rows] ^ (found * _P5), 11) * _P1
            at[rows] += size
            left[rows] -= size


def _with_word(hashes: Hashes, words: Hashes) -> Hashes:
    return _turned(hashes ^ _rounded(np.zeros_like(words), words), 27) * _P1 + _P4


def _rounded(lanes: Hashes, words: Hashes) -> Hashes:
    return _turned(lanes + words * _P2, 31) * _P1


def _turned(values: Hashes, bits: int) -> Hashes:
    turned: Hashes = (values << np.uint64(bits)) | (values >> np.uint64(64 - bits))
    return turned


def _mixed(hashes: Hashes) -> Hashes:
    """Every bit of the result depends on every bit of the hash; in place."""
    hashes ^= hashes >> np.uint64(33)
    hashes *= _P2
    hashes ^= hashes >> np.uint64(29)
    hashes *= _P3
    hashes ^= hashes >> np.uint64(32)
    return hashes
