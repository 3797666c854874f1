"""Who is in the cluster, as every node sees it."""

from __future__ import annotations

import msgspec
import pytest

from redkite.cluster.backends import MemoryWorld
from redkite.cluster.frames import PROTOCOL
from redkite.cluster.membership import Membership, NodeRecord, WrongVersion, take_node_id
from redkite.errors import Unavailable
from redkite.simulated import simulated_env
from redkite.storage.coordination import Fenced

LEASE = 3.0


class Nodes:
    def __init__(self, count: int = 3) -> None:
        self.env = simulated_env(1)
        self.world = MemoryWorld(self.env)
        self.backends = [self.world.backends(self.env, str(n)) for n in range(count)]
        self.members = [Membership(b.coordination, self.env, take_node_id(b.catalog()), LEASE) for b in self.backends]

    def register(self) -> None:
        for number, member in enumerate(self.members):
            member.register("query" if number else "streaming", f"host-{number}:1")
        self.env.run_until_idle()

    def seen(self) -> list[list[int]]:
        return [[record.node_id for record in member.nodes()] for member in self.members]


@pytest.fixture
def nodes():
    made = Nodes()
    made.register()
    return made


def test_numbers_of_nodes_are_never_used_twice(nodes):
    assert [member.node_id for member in nodes.members] == [1, 2, 3]
    nodes.members[2].close()
    assert take_node_id(nodes.backends[0].catalog()) == 4
    nodes.backends[1].connection.hold()  # its copy is old
    assert take_node_id(nodes.backends[1].catalog()) == 5


def test_every_node_sees_all_that_live_by_role(nodes):
    assert nodes.seen() == [[1, 2, 3]] * 3
    assert [record.address for record in nodes.members[2].nodes("streaming")] == ["host-0:1"]
    assert nodes.members[0].node(3).role == "query"
    assert nodes.members[0].node(9) is None
    assert nodes.members[0].node(1).cores > 0


def test_a_node_that_is_killed_is_gone_for_others_within_its_lease(nodes):
    told = []
    nodes.members[1].when_changed(lambda: told.append(len(nodes.members[1].nodes())))
    nodes.backends[0].abandon()
    nodes.env.advance(LEASE - 0.2)
    assert nodes.seen()[1] == [1, 2, 3]
    nodes.env.advance(0.4)
    assert nodes.seen()[1:] == [[2, 3], [2, 3]]
    assert told == [2]


def test_a_node_that_goes_in_good_order_is_gone_at_once(nodes):
    nodes.members[0].close()
    nodes.env.run_until_idle()
    assert nodes.seen()[1:] == [[2, 3], [2, 3]]
    assert not nodes.members[0].is_alive


def test_a_node_that_is_cut_off_knows_that_it_is_dead_before_others_do_and_comes_back_when_it_can(nodes):
    lost = []
    member = nodes.members[0]
    member.when_lost(lambda: lost.append(nodes.env.clock.monotonic()))
    fence = member.fence
    nodes.backends[0].cut()
    while len(nodes.members[1].nodes()) == 3:
        nodes.env.advance(0.05)
    assert not member.is_alive
    assert len(lost) <= 1
    nodes.env.advance(LEASE)
    assert len(lost) == 1
    assert member.fence is None
    assert any("could not renew" in reason for reason in member.health())
    nodes.backends[0].mend()
    nodes.env.advance(LEASE)
    assert member.is_alive
    assert member.health() == ()
    assert nodes.seen() == [[1, 2, 3]] * 3
    assert member.fence not in (None, fence)


def test_what_a_node_commits_is_refused_from_the_moment_that_others_take_it_for_dead(nodes):
    member, backends = nodes.members[0], nodes.backends[0]
    catalog = backends.catalog().fenced(member.fence)
    catalog.commit({"a": b"1"})
    nodes.env.advance(LEASE)  # renewed: the fence holds
    catalog.commit({"a": b"2"})
    member.drain()
    catalog.commit({"a": b"3"})
    backends.cut()
    nodes.env.advance(LEASE + 0.1)
    backends.mend()
    with pytest.raises(Fenced):
        catalog.commit({"a": b"4"})
    nodes.env.advance(LEASE)
    catalog.fenced(member.fence).commit({"a": b"5"})


def test_a_node_that_drains_is_seen_to(nodes):
    nodes.members[0].drain()
    nodes.env.run_until_idle()
    assert [record.draining for record in nodes.members[1].nodes()] == [True, False, False]
    nodes.backends[0].cut()
    nodes.env.advance(LEASE + 0.1)
    nodes.backends[0].mend()
    nodes.env.advance(LEASE)
    assert nodes.members[1].node(1).draining, "it comes back as it was"


def test_a_node_that_speaks_otherwise_is_refused_with_both_versions():
    nodes = Nodes()
    nodes.members[0].register("query", "old-host:1")
    record = msgspec.structs.replace(nodes.members[0].node(1), protocol=PROTOCOL + 1, version="9.9.9")
    lease = nodes.backends[0].coordination.lease(LEASE)
    nodes.backends[0].coordination.put("nodes/1", msgspec.json.encode(record), lease)
    with pytest.raises(WrongVersion, match=rf"protocol {PROTOCOL} .*node 1 at old-host:1 is Redkite 9\.9\.9"):
        nodes.members[1].register("query", "new-host:1")
    nodes.env.run_until_idle()
    assert nodes.members[1].nodes() == ()
    assert any("old-host:1 speaks protocol" in reason for reason in nodes.members[1].health())


def test_two_nodes_of_one_number_are_refused(nodes):
    twin = Membership(nodes.backends[1].coordination, nodes.env, 1, LEASE)
    with pytest.raises(Unavailable, match="node 1 is still taken for alive"):
        twin.register("query", "elsewhere:1")


@pytest.mark.parametrize("times", [1, 9])
def test_a_node_whose_lease_is_over_before_it_is_in_takes_another_and_gives_up_some_time(nodes, monkeypatch, times):
    """As on a machine that stood still between the two."""
    coordination = nodes.backends[0].coordination
    claim, over = coordination.claim, []

    def late(key, value, lease):
        if len(over) < times:
            over.append(lease.number)
            lease.close()
        return claim(key, value, lease)

    late_comer = Membership(coordination, nodes.env, 9, LEASE)
    monkeypatch.setattr(type(coordination), "claim", lambda _, *given: late(*given))
    if times == 1:
        late_comer.register("query", "late:1")
        nodes.env.run_until_idle()
        assert nodes.seen() == [[1, 2, 3, 9]] * 3
    else:
        with pytest.raises(Unavailable, match="the lease has ended"):
            late_comer.register("query", "late:1")
        assert len(over) == len(set(over)) == 3


def cut_off(nodes, number=0):
    """A node loses its lease, and can reach everybody again."""
    nodes.backends[number].cut()
    nodes.env.advance(2 * LEASE)
    assert not nodes.members[number].is_alive
    nodes.backends[number].mend()


def claims(nodes, monkeypatch, then):
    """Have something happen when node 1 has claimed its record, before it knows."""
    coordination = nodes.backends[0].coordination
    claim, seen = coordination.claim, []

    def claimed(_, key, value, lease):
        term = claim(key, value, lease)
        if key == "nodes/1" and term is not None and not seen:
            seen.append(lease)
            then(lease)
        return term

    monkeypatch.setattr(type(coordination), "claim", claimed)
    return seen


def test_a_node_that_loses_its_lease_as_it_comes_back_comes_back_again(nodes, monkeypatch):
    cut_off(nodes)
    seen = claims(nodes, monkeypatch, lambda lease: lease._give_up("it has ended"))
    for _ in range(20):
        nodes.env.advance(LEASE)
    assert len(seen) == 1
    assert nodes.members[0].is_alive
    assert nodes.seen() == [[1, 2, 3]] * 3


def test_a_node_that_is_drained_as_it_comes_back_stays_drained(nodes, monkeypatch):
    cut_off(nodes)
    seen = claims(nodes, monkeypatch, lambda _: nodes.members[0].drain())
    for _ in range(4):
        nodes.env.advance(LEASE)
    assert len(seen) == 1
    assert nodes.members[0].is_alive
    assert [member.node(1).draining for member in nodes.members] == [True] * 3


def test_a_node_that_is_closed_as_it_comes_back_leaves_nothing_behind(nodes, monkeypatch):
    cut_off(nodes)
    seen = claims(nodes, monkeypatch, lambda _: nodes.members[0].close())
    for _ in range(4):
        nodes.env.advance(LEASE)
    assert len(seen) == 1
    assert not seen[0].is_held
    assert nodes.seen()[1:] == [[2, 3]] * 2


def test_waiting_for_who_lives_ends_where_nobody_answers(nodes):
    backends = nodes.world.backends(nodes.env, "late")
    backends.cut()
    with pytest.raises(Unavailable, match="which nodes"):
        Membership(backends.coordination, nodes.env, 9, LEASE).wait(0.1)
    nodes.members[0].wait(1)


def test_a_record_of_a_later_version_is_read():
    data = msgspec.json.encode({"node_id": 1, "role": "query", "address": "h:1", "protocol": PROTOCOL, "new": [1]})
    assert msgspec.json.decode(data, type=NodeRecord).address == "h:1"
