"""Every filter on the page about filters keeps the rows the page says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "filters.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^\| `(?P<filter>.+?)` \| (?P<rows>none|\d(?:, \d)*) \|", re.MULTILINE)


def test_the_filters_of_the_page_keep_the_rows_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text()
    first = BLOCK.search(text)
    assert first is not None
    names: dict[str, Callable[..., list[int]]] = {}
    exec(compile(first.group(1), str(PAGE), "exec"), names)
    found = list(LINE.finditer(text))
    assert len(found) > 70
    for line in found:
        wanted = [] if line["rows"] == "none" else [int(number) for number in line["rows"].split(", ")]
        condition = line["filter"].replace("\\|", "|")
        assert names["kept"](condition) == wanted, condition
