"""Resource groups, replicas and segments on several query nodes, which go to and fro while collections are read."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymilvus
import pytest
from pymilvus import connections, utility
from pymilvus.client.types import ResourceGroupConfig as TheirConfig
from tests.acceptance.conftest import Sdk

import redkite
from redkite.errors import MilvusException

NODES = 3
pytestmark = [
    pytest.mark.skipif(
        f"query={NODES}" not in os.environ.get("CLUSTER", ""), reason=f"what is told here is of {NODES} query nodes"
    ),
    pytest.mark.filterwarnings("ignore:.* is an ORM-style PyMilvus API"),
]
DEFAULT = "__default_resource_group"
ERRORS = (MilvusException, pymilvus.MilvusException)
DIM, ROWS = 4, 90


def config(sdk: Sdk, requests: int, limits: int | None = None) -> Any:
    kind = redkite.ResourceGroupConfig if sdk.ours else TheirConfig
    return kind(requests={"node_num": requests}, limits={"node_num": requests if limits is None else limits})


class Calls:
    """Calls that pymilvus has in its older classes only."""

    def __init__(self, sdk: Sdk, client: Any) -> None:
        self._client = client
        self._alias = "" if sdk.ours else "groups"
        if self._alias:
            connections.connect(self._alias, uri=sdk.uri)

    def transfer_node(self, source: str, target: str, count: int) -> None:
        if self._alias:
            utility.transfer_node(source, target, count, using=self._alias)
        else:
            self._client.transfer_node(source, target, count)

    def load_balance(self, name: str, source: int, targets: list[int], segments: list[int]) -> None:
        if self._alias:
            utility.load_balance(name, source, targets, segments, using=self._alias)
        else:
            self._client.load_balance(name, source, targets, sealed_segment_ids=segments)


@pytest.fixture
def calls(sdk: Sdk, client: Any) -> Calls:
    return Calls(sdk, client)


@pytest.fixture
def groups(client: Any, sdk: Sdk, name: str) -> Iterator[list[str]]:
    """Two names that no group has yet; all nodes are in the default group again afterwards."""
    chosen = [f"rg_{uuid.uuid4().hex}" for _ in range(2)]
    yield chosen
    client.drop_collection(name)
    for group in set(chosen) & set(client.list_resource_groups()):
        client.update_resource_groups({group: config(sdk, 0)})
        client.drop_resource_group(group)
    assert len(nodes(client, DEFAULT)) == NODES


@pytest.fixture
def loaded(client: Any, name: str) -> str:
    """A loaded collection with three sealed segments and some growing rows."""
    client.create_collection(name, dimension=DIM, num_shards=2)
    for begin in range(0, ROWS, 30):
        client.insert(name, [{"id": i, "vector": [float(i), 1.0, 0.0, 0.0]} for i in range(begin, begin + 25)])
        client.flush(name)
        client.insert(name, [{"id": i, "vector": [float(i), 1.0, 0.0, 0.0]} for i in range(begin + 25, begin + 30)])
    return name


def nodes(client: Any, group: str) -> set[int]:
    return {int(node.node_id) for node in client.describe_resource_group(group).nodes}


def count(client: Any, name: str) -> int:
    found = client.query(name, filter="id >= 0", output_fields=["count(*)"], consistency_level="Strong")
    return int(found[0]["count(*)"])


@contextmanager
def read(sdk: Sdk, name: str) -> Iterator[None]:
    """Somebody reads all the while, and misses nothing."""
    wrong: list[Any] = []
    done, ready = threading.Event(), threading.Event()

    def reads() -> None:
        client = sdk.connect()
        try:
            while not done.is_set() and not wrong:
                hits = client.search(name, [[0.0, 1.0, 0.0, 0.0]], limit=ROWS, consistency_level="Strong")[0]
                if (len(hits), count(client, name)) != (ROWS, ROWS):
                    wrong.append((len(hits), count(client, name)))
                ready.set()
        except ERRORS as error:
            wrong.append(error)
        finally:
            ready.set()
            client.close()

    reader = threading.Thread(target=reads)
    reader.start()
    ready.wait(30)
    try:
        yield
    finally:
        done.set()
        reader.join()
    assert not wrong, wrong


def until(check: Callable[[], bool], seconds: float = 20.0) -> None:
    for _ in range(int(seconds / 0.1)):
        if check():
            return
        threading.Event().wait(0.1)
    raise AssertionError("it did not come to be in time")


def code_of(call: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(ERRORS) as caught:
        call()
    return caught.value.code, caught.value.message


def holders(client: Any, name: str) -> dict[int, list[int]]:
    """Sealed segments -> the nodes that hold them."""
    sealed = {segment.segment_id for segment in client.list_persistent_segments(name)}
    found = client.list_loaded_segments(name)
    return {s.segment_id: sorted(s.node_ids) for s in found if s.segment_id in sealed}


def test_nodes_go_from_group_to_group_while_a_collection_is_read(
    client: Any, sdk: Sdk, loaded: str, groups: list[str], calls: Calls
) -> None:
    first, second = groups
    whole = nodes(client, DEFAULT)
    assert len(whole) == NODES
    client.create_resource_group(first)
    client.create_resource_group(second, config=config(sdk, 1))
    until(lambda: len(nodes(client, second)) == 1)
    with read(sdk, loaded):
        calls.transfer_node(DEFAULT, first, 1)
        until(lambda: len(nodes(client, first)) == 1)
        assert nodes(client, DEFAULT) | nodes(client, first) | nodes(client, second) == whole
        assert len(nodes(client, DEFAULT)) == 1
        code, text = code_of(lambda: calls.transfer_node(DEFAULT, first, 5))
        assert code == 304, text
        calls.transfer_node(second, first, 1)
        until(lambda: len(nodes(client, first)) == 2)
        assert nodes(client, second) == set()
        calls.transfer_node(first, DEFAULT, 2)
        until(lambda: nodes(client, DEFAULT) == whole)


def test_replicas_have_nodes_of_their_own_and_move_between_groups(
    client: Any, sdk: Sdk, loaded: str, groups: list[str]
) -> None:
    first, _ = groups
    client.release_collection(loaded)
    client.load_collection(loaded, replica_number=2)
    replicas = client.describe_replica(loaded)
    assert [replica.resource_group for replica in replicas] == [DEFAULT, DEFAULT]
    one, other = (set(replica.group_nodes) for replica in replicas)
    assert one
    assert other
    assert not one & other
    refused = f"resource group node not enough[rg={DEFAULT}][currentNodeNum={NODES}][expectedNodeNum=4]"
    client.create_resource_group(first, config=config(sdk, 1))
    until(lambda: len(nodes(client, first)) == 1)
    with read(sdk, loaded):
        client.transfer_replica(DEFAULT, first, loaded, 1)
        until(lambda: {r.resource_group for r in client.describe_replica(loaded)} == {DEFAULT, first})
        (there,) = (r for r in client.describe_replica(loaded) if r.resource_group == first)
        until(lambda: set(there.group_nodes) == nodes(client, first))
    assert client.describe_resource_group(first).num_loaded_replica[loaded] == 1
    client.update_resource_groups({first: config(sdk, 0)})
    until(lambda: len(nodes(client, DEFAULT)) == NODES)
    client.release_collection(loaded)
    assert code_of(lambda: client.load_collection(loaded, replica_number=4)) == (304, refused)


def test_each_replica_is_loaded_into_the_group_that_is_named_for_it(
    client: Any, sdk: Sdk, loaded: str, groups: list[str]
) -> None:
    client.release_collection(loaded)
    for group in groups:
        client.create_resource_group(group, config=config(sdk, 1))
    until(lambda: all(len(nodes(client, group)) == 1 for group in groups))
    client.load_collection(loaded, replica_number=2, resource_groups=groups)
    found = {r.resource_group: set(r.group_nodes) for r in client.describe_replica(loaded)}
    assert found == {group: nodes(client, group) for group in groups}
    assert count(client, loaded) == ROWS
    client.release_collection(loaded)


def test_segments_are_moved_from_node_to_node_while_they_are_read(
    client: Any, sdk: Sdk, loaded: str, calls: Calls
) -> None:
    everywhere = nodes(client, DEFAULT)
    until(lambda: all(len(where) == 1 for where in holders(client, loaded).values()))
    before = holders(client, loaded)
    source = next(iter(before.values()))[0]
    mine = [segment for segment, where in before.items() if where == [source]]
    target = min(everywhere - {source})
    with read(sdk, loaded):
        calls.load_balance(loaded, source, [target], mine[:1])
        until(lambda: holders(client, loaded)[mine[0]] == [target])
        calls.load_balance(loaded, source, [target], mine[1:])
        until(lambda: all([source] != where for where in holders(client, loaded).values()))
    assert sorted(holders(client, loaded)) == sorted(before)
    assert code_of(lambda: calls.load_balance(loaded, source, [700], mine))[0] != 0
