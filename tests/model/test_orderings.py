"""Sort keys as text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.errors import InvalidParameter
from redkite.model.orderings import given_orderings, read_orderings, split_names, write_orderings
from redkite.model.requests import Ordering

names = st.one_of(
    st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True),
    st.builds(
        lambda word, keys: word + "".join(f'["{key}"]' for key in keys),
        st.sampled_from(["meta", "$meta"]),
        st.lists(st.text("ab,:]['", min_size=1, max_size=4), min_size=1, max_size=3),
    ),
)  # fmt: skip
keys = st.builds(lambda field, down, last: Ordering(field=field, descending=down, nulls_last=last),
                 names, st.booleans(), st.booleans())  # fmt: skip


@given(st.lists(keys, max_size=4))
def test_what_is_written_is_read_again(order: list[Ordering]) -> None:
    assert read_orderings(write_orderings(order)) == tuple(order)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_orderings(text)
    except InvalidParameter as error:
        assert "order" in error.message or "nulls" in error.message


def test_names_are_cut_at_commas_outside_brackets() -> None:
    assert split_names(" a, meta[\"x,y\"]['z:w'] ,b,") == ["a", "meta[\"x,y\"]['z:w']", "b"]
    assert split_names("") == []


def test_users_write_texts_and_dicts() -> None:
    wanted = (Ordering(field="a", descending=True), Ordering(field="b", nulls_last=True), Ordering(field="c"))
    assert given_orderings("a:DESC, b:asc:nulls_last, c") == wanted
    assert given_orderings(["a:descending", {"field": "b", "nulls": "last"}, {"field": "c", "order": "asc"}]) == wanted
    assert given_orderings([{"field": "a", "order": "desc"}, "b:nulls_last", "c:ascending"]) == wanted
    assert given_orderings(None) == given_orderings([]) == given_orderings("") == ()


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        ("a:up", r"invalid order direction 'up' for field 'a' \(must be 'asc', 'desc', 'ascending', or 'descending'\)"),
        ("a:asc:middle", "invalid place for nulls 'middle'"),
        (":asc", "empty field name in order_by_fields"),
        ("a,,b", "empty field name in order_by_fields"),
        ("a:asc:nulls_last:x", "followed by more than"),
        ([{"order": "asc"}], "missing 'field' key in order_by_fields entry"),
        ([{"field": ""}], "empty field name"),
        ([{"field": "a", "speed": 1}], "unknown key 'speed'"),
        ([3], "missing 'field' key"),
        (3, "must be a list or a text"),
    ],
)
def test_what_is_no_sort_key_is_refused(given_: Any, text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        given_orderings(given_)
