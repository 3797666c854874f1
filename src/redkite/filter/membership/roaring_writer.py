"""Members to the bytes that `RoaringBitmap.read` reads: the same bytes for the same set, whoever writes them.

Every container is written as what is shortest; all of them side by side, without a loop over them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from redkite.filter.membership.roaring import FORMAT, HEADER, MAGIC, VERSION, check_size

_RUN_COOKIE, _COOKIE, _OFFSETS_FROM = 12347, 12346, 4
_ARRAY_MOST, _BITMAP_BYTES = 4096, 8192
_BITMAP_COST = _BITMAP_BYTES + 32
"""What runs have to be shorter than: other writers count a little more than the bits."""
_LOW, _HIGH = np.uint64(16), np.uint64(32)
_LOWEST = np.uint64(0xFFFF)

Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


class _Groups(NamedTuple):
    """Neighbours that have something in common."""

    starts: Places
    """Where each group begins, among what is grouped."""
    sizes: Places
    of: Places
    """The group of each item."""

    @staticmethod
    def where(first: npt.NDArray[np.bool_]) -> _Groups:
        """`first` says of each item whether a group begins there; one does at the first."""
        starts = np.flatnonzero(first)
        return _Groups(starts, np.diff(np.append(starts, len(first))), np.cumsum(first) - 1)


class _Containers(NamedTuple):
    low: npt.NDArray[np.int64]
    """(members,) their lowest 16 bits."""
    groups: _Groups
    """Members by container."""
    runs: _Groups
    """Members by run; a run ends with its container."""
    run_groups: _Groups
    """Runs by container."""
    is_run: npt.NDArray[np.bool_]
    is_array: npt.NDArray[np.bool_]
    bytes: Places
    """What each container takes."""


def written(keys: Keys) -> bytes:
    """`keys` are the members' bits, ascending and distinct. Raises BadMembers for a set that takes too much."""
    if not len(keys):
        return _header(0, 8) + bytes(8)
    containers = _containers(keys)
    first = containers.groups.starts
    uppers = keys[first] >> _HIGH
    parts = _Groups.where(_differs(uppers))
    check_size(0, len(parts.starts), len(first))
    heads = _heads(containers, parts)
    sizes = heads + np.add.reduceat(containers.bytes, parts.starts)
    body = 8 + int(sizes.sum())
    check_size(body, len(parts.starts), len(first))
    out = np.zeros(body, np.uint8)
    _put(out, np.array([0]), np.array([len(parts.starts)]), 4)
    begins = 8 + np.cumsum(sizes) - sizes
    _put(out, begins, uppers[parts.starts].astype(np.int64), 4)
    before = np.cumsum(containers.bytes) - containers.bytes
    at = (begins + heads)[parts.of] + before - before[parts.starts][parts.of]
    _put_heads(out, containers, parts, begins + 4, at, keys)
    _put_bodies(out, containers, at)
    return _header(len(keys), body) + out.tobytes()


def _header(members: int, body: int) -> bytes:
    return HEADER.pack(MAGIC, VERSION, FORMAT, members, body, 0)


def _differs(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether each differs from the one before it; the first does."""
    first = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first


def _containers(keys: Keys) -> _Containers:
    begins = _differs(keys >> _LOW)
    groups = _Groups.where(begins)
    broken = begins.copy()
    broken[1:] |= keys[1:] != keys[:-1] + np.uint64(1)
    runs = _Groups.where(broken)
    run_groups = _Groups.where(begins[runs.starts])
    as_runs, as_array = 2 + 4 * run_groups.sizes, 2 * groups.sizes
    is_run = as_runs < np.minimum(as_array, _BITMAP_COST)
    is_array = ~is_run & (groups.sizes <= _ARRAY_MOST)
    taken = np.where(is_run, as_runs, np.where(is_array, as_array, _BITMAP_BYTES))
    return _Containers((keys & _LOWEST).astype(np.int64), groups, runs, run_groups, is_run, is_array, taken)


def _with_offsets(containers: _Containers, parts: _Groups) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which Roaring32 have runs, and which say where their containers begin."""
    has_runs = np.logical_or.reduceat(containers.is_run, parts.starts)
    return has_runs, ~has_runs | (parts.sizes >= _OFFSETS_FROM)


def _heads(containers: _Containers, parts: _Groups) -> Places:
    """Bytes of each Roaring32 before its first container, with its upper half."""
    has_runs, has_offsets = _with_offsets(containers, parts)
    cookie = np.where(has_runs, 4 + (parts.sizes + 7) // 8, 8)
    heads: Places = 4 + cookie + 4 * parts.sizes + np.where(has_offsets, 4 * parts.sizes, 0)
    return heads


def _put_heads(
    out: npt.NDArray[np.uint8], containers: _Containers, parts: _Groups, begins: Places, at: Places, keys: Keys
) -> None:
    """`begins` is where each Roaring32 begins, `at` where each container does."""
    has_runs, has_offsets = _with_offsets(containers, parts)
    counts = parts.sizes
    _put(out, begins, np.where(has_runs, _RUN_COOKIE | ((counts - 1) << 16), _COOKIE), 4)
    _put(out, begins[~has_runs] + 4, counts[~has_runs], 4)
    within = np.arange(len(containers.is_run)) - parts.starts[parts.of]
    flagged = np.flatnonzero(containers.is_run)
    # No two of them are the same bit: adding is setting.
    np.add.at(out, begins[parts.of[flagged]] + 4 + within[flagged] // 8, (1 << (within[flagged] % 8)).astype(np.uint8))
    described = begins + np.where(has_runs, 4 + (counts + 7) // 8, 8)
    numbers = (keys[containers.groups.starts] >> _LOW) & _LOWEST
    places = described[parts.of] + 4 * within
    _put(out, places, numbers.astype(np.int64), 2)
    _put(out, places + 2, containers.groups.sizes - 1, 2)
    told = has_offsets[parts.of]
    _put(out, (described + 4 * counts)[parts.of][told] + 4 * within[told], (at - begins[parts.of])[told], 4)


def _put_bodies(out: npt.NDArray[np.uint8], containers: _Containers, at: Places) -> None:
    low, groups, runs, run_groups = containers.low, containers.groups, containers.runs, containers.run_groups
    rows = np.flatnonzero(containers.is_array[groups.of])
    of = groups.of[rows]
    _put(out, at[of] + 2 * (rows - groups.starts[of]), low[rows], 2)
    rows = np.flatnonzero(~(containers.is_run | containers.is_array)[groups.of])
    np.add.at(out, at[groups.of[rows]] + (low[rows] >> 3), (1 << (low[rows] & 7)).astype(np.uint8))
    chosen = np.flatnonzero(containers.is_run)
    _put(out, at[chosen], run_groups.sizes[chosen], 2)
    rows = np.flatnonzero(containers.is_run[run_groups.of])
    of = run_groups.of[rows]
    places = at[of] + 2 + 4 * (rows - run_groups.starts[of])
    _put(out, places, low[runs.starts[rows]], 2)
    _put(out, places + 2, runs.sizes[rows] - 1, 2)


def _put(out: npt.NDArray[np.uint8], places: Places, values: npt.NDArray[np.int64], size: int) -> None:
    """Numbers of `size` bytes, the least significant first."""
    for byte in range(size):
        out[places + byte] = (values >> (8 * byte)) & 0xFF
