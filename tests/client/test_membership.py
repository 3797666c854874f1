"""The builders of sets as bytes: what they take, and what they refuse."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pymilvus
import pytest

import redkite
from redkite import (
    BloomFilterBuilder,
    ParamError,
    RoaringBitmapBuilder,
    build_bloom_filter,
    build_roaring_bitmap,
)


def test_members_may_come_in_portions_of_any_kind_and_more_than_once() -> None:
    wanted = list(range(-500, 500))
    portions: list[Any] = [
        wanted[:300], tuple(wanted[200:400]), (n for n in wanted[400:600]), range(100, 200),
        np.array(wanted[700:], np.int16), np.array(wanted[:10], np.int64)[::2], [np.int32(n) for n in wanted[600:700]],
    ]  # fmt: skip
    exact, likely = RoaringBitmapBuilder(), BloomFilterBuilder(len(wanted))
    for portion in portions:
        listed = list(portion)
        exact.add_int64_batch(iter(listed) if not isinstance(portion, np.ndarray) else portion)
        likely.add_int64_batch(iter(listed) if not isinstance(portion, np.ndarray) else portion)
    assert exact.cardinality == len(wanted)
    assert exact.build() == pymilvus.build_roaring_bitmap(wanted)
    assert likely.build() == pymilvus.build_bloom_filter(wanted)


def test_a_builder_goes_on_after_it_was_built() -> None:
    exact = RoaringBitmapBuilder().add_int64_batch([1])
    assert exact.build() == build_roaring_bitmap([1])
    assert exact.add_int64_batch([2]).build() == build_roaring_bitmap([1, 2])
    likely = BloomFilterBuilder(2)
    assert (likely.domains, likely.num_blocks) == (0, 1)
    assert likely.add_int64_batch([1]).build() != likely.add_string_batch(["1"]).build()
    assert likely.domains == 3


def test_more_members_than_were_told_make_the_filter_no_larger() -> None:
    theirs = pymilvus.BloomFilterBuilder(1).add_string_batch(map(str, range(5_000))).build()
    assert BloomFilterBuilder(1).add_string_batch(map(str, range(5_000))).build() == theirs


def test_members_over_several_portions_are_all_in() -> None:
    count = 200_000
    builder = RoaringBitmapBuilder().add_int64_batch(n * 3 for n in range(count))
    assert builder.cardinality == count


@pytest.mark.parametrize("module", [redkite, pymilvus])
@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda m: m.build_bloom_filter({1, 2}), "must be a list or tuple"),
        (lambda m: m.build_bloom_filter([1, "a"]), "must be all int or all str"),
        (lambda m: m.build_bloom_filter(["a", 1]), "must be all int or all str"),
        (lambda m: m.build_bloom_filter([True]), "must be all int or all str"),
        (lambda m: m.build_bloom_filter([1.5]), "must be all int or all str"),
        (lambda m: m.build_bloom_filter([2**63]), "must fit in signed int64"),
        (lambda m: m.build_bloom_filter([1], 0.5), "fpr must be in"),
        (lambda m: m.BloomFilterBuilder(1, fpr=float("nan")), "fpr must be in"),
        (lambda m: m.BloomFilterBuilder(-1), "member count must be a uint64"),
        (lambda m: m.BloomFilterBuilder(True), "member count must be a uint64"),
        (lambda m: m.build_roaring_bitmap(range(3)), "must be a list or tuple of int"),
        (lambda m: m.build_roaring_bitmap(["a"]), "members must be int"),
        (lambda m: m.build_roaring_bitmap([1, False]), "members must be int"),
        (lambda m: m.build_roaring_bitmap([-(2**63) - 1]), "must fit in signed int64"),
        (lambda m: m.build_roaring_bitmap([n << 32 for n in range(262_145)]), "high-container count 262145 exceeds"),
    ],
)
def test_what_is_no_member_is_refused_as_pymilvus_refuses_it(module: Any, call: Any, wanted: str) -> None:
    with pytest.raises(module.MilvusException, match=wanted):
        call(module)


@pytest.mark.parametrize("values", [np.array([1.0]), np.array([True]), np.array([[1]]), np.array([2**63], np.uint64)])
def test_arrays_of_anything_but_integers_are_refused(values: Any) -> None:
    for build in (build_bloom_filter, build_roaring_bitmap):
        with pytest.raises(ParamError):
            build(values)


def test_a_builder_whose_addition_failed_half_way_is_of_no_use() -> None:
    for builder in (RoaringBitmapBuilder(), BloomFilterBuilder(10)):
        with pytest.raises(ParamError):
            builder.add_int64_batch([1, "a"])  # type: ignore[list-item]
        with pytest.raises(ParamError, match="an earlier addition failed"):
            builder.build()
        with pytest.raises(ParamError, match="an earlier addition failed"):
            builder.add_int64_batch([1])


def test_threads_take_turns() -> None:
    exact, likely = RoaringBitmapBuilder(), BloomFilterBuilder(40_000)
    with ThreadPoolExecutor(8) as pool:
        for builder in (exact, likely):
            list(pool.map(builder.add_int64_batch, [range(n, n + 5_000) for n in range(0, 40_000, 5_000)]))
    assert exact.cardinality == 40_000
    assert likely.build() == build_bloom_filter(list(range(40_000)))
