"""Before a node joins: do those that live let it speak to them?

A node with certificates of another authority, or without any, could say in etcd that it lives, be given channels or
segments, and answer nobody. So it asks the others first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from redkite.cluster.frames import PROTOCOL
from redkite.cluster.membership import NodeRecord, readable
from redkite.cluster.network import Network, NotReached, WrongPeer
from redkite.errors import MilvusException
from redkite.launch.facts import AskFacts
from redkite.launch.parts import answers_at

NODES: Final = "nodes/"
"""Keys of the records of nodes that live begin so."""
GREET_SECONDS: Final = 2.0
_TRIES: Final = 3
"""On a busy machine also somebody who refuses nobody may be too slow to say so."""


def greet(present: Mapping[str, bytes], network: Network) -> None:
    """`present`: the records of the nodes that live. Raises NotReached when no other node answers this one, and some
    that are there refuse to."""
    others = list(_others(present))
    refusal = ""
    for _ in range(_TRIES):
        refusal = _refused(others, network)
        if not refusal:
            return
    raise NotReached(refusal)


def _refused(others: Sequence[NodeRecord], network: Network) -> str:
    """What one of them says against this node, if none answers it; else nothing."""
    asked = [(record, _ask(network, record)) for record in others]
    refusals = [""]
    for record, answer in asked:
        error = answer if isinstance(answer, MilvusException) else answer.exception()
        if error is None:
            return ""
        if isinstance(error, NotReached | WrongPeer) and _listens(record.address):
            said = f"node {record.node_id} ({record.role}) refuses to be asked by this one: {error.message}"
            refusals.append(said)
    return refusals[-1]


def _others(present: Mapping[str, bytes]) -> Iterator[NodeRecord]:
    """Those that speak as this one does; of others membership says so."""
    return (record for record in readable(present) if record.protocol == PROTOCOL)


def _ask(network: Network, record: NodeRecord) -> Future[Any] | MilvusException:
    try:
        return network.connect(record.address).ask_soon(AskFacts(), GREET_SECONDS)
    except MilvusException as error:
        return error


def _listens(address: str) -> bool:
    """A node that was killed a moment ago is still known, and nobody is there."""
    host, _, port = address.rpartition(":")
    return answers_at(int(port), host)
