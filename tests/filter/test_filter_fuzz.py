"""Whatever text comes, the compiler answers with a filter or with the typed error, and soon."""

from __future__ import annotations

import time

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.filter.oracle import terms
from tests.filter.rows import DYNAMIC, STRICT, columns_of
from tests.filter.test_filter_errors import REFUSED
from tests.filter.test_filter_evaluation import RULES

from redkite.errors import MilvusException
from redkite.filter import compile_filter
from redkite.filter.diagnostics import Source
from redkite.filter.lexer import Kind, Lexer

CORPUS = [text for text, _ in RULES] + [text for text, _ in REFUSED if text.isascii()]
PARAMS = {"x": 1, "xs": [1, "a", [2]], "w": "POINT(1 1)", "p": "a%", "t": "2025-01-01T00:00:00Z"}
COLUMNS = columns_of([
    {"id": 0, "age": 1, "doc": {"k": [1, 2**63]}, "place": "POINT(1 1)", "name": "a", "moment": 0, "color": {"a": 1}},
    {"id": 1},
])  # fmt: skip
PIECES = st.sampled_from([
    "(", ")", "[", "]", "'", '"', "\\", "and ", " or ", "not ", "==", "<", "<=", " in ", "{x}", "{xs}", "{", "}",
    "$", "$meta", "null", " is null", "ISO ", 'ISO "2025-01-01T00:00:00Z"', 'INTERVAL "P1D"', "=~", "!~", "**", "-",
    "~", "st_within(", "place", "moment", "doc", "nums", ",", "random_sample(0.5)", "0x", "1e", "9" * 20, "r'", "\0",
    "\ud800", "é", "\\u0041", "exists ", "like ", "st_dwithin(place, {w}, 1)", "array_length(", "[0]", "['k']",
    "true", "element_filter(s, $[a] > 1)",
])  # fmt: skip


def answered(text: str) -> None:
    for schema in (DYNAMIC, STRICT):
        started = time.process_time()
        try:
            compiled = compile_filter(text, schema, PARAMS)
        except MilvusException as error:
            assert error.code in (1100, 10)
            assert "cannot parse expression" in error.message
            assert len(error.message) < 4_000
        else:
            whole = compiled.whole
            if whole is not None:
                assert whole.evaluate(COLUMNS).shape == (2,)
        assert time.process_time() - started < 5


@st.composite
def mutated(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    text = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        at, end = sorted(draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        action = draw(st.integers(0, 4))
        if action == 0:
            text = text[:at] + text[end:]
        elif action == 1:
            text = text[:at] + draw(PIECES) + text[at:]
        elif action == 2:
            text = text[:at] + draw(PIECES) + text[end:]
        elif action == 3:
            text = text[:end] + text[at:]
        else:
            text = text[:at] + draw(st.characters()) + text[at:]
    return text


@settings(max_examples=250, deadline=None)
@given(mutated(st.sampled_from(CORPUS)))
@example("st_within(place, 'GEOMETRYCOLLECTION(" + "GEOMETRYCOLLECTION(" * 9_000 + "')")
@example("name =~ r'" + "(" * 2_000 + "'")
@example("name =~ r'" + "(a{1,1000}){1,1000}" * 3 + "'")
@example("name =~ r'\\C'")
@example("name =~ '\\x00'")
@example("st_within(place, 'POINT(1 1)\\x00')")
@example("st_dwithin(place, 'POINT(nan nan)', 1)")
@example("st_dwithin(place, 'POINT(1 1)', 1e308)")
@example('moment + INTERVAL "P9999Y" > ISO "0001-01-01T00:00:00Z"')
@example("random_sample(" * 300)
def test_a_mutated_filter_is_a_filter_or_a_typed_error(text: str) -> None:
    answered(text)


@settings(max_examples=80, deadline=None)
@given(mutated(terms.map(lambda term: term.text)))
def test_a_mutated_filter_of_the_whole_grammar_is_a_filter_or_a_typed_error(text: str) -> None:
    answered(text)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(PIECES, max_size=12).map("".join)
    | st.text(max_size=60)
    | st.binary(max_size=60).map(lambda b: b.decode("latin-1"))
)
def test_any_text_at_all_is_a_filter_or_a_typed_error(text: str) -> None:
    answered(text)


@settings(max_examples=150, deadline=None)
@given(mutated(st.sampled_from(CORPUS)))
def test_tokens_stand_in_order_and_leave_out_nothing_but_blanks(text: str) -> None:
    lexer, end = Lexer(Source(text), 10_000), 0
    while True:
        try:
            token = lexer.next()
        except MilvusException:
            return
        assert text[end : token.start].strip(" \t\r\n") == ""
        if token.kind is Kind.END:
            assert token.start == len(text)
            return
        assert end <= token.start < token.end <= len(text)
        end = token.end
