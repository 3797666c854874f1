"""Where query nodes go when resource groups change."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.coordinator.groups import DEFAULT_CONFIG, Group, settled
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.resource_groups import ResourceGroups
from redkite.errors import (
    IllegalResourceGroup,
    InvalidParameter,
    NodesNotEnough,
    ResourceGroupExists,
    ResourceGroupNotFound,
)
from redkite.model.placement import NodeInfo, ResourceGroupConfig
from redkite.model.schema import DEFAULT_RESOURCE_GROUP
from redkite.storage.catalog import MemoryCatalog

DEFAULT = DEFAULT_RESOURCE_GROUP


def wants(requests: int, limits: int | None = None, **more: tuple[str, ...]) -> ResourceGroupConfig:
    return ResourceGroupConfig(requests=requests, limits=requests if limits is None else limits, **more)


def groups_over(nodes: int, catalog: MemoryCatalog | None = None) -> ResourceGroups:
    return ResourceGroups(catalog or MemoryCatalog(), [NodeInfo(node_id=n) for n in range(1, nodes + 1)])


def nodes_in(groups: ResourceGroups) -> dict[str, tuple[int, ...]]:
    return {name: groups.need(name).nodes for name in groups.names()}


def test_every_node_begins_in_the_default_group() -> None:
    assert nodes_in(groups_over(3)) == {DEFAULT: (1, 2, 3)}


def test_a_group_takes_the_nodes_that_it_requests_and_gives_them_back() -> None:
    groups = groups_over(3)
    groups.create("a", wants(2))
    assert nodes_in(groups) == {DEFAULT: (3,), "a": (1, 2)}
    groups.update({"a": wants(1)})
    assert nodes_in(groups) == {DEFAULT: (2, 3), "a": (1,)}
    groups.update({"a": wants(0)})
    groups.drop("a")
    assert nodes_in(groups) == {DEFAULT: (1, 2, 3)}


def test_a_group_keeps_what_it_has_within_its_limit() -> None:
    groups = groups_over(2)
    groups.create("a", wants(2))
    groups.update({"a": wants(1, 2)})
    assert nodes_in(groups)["a"] == (1, 2)
    groups.create("b", wants(1))
    assert nodes_in(groups) == {DEFAULT: (), "a": (2,), "b": (1,)}, "what one does not request another may have"


def test_nodes_come_from_the_groups_that_are_named_first() -> None:
    groups = groups_over(4)
    groups.create("a", wants(1, 2))
    groups.update({DEFAULT: wants(0, 9)})
    groups.create("b", wants(1, 9))
    groups.transfer_nodes(DEFAULT, "b", 1)
    groups.update({"b": wants(1, 9)})
    assert nodes_in(groups) == {DEFAULT: (4,), "a": (1,), "b": (2, 3)}
    groups.create("c", wants(1, transfer_from=("b",)))
    assert nodes_in(groups) == {DEFAULT: (4,), "a": (1,), "b": (3,), "c": (2,)}


def test_spare_nodes_go_to_the_groups_that_are_named_first() -> None:
    groups = groups_over(2)
    groups.create("a", wants(2))
    groups.create("b", wants(0, 2))
    groups.create("c", wants(0, 2))
    groups.update({"a": wants(0, transfer_to=("c",))})
    assert nodes_in(groups) == {DEFAULT: (), "a": (), "b": (), "c": (1, 2)}


def test_a_group_that_filters_by_labels_takes_only_such_nodes() -> None:
    near = NodeInfo(node_id=2, labels=(("place", "near"),))
    groups = ResourceGroups(MemoryCatalog(), [NodeInfo(node_id=1), near])
    groups.create("a", ResourceGroupConfig(requests=2, limits=2, node_labels=(("place", "near"),)))
    assert nodes_in(groups) == {DEFAULT: (1,), "a": (2,)}


def test_groups_and_their_nodes_are_there_after_a_restart() -> None:
    catalog = MemoryCatalog()
    groups = groups_over(3, catalog)
    groups.create("a", wants(1))
    groups.transfer_nodes(DEFAULT, "a", 1)
    again = groups_over(3, catalog)
    assert nodes_in(again) == nodes_in(groups) == {DEFAULT: (3,), "a": (1, 2)}
    assert again.need("a").config == wants(2)
    fewer = groups_over(1, catalog)
    assert nodes_in(fewer) == {DEFAULT: (), "a": (1,)}


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (ResourceGroupConfig(requests=1), "requests or limits is required"),
        (wants(-1, 1), "should not less than 0"),
        (wants(0, 2**31), "should not be greater than 2147483647"),
        (wants(2, 1), "limits node num should not less than requests node num"),
        (wants(0, 1, transfer_from=("a",)), "resource group in `TransferFrom` a should not be itself"),
        (wants(0, 1, transfer_to=("nobody",)), "resource group in `TransferTo` nobody not exist"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(config: ResourceGroupConfig, why: str) -> None:
    with pytest.raises(IllegalResourceGroup, match=why) as caught:
        groups_over(1).create("a", config)
    assert caught.value.code == 303
    assert "resource group illegal config[rg=a]" in caught.value.message


def test_a_group_cannot_be_dropped_while_something_stands_on_it() -> None:
    groups = groups_over(1)
    with pytest.raises(InvalidParameter, match="default resource group is not deletable"):
        groups.drop(DEFAULT)
    groups.create("a", wants(0, 1))
    with pytest.raises(InvalidParameter, match="limits node num is not 0"):
        groups.drop("a")
    groups.update({"a": wants(0)})
    groups.create("b", wants(0, transfer_from=("a",)))
    with pytest.raises(InvalidParameter, match="is used by b's `from`"):
        groups.drop("a")
    groups.drop("b")
    groups.drop("a")
    groups.drop("a")
    assert groups.names() == (DEFAULT,)


def test_creating_twice_is_success_only_with_the_same_config() -> None:
    groups = groups_over(1)
    groups.create("a", wants(0, 1))
    groups.create("a", wants(0, 1))
    with pytest.raises(ResourceGroupExists, match="create with different config"):
        groups.create("a", None)
    with pytest.raises(ResourceGroupNotFound, match=r"resource group not found\[rg=b\]"):
        groups.update({"a": wants(0), "b": wants(0)})
    assert groups.need("a").config == wants(0, 1), "all or none"


def test_a_group_that_wants_as_many_as_it_may_wants_no_more_for_a_node_that_is_transferred() -> None:
    groups = groups_over(2)
    groups.create("a", wants(1, 1))
    groups.create("b", wants(2**31 - 1, 2**31 - 1))
    groups.transfer_nodes("a", "b", 1)
    assert groups.need("b").config.requests == 2**31 - 1


def test_nodes_are_transferred_only_where_there_are_so_many() -> None:
    groups = groups_over(1)
    groups.create("a", None)
    with pytest.raises(NodesNotEnough, match=r"\[rg=a\]\[currentNodeNum=0\]\[expectedNodeNum=1\]"):
        groups.transfer_nodes("a", DEFAULT, 1)
    with pytest.raises(InvalidParameter, match="should not be the same"):
        groups.transfer_nodes("a", "a", 1)
    with pytest.raises(InvalidParameter, match="NumNode > 0"):
        groups.transfer_nodes(DEFAULT, "a", 0)
    groups.transfer_nodes(DEFAULT, "a", 1)
    assert nodes_in(groups) == {DEFAULT: (), "a": (1,)}


def test_a_replica_stays_in_its_group_and_moves_only_where_nodes_are() -> None:
    loads = QueryCoordinator(MemoryCatalog(), [1, 2])
    loads.load(7, None)
    (first,) = loads.entry(7).copies
    loads.groups.create("a", wants(1))
    assert loads.nodes_for(7) == (2,)
    with pytest.raises(InvalidParameter, match="only found"):
        loads.transfer_replicas(7, "a", DEFAULT, 1)
    loads.transfer_replicas(7, DEFAULT, "a", 1)
    assert loads.nodes_for(7) == (1,)
    assert loads.entry(7).copies[0].replica_id == first.replica_id
    with pytest.raises(InvalidParameter, match="some replicas still loaded"):
        loads.drop_group("a")
    loads.groups.update({"a": wants(0)})
    assert set(loads.nodes_for(7)) == {1, 2}, "while its group has no node, all serve it"


@given(st.integers(0, 6), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_node_is_lost_and_no_limit_is_passed(count: int, sizes: list[tuple[int, int]]) -> None:
    nodes = {n: NodeInfo(node_id=n) for n in range(1, count + 1)}
    groups = {DEFAULT: Group(name=DEFAULT, config=DEFAULT_CONFIG)}
    for at, (requests, more) in enumerate(sizes):
        groups[f"g{at}"] = Group(name=f"g{at}", config=wants(requests, requests + more))
    after = settled(groups, nodes)
    assert sorted(n for g in after.values() for n in g.nodes) == sorted(nodes)
    assert all(len(g.nodes) <= g.limits for g in after.values())
    lacking = [g for g in after.values() if len(g.nodes) < g.requests]
    assert not lacking or all(len(g.nodes) <= g.requests for g in after.values()), "somebody could have helped"
    assert settled(after, nodes) == after, "what is settled stays"
