"""What filters keep, by the rules of the language."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.filter.rows import DYNAMIC, STRICT, batch_of, columns_of, kept

from redkite.filter import ArrowColumns, compile_filter

PEOPLE: list[dict[str, Any]] = [
    {"id": 0, "age": 10, "score": 1.5, "flag": True, "name": "anna", "nums": [1, 2], "color": "red"},
    {"id": 1, "age": -7, "score": -2.0, "flag": False, "name": "a%na", "nums": [], "color": 3},
    {"id": 2, "age": 7, "score": 2.0, "flag": True, "name": "", "nums": [2, 2, 5]},
    {"id": 3, "doc": {"a": 1, "b": {"c": [1, 2, [3, 4]], "d": "deep"}}, "color": None},
    {"id": 4, "age": 30, "name": "ANNA\nB", "doc": {"a": 1.0, "b": {}, "e": [[], {}]}, "color": True},
    {"id": 5, "age": 7, "name": "käse", "doc": {"a": "1", "b": None, "e": []}, "color": 3.5},
    {"id": 6, "age": 8, "name": "name", "doc": {"a": True, "e": [0]}, "color": ["red", 1]},
]

RULES: list[tuple[str, list[int]]] = [
    ("", [0, 1, 2, 3, 4, 5, 6]),
    (" \n\t", [0, 1, 2, 3, 4, 5, 6]),
    ("true", [0, 1, 2, 3, 4, 5, 6]),
    ("FALSE", []),
    ("1 == 1.0", [0, 1, 2, 3, 4, 5, 6]),
    ("1 + 2 * 3 == 7 and 7 / -2 == -3 and -7 % 3 == -1", [0, 1, 2, 3, 4, 5, 6]),
    ("-2 ** 2 == -4 and 2 ** 3 ** 2 == 64", [0, 1, 2, 3, 4, 5, 6]),
    ("0x10 == 16 and 010 == 8 and 0b11 == 3 and 1e1 == 10 and .5 == 0.5 and 5. == 5 and 0x1p3 == 8", list(range(7))),
    # comparison, with nulls dropped either way
    ("age == 7", [2, 5]),
    ("age != 7", [0, 1, 4, 6]),
    ("not (age == 7)", [0, 1, 4, 6]),
    ("not (not (age == 7))", [2, 5]),
    ("!(age == 7 || age == 10)", [1, 4, 6]),
    ("7 < age", [0, 4, 6]),
    ("age > 7 and age < 30", [0, 6]),
    ("age == 7 or flag", [0, 2, 5]),
    ("age == 7 or age == 10 or age == 30", [0, 2, 4, 5]),
    ("age != 7 and age != 10 and age != 30", [1, 6]),
    ("score == 2", [2]),
    ("score >= 1.5", [0, 2]),
    ("i8 < 1000", []),
    ("name == 'anna'", [0]),
    ('name > "anna"', [5, 6]),
    ("flag", [0, 2]),
    ("not flag", [1]),
    ("flag == false", [1]),
    ("flag != true and not flag", [1]),
    ("flag in [true]", [0, 2]),
    ("age == id", []),
    ("age > id", [0, 2, 4, 5, 6]),
    ("name == city", [2]),
    ("age < score", [1]),
    # precedence
    ("age == 7 or age == 8 and name == 'name'", [2, 5, 6]),
    ("(age == 7 or age == 8) and name == 'name'", [6]),
    ("not name like 'a%'", [2, 4, 5, 6]),
    ("age + 1 == 8 and flag", [2]),
    # ranges
    ("7 <= age < 10", [2, 5, 6]),
    ("10 > age >= 7", [2, 5, 6]),
    ("not (7 <= age < 10)", [0, 1, 4]),
    ("'a' <= name < 'b'", [0, 1]),
    ("0 < color < 4", [1, 5]),
    # membership
    ("age in [7, 30, 99]", [2, 4, 5]),
    ("age not in [7, 30, 99]", [0, 1, 6]),
    ("not (age in [7])", [0, 1, 4, 6]),
    ("age in []", []),
    ("age not in []", [0, 1, 2, 4, 5, 6]),
    ("age in [7, 7 + 1,]", [2, 5, 6]),
    ("score in [2, 1.5]", [0, 2]),
    ("name in ['anna', \"name\"]", [0, 6]),
    ("name not in ['anna']", [1, 2, 4, 5, 6]),
    # patterns
    ("name like '%'", [0, 1, 2, 4, 5, 6]),
    ("name like 'a%'", [0, 1]),
    ("name like '%na'", [0, 1]),
    ("name like '%nn%'", [0]),
    ("name like 'anna'", [0]),
    ("name like ''", [2]),
    ("name like 'a__a'", [0, 1]),
    ("name like 'k_se'", [5]),
    ("name like 'A%B'", [4]),
    (r"name like 'a\%%'", [1]),
    (r'name like "a\\%na"', [1]),
    (r"name like r'a\%na'", [1]),
    ("words[0] like 'x%'", []),
    ("color like 'r%'", [0]),
    ("not (color like 'z%')", [0]),
    ("starts_with(name, 'a')", [0, 1]),
    ("empty(name)", [2]),
    # null tests
    ("age is null", [3]),
    ("age IS NOT NULL", [0, 1, 2, 4, 5, 6]),
    ("not (age is null)", [0, 1, 2, 4, 5, 6]),
    ("id is null", []),
    ("id is not null", [0, 1, 2, 3, 4, 5, 6]),
    ("nums is null", [3, 4, 5, 6]),
    ("doc is null", [0, 1, 2]),
    ("moment is null", [0, 1, 2, 3, 4, 5, 6]),
    ("color is null", [2, 3]),
    ("doc['b'] is null", [0, 1, 2, 4, 5, 6]),
    ('doc["b"]["d"] is not null', [3]),
    # arithmetic
    ("age + 3 == 10", [2, 5]),
    ("3 + age == 10", [2, 5]),
    ("age - 10 > 0", [4]),
    ("2 * age == 14", [2, 5]),
    ("age / 2 == -3", [1]),
    ("age / 2 == 3", [2, 5]),
    ("age % 5 == -2", [1]),
    ("(age & 3) == 3", [2, 5]),
    ("(age | 1) == 7", [2, 5]),
    ("(age ^ 1) == 6", [2, 5]),
    ("score * 2 == 3.0", [0]),
    ("score / 4 == 0.5", [2]),
    ("nums[0] + 1 == 3", [2]),
    ("color + 1 == 4", [1]),
    ("color + 0.5 >= 3.5", [1, 5]),
    ("color * 2 == 7", [5]),
    ("color % 2 == 1", [1]),
    # arrays
    ("nums[0] == 1", [0]),
    ("nums[0] != 1", [2]),
    ("nums[2] in [5]", [2]),
    ("1 < nums[1] < 3", [0, 2]),
    ("nums == [1, 2]", [0]),
    ("nums != [1, 2]", [1, 2]),
    ("nums == []", [1]),
    ("array_length(nums) == 0", [1]),
    ("array_length(nums) >= 2", [0, 2]),
    ("array_contains(nums, 5)", [2]),
    ("not array_contains(nums, 5)", [0, 1]),
    ("ARRAY_CONTAINS_ALL(nums, [2, 5])", [2]),
    ("array_contains_all(nums, [])", [0, 1, 2]),
    ("array_contains_any(nums, [1, 5])", [0, 2]),
    ("array_contains_any(nums, [])", []),
    ("json_contains(nums, 1)", [0]),
    # JSON and dynamic keys
    ('color == "red"', [0]),
    ('$meta["color"] == "red"', [0]),
    ('color != "blue"', [0]),
    ("color == 3", [1]),
    ("color == 3.0", [1]),
    ("color > 3", [5]),
    ("color != 3", [5]),
    ("color == true", [4]),
    ("color in [3, 'red', 3.5]", [0, 1, 5]),
    ("color not in [3, 'blue']", [0, 5]),
    ("color not in []", [0, 1, 4, 5, 6]),
    ("color == ['red', 1]", [6]),
    ("color[0] == 'red'", [6]),
    ("exists color", [0, 1, 4, 5, 6]),
    ("not exists color", [2, 3]),
    ("exists doc['e']", [6]),
    ("exists doc['b']", [3]),
    ("doc['a'] == 1", [3, 4]),
    ("doc['a'] != 1", []),
    ("doc['a'] == '1'", [5]),
    ("doc['a'] == true", [6]),
    ("doc['b']['c'][1] == 2", [3]),
    ("doc['b']['c'][2] == [3, 4]", [3]),
    ("json_contains(doc['b']['c'], 2)", [3]),
    ("json_contains(doc['b']['c'], [3, 4])", [3]),
    ("json_contains(doc['b']['c'], [3, 5])", []),
    ("json_contains(color, 'red')", [6]),
    ("not json_contains(color, 'red')", []),
    ("not json_contains(color, 'blue')", [6]),
    ("JSON_CONTAINS_ANY(color, ['blue', 1])", [6]),
    ("json_contains_all(color, ['red', 1.0])", [6]),
    ("json_contains_all(color, ['red', true])", []),
    ("array_length(color) == 2", [6]),
    ("array_length(doc['e']) < 2", [5, 6]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "rows"), RULES)
def test_a_filter_keeps_the_rows_the_language_says(text: str, rows: list[int]) -> None:
    assert kept(text, PEOPLE) == rows


def test_kleene_tables_hold_for_and_or_not_with_null() -> None:
    rows = [{"id": 0, "age": 1}, {"id": 1, "age": 2}, {"id": 2}]
    assert kept("age == 1 or id >= 0", rows) == [0, 1, 2]
    assert kept("age == 1 and id >= 0", rows) == [0]
    assert kept("not (age == 1 and id >= 0)", rows) == [1]
    assert kept("not (age == 1 and id < 0)", rows) == [0, 1, 2]
    assert kept("not (age == 1 or id < 0)", rows) == [1]


def test_integers_and_doubles_compare_without_rounding() -> None:
    rows = [{"id": 0, "v": 2**53 + 1, "big": 2**53 + 1, "score": 2.0**53}, {"id": 1, "v": 2.0**53, "big": 2**53}]
    assert kept(f"v == {2**53 + 1}", rows) == [0]
    assert kept(f"v < {2**53 + 1}", rows) == [1]
    assert kept(f"v <= {2**53 + 1}", rows) == [0, 1]
    assert kept("v > 9007199254740992.0", rows) == [0]
    assert kept(f"big in [{2**53 + 1}]", rows) == [0]
    assert kept(f"score < {2**53 + 1}", rows) == [0]
    assert kept(f"v in [{2**53 + 1}]", rows) == [0]
    assert kept(f"v in [{2**53}]", rows) == [1]
    assert kept(f"v in [{2**53}.0, {2**53 + 1}]", rows) == [0, 1]


def test_a_float_field_compares_with_the_constant_as_it_stores_it() -> None:
    rows = [{"id": 0, "price": 0.1}, {"id": 1, "price": 0.2}]
    assert kept("price == 0.1", rows) == [0]
    assert kept("price in [0.1, 7]", rows) == [0]
    assert kept("price < 1e300", rows) == [0, 1]


def test_json_integers_beyond_int64_are_numbers_still() -> None:
    rows = [{"id": 0, "v": 2**64 - 1}, {"id": 1, "v": 5}]
    assert kept("v > 9223372036854775807", rows) == [0]
    assert kept("v < 6", rows) == [1]


def test_integer_arithmetic_wraps_around_like_int64() -> None:
    rows = [{"id": 0, "big": 2**63 - 1, "i8": 127}, {"id": 1, "big": -(2**63)}]
    assert kept("big + 1 == -9223372036854775808", rows) == [0]
    assert kept("big / -1 == -9223372036854775808", rows) == [1]
    assert kept("i8 + 1 == 128", rows) == [0]


@pytest.mark.parametrize("count", [1, 5, 20, 3_000])
def test_membership_is_the_same_whatever_the_size_and_spread_of_the_list(count: int) -> None:
    random = np.random.default_rng(count)
    values = random.integers(-(2**62), 2**62, 500)
    rows = [{"id": int(v), "score": float(v % 1000)} for v in values]
    members = [int(v) for v in values[::7]] + [int(v) for v in random.integers(-(2**62), 2**62, count)]
    assert kept(f"id in {members}", rows) == [i for i, v in enumerate(values) if int(v) in set(members)]
    near = [int(v) for v in random.integers(-500, 500, count)]
    rows = [{"id": i - 250, "score": float(i)} for i in range(500)]
    assert kept(f"id in {near}", rows) == [i for i in range(500) if i - 250 in near]
    assert kept(f"score in {near}", rows) == [i for i in range(500) if i in near]


def test_templates_stand_for_constants_lists_patterns_and_bounds() -> None:
    assert kept("age == {x}", PEOPLE, x=7, unused=object()) == [2, 5]
    assert kept("{x} < age", PEOPLE, x=8) == [0, 4]
    assert kept("age in {xs}", PEOPLE, xs=[7, 8]) == [2, 5, 6]
    assert kept("age in {xs}", PEOPLE, xs=np.array([7, 8])) == [2, 5, 6]
    assert kept("{lo} <= age < {hi}", PEOPLE, lo=7, hi=10) == [2, 5, 6]
    assert kept("age + {x} == 8", PEOPLE, x=np.int64(1)) == [2, 5]
    assert kept("name like {p}", PEOPLE, p="a%") == [0, 1]
    assert kept("array_contains_any(nums, {xs})", PEOPLE, xs=[1]) == [0]
    assert kept("color in {xs}", PEOPLE, xs=[3, "red", True]) == [0, 1, 4]


def test_columns_that_are_slices_or_dictionaries_answer_the_same() -> None:
    rows = [
        {
            "id": i, "age": i if i % 3 else None, "name": "ab"[i % 2] if i % 5 else None, "nums": [i],
            "flag": i % 2 == 0, "c": i, "words": ["x", "y"][: i % 3],
        }
        for i in range(50)
    ]  # fmt: skip
    batch = batch_of(rows)
    place = batch.schema.get_field_index("name")
    coded = batch.set_column(place, "name", batch.column(place).dictionary_encode())
    for text in ("age > 4", "name == 'a'", "name != 'a'", "name like 'b%'", "name in ['a', 'c', 'd', 'e', 'f']", "flag",
                 "name not in ['a', 'c', 'd', 'e', 'f']", "nums[0] > 20", "array_contains(nums, 30)", "c in [7, 30]",
                 "name is null", "nums == [30]", "words[1] == 'y'", "not array_contains(words, 'y')", "name == city",
                 "array_length(words) == 2"):  # fmt: skip
        compiled = compile_filter(text, DYNAMIC)
        whole = compiled.evaluate(ArrowColumns(batch, DYNAMIC))
        for start, stop in ((0, 50), (3, 29), (13, 13), (9, 50)):
            part = ArrowColumns(coded.slice(start, stop - start), DYNAMIC)
            assert compiled.evaluate(part).tolist() == whole[start:stop].tolist(), text


def test_no_rows_give_an_empty_mask() -> None:
    empty = columns_of([])
    for text, _ in RULES:
        assert compile_filter(text, DYNAMIC).evaluate(empty).shape == (0,)


def test_the_mask_is_the_callers_own_to_write() -> None:
    columns = columns_of(PEOPLE)
    for text, rows in RULES:
        compiled = compile_filter(text, DYNAMIC)
        compiled.evaluate(columns)[:] = True
        assert compiled.evaluate(columns).nonzero()[0].tolist() == rows, text


def test_a_filter_names_the_columns_it_reads() -> None:
    assert compile_filter("age > 1 and (color == 2 or not flag)", DYNAMIC).fields == {"age", "$meta", "flag"}
    assert compile_filter("array_length(nums) + 0 == 1 or true" if False else "doc['a'] + 1 == 2", STRICT).fields == {
        "doc"
    }
    assert compile_filter("age == i8", STRICT).fields == {"age", "i8"}
    assert compile_filter("name is null", STRICT).fields == {"name"}
    assert compile_filter("id is not null", STRICT).fields == frozenset()


def test_only_blank_and_constant_true_filters_are_always_true() -> None:
    for text in ("", "  ", "true", "1 < 2", "true or age == 1", "id is not null"):
        assert compile_filter(text, DYNAMIC).always_true
    for text in ("false", "age == 1", "age not in []", "flag"):
        assert not compile_filter(text, DYNAMIC).always_true


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("id == 5", [5]),
        ("5 == id", [5]),
        ("id in [3, 1, 3]", [3, 1, 3]),
        ("(id in [])", []),
        ("id == 1 or id == 2 or id == 3", [1, 2, 3]),
        ("not (id != 4)", None),
        ("id not in [3]", None),
        ("id in [3] and age == 1", None),
        ("id > 3", None),
        ("age == 3", None),
        ("", None),
    ],
)
def test_a_filter_of_nothing_but_primary_keys_says_so(text: str, keys: list[int] | None) -> None:
    assert compile_filter(text, STRICT).primary_keys == keys


def test_equal_keys_mean_equal_filters_and_other_parameters_another_key() -> None:
    one, same = compile_filter("age == {x}", STRICT, {"x": 1}), compile_filter(" age == {x} ", STRICT, {"x": 1, "y": 2})
    other, as_text = compile_filter("age == {x}", STRICT, {"x": 2}), compile_filter("name == {x}", STRICT, {"x": "1"})
    assert one.key == same.key and one == same and hash(one) == hash(same)
    assert len({one.key, other.key, as_text.key}) == 3
    assert len(compile_filter(f"id in {list(range(10_000))}", STRICT).key) < 300


def test_json_rows_that_are_null_or_no_json_have_no_value() -> None:
    batch = batch_of([{"id": 0, "doc": {"a": 1}}, {"id": 1}, {"id": 2, "doc": {"a": 2}}])
    place = batch.schema.get_field_index("doc")
    for texts in ([b'{"a": 1}', None, b"{broken"], [b'{"a": 1}', b"1,2", None]):
        broken = ArrowColumns(batch.set_column(place, "doc", pa.array(texts, pa.binary())), DYNAMIC)
        assert compile_filter("doc['a'] < 5", DYNAMIC).evaluate(broken).tolist() == [True, False, False]
