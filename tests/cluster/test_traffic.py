"""What nodes have asked each other can be counted and read as metrics."""

from __future__ import annotations

import pytest

from redkite.cluster.network import NotReached
from redkite.cluster.traffic import SECONDS, Tally, Traffic, of_process, together
from redkite.errors import CollectionNotFound
from redkite.server.exposition import Text
from redkite.server.messages import message_samples


def test_messages_are_counted_by_side_and_type() -> None:
    traffic = Traffic()
    traffic.asked("Search", 0.0004, None)
    traffic.asked("Search", 20.0, NotReached("gone"))
    traffic.answered("Search", 0.02, CollectionNotFound.named("d", "c"))
    found = traffic.tallies()
    asked = found["asked", "Search"]
    assert (asked.calls, asked.failed, asked.unanswered, asked.seconds) == (2, 1, 1, pytest.approx(20.0004))
    assert (asked.bins[0], asked.bins[-1], sum(asked.bins)) == (1, 1, 2)
    assert (found["answered", "Search"].failed, found["answered", "Search"].unanswered) == (1, 0)


def test_a_copy_does_not_go_on_counting() -> None:
    traffic = Traffic()
    traffic.asked("Ping", 0.1, None)
    before = traffic.tallies()
    traffic.asked("Ping", 0.1, None)
    assert before["asked", "Ping"].calls == 1 and sum(before["asked", "Ping"].bins) == 1


def test_sums_of_several_nodes_are_added_up() -> None:
    one, two = Traffic(), Traffic()
    one.asked("Ping", 0.1, None)
    two.asked("Ping", 0.1, NotReached("gone"))
    two.answered("Pong", 0.1, None)
    found = together([one.tallies(), two.tallies()])
    assert (found["asked", "Ping"].calls, found["asked", "Ping"].failed) == (2, 1)
    assert found["answered", "Pong"] == Tally(
        calls=1, seconds=0.1, bins=[int(at == SECONDS.index(0.1)) for at in range(len(SECONDS) + 1)]
    )


def test_a_server_shows_what_its_node_has_asked() -> None:
    traffic = Traffic()
    traffic.asked("AskedInThisTest", 0.004, None)
    traffic.asked("AskedInThisTest", 0.004, NotReached("gone"))
    assert of_process()["asked", "AskedInThisTest"].calls == 2
    text = Text()
    text.samples(message_samples())
    lines = [line for line in str(text).splitlines() if "AskedInThisTest" in line]
    labels = 'side="asked",message="AskedInThisTest"'
    assert f"redkite_node_messages_total{{{labels}}} 2" in lines
    assert f"redkite_node_message_errors_total{{{labels}}} 1" in lines
    assert f"redkite_node_messages_unanswered_total{{{labels}}} 1" in lines
    assert f'redkite_node_message_seconds_bucket{{{labels},le="0.0025"}} 0' in lines
    assert f'redkite_node_message_seconds_bucket{{{labels},le="0.005"}} 2' in lines
    assert f'redkite_node_message_seconds_bucket{{{labels},le="+Inf"}} 2' in lines
