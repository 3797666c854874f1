"""`membership_match`: what is in a set that comes as bytes, and which bytes are no set."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pyarrow as pa
import pymilvus
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymilvus.client import bloom_filter
from tests.filter.rows import DYNAMIC, STRICT, columns_of

from redkite import BloomFilterBuilder, build_bloom_filter, build_roaring_bitmap
from redkite.errors import InvalidParameter
from redkite.filter import compile_filter
from redkite.filter.match_calls import is_quick
from redkite.filter.membership.asking import texts_in
from redkite.filter.membership.bloom import BadMembers, BloomFilter
from redkite.filter.membership.hashing import hash_integers, hash_texts
from redkite.filter.membership.roaring import RoaringBitmap

LEAST, MOST = -(2**63), 2**63 - 1
integers = st.integers(LEAST, MOST)
runs = st.builds(lambda start, count: list(range(start, min(start + count, MOST))), integers, st.integers(1, 1_500))
clusters = st.builds(
    lambda base, offsets: [min(base + offset, MOST) for offset in offsets],
    integers, st.lists(st.integers(0, 200_000), min_size=1, max_size=300),
)  # fmt: skip
sets = st.lists(st.one_of(runs, clusters, st.lists(integers, max_size=50)), max_size=4).map(
    lambda parts: [number for part in parts for number in part]
)


def kept(text: str, rows: list[dict[str, Any]], **params: Any) -> list[int]:
    numbered = [{"id": number, **row} for number, row in enumerate(rows)]
    mask = compile_filter(text, DYNAMIC, params).evaluate(columns_of(numbered))
    return np.flatnonzero(mask).tolist()


# -- exact sets ---------------------------------------------------------------------------------
@settings(max_examples=40, deadline=None)
@given(sets, st.lists(integers, max_size=50))
def test_a_bitmap_has_what_a_plain_set_has_and_is_written_as_pymilvus_writes_it(
    members: list[int], others: list[int]
) -> None:
    data = build_roaring_bitmap(members)
    assert data == pymilvus.build_roaring_bitmap(members)
    plain = set(members)
    near = [min(max(number + step, LEAST), MOST) for number in members[:200] for step in (-1, 0, 1)]
    asked = near + others + [LEAST, -1, 0, MOST]
    assert RoaringBitmap.read(data).has_integers(np.array(asked)).tolist() == [number in plain for number in asked]


@pytest.mark.parametrize(
    "members", [range(0, 200_000, 2), range(70_000), [*range(0, 65_536, 3), *range(65_536, 131_072)]]
)
def test_containers_of_bits_and_of_runs_are_written_as_pymilvus_writes_them(members: Any) -> None:
    data = build_roaring_bitmap(list(members))
    assert data == pymilvus.build_roaring_bitmap(list(members))
    asked = np.arange(-2, 200_002)
    assert (RoaringBitmap.read(data).has_integers(asked) == np.isin(asked, np.array(members))).all()


@functools.cache
def _whole() -> bytes:
    return build_roaring_bitmap([*range(40), *range(100, 300, 3), *range(70_000, 90_000, 2), 2**40, -1, -7])


@settings(max_examples=150, deadline=None)
@given(st.integers(5, len(_whole()) + 99), st.lists(st.tuples(st.integers(4, 400), st.integers(0, 255)), max_size=4))
def test_damaged_bytes_of_a_bitmap_are_refused_or_still_a_set(size: int, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(_whole()[:size])
    for place, byte in changes:
        damaged[place % (len(damaged) - 4) + 4] = byte
    try:
        found = RoaringBitmap.read(bytes(damaged))
    except BadMembers:
        return
    assert int(found.has_integers(np.arange(-100, 100_000)).sum()) <= int.from_bytes(damaged[8:16], "little")


def test_what_is_cut_or_follows_is_refused() -> None:
    whole = _whole()
    for size in (31, 33, 39, 44, 60, len(whole) - 1):
        with pytest.raises(BadMembers):
            RoaringBitmap.read(whole[:size])
    longer = bytearray(whole + b"\0")
    longer[16:24] = (len(longer) - 32).to_bytes(8, "little")
    with pytest.raises(BadMembers, match="consumed"):
        RoaringBitmap.read(bytes(longer))
    with pytest.raises(BadMembers, match="cardinality"):
        RoaringBitmap.read(whole[:8] + b"\1" + whole[9:])


# -- sets that may have more --------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(sets, st.lists(st.text(max_size=90), max_size=60), st.sampled_from([0.0001, 0.005, 0.05]))
def test_a_bloom_filter_misses_no_member_and_is_written_as_pymilvus_writes_it(
    members: list[int], texts: list[str], rate: float
) -> None:
    data = build_bloom_filter(members, rate)
    assert data == pymilvus.build_bloom_filter(members, rate)
    assert BloomFilter.read(data).has_integers(np.array(members, np.int64)).all()
    data = build_bloom_filter(texts, rate)
    assert data == pymilvus.build_bloom_filter(texts, rate)
    assert BloomFilter.read(data).has_texts(pa.array(texts, pa.string())).all()


def test_a_bloom_filter_lets_about_as_many_others_through_as_it_says() -> None:
    found = BloomFilter.read(build_bloom_filter(np.arange(50_000), 0.01))
    assert 0 < found.has_integers(np.arange(10**6, 2 * 10**6)).mean() < 0.012


def test_a_set_of_one_kind_has_nothing_of_the_other_though_its_bytes_are_the_same() -> None:
    number = int.from_bytes(b"ABCDEFGH", "little")
    assert hash_integers(np.array([number])) == hash_texts(pa.array(["ABCDEFGH"]))
    texts, numbers = BloomFilter.read(build_bloom_filter(["ABCDEFGH"])), BloomFilter.read(build_bloom_filter([number]))
    assert not texts.has_integers(np.array([number])).any()
    assert not numbers.has_texts(pa.array(["ABCDEFGH"])).any()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=120), max_size=20), st.integers(0, 5))
def test_texts_have_the_hashes_that_the_format_asks_for(texts: list[str], skipped: int) -> None:
    column = pa.array(texts, pa.string()).slice(skipped)
    wanted = [bloom_filter._xxh64_python(text.encode()) for text in texts[skipped:]]
    assert hash_texts(column).tolist() == wanted


def test_strings_by_dictionary_are_asked_once_each_and_nulls_are_unknown() -> None:
    members = BloomFilter.read(build_bloom_filter(["a", "c"], 0.0001))
    plain = pa.array(["a", None, "b", "c", "a"])
    for column in (plain, plain.dictionary_encode(), plain.cast(pa.large_string())):
        assert texts_in(members, column, False).tolist() == [True, False, False, True, True]
        assert texts_in(members, column, True).tolist() == [False, False, True, False, False]


# -- filters ------------------------------------------------------------------------------------
AGES = [{"age": 1}, {"age": -2}, {"age": None}, {"age": 300}, {"age": 2}]


@pytest.mark.parametrize("build", [build_roaring_bitmap, build_bloom_filter])
def test_a_filter_keeps_members_its_negation_the_others_and_neither_a_null(build: Any) -> None:
    data = build([1, -2, 5])
    assert kept("membership_match(age, {s})", AGES, s=data) == [0, 1]
    assert kept("MEMBERSHIP_MATCH(age, {s})", AGES, s=data) == [0, 1]
    assert kept("not membership_match(age, {s})", AGES, s=data) == [3, 4]
    assert kept("membership_match(age, {s}) and age > 0 or age == 300", AGES, s=data) == [0, 3]
    assert kept("membership_match(age, {s}) or age is null", AGES, s=data) == [0, 1, 2]


@pytest.mark.parametrize("build", [build_roaring_bitmap, build_bloom_filter])
def test_an_empty_set_has_no_member_and_everything_else_is_outside(build: Any) -> None:
    assert kept("membership_match(age, {s})", AGES, s=build([])) == []
    assert kept("not membership_match(age, {s})", AGES, s=build([])) == [0, 1, 3, 4]


def test_paths_of_json_are_asked_by_the_kind_of_their_values() -> None:
    values = [5, 5.0, "5", "x", True, None, [5], {"a": 5}, 2**63 + 5, 6]
    rows = [{"doc": {"k": value}} for value in values] + [{"doc": {}}, {"doc": None}]
    builder = BloomFilterBuilder(10, 0.0001).add_int64_batch([5]).add_string_batch(["x"])
    assert kept("membership_match(doc['k'], {s})", rows, s=builder.build()) == [0, 3]
    assert kept("not membership_match(doc['k'], {s})", rows, s=builder.build()) == [1, 2, 8, 9]
    assert kept("membership_match(k, {s})", [{"k": value} for value in values], s=builder.build()) == [0, 3]
    assert kept("membership_match(doc, {s})", [{"doc": "x"}, {"doc": 5}, {"doc": 6}], s=builder.build()) == [0, 1]


def test_filters_with_other_bytes_are_other_filters() -> None:
    one, two = (
        compile_filter("membership_match(age, {s})", DYNAMIC, {"s": build_roaring_bitmap(members)})
        for members in ([1], [2])
    )
    assert one != two
    assert one.key != two.key
    rows = columns_of([{"id": 0, "age": 1}, {"id": 1, "age": 2}])
    again = compile_filter(
        "membership_match(age, {s}) and membership_match(age, {t})", DYNAMIC,
        {"s": build_roaring_bitmap([1, 2]), "t": build_roaring_bitmap([2])},
    )  # fmt: skip
    assert again.evaluate(rows).tolist() == [False, True]


def test_a_filter_is_compiled_again_from_what_it_was_compiled_of() -> None:
    first = compile_filter("membership_match(age, {s})", DYNAMIC, {"s": build_roaring_bitmap([1]), "unused": 3})
    assert first.origin is not None
    assert set(first.origin.params) == {"s"}
    assert compile_filter(first.origin.text, first.origin.schema, first.origin.params) == first


EXACT, NUMBERS, TEXTS = build_roaring_bitmap([1]), build_bloom_filter([1]), build_bloom_filter(["a"])


@pytest.mark.parametrize(
    ("text", "given_set", "wanted"),
    [
        ("membership_match(age)", EXACT, "requires exactly 2 positional arguments; use type=bloom|roaring"),
        ("membership_match(age, {s}, 3)", EXACT, "requires exactly 2 positional arguments"),
        ("membership_match(age, [1, 2])", EXACT, "must be a {template} placeholder carrying a client pre-built"),
        ("membership_match(age, name)", EXACT, "must be a {template} placeholder carrying a client pre-built"),
        ("membership_match(1, {s})", EXACT, "first argument of membership_match must be a scalar field name, got: 1"),
        ("membership_match(age + 1, {s})", EXACT, "must be a scalar field name, got: age + 1"),
        ("membership_match(nowhere, {s})", EXACT, "field nowhere not exist"),
        ("membership_match(age, {t})", EXACT, "the value of expression template variable name {t} is not found"),
        ("membership_match(age, {s})", [1, 2], "must be a client pre-built membership filter blob (bytes)"),
        ("membership_match(age, {s})", "MRB1", "must be a client pre-built membership filter blob (bytes)"),
        ("membership_match(age, {s})", b"MR", "is 2 bytes, too short to carry a format header"),
        ("membership_match(age, {s})", b"S3CR-secret", 'supported formats are "MBF1" (bloom) and "MRB1" (roaring)'),
        ("membership_match(age, {s}, type=bloom)", EXACT, 'type "bloom" does not match filter blob format'),
        ("membership_match(age, {s}, type=Roaring)", NUMBERS, 'type "roaring" does not match filter blob format'),
        ("membership_match(age, {s}, type=cuckoo)", EXACT, "type must be bloom or roaring"),
        ("membership_match(age, {s}, type='bloom')", NUMBERS, "type must be bloom or roaring"),
        ("membership_match(age, {s}, kind=bloom)", NUMBERS, "unexpected argument kind"),
        ("membership_match(name, {s})", EXACT, "INT8/INT16/INT32/INT64 fields, but field (name) is of type VarChar"),
        ("membership_match(doc['a'], {s})", EXACT, "is not supported on JSON or dynamic fields, got: doc['a']"),
        ("membership_match(nums[0], {s})", NUMBERS, "does not support nested paths on non-JSON fields, got: nums[0]"),
        ("membership_match(price, {s})", NUMBERS, "JSON paths, but field (price) is of type Float"),
        ("membership_match(nums, {s})", NUMBERS, "JSON paths, but field (nums) is of type Array"),
        ("membership_match(place, {s})", NUMBERS, "JSON paths, but field (place) is of type Geometry"),
        ("membership_match(age, {s})", TEXTS, "built from the utf8 value domain but field (Int32) requires the int64"),
        ("membership_match(name, {s})", NUMBERS, "built from the int64 value domain but field (VarChar) requires the"),
        ("membership_match(age, {s})", EXACT[:-1], "blob is invalid: roaring bitmap body length"),
        ("membership_match(age, {s})", b"MRB1" + b"\2" + EXACT[5:], "unsupported roaring bitmap version 2, expected 1"),
        ("membership_match(age, {s})", NUMBERS[:-1], "blob is invalid: bloom filter body length 31"),
        ("membership_match(age, {s})", NUMBERS[:24] + b"\3" + NUMBERS[25:], "num_blocks 3 is not a power of two"),
        ("membership_match(age, {s})", NUMBERS[:28] + b"\4" + NUMBERS[29:], "unknown value domains 0x04"),
        ("age in {s}", EXACT, "has an unsupported type: bytes"),
    ],
)
def test_what_is_no_such_test_is_refused(text: str, given_set: Any, wanted: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        compile_filter(text, STRICT, {"s": given_set})
    assert wanted in caught.value.message
    assert "cannot parse expression" in caught.value.message
    assert caught.value.code == 1100
    assert "secret" not in caught.value.message


def test_elements_are_not_asked() -> None:
    for text in ("element_filter(clips, membership_match($[n], {s}))", "match_any(nums, membership_match($, {s}))"):
        with pytest.raises(InvalidParameter, match="membership_match is not supported inside element_filter"):
            compile_filter(text, DYNAMIC, {"s": EXACT})


def test_a_delete_takes_an_exact_set_only() -> None:
    assert compile_filter("membership_match(age, {s})", STRICT, {"s": EXACT}, purpose="delete").fields == {"age"}
    with pytest.raises(InvalidParameter, match="approximate bloom filter blob cannot be used in delete expressions"):
        compile_filter("id > 1 and not membership_match(age, {s})", STRICT, {"s": NUMBERS}, purpose="delete")


def test_a_filter_with_a_set_is_not_answered_where_others_wait() -> None:
    assert not is_quick("membership_match(id, {s})", 10)
    assert not is_quick("id > 1 and MEMBERSHIP_MATCH(id, {s})", 10)
    assert is_quick("text_match(tale, 'a')", 10)
    assert is_quick("id > 1", 10**9)


def test_a_set_that_is_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.filter.membership_calls.MOST_BYTES", len(EXACT) - 33)
    with pytest.raises(InvalidParameter, match="blob body is"):
        compile_filter("membership_match(age, {s})", STRICT, {"s": EXACT})
