"""Comparing records: what counts as a difference, and what explains one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.congruence.records import Difference, Explanation, compare, read, surprises


def record(*calls: dict[str, Any]) -> Any:
    return read(json.dumps({"scenario": "s", **call}) for call in calls)


def test_an_answer_that_is_another_is_a_difference() -> None:
    here, there = record({"call": "a", "answer": 1}), record({"call": "a", "answer": 2})
    assert compare("there", here, here) == []
    assert compare("there", here, there) == [Difference("there", "s", "a", 1, 2)]


def test_classes_of_errors_count_where_both_have_some() -> None:
    def failed(**error: Any) -> Any:
        return record({"call": "a", "error": {"code": 100, "text": "t", **error}})

    assert compare("there", failed(**{"class": "A"}), failed()) == []
    assert len(compare("there", failed(**{"class": "A"}), failed(**{"class": "B"}))) == 1
    assert len(compare("there", failed(), failed(code=1))) == 1


def test_a_scenario_that_stopped_is_one_difference_and_one_that_was_left_out_none() -> None:
    here = record({"call": "a", "answer": 1}, {"call": "b", "answer": 2})
    stop = {"call": "(stopped)", "skipped": "why"}
    assert [one.call for one in compare("there", here, record(stop))] == ["(stopped)"]
    assert compare("there", here, record({"call": "x", "answer": 1, "scenario": "other"})) == []
    assert compare("there", record(stop), record(stop)) == []


def test_keys_that_a_client_does_not_show_are_not_compared() -> None:
    here = record({"call": "a", "answer": [{"kept": 1, "new": 2}]})
    there = record({"call": "a", "answer": [{"kept": 1}]})
    assert len(compare("there", here, there)) == 1
    assert compare("there", here, there, frozenset({"new"})) == []


def test_a_call_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="is there twice"):
        record({"call": "a", "answer": 1}, {"call": "a", "answer": 1})


def test_an_explanation_covers_what_its_patterns_fit() -> None:
    found = Difference("Milvus 2.3.5", "filters", "query: a[0] == 1", [1], {"error": {"code": 65535, "text": "x"}})
    fitting = Explanation("Milvus *", "filters|others", "query: a[0] *", "why", there="65535", here=r"^\[1\]$")
    assert fitting.covers(found)
    for changed in ({"where": "pymilvus *"}, {"scenario": "rows"}, {"call": "query: b*"}, {"there": "1100"}):
        fields = {name: getattr(fitting, name) for name in fitting.__slots__} | changed
        assert not Explanation(**fields).covers(found)


def test_what_a_scenario_expects_is_held_against_its_record() -> None:
    assert surprises(record({"call": "a", "answer": 1, "expected": 1})) == []
    assert len(surprises(record({"call": "a", "answer": 1, "expected": 2}))) == 1
    wrong = {"call": "a", "error": {"code": 100, "text": "not found"}}
    assert surprises(record({**wrong, "expected_error": [100, "found"]})) == []
    assert len(surprises(record({**wrong, "expected_error": [1100, ""]}))) == 1
    assert len(surprises(record({"call": "(stopped)", "skipped": "why"}))) == 1
