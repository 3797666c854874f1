"""Boosted trees predict what the library that made them predicts."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.errors import InvalidParameter
from redkite.query.trees import forest_of

MADE: dict[str, Any] = json.loads((Path(__file__).parent / "xgboost_models.json").read_text())
"""Models and predictions of XGBoost 3.2."""
ASKED = np.array([[np.nan if v is None else v for v in row] for row in MADE["ask"]], np.float32)
ONE_NUMBER = [name for name in MADE["cases"] if name != "multi"]


def stored(name: str) -> bytes:
    return base64.b64decode(MADE["cases"][name]["ubj"])


@pytest.mark.parametrize("name", ONE_NUMBER)
def test_predictions_are_those_of_the_library(name: str) -> None:
    case = MADE["cases"][name]
    documents = [stored(name), *([case["json"].encode()] if case["json"] else [])]
    for data in documents:
        forest = forest_of(data)
        assert forest.features == 3
        np.testing.assert_allclose(forest.predict(ASKED, raw=False), case["default"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(forest.predict(ASKED, raw=True), case["raw"], rtol=1e-5, atol=1e-6)


def test_rows_in_blocks_and_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    forest = forest_of(stored("squared"))
    many = np.tile(ASKED, (30, 1))
    whole = forest.predict(many, raw=True)
    monkeypatch.setattr("redkite.query.trees.STEPS_AT_ONCE", 7)
    np.testing.assert_array_equal(forest.predict(many, raw=True), whole)
    assert forest.predict(many[:0], raw=False).shape == (0,)


def test_a_model_of_several_numbers_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="objective multi:softprob is not supported"):
        forest_of(stored("multi"))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(stored("squared")) - 1), st.binary(min_size=1, max_size=4), st.booleans())
def test_damaged_models_are_refused_or_predict_something(at: int, damage: bytes, cut: bool) -> None:
    data = stored("squared")
    damaged = data[:at] + (b"" if cut else damage + data[at + len(damage) :])
    try:
        forest = forest_of(damaged)
    except InvalidParameter:
        return
    assert not cut
    assert forest.predict(np.zeros((2, forest.features), np.float32), raw=True).shape == (2,)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"hello", b'{"learner": 1}', b'{"learner": {}}', b"{" * 500])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidParameter, match="xgboost model"):
        forest_of(data)
