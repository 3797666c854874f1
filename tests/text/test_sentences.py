"""Where sentences end."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.text.sentences import sentences


def split(text: str) -> list[str]:
    return [text[begin:end] for begin, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        (" \n ... \n", []),
        ("One", ["One"]),
        ("A kite. It flies!  Does it? Yes…", ["A kite.", "It flies!", "Does it?", "Yes…"]),
        ("It is 3.14 long, as v1.2.3 said. So", ["It is 3.14 long, as v1.2.3 said.", "So"]),
        ('He said "go." Then (he went.) Away', ['He said "go."', "Then (he went.)", "Away"]),
        ("鸢是鸟。它会飞\uff01是吗\uff1f是", ["鸢是鸟。", "它会飞\uff01", "是吗\uff1f", "是"]),
        ("what!ever a?b", ["what!ever a?b"]),
        ("Title\n\n  a line\r\nlast", ["Title", "a line", "last"]),
        ("Ich. Größe über. ß", ["Ich.", "Größe über.", "ß"]),
    ],
)
def test_sentences_are_told_apart_by_marks_and_lines(text: str, wanted: list[str]) -> None:
    assert split(text) == wanted


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet='ab .!?。\n"', max_size=60))
def test_every_letter_is_in_one_sentence(text: str) -> None:
    spans = sentences(text)
    assert spans == sorted(spans)
    assert all(begin < end for begin, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert "".join(filter(str.isalpha, "".join(split(text)))) == "".join(filter(str.isalpha, text))


@pytest.mark.parametrize("text", ["." * 65_535, "." * 65_534 + "x", "." * 30_000 + '"' * 30_000 + "x", '."' * 30_000])
def test_a_text_of_marks_is_read_in_one_go(text: str) -> None:
    begin = time.process_time()
    assert len(sentences(text)) == text.endswith("x")
    assert time.process_time() - begin < 5, "it took tens of seconds once"
