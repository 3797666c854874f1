"""Physical channels have one owner at a time, go where room is, and move when nodes come, drain or die."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest

from redkite.coordinator.fairness import Layout, channels_for, moves, placed, unbalance
from redkite.coordinator.pchannels import PChannel, PChannelState, of_node, pchannel_name
from redkite.coordinator.streaming import StreamingCoordinator, StreamingPolicy
from redkite.errors import Conflict, InvalidParameter, Unavailable
from redkite.simulated import simulated_env
from redkite.storage.catalog import MemoryCatalog


class OneCatalog(MemoryCatalog):
    def refresh(self) -> int:
        return 0


@dataclass
class World:
    """A coordinator among nodes that take what they are told to."""

    wanted: int = 8
    nodes: dict[int, bool] = field(default_factory=dict)
    carried: dict[str, list[int]] = field(default_factory=dict)
    catalog: OneCatalog = field(default_factory=OneCatalog)
    let_go: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    deaf: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.env = simulated_env(1)
        self.coordinator = self.lead()

    def lead(self) -> StreamingCoordinator:
        return StreamingCoordinator(
            self.catalog, self.env.clock, self.wanted, lambda: self.nodes, lambda: self.carried, self._let_go,
            self.removed.append, StreamingPolicy(moves=4),
        )  # fmt: skip

    def _let_go(self, channel: PChannel) -> None:
        if channel.node_id in self.deaf:
            raise Unavailable("no answer")
        self.let_go.append(channel.name)

    def take(self) -> None:
        """Nodes open what they are told to, and say so."""
        for channel in self.coordinator.channels().values():
            if channel.state is PChannelState.ASSIGNING and channel.node_id not in self.deaf:
                self.catalog.commit({channel.key: channel.taken().to_bytes()}, (), {channel.key: channel.to_bytes()})

    def settle(self) -> None:
        for _ in range(20):
            quiet = self.coordinator.settle().is_quiet
            self.take()
            if quiet:
                return

    def counts(self) -> dict[int, int]:
        channels = self.coordinator.channels().values()
        return {node: len(of_node(channels, node)) for node in self.nodes}


def test_channels_are_shared_out_evenly_and_each_owner_has_a_term_of_its_own():
    world = World(nodes={1: True, 2: True})
    world.settle()
    assert world.counts() == {1: 4, 2: 4}
    assert all(c.is_owned and c.term == 1 for c in world.coordinator.channels().values())
    assert list(world.coordinator.channels()) == [pchannel_name(i) for i in range(8)]


def test_the_channels_of_a_node_that_is_gone_are_given_to_others_under_a_new_term():
    world = World(nodes={1: True, 2: True, 3: True})
    world.settle()
    lost = {c.name for c in of_node(world.coordinator.channels().values(), 2)}
    del world.nodes[2]
    world.settle()
    assert sum(world.counts().values()) == 8
    for name, channel in world.coordinator.channels().items():
        assert channel.term == (2 if name in lost else 1)
        assert [(t.node_id, t.term, t.was_taken) for t in channel.history] == ([(2, 1, True)] if name in lost else [])
    assert world.let_go == []
    assert world.coordinator.failovers == len(lost)


def test_channels_wait_without_an_owner_while_there_is_no_node():
    world = World(nodes={1: True})
    world.settle()
    world.nodes.clear()
    world.settle()
    assert {c.state for c in world.coordinator.channels().values()} == {PChannelState.UNASSIGNED}
    world.nodes[5] = True
    world.settle()
    assert world.counts() == {5: 8}


def test_a_new_node_gets_its_share_after_the_others_have_let_go():
    world = World(nodes={1: True})
    world.settle()
    world.nodes[2] = True
    world.settle()
    assert world.counts() == {1: 4, 2: 4}
    assert len(world.let_go) == 4


def test_a_node_that_drains_hands_over_what_it_has_and_gets_nothing():
    world = World(nodes={1: True, 2: True})
    world.settle()
    world.nodes[1] = False
    world.settle()
    assert world.counts() == {1: 0, 2: 8}
    assert len(world.let_go) == 4


def test_a_living_node_that_does_not_let_go_keeps_its_channels():
    world = World(nodes={1: True, 2: True}, deaf=set())
    world.settle()
    world.deaf.add(1)
    world.nodes[1] = False
    world.settle()
    assert world.counts() == {1: 4, 2: 4}
    assert world.coordinator.settle().stuck == 4


def test_a_node_that_never_takes_what_it_was_given_loses_it_again():
    world = World(nodes={1: True, 2: True}, deaf={2})
    world.settle()
    assert world.counts() == {1: 4, 2: 4}
    world.env.tasks.advance(31)
    del world.nodes[2]
    world.nodes[3] = True
    world.settle()
    assert all(c.is_owned and c.node_id in (1, 3) for c in world.coordinator.channels().values())


def test_a_node_that_is_there_and_takes_nothing_is_not_asked_again_while_others_are_there():
    world = World(nodes={1: True, 2: True}, deaf={2})
    world.settle()
    world.env.tasks.advance(31)
    world.settle()
    assert world.counts() == {1: 8, 2: 0}
    assert all(c.is_owned for c in world.coordinator.channels().values())


def test_another_coordinator_goes_on_where_the_last_one_stopped():
    world = World(nodes={1: True, 2: True})
    world.coordinator.settle()
    world.coordinator = world.lead()
    world.settle()
    assert world.counts() == {1: 4, 2: 4}
    assert all(c.term == 1 for c in world.coordinator.channels().values())


def test_of_two_who_decide_at_once_one_finds_out():
    world = World(nodes={1: True, 2: True})
    world.settle()
    channel = world.coordinator.channels()[pchannel_name(0)]
    given = channel.given_to(2, 5)
    world.catalog.commit({channel.key: given.to_bytes()}, (), {channel.key: channel.to_bytes()})
    with pytest.raises(Conflict):
        world.catalog.commit({channel.key: channel.given_to(1, 5).to_bytes()}, (), {channel.key: channel.to_bytes()})
    assert world.coordinator._change([(channel, channel.given_to(1, 6))]) == []
    assert world.coordinator.channels()[channel.name] == given


def test_channels_beyond_those_wanted_go_when_nothing_is_on_them_and_come_back_when_wanted():
    world = World(nodes={1: True, 2: True})
    world.carried[pchannel_name(7)] = [100]
    world.settle()
    world.wanted = 6
    world.coordinator = world.lead()
    world.settle()
    states = {name: c.state for name, c in world.coordinator.channels().items()}
    assert states[pchannel_name(6)] is PChannelState.DROPPED
    assert states[pchannel_name(7)] is PChannelState.ASSIGNED
    assert world.removed == [pchannel_name(6)]
    assert pchannel_name(7) not in world.coordinator.pick(6)
    world.wanted = 8
    world.coordinator = world.lead()
    world.settle()
    back = world.coordinator.channels()[pchannel_name(6)]
    assert back.is_owned
    assert back.term == 2


def test_a_channel_cannot_skip_a_state():
    channel = PChannel(name=pchannel_name(0))
    with pytest.raises(InvalidParameter, match="is unassigned, not assigning"):
        channel.taken()
    with pytest.raises(InvalidParameter, match="not dropping"):
        channel.dropped(1)
    with pytest.raises(InvalidParameter, match="is dropped"):
        channel.dropping(1).dropped(2).given_to(1, 3)
    assert PChannel.from_bytes(channel.given_to(3, 4).to_bytes()).node_id == 3


def test_few_former_owners_are_remembered():
    channel = PChannel(name=pchannel_name(0))
    for number in range(1, 40):
        channel = channel.given_to(number, number).taken()
    assert len(channel.history) == 16
    assert channel.history[-1].node_id == 38
    assert channel.term == 39


# -- the policy -----------------------------------------------------------------------------------
def layout_of(nodes, owners, carried=None):
    return Layout(nodes=tuple(nodes), owners=owners, carried=carried or {})


def test_an_even_layout_has_no_unbalance_and_an_uneven_one_has():
    owners = {"a": 1, "b": 2}
    assert unbalance(layout_of([1, 2], owners, {"a": [7], "b": [8]})).score == 0
    worse = unbalance(layout_of([1, 2], {"a": 1, "b": 1}, {"a": [7], "b": [7]}))
    assert (worse.pchannels, worse.vchannels, worse.together) == (1, 1, 1)
    assert worse.score == pytest.approx(1)
    assert unbalance(layout_of([], owners)).score == 0


def test_heavy_channels_are_kept_apart():
    carried = {"a": list(range(10)), "b": list(range(10, 20)), "c": [30], "d": [31]}
    found = placed(layout_of([1, 2], dict.fromkeys(carried, 0), carried))
    assert found["a"] != found["b"]
    assert found["c"] != found["d"]


def test_shards_of_one_collection_are_kept_on_different_nodes():
    carried = {"a": [1], "b": [2], "c": [1], "d": [2]}
    found = placed(layout_of([1, 2], dict.fromkeys(carried, 0), carried))
    assert found["a"] != found["c"]
    assert found["b"] != found["d"]


def test_no_move_is_made_for_nothing_and_each_that_is_made_makes_it_better():
    even = layout_of([1, 2], {"a": 1, "b": 2}, {"a": [1], "b": [2]})
    assert moves(even) == []
    layout = layout_of([1, 2, 3], {f"c{i}": 1 for i in range(9)}, {f"c{i}": [i] for i in range(9)})
    scores = [unbalance(layout).score]
    while found := moves(layout, most=1):
        layout = layout.moved({m.channel: m.target for m in found})
        scores.append(unbalance(layout).score)
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == 0
    assert len(scores) == 7


def test_a_new_collection_gets_the_emptiest_channels_on_different_nodes():
    owners = {"p_0": 1, "p_1": 1, "p_2": 2, "p_3": 2}
    layout = layout_of([1, 2], owners, {"p_0": [1, 2], "p_2": [3]})
    assert channels_for(1, layout) == ["p_1"]
    assert {owners[name] for name in channels_for(2, layout)} == {1, 2}
    assert sorted(channels_for(4, layout)) == sorted(owners)
    assert len(channels_for(6, layout)) == 6
    assert channels_for(2, layout_of([], {})) == []


def test_ten_thousand_channels_find_places_on_a_hundred_nodes():
    names = [f"p_{i}" for i in range(10_000)]
    carried = {name: [i % 3_000, i % 7_919] for i, name in enumerate(names)}
    layout = layout_of(range(1, 101), dict.fromkeys(names, 0), carried)
    full = layout.moved(placed(layout))
    assert max(unbalance(full).pchannels, unbalance(full).vchannels) < 0.001
    without = msgspec.structs.replace(full, nodes=tuple(range(2, 101)))
    again = placed(without)
    assert len(again) == 100
    assert unbalance(without.moved(again)).vchannels < 0.001
