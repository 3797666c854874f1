"""pymilvus 3.0.2, Redkite's SDK over the wire and embedded, and REST: calls end alike, or a page says why."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.congruence.environments import MESSAGES, OURS, REFERENCE, Environment, record
from tests.congruence.records import Record, compare, outcome, shown, surprises
from tests.congruence.report import unexplained

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # five environments, one after another


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    environments = (REFERENCE, MESSAGES, *OURS)
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(record, environments)
        return {environment.name: one for environment, one in zip(environments, found, strict=True)}


def test_the_reference_ends_each_call_as_milvus_does(records: dict[str, Record]) -> None:
    assert surprises(records[REFERENCE.name]) == []
    assert len(records[REFERENCE.name]) > 800


@pytest.mark.parametrize("environment", OURS, ids=lambda one: one.name)
def test_every_call_ends_as_in_the_reference_or_the_difference_is_explained(
    records: dict[str, Record], environment: Environment
) -> None:
    here, there = records[environment.reference], records[environment.name]
    differences = compare(environment.name, here, there, environment.unshown)
    told = [f"{one.scenario} / {one.call}: {shown(one.here)} -> {shown(one.there)}" for one in unexplained(differences)]
    assert told == []


def test_every_message_ends_as_its_scenario_says(records: dict[str, Record]) -> None:
    assert surprises(records[MESSAGES.name]) == []


def test_no_answer_is_a_failure_of_the_server_itself(records: dict[str, Record]) -> None:
    """Whatever a client says, what is wrong is told by a code of its own."""
    for name, record_ in records.items():
        for (scenario, call), found in record_.items():
            ended = outcome(found)
            if isinstance(ended, dict) and isinstance(ended.get("error"), dict):
                assert ended["error"].get("code") not in (5, 65535), (name, scenario, call, shown(ended))
