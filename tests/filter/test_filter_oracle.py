"""Random filters of the whole grammar against `oracle`, however they are spelled, and whatever is kept between them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.filter.oracle import Row, Term, leaves, rows, stored, terms
from tests.filter.rows import DYNAMIC, columns_of

from redkite.filter import compile_filter
from redkite.filter.numbers import Mask


class Kept:
    """Masks of parts over one set of rows."""

    def __init__(self) -> None:
        self.masks: dict[str, Mask] = {}
        self.found = 0

    def get(self, name: str) -> Mask | None:
        mask = self.masks.get(name)
        self.found += mask is not None
        return None if mask is None else mask.copy()

    def put(self, name: str, mask: Mask) -> None:
        assert name not in self.masks
        self.masks[name] = mask.copy()


@settings(max_examples=100, deadline=None)
@given(st.lists(leaves, min_size=5, max_size=5), rows)
def test_every_form_means_the_same_row_by_row(forms: list[Term], given_rows: list[Row]) -> None:
    columns = columns_of([stored(row) for row in given_rows])
    for form in forms:
        mask = compile_filter(form.text, DYNAMIC, form.params).evaluate(columns)
        assert mask.tolist() == [form.means(row) is True for row in given_rows], form


@settings(max_examples=100, deadline=None)
@given(st.lists(terms, min_size=1, max_size=3), rows)
def test_a_filter_means_the_same_row_by_row_whatever_is_kept_of_others(
    found: list[Term], given_rows: list[Row]
) -> None:
    columns = columns_of([stored(row) for row in given_rows])
    kept = Kept()
    for term in [*found, *found]:
        compiled = compile_filter(term.text, DYNAMIC, term.params)
        wanted = [term.means(row) is True for row in given_rows]
        assert compiled.evaluate(columns).tolist() == wanted, term
        assert compiled.evaluate(columns, kept).tolist() == wanted, term


def test_parts_are_known_again_in_other_filters_and_in_another_order() -> None:
    columns, kept = columns_of([{"id": i, "age": i} for i in range(5)]), Kept()
    for text, found in [("age > 1 and (id == 2 or id == 3)", 0), ("(id == 3 or id == 2) and age > 1", 1),
                        ("age > 1 or flag", 2), ("not (age <= 1)", 2), ("age > 1", 3)]:  # fmt: skip
        compile_filter(text, DYNAMIC).evaluate(columns, kept)
        assert kept.found == found, text


def test_what_a_filter_holds_twice_is_read_once() -> None:
    class Counting:
        reads = 0

        def __init__(self) -> None:
            self.columns = columns_of([{"id": i, "name": "a" * i} for i in range(4)])

        def __getattr__(self, name: str) -> object:
            if name == "strings":
                Counting.reads += 1
            return getattr(self.columns, name)

    text = "(name like 'a_%' and id == 3) or (name like 'a_%' and id == 2) or name like 'a_%'"
    mask = compile_filter(text, DYNAMIC).evaluate(Counting())  # type: ignore[arg-type]
    assert np.flatnonzero(mask).tolist() == [2, 3]
    assert Counting.reads == 1
