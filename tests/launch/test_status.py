"""What `redkite cluster status` tells: of nodes in this process, over parts in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import pytest

from redkite.cluster.backends import MemoryBackends, MemoryWorld
from redkite.cluster.config import ClusterConfig
from redkite.cluster.local_network import LocalHub
from redkite.cluster.membership import Membership, NodeRecord
from redkite.coordinator.pchannels import PChannel
from redkite.env import Env
from redkite.errors import InvalidParameter, StorageError, Unavailable
from redkite.launch.facts import AskDrain, AskFacts, Presence, PresentNetwork
from redkite.launch.runtime import Placed
from redkite.launch.show import places, table
from redkite.launch.status import ClusterStatus, Watcher

CONFIG = ClusterConfig(data=0)


@dataclass
class FakeRole:
    """A role that is as well as a test says."""

    reasons: tuple[str, ...] = ()
    drained: int = 0
    failing: str = ""
    broken: bool = False

    def start(self) -> None:
        """It is there."""

    def health(self) -> tuple[str, ...]:
        return self.reasons

    def drain(self) -> None:
        self.drained += 1
        if self.failing:
            raise StorageError(self.failing)
        if self.broken:
            raise RuntimeError("a mistake")

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class World:
    """Nodes that answer for themselves, and one who looks at them."""

    env: Env = field(default_factory=Env.real)
    roles: dict[int, FakeRole] = field(default_factory=dict)
    members: dict[int, Membership] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.memory = MemoryWorld(self.env)
        self.hub = LocalHub(self.env)
        self.backends = MemoryBackends(self.memory, self.env, "watcher")

    def node(self, node_id: int, role: str) -> FakeRole:
        made = self.roles[node_id] = FakeRole()
        presence = Presence(self.env, node_id, role, "here", tuple)
        network = PresentNetwork(self.hub.network(node_id), presence)
        address = network.serve("127.0.0.1:0", {}).address
        presence.role = made
        backends = MemoryBackends(self.memory, self.env, f"node {node_id}")
        self.members[node_id] = Membership(backends.coordination, self.env, node_id, 3.0)
        self.members[node_id].register(role, address)
        return made

    def lead(self, node_id: int) -> None:
        lease = self.backends.coordination.lease(3.0)
        self.backends.coordination.claim("leader", msgspec.json.encode({"node_id": node_id, "address": "x"}), lease)

    def channel(self, name: str, node_id: int) -> None:
        taken = PChannel(name=name).given_to(node_id, 1).taken()
        self.backends.catalog().commit({taken.key: taken.to_bytes()})

    @property
    def watcher(self) -> Watcher:
        catalog = self.backends.catalog()
        return Watcher(
            CONFIG, self.backends.coordination, lambda prefix: list(catalog.scan(prefix)), self.hub.network(0)
        )

    def close(self) -> None:
        for members in self.members.values():
            members.close()
        self.backends.close()
        self.memory.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture
def whole(world: World) -> World:
    for number, role in enumerate(("coordinator", "streaming", "query", "proxy"), 1):
        world.node(number, role)
    world.lead(1)
    world.channel("by-dev-rootcoord-dml_0", 2)
    return world


def test_a_whole_cluster_is_well_and_says_who_does_what(whole: World) -> None:
    status = whole.watcher.status()
    assert status.is_well, status
    assert status.leader == 1
    assert [(n.node_id, n.role, n.leads, n.channels) for n in status.nodes] == [
        (1, "coordinator", True, 0), (2, "streaming", False, 1), (3, "query", False, 0), (4, "proxy", False, 0),
    ]  # fmt: skip
    assert [(c.name, c.state, c.node_id, c.term) for c in status.channels] == [
        ("by-dev-rootcoord-dml_0", "assigned", 2, 1)
    ]


def test_what_a_node_says_is_wrong_is_shown(whole: World) -> None:
    whole.roles[3].reasons = ("the disk is nearly full",)
    status = whole.watcher.status()
    assert not status.is_well
    text = table(status, channels=True)
    assert "node 3 (query): the disk is nearly full" in text
    assert "by-dev-rootcoord-dml_0  assigned  2      1" in text


def test_a_node_that_does_not_answer_is_not_well(whole: World) -> None:
    whole.hub.pause(whole.watcher.records()[2].address)
    (node,) = [node for node in whole.watcher.status().nodes if node.health]
    assert node.node_id == 3
    assert "it does not answer" in node.health[0]


def test_roles_that_nobody_has_and_channels_that_nobody_owns_are_problems(world: World) -> None:
    world.node(1, "coordinator")
    world.channel("by-dev-rootcoord-dml_0", 9)
    problems = world.watcher.status().problems
    assert problems == (
        "no node of role streaming lives", "no node of role query lives", "no node of role proxy lives",
        "no coordinator leads", "nobody owns by-dev-rootcoord-dml_0 now",
    )  # fmt: skip


def test_nodes_of_other_versions_are_told(whole: World) -> None:
    lease = whole.backends.coordination.lease(3.0)
    stranger = NodeRecord(node_id=9, role="query", address="127.0.0.1:1", version="9.9", protocol=99)
    whole.backends.coordination.put(stranger.key, msgspec.json.encode(stranger), lease)
    status = whole.watcher.status()
    assert any("nodes are of several versions" in problem for problem in status.problems)
    assert "it speaks protocol 99 between nodes" in status.nodes[-1].health[0]


def test_a_node_is_drained_by_its_number_or_its_address(whole: World) -> None:
    said: list[str] = []
    assert whole.watcher.drain("3", 5, said.append).drained
    assert whole.watcher.drain(whole.watcher.records()[1].address, 5, said.append).node_id == 2
    assert (whole.roles[3].drained, whole.roles[2].drained) == (1, 1)
    assert whole.watcher.drain("3", 5, said.append).drained
    assert whole.roles[3].drained == 1


def test_a_node_that_is_not_there_is_refused_with_those_that_are(whole: World) -> None:
    with pytest.raises(InvalidParameter, match=r"no node '77'; those that live are 1 \(coordinator\), 2 \(streaming\)"):
        whole.watcher.drain("77", 5, print)


def test_why_a_node_could_not_hand_over_is_told(whole: World) -> None:
    whole.roles[3].failing = "nobody takes it"
    with pytest.raises(Unavailable, match="could not hand over everything: nobody takes it"):
        whole.watcher.drain("3", 5, print)


def test_a_mistake_while_a_node_hands_over_is_not_taken_for_the_end(whole: World) -> None:
    whole.roles[3].broken = True
    with pytest.raises(Unavailable, match="could not hand over everything: RuntimeError: a mistake"):
        whole.watcher.drain("3", 5, print)


def test_a_record_that_cannot_be_read_hides_no_other(whole: World) -> None:
    lease = whole.backends.coordination.lease(3.0)
    whole.backends.coordination.put("nodes/9", b'{"node_id":"nine"}', lease)
    assert [node.node_id for node in whole.watcher.status().nodes] == [1, 2, 3, 4]


def test_status_is_one_json_object_that_comes_back_as_it_was(whole: World) -> None:
    status = whole.watcher.status()
    assert msgspec.json.decode(msgspec.json.encode(status), type=ClusterStatus) == status


def test_what_a_role_serves_answers_for_the_node_too(world: World) -> None:
    world.node(5, "query")
    remote = world.hub.network(0).connect(world.watcher.records()[0].address)
    facts = remote.ask(AskFacts())
    assert (facts.node_id, facts.role, facts.draining) == (5, "query", False)
    assert facts.resident_bytes > 0
    assert remote.ask(AskDrain()).draining


def test_a_node_without_its_role_is_being_started(world: World) -> None:
    presence = Presence(world.env, 1, "query", "here", tuple)
    assert presence.facts().health == ("it is being started",)


def test_places_are_shown_where_etcd_cannot_be_asked() -> None:
    placed = {"query-1": Placed(name="query-1", role="query", stage="failed", restarts=3, error="no key")}
    text = places(placed, {"kafka": "it ended", "etcd": ""})
    assert "query-1  failed  -      -        3         no key" in text
    assert text.endswith("kafka: it ended")
