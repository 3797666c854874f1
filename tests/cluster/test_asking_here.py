"""Reads of a shard that ask a query node in their own thread, over the network of machines."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from redkite.cluster.grpc_network import GrpcNetwork
from redkite.cluster.held import ReadHeld
from redkite.cluster.network import NotReached, Unanswered
from redkite.cluster.peers import RemotePeer
from redkite.env import Env
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.node.asked import QueryHeld
from redkite.query.plan import QueryPlan, TextCounts

SCHEMA = CollectionSchema(
    name="films", fields=(FieldSchema(name="id", data_type=DataType.INT64, is_primary=True, field_id=100),)
)
PLAN = QueryPlan(collection_id=1, schema=SCHEMA, filter=None, partitions=None, columns=("id",), limit=10)
HELD = QueryHeld((), PLAN, 1)
"""Of no segment: the node is not counted on for any here."""


class Node:
    """A query node that answers when it is let."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answers: list[Future[Any]] = []

    def read(self, _: ReadHeld) -> Future[Any]:
        self.answers.append(Future())
        self.asked.set()
        return self.answers[-1]


@pytest.fixture
def networks() -> Iterator[tuple[GrpcNetwork, GrpcNetwork]]:
    made = GrpcNetwork(Env.real(), "test", 1), GrpcNetwork(Env.real(), "test", 2)
    yield made
    for network in made:
        network.close()


def peer_of(node: Node, networks: tuple[GrpcNetwork, GrpcNetwork]) -> RemotePeer:
    serving = networks[0].serve("127.0.0.1:0", {ReadHeld: node.read})
    return RemotePeer(Env.real(), 1, serving.address, 2, networks[1], itertools.count(1))


def ask_aside(peer: RemotePeer, seconds: float = 30.0) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            peer.ask(HELD, seconds)
        except Exception as error:  # noqa: BLE001  it is what is looked at
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, errors


def test_who_waits_for_a_node_that_is_given_up_is_told_at_once(networks: tuple[GrpcNetwork, GrpcNetwork]) -> None:
    node = Node()
    peer = peer_of(node, networks)
    thread, errors = ask_aside(peer)
    assert node.asked.wait(30)
    assert peer.outstanding == 1
    peer.cut("it is gone")
    thread.join(60)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [NotReached]
    assert peer.outstanding == 0
    node.answers[0].set_result(None)


def test_a_node_that_was_cut_can_be_asked_again(networks: tuple[GrpcNetwork, GrpcNetwork]) -> None:
    node = Node()
    peer = peer_of(node, networks)
    thread, _ = ask_aside(peer)
    assert node.asked.wait(30)
    peer.cut("it was slow")
    thread.join(60)
    counts = TextCounts(1, 2.0, np.array([3]))
    node.asked.clear()

    def answer() -> None:
        node.asked.wait(60)
        node.answers[-1].set_result(counts)

    asked = threading.Thread(target=answer)
    asked.start()
    found = peer.ask(HELD, 10)
    asked.join()
    assert (found.rows, found.tokens, [*found.having]) == (1, 2.0, [3])


def test_a_node_that_does_not_answer_is_not_waited_for_longer_than_wanted(
    networks: tuple[GrpcNetwork, GrpcNetwork],
) -> None:
    node = Node()
    with pytest.raises(Unanswered):
        peer_of(node, networks).ask(HELD, 0.2)
    node.answers[0].set_result(None)


def test_a_node_that_is_gone_for_good_is_not_asked(networks: tuple[GrpcNetwork, GrpcNetwork]) -> None:
    node = Node()
    peer = peer_of(node, networks)
    peer.give_up("query node 1 is gone")
    with pytest.raises(NotReached, match="query node 1 is gone"):
        peer.ask(HELD, 10)
    assert not node.answers
