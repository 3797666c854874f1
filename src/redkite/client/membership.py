"""Sets of members as bytes, for the filter `membership_match(field, {members})`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import ParamError
from redkite.filter.membership import bloom, roaring_writer
from redkite.filter.membership.hashing import Hashes, hash_integers, hash_texts

_PORTION = 1 << 16
"""Members taken together from what has no length."""
_MIXED = "bloom filter members must be all int or all str"
_NOT_INTEGERS = "roaring bitmap members must be int"
_MOST_COUNT = (1 << 64) - 1

Integers = npt.NDArray[np.int64]


class _Once:
    """One caller at a time, and none after an addition that failed half way. Any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._broken = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._broken:
            self._lock.release()
            raise ParamError("this builder is of no use: an earlier addition failed")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._broken = kind is not None
        self._lock.release()


class BloomFilterBuilder:
    """A set that may let through a little more than was put in, of a size that `n` and `fpr` alone decide.

    Members may come in portions, in any order, more than once; more than `n` of them let more others through. Any
    thread, one at a time.
    """

    def __init__(self, n: int, fpr: float = bloom.RATE) -> None:
        if type(n) is not int or not 0 <= n <= _MOST_COUNT:
            raise ParamError("bloom filter member count must be a uint64")
        self._fpr = _rate(fpr)
        self._n = n
        self._blocks: bloom.Blocks = np.zeros((bloom.blocks_for(n, self._fpr), 8), "<u4")
        self._domains = 0
        self._once = _Once()

    def add_int64_batch(self, values: Iterable[int]) -> BloomFilterBuilder:
        """Members for integer fields, and for integers of JSON."""
        with self._once:
            for portion in _integers(values, _MIXED, "integer bloom filter members must fit in signed int64"):
                self._put(hash_integers(portion), bloom.INTEGERS)
        return self

    def add_string_batch(self, values: Iterable[str]) -> BloomFilterBuilder:
        """Members for VARCHAR fields, and for strings of JSON."""
        with self._once:
            for portion in _texts(values):
                self._put(hash_texts(portion), bloom.TEXTS)
        return self

    @property
    def domains(self) -> int:
        """Kinds of members so far: 1 integers, 2 strings, 3 both."""
        return self._domains

    @property
    def num_blocks(self) -> int:
        """Blocks of 32 bytes."""
        return len(self._blocks)

    def build(self) -> bytes:
        """What is in so far; more may be added, and built again."""
        with self._once:
            return bloom.written(self._blocks, self._n, self._fpr, self._domains)

    def _put(self, hashes: Hashes, kind: int) -> None:
        bloom.put(self._blocks, hashes)
        self._domains |= kind


class RoaringBitmapBuilder:
    """An exact set of 64-bit integers, small where its members lie close together.

    Members may come in portions, in any order, more than once. Any thread, one at a time.
    """

    def __init__(self) -> None:
        self._keys: roaring_writer.Keys = np.empty(0, np.uint64)
        self._parts: list[roaring_writer.Keys] = []
        self._waiting = 0
        self._once = _Once()

    def add_int64_batch(self, values: Iterable[int]) -> RoaringBitmapBuilder:
        with self._once:
            for portion in _integers(values, _NOT_INTEGERS, "roaring bitmap members must fit in signed int64"):
                self._parts.append(portion.view(np.uint64))
                self._waiting += len(portion)
                if self._waiting > max(_PORTION, len(self._keys)):
                    self._settle()
        return self

    @property
    def cardinality(self) -> int:
        """How many different members are in so far."""
        with self._once:
            self._settle()
            return len(self._keys)

    def build(self) -> bytes:
        """What is in so far; more may be added, and built again."""
        with self._once:
            self._settle()
            keys = self._keys
        try:
            return roaring_writer.written(keys)
        except bloom.BadMembers as error:
            raise ParamError(str(error)) from None

    def _settle(self) -> None:
        if self._parts:
            # Sorting and leaving out what is there twice is many times faster than numpy's `unique`, which hashes.
            keys = np.sort(np.concatenate([self._keys, *self._parts]))
            self._keys = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
            self._parts, self._waiting = [], 0


def build_bloom_filter(members: Any, fpr: float = bloom.RATE) -> bytes:
    """The bytes of a Bloom filter of a list of integers, or one of strings."""
    _rate(fpr)
    listed = _listed(members, "bloom filter members must be a list or tuple of int or str")
    builder = BloomFilterBuilder(len(listed), fpr)
    if not len(listed):
        return builder.build()
    first = listed[0]
    if isinstance(first, str):
        return builder.add_string_batch(listed).build()
    return builder.add_int64_batch(listed).build()


def build_roaring_bitmap(members: Any) -> bytes:
    """The bytes of an exact set of a list of integers."""
    listed = _listed(members, "roaring bitmap members must be a list or tuple of int")
    return RoaringBitmapBuilder().add_int64_batch(listed).build()


def _listed(members: Any, otherwise: str) -> Any:
    if isinstance(members, list | tuple | np.ndarray):
        return members
    raise ParamError(otherwise)


def _rate(fpr: object) -> float:
    if isinstance(fpr, int | float) and math.isfinite(fpr) and bloom.LEAST_RATE <= fpr <= bloom.MOST_RATE:
        return float(fpr)
    raise ParamError(f"bloom filter fpr must be in [{bloom.LEAST_RATE}, {bloom.MOST_RATE}]")


def _integers(values: Iterable[int], wrong: str, beyond: str) -> Iterator[Integers]:
    """Members as int64, by portions. Raises ParamError for what is no integer of 64 bits."""
    if isinstance(values, np.ndarray):
        yield _from_array(values, wrong, beyond)
        return
    for portion in _portions(values):
        if not all(issubclass(kind, int | np.integer) and kind is not bool for kind in set(map(type, portion))):
            raise ParamError(wrong)
        try:
            yield np.fromiter(portion, np.int64, len(portion))
        except OverflowError:
            raise ParamError(beyond) from None


def _from_array(values: npt.NDArray[Any], wrong: str, beyond: str) -> Integers:
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise ParamError(wrong)
    if values.dtype == np.uint64 and len(values) and values.max() > np.iinfo(np.int64).max:
        raise ParamError(beyond)
    return np.ascontiguousarray(values, np.int64)


def _texts(values: Iterable[str]) -> Iterator[pa.Array]:
    for portion in _portions(values):
        if not all(issubclass(kind, str) for kind in set(map(type, portion))):
            raise ParamError(_MIXED)
        try:
            yield pa.array(portion, pa.large_string())
        except UnicodeEncodeError:
            raise ParamError("bloom filter members must be valid UTF-8") from None


def _portions(values: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(values)
    while portion := list(islice(iterator, _PORTION)):
        yield portion
