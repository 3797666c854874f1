"""How far the words of a phrase have to move."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text.views import column

from redkite.text.inverted import invert
from redkite.text.slop import least_slops
from redkite.text.specs import analyzer_of

ANALYZER = analyzer_of({"type": "standard"})


@pytest.mark.parametrize(
    ("phrase", "text", "slop"),
    [
        ("a b", "a b", 0), ("a b", "x a b x", 0), ("a b", "a x b", 1), ("a b", "b a", 2), ("a b", "a", -1),
        ("a b", "", -1), ("", "a", -1), ("a a", "a x a", 1), ("a b c", "a x b y c", 2), ("a", "x a", 0),
    ],
)  # fmt: skip
def test_the_least_slop(phrase: str, text: str, slop: int) -> None:
    assert least_slops(ANALYZER.analyze([phrase]), ANALYZER.analyze([text])) == [slop]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(" ".join),
    st.lists(st.lists(st.sampled_from("abx"), max_size=7).map(" ".join), min_size=1, max_size=5),
)
def test_a_phrase_is_found_with_its_least_slop_and_with_no_less(phrase: str, texts: list[str]) -> None:
    index = invert(column(texts), ANALYZER)
    assert index is not None
    tokens = ANALYZER.analyze([phrase])
    words, where = tokens.words(0), tokens.positions.tolist()
    for place, slop in enumerate(least_slops(tokens, ANALYZER.analyze(texts))):
        found = [bool(index.phrase(words, where, slop)[place]) for slop in range(10)]
        assert found == [slop != -1 and most >= slop for most in range(10)]
