"""What is refused, and how the refusal reads."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.filter.rows import DYNAMIC, STRICT, columns_of

from redkite.errors import InvalidParameter, MilvusException
from redkite.filter import compile_filter, parse_error

REFUSED: list[tuple[str, str]] = [
    # types
    ("age == 1.5", "cannot cast value to Int32, value: float_val:1.5"),
    ("big > 1.0", "cannot cast value to Int64, value: float_val:1"),
    ("name == 1", "comparisons between VarChar and Int64 are not supported"),
    ("age == 'x'", "comparisons between Int32 and VarChar are not supported"),
    ("flag == 1", "comparisons between Bool and Int64 are not supported"),
    ("flag > true", "only == and != are supported on Bool fields"),
    ("1 == 'x'", "comparisons between Int64 and VarChar are not supported"),
    ("name == age", "comparisons between VarChar and Int32 are not supported"),
    ("doc['a'] == age", "two column comparison with JSON type is not supported"),
    ("nums[0] == age", "field-to-field comparison involving ARRAY fields is not supported"),
    ("nums > [1]", "can not comparisons array fields directly"),
    ("nums == 1", "can not comparisons array fields directly"),
    ("nums == ['a']", "cannot compare Array of Int64 with an element"),
    ("(age == 1) == (age == 2)", "comparisons between boolean expressions are not supported"),
    # membership
    ("age in 5", "the right-hand side of 'in' must be a list, but got: 5"),
    ("age in name", "the right-hand side of 'in' must be a list, but got: name"),
    ("age in [1, 'x']", "value 'string_val:\"x\"' in list cannot be casted to Int32"),
    ("big in [1.5]", "value 'float_val:1.5' in list cannot be casted to Int64"),
    ("name in [1]", "value 'int64_val:1' in list cannot be casted to VarChar"),
    ("age in [age]", "list element must be a constant, but got: age"),
    ("age + 1 in [2]", "'term' can only be used on single field"),
    # ranges
    ("5 < age < 1", "invalid range: lowerbound is greater than upperbound"),
    ("1 < age < 1", "invalid range: lowerbound is greater than upperbound"),
    ("false < flag < true", "invalid range operations on Bool"),
    ("i8 < age < 3", "the bounds of a range must be constants"),
    ("1.5 < age < 3", "cannot cast value to Int32, value: float_val:1.5"),
    ("'a' < doc['x'] < 3", "comparisons between VarChar and Int64 are not supported"),
    # arithmetic
    ("5 - age == 1", "module field is not yet supported"),
    ("5 / age == 1", "module field is not yet supported"),
    ("age + i8 == 1", "not supported to do arithmetic operations between multiple fields"),
    ("age + 1 == i8", "not supported to do arithmetic operations between multiple fields"),
    ("age + 1 + 2 == 4", "complicated arithmetic operations are not supported"),
    ("array_length(nums) + 1 == 4", "complicated arithmetic operations are not supported"),
    ("big + 1.5 == 2", "'add' cannot perform arithmetic between Int64 field and Double"),
    ("score % 2 == 1", "modulo can only apply on integer types"),
    ("(score & 2) == 1", "bitwise operations can only apply on integer types"),
    ("age / 0 == 1", "division or modulus by zero"),
    ("age % 0 == 1", "division or modulus by zero"),
    ("1 / 0 == 1", "division or modulus by zero"),
    ("name + 1 == 2", "'add' can only be used between integer or floating or json field expressions"),
    ("age + 'x' == 2", "'add' can only be used between integer or floating or json field expressions"),
    ("age << 1 == 2", "shift is not supported"),
    ("1 >> 1 == 2", "shift is not supported"),
    ("age ** 2 == 4", "power can only apply on constants"),
    ("-age == 4", "unary operator - can only be applied on constants"),
    ("~3 == 4", "unary operator ~ is not supported"),
    ("9 ** 99 ** 99 == 1", "the result of 'power' is out of range"),
    ("9223372036854775807 + 1 == 1", "the result of 'add' is out of range"),
    # booleans
    ("age", "predicate is not a boolean expression: age, data type: Int32"),
    ("age + 1", "predicate is not a boolean expression: age + 1, data type: Int64"),
    ("color", "predicate is not a boolean expression: color, data type: JSON"),
    ("1", "predicate is not a boolean expression: 1, data type: Int64"),
    ("'x'", "predicate is not a boolean expression: 'x', data type: VarChar"),
    ("age and flag", "'and' can only be used between boolean expressions"),
    ("flag or 1", "'or' can only be used between boolean expressions"),
    ("not age == 1", "not op can only be applied on boolean expression"),
    ("not age in [1]", "not op can only be applied on boolean expression"),
    # names
    ("vector == 1", "filter on vector field (vector) is not supported"),
    ("essay like 'a%'", "filter on text field (essay) is not supported yet"),
    ("name[0] == 'x'", "VarChar data type not supported accessed with []"),
    ("nums['a'] == 1", "can only access array field with integer index"),
    ("nums[0][1] == 1", "can only access array field with integer index"),
    ("doc[k] == 1", 'json key must be enclosed in double quotes or single quotes: "k"'),
    ("age == null", "NULL literal is not supported in expressions; use '<field> is null' or '<field> is not null'"),
    ("exists age", "exists operations are only supportted on json field, got:Int32"),
    ("exists doc", "exists operations are only supportted on json key"),
    ("nums[0] is null", "is null operation is not supported on an element of an array"),
    # patterns and functions
    ("age like 'a%'", "like operation on non-string or no-json field is unsupported"),
    (r"name like 'a\\'", "ends in a lone backslash"),
    (r"name == 'a\q'", "invalid escape"),
    ("json_contains(name, 1)", "contains operation are only supported on json or array fields now, got: VarChar"),
    ("array_contains(nums, 'x')", "contains operation can't compare between array element type: Int64 and VarChar"),
    ("array_contains(nums, 1.5)", "contains operation can't compare between array element type: Int64 and Double"),
    ("array_contains_all(nums, 1)", "array_contains_all operation element must be an array"),
    ("array_contains(nums)", "function array_contains takes 2 arguments, but got 1"),
    ("array_length(age) == 1", "array_length operation are only supported on json or array fields now, got: Int32"),
    ("Array_Length(nums) == 1", "function Array_Length not found"),
    ("jsn_contains(doc, 1)", "did you mean 'json_contains'?"),
    # words
    ("text_match(name, 'a b')", 'field "name" does not enable match'),
    ("text_match(essay, 'a b')", 'field "essay" does not enable match'),
    ("phrase_match(name, 'a b', 1)", 'field "name" does not enable match'),
    ("text_match(age, 'a')", "text match operation on non-string is unsupported"),
    ("phrase_match(doc, 'a')", "phrase match operation on non-string is unsupported"),
    ("text_match(color, 'a')", "text match operation on non-string is unsupported"),
    ("text_match(doc['k'], 'a')", "function text_match expects the name of a field, but got: doc['k']"),
    ("text_match(tale, 1)", "function text_match expects a string or a template, but got: 1"),
    ("text_match(tale, name)", "function text_match expects a string or a template, but got: name"),
    ("text_match(tale)", "function text_match takes 2 or 3 arguments, but got 1"),
    ("text_match(tale, 'a', 2)", "function text_match expects minimum_should_match=N, but got: 2"),
    ("text_match(tale, 'a', slop=2)", "function text_match expects minimum_should_match=N, but got: slop=2"),
    ("text_match(tale, 'a', minimum_should_match=age)", "minimum_should_match should be a const integer expression"),
    ("text_match(tale, 'a', minimum_should_match=1.5)", "minimum_should_match should be a const integer expression"),
    ("text_match(tale, 'a', minimum_should_match=0)", "minimum_should_match should be >= 1, got 0"),
    ("text_match(tale, 'a', minimum_should_match=-3)", "minimum_should_match should be >= 1, got -3"),
    ("text_match(tale, 'a', minimum_should_match=1001)", "minimum_should_match should be <= 1000, got 1001"),
    ("text_match_fuzzy(tale, 'a')", "function text_match_fuzzy takes 3 arguments, but got 2"),
    ("text_match_fuzzy(tale, 'a', max_edit_distance=3)", "max_edit_distance should be <= 2, got 3"),
    (
        f"text_match_fuzzy(tale, '{' '.join(f'w{n}' for n in range(257))}', max_edit_distance=1)",
        "function text_match_fuzzy takes 256 different words at most, but got 257",
    ),
    ("phrase_match(tale, 'a', 1.5)", '"slop" should be a const integer expression with "uint32" value.'),
    ("phrase_match(tale, 'a', '1')", "\"slop\" expression passed: '1'"),
    ("phrase_match(tale, 'a', -1)", '"slop" should not be a negative interger. "slop" passed: -1'),
    (
        "phrase_match(tale, 'a', 4294967296)",
        '"slop" exceeds the range of "uint32". "slop" expression passed: 4294967296',
    ),
    ("text_match(tale, {missing})", "the value of expression template variable name {missing} is not found"),
    ("text_match(tale, 'a') == 1", "text_match"),
    # syntax
    ("age = 1", "line 1:4 extraneous input '='"),
    ("age == ", "line 1:7 no viable alternative at input '<EOF>'"),
    ("(age == 1", "line 1:9 mismatched input '<EOF>'"),
    ("age == 1)", "line 1:8 extraneous input ')'"),
    ("age == 1 And flag", "use 'and'"),
    ("name Like 'x'", "use 'like'"),
    ("age is  null", "with single blanks"),
    ("name == 'x", 'token recognition error at: "\'"'),
    ("age == 1 # x", "token recognition error at: '#'"),
    ("age not 1", "mismatched input '1'"),
    ("name like name", "a pattern is a string literal or a {template}"),
    ("age == 9223372036854775808", "integer 9223372036854775808 is out of range of Int64"),
    ("age in [9223372036854775808]", "integer 9223372036854775808 is out of range of Int64"),
    ("age == -9223372036854775809", "integer -9223372036854775809 is out of range of Int64"),
    ("score == 1e999", "float literal is out of range"),
    ("age\n==\n  = 1", "line 3:2 no viable alternative"),
    ("age == \ud800", "string is not valid UTF-8"),
    (r"name == '\ud800'", "not valid UTF-8"),
]


@pytest.mark.parametrize(("text", "detail"), REFUSED)
def test_a_filter_outside_the_language_is_refused_with_the_reason(text: str, detail: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        compile_filter(text, DYNAMIC)
    assert caught.value.code == 1100
    assert caught.value.message.startswith("failed to create query plan: cannot parse expression: ")
    assert detail in caught.value.message
    assert caught.value.message.endswith(": invalid parameter")


@pytest.mark.parametrize(
    ("text", "params", "detail"),
    [
        ("age == {x}", {}, "the value of expression template variable name {x} is not found"),
        ("age in {x}", {"x": 1}, "the value of term expression template variable {x} is not array"),
        ("name like {x}", {"x": 1}, "the value of like expression template variable {x} is not string"),
        ("age == {x}", {"x": None}, "expression template variable value is nil, template name: {x}"),
        ("1 == {x}", {"x": 1}, "placeholder was not supported between two constants with operator: =="),
        ("1 + {x} == age", {"x": 1}, "placeholder was not supported between two constants with operator: +"),
        ("age == {x}", {"x": "a"}, "comparisons between Int32 and VarChar are not supported"),
        ("age == {x}", {"x": 2**63}, "out of range of Int64"),
        ("age == {x}", {"x": {1: 2}}, "unsupported type: dict"),
        ("name == {x}", {"x": "\ud800"}, "not valid UTF-8"),
        ("age == {limit}", {"limits": 1}, "did you mean 'limits'?"),
        ("{x}", {"x": True}, "predicate is not a boolean expression"),
    ],
)
def test_a_template_without_a_fitting_value_is_refused(text: str, params: dict[str, object], detail: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        compile_filter(text, STRICT, params)
    assert detail in caught.value.message


def test_an_unknown_name_is_refused_without_a_dynamic_field_and_the_nearest_field_is_offered() -> None:
    with pytest.raises(InvalidParameter) as caught:
        compile_filter("agee == 1", STRICT)
    assert "field agee not exist" in caught.value.message
    assert "did you mean 'age'?" in caught.value.message
    assert compile_filter("agee == 1", DYNAMIC).fields == {"$meta"}


def test_the_caret_stands_under_the_fault() -> None:
    with pytest.raises(InvalidParameter) as caught:
        compile_filter("age == 1 and\n  flag = true", STRICT)
    assert caught.value.message.splitlines()[-2:] == [
        "    flag = true",
        "         ^ did you mean '=='?: invalid parameter",
    ]


def test_a_delete_says_that_it_is_a_delete() -> None:
    with pytest.raises(InvalidParameter, match="failed to create delete plan: cannot parse expression: age =:"):
        compile_filter("age =", STRICT, purpose="delete")
    assert "failed to create delete plan" in parse_error("x", "y", 0, kind="delete").message


HOSTILE: dict[str, str] = {
    "parentheses": "(" * 100_000,
    "closed parentheses": "(" * 50_000 + "flag" + ")" * 50_000,
    "nots": "not " * 50_000 + "flag",
    "signs": "-" * 50_000 + "1 == age",
    "sums": "age == " + "1+" * 50_000 + "1",
    "equalities": "age == " * 50_000 + "1",
    "lists": "age in " + "[" * 50_000,
    "calls": "array_length(" * 50_000,
    "powers": "2 ** " * 50_000 + "2 == age",
    "staircase": "(" * 200 + "1" + "+1" * 250 + (")" + "+1" * 250) * 200 + " == age",
    "unclosed string": "name == '" + "x" * 1_000_000,
    "long name": "x" * 1_000_000 + " == 1",
    "digits": "age == " + "9" * 1_000_000,
    "brackets": "doc" + "['a']" * 100_000 + " == 1",
    "or": "flag or " * 30_000 + "flag",
    "nested or": "not (flag or " * 120 + "flag" + ")" * 120,
    "ranges": "1 < age < 2 and " * 10_000 + "flag",
    "equal chain": " or ".join(f"age == {i}" for i in range(10_000)),
    "list": f"age in {list(range(150_000))}",
    "floats": f"score in [{', '.join(['1.5'] * 100_000)}]",
    "garbage": "\0" * 1_000_000,
    "pattern": "name like '" + "%a_" * 100_000 + "'",
    "blanks": " " * 1_000_000 + "flag",
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_is_answered_or_refused_quickly(case: str) -> None:
    started = time.process_time()
    try:
        compiled = compile_filter(HOSTILE[case], DYNAMIC)
    except InvalidParameter as error:
        assert len(error.message) < 3_000
    else:
        compiled.evaluate(columns_of([{"id": 0, "age": 5, "name": "a"}, {"id": 1}]))
    assert time.process_time() - started < 5


def test_ten_thousand_terms_joined_by_or_are_answered() -> None:
    text = " or ".join(f"(age == {i} and flag)" for i in range(10_000))
    columns = columns_of([{"id": 0, "age": 9_999, "flag": True}, {"id": 1, "age": 9_999, "flag": False}])
    assert compile_filter(text, STRICT).evaluate(columns).tolist() == [True, False]


_WORDS = st.sampled_from([
    "age", "name", "doc", "color", "flag", "nums", "(", ")", "[", "]", "==", "!=", "<", "<=", ">", "and", "or", "not",
    "in", "like", "exists", "is null", "is not null", "1", "2.5", "-", "+", "*", "/", "%", "**", "&", "|", "'a%'",
    '"k"', "{x}", "{xs}", "true", ",", "json_contains", "array_length", "=", "~", "<<", "$meta", "$", "null", "ISO",
    "0x", "r'\\'", "\\u0041", "é",
])  # fmt: skip


@settings(max_examples=400)
@given(st.one_of(st.lists(_WORDS, max_size=14).map(" ".join), st.text(max_size=40)))
def test_random_text_is_a_filter_or_a_typed_error(text: str) -> None:
    try:
        compiled = compile_filter(text, DYNAMIC, {"x": 1, "xs": [1, "a"]})
    except MilvusException as error:
        assert error.code in (1100, 10)
        assert "cannot parse expression" in error.message
    else:
        assert compiled.evaluate(columns_of([{"id": 0, "age": 1, "doc": {"k": [1]}}, {"id": 1}])).shape == (2,)
