"""How a highlighter is stated, and what is no highlighter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.errors import InvalidParameter
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


@pytest.mark.parametrize("kind", [2, "bright"])
def test_another_kind_of_highlighter_is_refused(kind: int | str) -> None:
    with pytest.raises(InvalidParameter, match="unsupported highlight type"):
        read_highlighter(kind, {})


ASKED = {"queries": ["a"], "input_fields": ["f"]}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"pre_tags": ["<"], "post_tags": [">"], "threshold": 0.25, "highlight_only": False},
        {"model_deployment_id": "small", "max_client_batch_size": 7},
        {"provider": "tei", "endpoint": "http://localhost:1", "truncate": True},
    ],
)
def test_a_semantic_highlighter_travels_whole(more: dict[str, Any]) -> None:
    given = read_highlighter("SEMANTIC", ASKED | more)
    assert given.kind == 1
    assert read_highlighter(1, write_highlighter(given)) == given
    assert given.semantics is not None
    assert (given.semantics.queries, given.semantics.fields) == (("a",), ("f",))


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"queries": []}, "queries must be a list of texts that are not empty"),
        ({"queries": ["a", ""]}, "queries must be a list of texts that are not empty"),
        ({"input_fields": [1]}, "input_fields must be a list of texts"),
        ({"queries": "a"}, "unmarshal queries as json array failed"),
        ({"threshold": 1.5}, "threshold must be in range [0, 1], got 1.5"),
        ({"threshold": "high"}, "threshold must be in range [0, 1]"),
        ({"threshold": True}, "threshold must be in range [0, 1]"),
        ({"highlight_only": "perhaps"}, "highlight_only must be true or false"),
        ({"max_client_batch_size": 2_000}, "max_client_batch_size must be in range [1, 1024]"),
        ({"model_deployment_id": "a", "provider": "tei"}, "exclude each other"),
        ({"endpoint": "http://localhost:1"}, "endpoint wants a provider"),
        ({"fragment_size": 3}, "highlighter parameter fragment_size is not known"),
        ({"pre_tags": []}, "pre_tags cannot be empty list"),
    ],
)
def test_what_is_no_semantic_highlighter_is_refused(more: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read_highlighter("semantic", ASKED | more)
    assert text in caught.value.message


@pytest.mark.parametrize("key", ["queries", "input_fields"])
def test_a_semantic_highlighter_wants_questions_and_fields(key: str) -> None:
    with pytest.raises(InvalidParameter, match=f"{key} must be given"):
        read_highlighter("semantic", {name: value for name, value in ASKED.items() if name != key})
