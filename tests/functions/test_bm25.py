"""The words of texts as sparse vectors."""

from __future__ import annotations

from collections import Counter
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.texts import text_schema

from redkite.env import Env
from redkite.errors import InvalidParameter
from redkite.functions import memo
from redkite.functions.base import Services
from redkite.functions.bm25 import Bm25Function, term_frequencies
from redkite.functions.models import Models
from redkite.functions.registry import Functions
from redkite.model.schema import FieldSchema
from redkite.model.sparse import SparseRows
from redkite.model.types import DataType
from redkite.text.specs import analyzer_of

ENGLISH = '{"type": "english"}'
PARTS = '{"tokenizer": "standard", "filter": ["lowercase", {"type": "decompounder", "word_list": ["ki", "te"]}]}'
SPELLED = st.sampled_from(["The", "the", "kites", "KITE", "engine's", "naïve", "x", "…", "\t", "  ", "und"])


def function(**params: Any) -> Bm25Function:
    schema = text_schema(**params)
    env = Env.real()
    return Bm25Function(schema, schema.functions[0], Services(env, Models(env, None)))


def plain(words: list[str]) -> dict[int, float]:
    return dict(Counter(crc32(word.encode()[:100]) % (2**32 - 1) for word in words))


def as_dicts(rows: SparseRows) -> list[dict[int, float]]:
    found = []
    for at in range(len(rows)):
        dims, values = rows.row(at)
        assert (np.diff(dims.astype(np.int64)) > 0).all()
        found.append(dict(zip(dims.tolist(), values.tolist(), strict=True)))
    return found


@pytest.mark.parametrize("params", [{}, {"analyzer_params": ENGLISH}, {"analyzer_params": PARTS}])
@given(texts=st.lists(st.none() | st.lists(SPELLED, max_size=9).map(" ".join), max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_vector_holds_how_often_each_word_occurs(params: dict[str, str], texts: list[str | None]) -> None:
    made = function(**params)
    tokens = analyzer_of(params.get("analyzer_params")).analyze(texts)
    want = [plain(tokens.words(at)) for at in range(len(texts))]
    for column in (texts[:2], texts, texts):  # words that are new, known, and of both kinds
        filled = SparseRows.from_arrow(made.fill([pa.array(column, pa.string())]))
        assert as_dicts(filled) == want[: len(column)]
    assert as_dicts(term_frequencies(tokens)) == want
    asked = made.queries(["" if text is None else text for text in texts])
    assert asked.sparse is not None and as_dicts(asked.sparse) == want
    assert asked.nq == len(texts)


def test_a_slice_of_a_column_is_read_where_it_stands() -> None:
    column = pa.array(["no", "red kite", None, "kite kite"]).slice(1, 3)
    filled = function().fill([column])
    assert (len(filled), filled.null_count) == (3, 0)
    kite, red = plain(["kite", "red"])
    assert as_dicts(SparseRows.from_arrow(filled)) == [{kite: 1.0, red: 1.0}, {}, {kite: 2.0}]


def test_what_is_remembered_of_words_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "MAX_WORDS", 8)
    monkeypatch.setattr(memo, "MAX_KEPT", 8)
    monkeypatch.setattr(memo, "MAX_ASKED", 3)
    made = function()
    for start in range(0, 60, 5):
        words = [f"w{number}" for number in range(start, start + 5)]
        assert as_dicts(SparseRows.from_arrow(made.fill([pa.array([" ".join(words)])]))) == [plain(words)]
        asked = made.queries([" ".join(words)]).sparse
        assert asked is not None and as_dicts(asked) == [plain(words)]
        for word in (*words, *words[:2]):
            alone = made.queries([word]).sparse
            assert alone is not None and as_dicts(alone) == [plain([word])]
    assert made._hashes is not None and len(made._hashes._known) <= 8
    assert made._memo is not None and len(made._memo._known) <= 8 and 0 < len(made._memo._asked) <= 3


def test_searches_for_one_piece_are_kept_unless_it_is_long() -> None:
    made = function(analyzer_params=PARTS)
    for piece in ("Kite-kite", "", "…", "x" * 65):
        first, again = (made.queries([piece]).sparse for _ in range(2))
        tokens = analyzer_of(PARTS).analyze([piece])
        assert first is not None and as_dicts(first) == [plain(tokens.words(0))]
        assert (again is first) is (len(piece) <= 64)


def test_very_long_words_are_counted_and_not_kept() -> None:
    made = function()
    long = "x" * 90
    for _ in range(2):
        filled = made.fill([pa.array([f"{long} kite {long}"])])
        assert as_dicts(SparseRows.from_arrow(filled)) == [plain([long, "kite", long])]
    assert made._hashes is not None and set(made._hashes._known) == {"kite"}


def test_long_search_texts_are_read_as_a_whole() -> None:
    made = function()
    long = "kite " * 5_000
    asked = made.queries([long]).sparse
    assert asked is not None and as_dicts(asked) == [plain(["kite"] * 5_000)]
    assert made._memo is not None and "kite" not in made._memo._known


def test_a_field_says_which_analyzer_a_text_gets() -> None:
    params = '{"by_field": "note", "analyzers": {"default": {"type": "standard"}, "en": {"type": "english"}}}'
    note = FieldSchema(name="note", data_type=DataType.VARCHAR, params={"max_length": "9"})
    schema = text_schema(note, multi_analyzer_params=params)
    services = Services(Env.real(), Models(Env.real(), None))
    made = Bm25Function(schema, schema.functions[0], services)
    assert made.inputs == ("body", "note")
    filled = made.fill([pa.array(["the kites"] * 3), pa.array(["en", "fr", None])])
    standard, english = plain(["the", "kites"]), plain(["kite"])
    assert as_dicts(SparseRows.from_arrow(filled)) == [english, standard, standard]
    found = [made.queries(["the kites"], name).sparse for name in ("", "en", "fr")]
    assert [as_dicts(rows)[0] for rows in found if rows is not None] == [standard, english, standard]
    for wrong, text in (("nowhere", "not exist"), ("id", "should be string field, but now is Int64")):
        other = text_schema(note, multi_analyzer_params=params.replace("note", wrong))
        with pytest.raises(InvalidParameter, match=text):
            Bm25Function(other, other.functions[0], services)


def test_ready_functions_are_kept_with_their_schema() -> None:
    functions = Functions(Services(Env.real(), Models(Env.real(), None)))
    schema = text_schema()
    assert functions.of(schema)["words"] is functions.of(schema)["words"]
    twin = msgspec.structs.replace(schema)
    assert functions.of(twin)["words"] is not functions.of(schema)["words"]
    assert functions.is_quick(schema, 100, "words") and not functions.is_quick(schema, 1 << 20, "words")
    with pytest.raises(InvalidParameter, match="one analyzer only"):
        functions.of(schema)["words"].queries(["kite"], "en")
