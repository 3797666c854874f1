"""`random_sample`: how much it keeps, and where it may stand."""

from __future__ import annotations

import numpy as np
import pytest
from tests.filter.rows import DYNAMIC, columns_of

from redkite.errors import InvalidParameter
from redkite.filter import compile_filter
from redkite.filter.sampling import drawn


@pytest.mark.parametrize(
    ("text", "share", "rest"),
    [
        ("random_sample(0.25)", 0.25, None),
        ("RANDOM_SAMPLE({f})", 0.5, None),
        ("age == 1 and random_sample(0.25)", 0.25, "age == 1"),
        ("age == 1 and flag and random_sample(1e-9)", 1e-9, "age == 1 and flag"),
        ("age == 1 and (flag and random_sample(0.25))", 0.25, "age == 1 and flag"),
        ("(age == 1 or flag) and (random_sample(0.25))", 0.25, "age == 1 or flag"),
        ("age == 1 and flag", None, "age == 1 and flag"),
    ],
)
def test_a_sample_is_split_from_what_stands_before_it(text: str, share: float | None, rest: str | None) -> None:
    compiled = compile_filter(text, DYNAMIC, {"f": 0.5})
    assert compiled.sample == share
    assert not compiled.always_true
    if rest is None:
        assert compiled.whole is None
        return
    assert compiled.whole is not None
    plain = compile_filter(rest, DYNAMIC)
    columns = columns_of([{"id": i, "age": i % 2, "flag": i % 3 == 0} for i in range(12)])
    assert compiled.whole.evaluate(columns).tolist() == plain.evaluate(columns).tolist()
    assert compiled.fields == plain.fields


def test_a_sample_is_no_predicate_of_its_own() -> None:
    compiled = compile_filter("id in [1, 2] and random_sample(0.5)", DYNAMIC)
    assert compiled.primary_keys is None
    with pytest.raises(InvalidParameter, match="random_sample is for the filters of reads and deletes"):
        compiled.evaluate(columns_of([{"id": 1}]))
    assert compiled.key != compile_filter("id in [1, 2]", DYNAMIC).key


@pytest.mark.parametrize(
    "text",
    [
        "random_sample(0.5) and flag",
        "flag or random_sample(0.5)",
        "not random_sample(0.5)",
        "flag and random_sample(0.5) and flag",
        "flag and not (flag and random_sample(0.5))",
        "random_sample(0.5) == true",
        "flag and random_sample(0.5) and random_sample(0.5)",
    ],
)
def test_a_sample_anywhere_but_at_the_end_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="can only be the last expression in the logical and expression"):
        compile_filter(text, DYNAMIC)


@pytest.mark.parametrize("share", ["0.0", "1.0", "1", "-0.5", "1.5", "1e-11", "'x'", "age", "0.5, 0.5", ""])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    with pytest.raises(InvalidParameter):
        compile_filter(f"flag and random_sample({share})", DYNAMIC)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.93])
def test_rows_are_drawn_with_their_share_and_apart_from_each_other(share: float) -> None:
    rows = np.arange(400_000)
    kept = drawn(rows, share, (7, 1))
    spread = 5 * np.sqrt(share * (1 - share) / len(rows))
    assert abs(kept.mean() - share) < spread
    # Neighbours, and other draws, have nothing to do with each other.
    other = drawn(rows, share, (8, 1))
    for one, two in ((kept[1:], kept[:-1]), (kept, other), (kept, drawn(rows, share, (7, 2)))):
        assert abs((one & two).mean() - share**2) < spread
    assert np.array_equal(kept, drawn(rows, share, (7, 1)))
    assert np.array_equal(kept[rows % 3 == 0], drawn(rows[rows % 3 == 0], share, (7, 1)))
