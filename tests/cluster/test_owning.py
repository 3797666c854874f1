"""A node takes the channels that it is given, answers for none that is another's, and lets go at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from redkite.cluster.backends import MemoryBackends, MemoryWorld
from redkite.cluster.membership import Membership
from redkite.cluster.owned_catalog import OwnedCatalog
from redkite.cluster.owning import HELD_BACK_SECONDS, Owning
from redkite.coordinator.pchannels import PChannel, PChannelState, read_pchannels
from redkite.env import Env
from redkite.errors import Conflict, MilvusException, NotOwner
from redkite.simulated import simulated_env
from redkite.storage.coordination import Fenced
from redkite.storage.log_channels import ChannelLog
from redkite.storage.prefixed import PrefixedCatalog
from redkite.storage.shared_log import SharedLog

PHYSICAL = "by-dev-rootcoord-dml_0"
CHANNEL = f"{PHYSICAL}_7v0"
LEASE = 3.0


@dataclass
class Node:
    """A node whose shards are lists of what was done to them."""

    env: Env
    backends: MemoryBackends
    node_id: int
    done: list[tuple[str, str]] = field(default_factory=list)
    is_over: bool = False
    """Whether its lease has ended by its clock, although it was told nothing: it was stopped."""
    promised: set[str] = field(default_factory=set)
    """Channels of which others may change what is there."""

    def __post_init__(self) -> None:
        self.catalog = self.backends.catalog()
        self.members = Membership(self.backends.coordination, self.env, self.node_id, LEASE)
        self.owning = Owning(
            self.env, self.node_id, self.catalog, self.fenced, lambda: self.members.is_alive and not self.is_over, self,
            lambda: self.members.held_until, self.promised.__contains__,
        )  # fmt: skip
        self.owned = OwnedCatalog(self.catalog, self.fenced, self.owning.record_of)
        positions = PrefixedCatalog(self.owned, "log/")
        self.shared = SharedLog(self.env, self.backends.broker(), positions, self.owning.term_of)
        self.log = ChannelLog(self.shared, positions, lambda _: 0)
        self.members.when_lost(self.owning.lapse)
        self.members.register("streaming", f"node-{self.node_id}:1")
        self.owning.start(self.log)

    def fenced(self):
        fence = self.members.fence
        return None if fence is None else self.catalog.fenced(fence)

    def replay(self, physical):
        self.done.append(("replay", physical))

    def seal(self, physical):
        self.done.append(("seal", physical))

    def step_down(self, physical):
        self.done.append(("step down", physical))

    def look_again(self, physical):
        self.done.append(("look again", physical))

    @property
    def owns(self) -> bool:
        try:
            self.owning.need(CHANNEL)
        except NotOwner:
            return False
        return True

    @property
    def owns_by_log(self) -> bool:
        try:
            self.owning.need(CHANNEL, by_log=True)
        except NotOwner:
            return False
        return True

    def add(self, text: bytes) -> None:
        self.owning.need(CHANNEL)
        self.log.topic(CHANNEL).append([text]).result()

    def texts(self) -> list[bytes]:
        return [bytes(record.payload) for record in self.log.topic(CHANNEL).read()]

    def flush(self, checkpoint: int = 1) -> None:
        """Commit what sealing a shard commits."""
        state = b'{"checkpoint":%d}' % checkpoint
        segment = b'{"segment_id":1,"channel":"%s"}' % CHANNEL.encode()
        self.owned.commit({f"channel/{CHANNEL}": state, "segment/7/1": segment})


class Cluster:
    def __init__(self) -> None:
        self.env = simulated_env(3)
        self.world = MemoryWorld(self.env)
        self.backends = self.world.backends(self.env, "coordinator")
        self.catalog = self.backends.catalog()

    def node(self, node_id: int) -> Node:
        return Node(self.env, self.world.backends(self.env, f"node-{node_id}"), node_id)

    def give(self, node_id: int) -> PChannel:
        self.catalog.refresh()
        known = read_pchannels(self.catalog).get(PHYSICAL)
        before = known or PChannel(name=PHYSICAL)
        after = before.given_to(node_id, self.env.clock.now_ms())
        self.catalog.commit({after.key: after.to_bytes()}, (), {after.key: known.to_bytes() if known else None})
        self.rest()
        return after

    def record(self) -> PChannel:
        self.catalog.refresh()
        return read_pchannels(self.catalog)[PHYSICAL]

    def rest(self, seconds: float = 0.0) -> None:
        self.env.tasks.run_until_idle()
        if seconds:
            self.env.tasks.advance(seconds)
            self.env.tasks.run_until_idle()


def test_a_node_takes_what_it_is_given_and_says_so():
    cluster = Cluster()
    one, two = cluster.node(1), cluster.node(2)
    cluster.give(1)
    assert cluster.record().state is PChannelState.ASSIGNED
    assert (one.owns, two.owns) == (True, False)
    assert one.done == [("replay", PHYSICAL)]
    one.add(b"1")
    with pytest.raises(NotOwner, match="node 1 does, since term 1"):
        two.owning.need(CHANNEL)


def test_the_next_owner_reads_what_the_last_one_wrote():
    cluster = Cluster()
    one, two = cluster.node(1), cluster.node(2)
    cluster.give(1)
    one.add(b"1")
    one.owning.let_go(PHYSICAL, 1)
    assert not one.owns
    cluster.give(2)
    assert two.owns
    two.add(b"2")
    assert two.texts() == [b"1", b"2"]
    assert one.done == [("replay", PHYSICAL), ("seal", PHYSICAL), ("step down", PHYSICAL)]


def test_an_owner_that_was_replaced_writes_nothing_and_commits_nothing():
    cluster = Cluster()
    one, two = cluster.node(1), cluster.node(2)
    cluster.give(1)
    one.add(b"1")
    topic = one.log.topic(CHANNEL)
    one.backends.connection.hold()  # it hears of nothing
    cluster.give(2)
    assert two.owns
    two.add(b"2")
    with pytest.raises(MilvusException):
        topic.append([b"stale"]).result()
    with pytest.raises((Conflict, Fenced)):
        one.flush()
    assert cluster.catalog.get("segment/7/1") is None
    one.backends.connection.let_go()
    cluster.rest(1)
    assert not one.owns
    with pytest.raises(Fenced, match="is not this node's any more"):
        one.flush()
    two.flush()
    assert two.texts() == [b"1", b"2"]


def test_a_node_whose_lease_is_over_knows_since_when_it_may_not_be_the_owner_any_more():
    cluster = Cluster()
    one, two = cluster.node(1), cluster.node(2)
    cluster.give(1)
    assert one.owning.lapsed_at(CHANNEL) is None
    one.backends.cut()
    began = cluster.env.clock.monotonic()
    cluster.rest(LEASE + 0.5)
    at = one.owning.lapsed_at(CHANNEL)
    assert at is not None
    assert began < at <= began + LEASE
    cluster.rest(60.0)
    assert one.owning.lapsed_at(CHANNEL) == at
    one.backends.mend()
    cluster.rest(LEASE)
    assert one.owns
    assert one.owning.lapsed_at(CHANNEL) is None
    one.backends.cut()
    cluster.rest(LEASE + 0.5)
    cluster.give(2)
    assert two.owns
    assert one.owning.lapsed_at(CHANNEL) is not None, "it has heard of nobody"
    one.backends.mend()
    cluster.rest(LEASE)
    assert one.owning.lapsed_at(CHANNEL) is None, "it is another's"


def test_a_node_that_lets_go_of_a_channel_says_nothing_of_it_when_its_lease_ends():
    cluster = Cluster()
    one = cluster.node(1)
    cluster.give(1)
    one.owning.let_go(PHYSICAL, 1)
    one.backends.cut()
    cluster.rest(LEASE + 0.5)
    assert one.owning.lapsed_at(CHANNEL) is None


def test_a_node_whose_lease_is_lost_steps_down_before_anybody_else_is_named():
    cluster = Cluster()
    one = cluster.node(1)
    cluster.give(1)
    one.add(b"1")
    one.backends.cut()
    cluster.rest(LEASE + 0.5)
    assert not one.owns
    with pytest.raises(Fenced):
        one.flush()
    one.backends.mend()
    cluster.rest(2)
    assert one.owns, "nobody else was named: it takes the channel again"
    assert cluster.record().term == 2
    one.add(b"2")
    assert one.texts() == [b"1", b"2"]


def test_a_node_without_a_lease_goes_on_by_the_log_and_reads_nothing_anew_when_it_has_one_again():
    cluster = Cluster()
    one = cluster.node(1)
    cluster.give(1)
    one.add(b"1")
    one.backends.connection.cut()
    cluster.rest(LEASE + 0.5)
    assert not one.owns
    assert one.owns_by_log
    one.log.topic(CHANNEL).append([b"2"]).result()
    with pytest.raises(Fenced):
        one.flush()
    cluster.rest(60.0)
    assert one.owns_by_log
    one.backends.connection.mend()
    cluster.rest(2)
    assert one.owns
    assert cluster.record().term == 2
    one.flush()
    assert one.done == [("replay", PHYSICAL), ("look again", PHYSICAL)]
    assert one.texts() == [b"1", b"2"]


def test_a_node_that_goes_on_by_the_log_ends_when_another_begins_to_write_it():
    cluster = Cluster()
    one, two = cluster.node(1), cluster.node(2)
    cluster.give(1)
    one.backends.connection.cut()
    cluster.rest(LEASE + 0.5)
    assert one.owns_by_log
    one.shared.topic(PHYSICAL).prove().result()
    cluster.give(2)
    two.add(b"2")
    with pytest.raises(Fenced):
        one.shared.topic(PHYSICAL).prove().result()
    with pytest.raises(Fenced):
        one.log.topic(CHANNEL).append([b"1"]).result()
    cluster.rest(2)
    assert not one.owns_by_log
    assert two.texts() == [b"2"]


def test_of_a_node_that_comes_back_and_who_names_another_one_has_its_way():
    cluster = Cluster()
    one, two = cluster.node(1), cluster.node(2)
    cluster.give(1)
    one.backends.connection.cut()
    cluster.rest(LEASE + 0.5)
    before = cluster.record()
    one.backends.connection.mend()
    cluster.rest(2)
    assert one.owns
    after = before.given_to(2, 0)
    with pytest.raises(Conflict):
        cluster.catalog.commit({after.key: after.to_bytes()}, (), {after.key: before.to_bytes()})
    one.backends.connection.cut()
    cluster.rest(LEASE + 0.5)
    named = cluster.give(2)
    one.backends.connection.mend()
    cluster.rest(2)
    assert not one.owns_by_log
    assert two.owns
    assert cluster.record().term == named.term


def test_what_was_promised_to_wait_is_given_up_with_the_lease():
    cluster = Cluster()
    one = cluster.node(1)
    cluster.give(1)
    one.promised.add(PHYSICAL)
    assert one.owns
    one.backends.connection.cut()
    cluster.rest(LEASE + 0.5)
    assert not one.owns_by_log
    assert one.done[-1] == ("step down", PHYSICAL)
    one.promised.clear()
    assert not one.owns_by_log, "it may have been changed meanwhile"
    one.backends.connection.mend()
    cluster.rest(2)
    assert one.owns
    assert one.done[-1] == ("replay", PHYSICAL)


def test_a_node_that_comes_back_does_not_take_what_is_anothers_by_now():
    cluster = Cluster()
    one, two = cluster.node(1), cluster.node(2)
    cluster.give(1)
    one.add(b"1")
    one.backends.cut()
    cluster.rest(LEASE + 0.5)
    cluster.give(2)
    two.add(b"2")
    one.backends.mend()
    cluster.rest(2)
    assert (one.owns, two.owns) == (False, True)
    two.add(b"3")
    assert two.texts() == [b"1", b"2", b"3"]
    assert cluster.record().term == 2


def test_a_channel_that_was_let_go_of_and_given_to_nobody_is_taken_back():
    cluster = Cluster()
    one = cluster.node(1)
    cluster.give(1)
    one.add(b"1")
    one.owning.let_go(PHYSICAL, 7)
    assert one.owns, "another term was meant"
    one.owning.let_go(PHYSICAL, 1)
    cluster.rest(1)
    assert not one.owns
    cluster.rest(HELD_BACK_SECONDS + 1)
    assert one.owns
    assert cluster.record().term == 2
    one.add(b"2")
    assert one.texts() == [b"1", b"2"]


def test_a_channel_that_cannot_be_opened_is_tried_again_and_health_says_why():
    cluster = Cluster()
    one = cluster.node(1)
    cluster.world.log.down = True
    cluster.give(1)
    assert not one.owns
    (reason,) = one.owning.health()
    assert reason.startswith(f"channel {PHYSICAL} could not be opened: ")
    cluster.world.log.down = False
    cluster.rest(2)
    assert one.owns
    assert one.owning.health() == ()


def test_a_channel_that_went_to_another_node_is_no_trouble_of_the_first_any_more():
    cluster = Cluster()
    one, two = cluster.node(1), cluster.node(2)
    cluster.world.log.down = True
    cluster.give(1)
    assert one.owning.health() != ()
    cluster.give(2)
    cluster.world.log.down = False
    cluster.rest(2)
    assert two.owns
    assert one.owning.health() == two.owning.health() == ()


def test_a_log_that_cannot_be_read_any_more_is_given_up_and_health_says_why():
    cluster = Cluster()
    one = cluster.node(1)
    cluster.give(1)
    one.add(b"1")
    cluster.world.log.keep(PHYSICAL, b"nobody knows what this is")
    one.backends.broker().wake()
    cluster.rest(1)
    assert not one.owns
    (reason,) = one.owning.health()
    assert "is no message of Redkite" in reason
    topic = cluster.world.log.topics[PHYSICAL]
    topic.messages = [message for message in topic.messages if not message[1].startswith(b"nobody")]
    cluster.rest(2)
    assert one.owns
    assert one.texts() == [b"1"]


def test_channels_given_to_and_fro_have_one_owner_and_lose_nothing():
    cluster = Cluster()
    nodes = [cluster.node(1), cluster.node(2)]
    written = []
    for turn in range(12):
        owner, other = nodes[turn % 2], nodes[1 - turn % 2]
        if turn % 3 == 0 and other.owns:
            other.owning.let_go(PHYSICAL, cluster.record().term)
        cluster.give(owner.node_id)
        cluster.rest(0.6)
        assert (owner.owns, other.owns) == (True, False)
        owner.add(b"%d" % turn)
        written.append(b"%d" % turn)
        assert owner.texts() == written


def test_a_commit_whose_outcome_is_not_known_cannot_happen_twice():
    cluster = Cluster()
    one = cluster.node(1)
    cluster.give(1)
    one.flush(1)
    stale = one.owned.get(f"channel/{CHANNEL}")
    one.flush(2)
    with pytest.raises(Conflict):
        one.owned.commit({f"channel/{CHANNEL}": b"{}"}, (), {f"channel/{CHANNEL}": stale})
    assert one.owned.get(f"channel/{CHANNEL}") == b'{"checkpoint":2}'


def test_what_concerns_no_channel_wants_a_lease_alone():
    cluster = Cluster()
    one = cluster.node(1)
    one.owned.commit({"log/x": b"1"})
    assert one.owned.get("log/x") == b"1"
    one.members.close()
    with pytest.raises(Fenced):
        one.owned.commit({"log/x": b"2"})


def test_a_segment_that_is_removed_is_known_by_its_record():
    cluster = Cluster()
    one, two = cluster.node(1), cluster.node(2)
    cluster.give(1)
    one.flush()
    two.catalog.refresh()
    with pytest.raises(Fenced):
        two.owned.commit({}, ["segment/7/1"])
    one.owned.commit({}, ["segment/7/1"])
    assert one.owned.get("segment/7/1") is None


def test_a_node_that_was_stopped_answers_nothing_from_before():
    cluster = Cluster()
    one = cluster.node(1)
    cluster.give(1)
    one.is_over = True
    with pytest.raises(NotOwner):
        one.owning.need(CHANNEL)


def test_closing_a_node_lets_go_of_everything():
    cluster = Cluster()
    one = cluster.node(1)
    cluster.give(1)
    one.owning.close()
    assert not one.owns
    assert one.done[-1] == ("step down", PHYSICAL)
