"""A node asks the others before it joins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.launch.authority import Authority

from redkite.cluster.config import TlsFiles
from redkite.cluster.grpc_network import GrpcNetwork
from redkite.cluster.membership import NodeRecord
from redkite.cluster.network import NotReached
from redkite.env import Env
from redkite.launch.facts import Presence
from redkite.launch.greeting import greet
from redkite.launch.parts import free_ports


class Place:
    """Nodes of one cluster, and who etcd says they are."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.networks: list[GrpcNetwork] = []

    def network(self, node_id: int, tls: TlsFiles | None = None) -> GrpcNetwork:
        made = GrpcNetwork(Env.real(), "redkite", node_id, tls)
        self.networks.append(made)
        return made

    def node(self, node_id: int, tls: TlsFiles | None = None) -> None:
        presence = Presence(Env.real(), node_id, "query", "host", tuple)
        self.known(node_id, self.network(node_id, tls).serve("127.0.0.1:0", presence.handlers()).address)

    def known(self, node_id: int, address: str, **changes: Any) -> None:
        record = NodeRecord(
            node_id=node_id, role="query", address=address, host="host", started_ms=1, memory_bytes=1, cores=1,
            **changes,
        )  # fmt: skip
        self.records[f"nodes/{node_id}"] = msgspec.json.encode(record)


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    for network in made.networks:
        network.close()


def join(place: Place, tls: TlsFiles | None = None) -> None:
    greet(place.records, place.network(99, tls))


def test_the_first_node_and_one_that_is_answered_may_join(place: Place, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    join(place, authority.issue("first"))
    place.node(1, authority.issue("one"))
    join(place, authority.issue("two"))


@pytest.mark.parametrize("foreign", [True, False], ids=["another authority", "no certificate"])
def test_a_node_that_the_others_refuse_does_not_join_and_says_why(foreign: bool, place: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    tls = Authority(tmp_path / "other").issue("two") if foreign else None
    place.node(1, Authority(tmp_path).issue("one"))
    with pytest.raises(NotReached, match=r"node 1 \(query\) refuses to be asked by this one: ") as told:
        join(place, tls)
    assert len(str(told.value).splitlines()) == 1


def test_a_node_with_certificates_does_not_join_those_without(place: Place, tmp_path: Path) -> None:
    place.node(1)
    with pytest.raises(NotReached, match="refuses to be asked by this one"):
        join(place, Authority(tmp_path).issue("two"))


def test_one_answer_is_enough(place: Place, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    place.node(1)
    place.node(2, authority.issue("one"))
    join(place, authority.issue("two"))


def test_nodes_that_were_killed_a_moment_ago_keep_nobody_out(place: Place) -> None:
    place.known(1, f"127.0.0.1:{free_ports(1)[0]}")
    join(place)


def test_a_record_that_cannot_be_read_keeps_nobody_out(place: Place, tmp_path: Path) -> None:
    greet({"nodes/9": b'{"node_id":"nine"}'}, place.network(2))


def test_nodes_of_another_protocol_are_not_asked(place: Place) -> None:
    place.known(1, "nowhere", protocol=10_000)
    join(place)
