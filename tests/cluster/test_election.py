"""Which coordinator leads, and that no two do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.cluster.backends import MemoryWorld
from redkite.cluster.election import Election, LeaderWatch
from redkite.cluster.local_network import LocalHub
from redkite.errors import MilvusException, Unavailable
from redkite.simulated import simulated_env
from redkite.storage.coordination import Fence, Fenced

LEASE = 2.0


class Candidates:
    def __init__(self, count: int = 3, seed: int = 1) -> None:
        self.env = simulated_env(seed)
        self.world = MemoryWorld(self.env)
        self.backends = [self.world.backends(self.env, str(n)) for n in range(count)]
        self.events: list[tuple[str, int]] = []
        self.fences: list[Fence | None] = [None] * count
        self.refuse: set[int] = set()
        self.elections = [self.stand(number) for number in range(count)]
        self.env.run_until_idle()

    def stand(self, number: int) -> Election:
        def lead(fence: Fence) -> None:
            if number in self.refuse:
                raise Unavailable("cannot")
            self.fences[number] = fence
            self.events.append(("leads", number))

        def lost() -> None:
            self.fences[number] = None
            self.events.append(("stands by", number))

        coordination = self.backends[number].coordination
        return Election(coordination, self.env, number, f"host-{number}:1", LEASE, lead, lost)

    def leaders(self) -> list[int]:
        return [number for number, election in enumerate(self.elections) if election.is_leader]

    def advance(self, seconds: float) -> None:
        """In small steps; no two may lead at any time."""
        for _ in range(round(seconds / 0.05)):
            self.env.advance(0.05)
            assert len(self.leaders()) <= 1


def test_one_leads_and_the_others_stand_by():
    candidates = Candidates()
    (first,) = candidates.leaders()
    candidates.advance(10)
    assert candidates.leaders() == [first]
    assert candidates.events == [("leads", first)]


def test_another_leads_within_the_lease_and_a_second_when_the_leader_is_killed():
    candidates = Candidates()
    (first,) = candidates.leaders()
    candidates.backends[first].abandon()
    candidates.advance(LEASE + 0.3)
    (second,) = candidates.leaders()
    assert second != first


def test_another_leads_at_once_when_the_leader_goes_in_good_order_or_resigns():
    candidates = Candidates()
    (first,) = candidates.leaders()
    candidates.elections[first].close()
    candidates.env.run_until_idle()
    (second,) = candidates.leaders()
    assert second != first
    candidates.elections[second].resign()
    candidates.advance(1)
    assert len(candidates.leaders()) == 1
    assert ("stands by", second) in candidates.events


def test_a_leader_that_is_cut_off_stops_before_another_begins_and_commits_nothing_more():
    candidates = Candidates()
    (first,) = candidates.leaders()
    catalog = candidates.backends[first].catalog().fenced(candidates.fences[first])
    catalog.commit({"a": b"first"})
    candidates.backends[first].cut()
    candidates.advance(2 * LEASE)
    (second,) = candidates.leaders()
    assert second != first
    assert candidates.events[0] == ("leads", first)
    assert set(candidates.events[1:]) == {("stands by", first), ("leads", second)}
    candidates.backends[first].mend()
    with pytest.raises(Fenced):
        catalog.commit({"a": b"late"})
    candidates.advance(2 * LEASE)
    assert candidates.leaders() == [second]


def test_who_cannot_begin_to_lead_lets_another():
    candidates = Candidates(count=2)
    (first,) = candidates.leaders()
    other = 1 - first
    candidates.refuse.add(other)
    candidates.elections[first].resign()
    candidates.advance(3)
    assert candidates.leaders() == [first]


def test_a_lost_reply_to_a_claim_leaves_one_leader():
    candidates = Candidates()
    (first,) = candidates.leaders()
    for number, backends in enumerate(candidates.backends):
        if number != first:
            backends.connection.lose_replies()
    candidates.elections[first].close()
    candidates.advance(3 * LEASE)
    assert len(candidates.leaders()) == 1


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.sampled_from(["cut", "mend", "resign", "wait"]), st.integers(0, 2)), max_size=12),
)
def test_no_two_lead_at_any_time_whatever_connections_do(seed, steps):
    candidates = Candidates(seed=seed)
    for what, number in steps:
        if what == "wait":
            candidates.advance(0.7)
        elif what == "resign":
            candidates.elections[number].resign()
        else:
            getattr(candidates.backends[number], what)()
        candidates.advance(0.3)
    for backends in candidates.backends:
        backends.mend()
    candidates.advance(3 * LEASE)
    assert len(candidates.leaders()) == 1


def test_others_know_who_leads_and_where_it_is_asked():
    candidates = Candidates()
    watching = candidates.world.backends(candidates.env, "proxy")
    network = LocalHub(candidates.env).network(9)
    watch = LeaderWatch(watching.coordination, network)
    told = []
    watch.when_changed(lambda: told.append(watch.leader and watch.leader.node_id))
    candidates.env.run_until_idle()
    (first,) = candidates.leaders()
    assert watch.leader.address == f"host-{first}:1"
    assert watch.remote().address == f"host-{first}:1"
    for election in candidates.elections:
        election.close()
    candidates.env.run_until_idle()
    assert watch.leader is None
    assert watch.remote() is None
    assert told[0] == first
    assert told[-1] is None
    with pytest.raises(MilvusException):
        candidates.elections[0].resign()
