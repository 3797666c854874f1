"""Which parts of a text are shown, and how its words are marked."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.text.fragments import Look, fragments, merged

FIRST = "my first test doc. Milvus is an open-source vector database built for GenAI applications."
SECOND = (
    "my second test doc. Milvus is an open-source vector database that suits AI applications "
    "of every size from running a demo chatbot to building web-scale search."
)


def look(offset: int = 0, size: int = 100, most: int = 5, pre: tuple[str, ...] = ("{",)) -> Look:
    return Look(pre, tuple({"{": "}", "<": ">", "[": "]"}[tag] for tag in pre), offset, size, most)


def spans(text: str, *words: str) -> list[tuple[int, int]]:
    return [found.span() for word in words for found in re.finditer(word, text)]


@pytest.mark.parametrize(
    ("text", "words", "how", "shown"),
    [
        ("my first test doc", ["test"], look(), ["{test} doc"]),
        (SECOND, ["test"], look(), [
            "{test} doc. Milvus is an open-source vector database that suits AI applications of every size from run"
        ]),
        (SECOND, ["my", "test", "doc"], look(), [
            "{my} second {test} {doc}. Milvus is an open-source vector database that suits AI applications of every siz"
        ]),
        (FIRST, ["Milvus"], look(20, 60), ["my first test doc. {Milvus} is an open-source vector database "]),
        (SECOND, ["Milvus"], look(20, 60), ["my second test doc. {Milvus} is an open-source vector database"]),
        ("aa bb cc dd", ["aa", "dd"], look(size=4), ["{aa} b", "{dd}"]),
        ("aa bb cc dd", ["aa", "dd"], look(size=4, most=1), ["{aa} b"]),
        ("aa bb cc dd", ["aa"], look(most=0), []),
        ("aa bb cc dd", ["xx"], look(), []),
        ("", [], look(), []),
        ("aa bb", ["aa", "bb"], look(size=4), ["{aa} {bb}"]),
        ("aa bb", ["bb"], look(offset=50, size=1), ["aa {bb}"]),
        ("aabb aabb", ["aab", "abb"], look(), ["{aabb} {aabb}"]),
        ("a b c d", ["a", "b", "c", "d"], look(pre=("{", "<")), ["{a} <b> {c} <d>"]),
        ("größe ☃ 日本語 𝔘n", ["☃", "𝔘n"], look(offset=2, size=6), ["e {☃} 日本", "語 {𝔘n}"]),
    ],
)  # fmt: skip
def test_fragments_begin_with_words_that_matter_and_are_as_long_as_asked(
    text: str, words: list[str], how: Look, shown: list[str]
) -> None:
    assert fragments(text, spans(text, *words), how) == shown


@given(
    st.text(alphabet="ab 日", max_size=40),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=8),
    st.integers(0, 9),
    st.integers(1, 12),
)
def test_fragments_are_parts_of_the_text_in_order_and_every_marked_word_is_in_one(
    text: str, places: list[tuple[int, int]], offset: int, size: int
) -> None:
    wanted = [(begin, min(begin + length, len(text))) for begin, length in places if begin < len(text)]
    found = fragments(text, wanted, look(offset, size, most=100))
    at = 0
    for fragment in found:
        plain = fragment.replace("{", "").replace("}", "")
        at = text.index(plain, at) + len(plain)
    assert [part for fragment in found for part in re.findall(r"\{(.*?)\}", fragment)] == [
        text[begin:end] for begin, end in merged(wanted)
    ]
    assert fragments(text, wanted, look(offset, size, most=1)) == found[:1]
