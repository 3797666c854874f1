"""The stored form of the index over words."""

from __future__ import annotations

import numpy as np
import pytest
from tests.filter.rows import DYNAMIC, columns_of
from tests.index.scalar.indexed_rows import reopened, spec, stored

from redkite.errors import Corruption
from redkite.filter import compile_filter
from redkite.index.scalar.layout import pack, unpack
from redkite.index.scalar.match import MatchIndex, open_match
from redkite.model.segments import MATCH

ROWS = [{"tale": "a b a"}, {"tale": None}, {"tale": ""}, {"tale": "b ab c1"}, {}]


def test_each_occurrence_is_stored_with_its_row_and_place() -> None:
    held = unpack(memoryview(stored(spec(MATCH), "tale", columns_of(ROWS))))
    assert (held.kind, held.rows) == ("match", 5)
    words = bytes(held.array("words.data"))
    assert [words[a:b] for a, b in zip(held.array("words.offsets"), held.array("words.offsets")[1:], strict=False)] == [
        b"a", b"ab", b"b", b"c1",
    ]  # fmt: skip
    assert held.array("offsets").tolist() == [0, 2, 3, 5, 6]
    assert held.array("rows").tolist() == [0, 0, 3, 0, 3, 3]
    assert held.array("positions").tolist() == [0, 2, 1, 1, 0, 2]
    assert (held.array("rows").dtype, held.array("positions").dtype) == (np.uint32, np.uint16)
    assert np.unpackbits(held.array("valid"), count=5, bitorder="little").tolist() == [1, 0, 1, 1, 0]


@pytest.mark.parametrize("rows", [[], [{}], [{"tale": ""}], [{"tale": "..."}, {"tale": None}]])
def test_an_index_without_any_word_knows_which_rows_have_a_text(rows: list[dict[str, str]]) -> None:
    columns = columns_of(rows)
    index = reopened(spec(MATCH), "tale", columns)
    for text in ("text_match(tale, 'a')", "not text_match(tale, 'a')", "not phrase_match(tale, 'a b')"):
        leaf = compile_filter(text, DYNAMIC)
        found = index.answer(leaf.predicate, columns, 1.0)  # type: ignore[arg-type]  # the whole filter is one leaf
        assert found is not None
        assert found.tolist() == leaf.evaluate(columns).tolist()


def test_other_leaves_are_left_to_others() -> None:
    columns = columns_of(ROWS)
    index = reopened(spec(MATCH), "tale", columns)
    leaf = compile_filter("tale == 'a b a'", DYNAMIC).predicate
    assert index.answer(leaf, columns, 1.0) is None  # type: ignore[arg-type]  # the whole filter is one leaf


@pytest.mark.parametrize("name", ["offsets", "rows", "positions", "words.offsets"])
def test_arrays_that_do_not_fit_are_corruption(name: str) -> None:
    held = unpack(memoryview(stored(spec(MATCH), "tale", columns_of(ROWS))))
    assert isinstance(open_match(held), MatchIndex)
    arrays = {key: values[:-1] if key == name else values for key, values in held.arrays.items()}
    data = b"".join(bytes(part) for part in pack("match", held.rows, {}, arrays))
    with pytest.raises(Corruption, match="do not fit"):
        open_match(unpack(memoryview(data)))
