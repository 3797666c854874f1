"""Rows are found in JSON of any shape as a parser finds them, wherever blocks of the file end."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.formats import json_scan
from redkite.formats.faults import BadFile
from redkite.formats.json_scan import array_rows, line_rows

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\[]{},\n\té:'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='a"\\]}', max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
MARKS = st.sampled_from(["", "\ufeff"])
"""What some programs put before UTF-8."""
ROWS = st.lists(st.dictionaries(st.text(alphabet='k"\\{[', max_size=3), VALUES, max_size=4), max_size=6)


def found(text: str, *, lines: bool = False) -> list[Any]:
    rows = line_rows(io.BytesIO(text.encode())) if lines else array_rows(io.BytesIO(text.encode()))
    return [json.loads(row) for some in rows for row in some]


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS, block=st.integers(1, 60), wrapped=st.booleans(), indent=st.sampled_from([None, 1]), mark=MARKS
)  # fmt: skip
def test_the_rows_of_an_array_are_found(
    rows: list[Any], block: int, wrapped: bool, indent: int | None, mark: str
) -> None:
    text = mark + json.dumps({"rows": rows} if wrapped else rows, indent=indent, ensure_ascii=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_scan, "BLOCK_BYTES", block)
        assert found(text) == rows


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS, block=st.integers(1, 60), ending=st.sampled_from(["\n", "\r\n", "\n\n"]), last=st.booleans(), mark=MARKS
)  # fmt: skip
def test_the_rows_on_lines_are_found(rows: list[Any], block: int, ending: str, last: bool, mark: str) -> None:
    text = mark + ending.join(json.dumps(row, ensure_ascii=False) for row in rows) + (ending if last else "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_scan, "BLOCK_BYTES", block)
        assert found(text, lines=True) == rows


@pytest.mark.parametrize(
    ("text", "message", "row"),
    [
        ("", "there are no rows", None), ("   ", "there are no rows", None), ('"rows"', "should be an array", None),
        ('{"row": [{}]}', "root key should be 'rows', but get 'row'", None), ('{"rows": {}}', "be an array", None),
        ("[{}", "does not end", 1), ("[{}, {", "does not end", 1), ("[{},]", "one comma", 1), ("[,{}]", "one comma", 0),
        ("[{} {}]", "one comma", 1), ("[{},,{}]", "one comma", 1), ("[{}, 5]", "a row is an object", 1),
        ("[{}}", "a bracket closes", 0), ("[{}] x", "behind the rows stands", 1), ('["a"]', "a row is an object", 0),
    ],
)  # fmt: skip
def test_what_is_no_array_of_rows_is_refused_with_its_place(text: str, message: str, row: int | None) -> None:
    with pytest.raises(BadFile, match=message) as caught:
        found(text)
    assert caught.value.row == row


def test_a_row_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_scan, "MAX_ROW_BYTES", 1 << 20)
    for lines in (True, False):
        with pytest.raises(BadFile, match="a row is longer than 1 MiB"):
            found('[{"a": "' + "x" * (4 << 20), lines=lines)
