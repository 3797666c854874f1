"""The page that says what is supported is true: everything is on it, and every test that it names is one."""

from __future__ import annotations

import functools

import pytest
from tests.support import PAGE, TABLES, Row, tables


@functools.cache
def now() -> dict[str, list[Row]]:
    """The tables as they are to be, made once: that reads every test there is."""
    return tables()


def shown(title: str) -> list[list[str]]:
    """The cells of a table of the page."""
    section = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("title", TABLES)
def test_everything_is_on_the_page_as_it_is(title: str) -> None:
    said = [(name, state) for name, state, _ in shown(title)]
    assert said == [(f"`{row.name}`", row.state) for row in now()[title]], "run `make support`"


@pytest.mark.parametrize("title", TABLES)
def test_every_test_that_the_page_names_is_one(title: str) -> None:
    for row, (_, _, tests) in zip(now()[title], shown(title), strict=True):
        named = {test.strip("`") for test in tests.split(", ")} - {"—"}
        assert named <= set(row.tests), f"{row.name}: run `make support`"


@pytest.mark.parametrize("title", TABLES)
def test_everything_has_a_test(title: str) -> None:
    assert [row.name for row in now()[title] if not row.tests] == []
