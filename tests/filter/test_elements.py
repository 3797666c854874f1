"""Filters over the elements of arrays of structs: what they keep, which elements pass, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.filter.element_oracle import Predicate, Row, clips, matches, predicates
from tests.filter.rows import DYNAMIC, columns_of, kept

from redkite.errors import InvalidParameter
from redkite.filter import compile_filter

rows = st.lists(st.fixed_dictionaries({"id": st.integers(0, 9), "clips": clips, "nums": st.lists(st.integers(-3, 3))}),
                min_size=1, max_size=10)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(matches(), min_size=4, max_size=4), rows)
def test_a_count_of_elements_means_the_same_row_by_row(found: list, given_rows: list[Row]) -> None:
    columns = columns_of(given_rows)
    for text, means in found:
        mask = compile_filter(text, DYNAMIC).evaluate(columns)
        assert mask.tolist() == [means(row) is True for row in given_rows], text
        mask = compile_filter(f"not {text}", DYNAMIC).evaluate(columns)
        assert mask.tolist() == [means(row) is False for row in given_rows], text


@settings(max_examples=150, deadline=None)
@given(predicates, rows, st.booleans())
def test_an_element_filter_keeps_rows_with_a_passing_element_and_says_which(
    predicate: Predicate, given_rows: list[Row], joined: bool
) -> None:
    text = f"element_filter(clips, {predicate.text})"
    text = f"id >= 3 and {text}" if joined else text
    condition, columns = compile_filter(text, DYNAMIC), columns_of(given_rows)
    passing = [[predicate.holds(item) for item in row["clips"] or ()] for row in given_rows]
    wanted = [any(some) and (row["id"] >= 3 or not joined) for some, row in zip(passing, given_rows, strict=True)]
    assert condition.evaluate(columns).tolist() == wanted
    assert condition.evaluate_elements(columns).tolist() == [one for some in passing for one in some]


CLIPS = [
    {"id": 0, "clips": None},
    {"id": 1, "clips": []},
    {"id": 2, "clips": [{"n": 1, "m": 5, "word": "a", "on": True}]},
    {"id": 3, "clips": [{"n": 1, "m": 1, "word": "b", "on": False}, {"n": 7, "m": 2, "word": "a", "on": True}]},
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("clips is null", [0]),
        ("clips is not null", [1, 2, 3]),
        ("clips[n] is null", [0]),
        ("array_length(clips) == 2", [3]),
        ("array_length(clips) < 1", [1]),
        ("array_contains(clips[n], 7)", [3]),
        ("array_contains_all(clips[word], ['a', 'b'])", [3]),
        ("ARRAY_CONTAINS_ANY(clips[m], [5, 9])", [2]),
        ("clips[1][n] == 7", [3]),
        ("clips[0][word] like 'a%'", [2]),
        ("clips[0][n] in [1, 2]", [2, 3]),
        ("array_length(clips[n]) >= 1", [2, 3]),
        ("match_all(clips, $[n] > 100)", [1]),
        ("not match_any(clips, $[n] > 100)", [1, 2, 3]),
        ("element_filter(clips, $[n] == {x} && $[word] == 'a')", [3]),
        ("match_exact(clips, $[n] >= 0, threshold={two})", [3]),
        ("match_any(clips, $[on])", [2, 3]),
    ],
)
def test_what_sub_fields_and_elements_mean(text: str, found: list[int]) -> None:
    assert kept(text, CLIPS, x=7, two=2) == found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("element_filter(clips, $[n] > 1) and id > 1", "element filter expression can only be the last expression"),
        ("element_filter(clips, $[n] > 1) or id > 1", "element filter expression can only be the last expression"),
        ("not element_filter(clips, $[n] > 1)", "element filter expression can only be the last expression"),
        ("element_filter(clips, $[n] > 1) and element_filter(clips, $[n] > 2)", "can only be the last expression"),
        ("element_filter(clips, element_filter(clips, $[n] > 1))", "nested ElementFilter is not supported"),
        ("match_any(clips, match_all(clips, $[n] > 1))", "nested match_all is not supported"),
        ("element_filter(clips, match_any(clips, $[n] > 1))", "nested match_any is not supported"),
        ("$[n] > 1", "$[x] syntax can only be used inside ElementFilter or MATCH_*"),
        ("id > 1 and $ == 3", "$[x] syntax can only be used inside ElementFilter or MATCH_*"),
        ("match_any(clips, $[what] > 1)", "field $[what] not exist"),
        ("match_any(clips, $[v] == 1)", "filter on vector field (clips[v]) is not supported"),
        ("clips[v] == 1", "filter on vector field (clips[v]) is not supported"),
        ("array_contains(clips[x], 1)", "field clips[x] not exist"),
        ("match_any(clips, id > 1)", "cannot use id, only its elements"),
        ("match_any(clips, clips[n] == [1])", "cannot use clips[n], only its elements"),
        ("match_any(clips, $[n] is null)", "is null operation is not supported on elements"),
        ("match_any(clips, $[n])", "expects a boolean expression of elements"),
        ("match_any(id, $[n] > 1)", "expects the name of a struct array or array field"),
        ("element_filter(nums, $ > 1)", "expects the name of a struct array field"),
        ("match_least(clips, $[n] > 1)", "takes 3 arguments"),
        ("match_any(clips, $[n] > 1, threshold=2)", "takes 2 arguments"),
        ("match_least(clips, $[n] > 1, threshold=0)", "threshold must be positive"),
        ("match_most(clips, $[n] > 1, threshold=-1)", "threshold must be not negative"),
        ("match_most(clips, $[n] > 1, threshold=1.5)", "threshold must be an integer"),
        ("match_most(clips, $[n] > 1, treshold=1)", "unexpected argument treshold"),
        ("clips == 3", "cannot parse expression"),
        ("clips['n'] == 3", "struct array field clips is accessed as clips[sub]"),
    ],
)
def test_what_is_no_filter_of_elements_is_refused(text: str, wanted: str) -> None:
    with pytest.raises(InvalidParameter, match="cannot parse expression") as found:
        compile_filter(text, DYNAMIC)
    assert wanted in found.value.message
