"""How a highlighter is stated, and what is no highlighter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.errors import InvalidParameter, MilvusException, Unimplemented
from redkite.model.highlighting import (
    Highlighter,
    HighlightKind,
    HighlightQuery,
    read_highlighter,
    write_highlighter,
)

words = st.text(st.characters(codec="utf-8"), max_size=5)
highlighters = st.builds(
    Highlighter,
    queries=st.lists(
        st.builds(
            HighlightQuery, kind=st.sampled_from(HighlightKind), field=words, text=words, slop=st.integers(0, 2**32 - 1)
        ),
        max_size=3,
    ).map(tuple),
    search_text=st.booleans(),
    pre_tags=st.lists(words, min_size=1, max_size=3).map(tuple),
    post_tags=st.lists(words, min_size=1, max_size=3).map(tuple),
    fragment_offset=st.integers(0, 2**63 - 1),
    fragment_size=st.integers(1, 2**63 - 1),
    fragments=st.integers(0, 2**63 - 1),
)


@given(highlighters)
def test_what_is_written_is_read_again(highlighter: Highlighter) -> None:
    assert read_highlighter(0, write_highlighter(highlighter)) == highlighter
    assert read_highlighter("lexical", write_highlighter(highlighter)) == highlighter


def test_values_may_be_texts_or_what_they_say() -> None:
    query = {"type": "TextMatch", "field": "f", "text": "a"}
    wanted = Highlighter(
        queries=(HighlightQuery(kind=HighlightKind.WORDS, field="f", text="a"),), search_text=True, pre_tags=("<",),
        fragment_size=7,
    )  # fmt: skip
    plain = {"highlight_query": [query], "highlight_search_text": True, "pre_tags": ["<"], "fragment_size": 7}
    assert read_highlighter("Lexical", plain) == wanted
    texts = {
        "highlight_query": '[{"type": "TextMatch", "field": "f", "text": "a"}]', "highlight_search_text": "True",
        "pre_tags": '["<"]', "fragment_size": "7",
    }  # fmt: skip
    assert read_highlighter(0, texts) == wanted
    assert read_highlighter(0, {}) == Highlighter()


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"pre_tags": "<em>"}, "unmarshal pre_tags as json array failed"),
        ({"pre_tags": "[]"}, "pre_tags cannot be empty list"),
        ({"post_tags": []}, "post_tags cannot be empty list"),
        ({"post_tags": [1]}, "unmarshal post_tags as string list failed: got 1"),
        ({"fragment_size": "0"}, "invalid fragment_size: 0"),
        ({"fragment_size": "ten"}, "invalid fragment_size: ten"),
        ({"fragment_size": True}, "invalid fragment_size: True"),
        ({"fragment_size": 1.5}, "invalid fragment_size: 1.5"),
        ({"fragment_size": "1" * 40}, "invalid fragment_size: 1111"),
        ({"fragment_offset": -1}, "invalid fragment_offset: -1"),
        ({"num_of_fragments": "-2"}, "invalid num_of_fragments: -2"),
        ({"highlight_search_text": "perhaps"}, "unmarshal highlight_search_text as bool failed: perhaps"),
        ({"highlight_query": "{}"}, "unmarshal highlight queries as json array failed"),
        ({"highlight_query": '["a"]'}, "item in array is not json object"),
        ({"highlight_query": [{"type": "TextMatch", "field": "f"}]}, "must set `text` in query"),
        ({"highlight_query": [{"type": "TextMatch", "text": "f"}]}, "must set `field` in query"),
        ({"highlight_query": [{"type": 1, "text": "f", "field": "f"}]}, "`type` must be string"),
        ({"highlight_query": [{"type": "x", "text": "f", "field": "f"}]}, "invalid highlight query type: x"),
        ({"highlight_query": [{"type": "PhraseMatch", "text": "f", "field": "f", "slop": -1}]}, "invalid slop: -1"),
        ({"highlight_query": [{"type": "PhraseMatch", "text": "f", "field": "f", "slop": 1 << 32}]}, "invalid slop"),
        ({"fragments": 1}, "highlighter parameter fragments is not known"),
    ],
)
def test_what_is_no_highlighter_is_refused(params: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read_highlighter(0, params)
    assert text in caught.value.message


@pytest.mark.parametrize(("kind", "error"), [(1, Unimplemented), ("SEMANTIC", Unimplemented), (2, InvalidParameter)])
def test_another_kind_of_highlighter_is_refused(kind: int | str, error: type[MilvusException]) -> None:
    with pytest.raises(error):
        read_highlighter(kind, {})
