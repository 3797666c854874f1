"""Which query node is in which resource group: rules without effects.

A group says how many nodes it requests and how many it may have at most. Nodes stay where they are as long as that
holds. A group that has fewer than it requests takes some: first of groups that have more than they may, then of groups
that have more than they request, those that it names itself before the others. A group that has more than it may gives
the others away: to groups that want some, else to the default group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from redkite.errors import IllegalResourceGroup, InvalidParameter
from redkite.model.placement import DEFAULT_GROUP_CAPACITY, NodeInfo, ResourceGroupConfig
from redkite.model.schema import DEFAULT_RESOURCE_GROUP

MAX_GROUPS: Final = 1024
MOST_NODES: Final = 2**31 - 1
"""What a group may want at most: the number that the protocol has room for."""
DEFAULT_CONFIG: Final = ResourceGroupConfig(requests=0, limits=DEFAULT_GROUP_CAPACITY)
EMPTY_CONFIG: Final = ResourceGroupConfig(requests=0, limits=0)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A resource group as the catalog keeps it."""

    name: str
    config: ResourceGroupConfig
    nodes: tuple[int, ...] = ()

    @property
    def requests(self) -> int:
        return self.config.requests or 0

    @property
    def limits(self) -> int:
        return self.config.limits or 0

    @property
    def capacity(self) -> int:
        return DEFAULT_GROUP_CAPACITY if self.name == DEFAULT_RESOURCE_GROUP else self.requests

    def accepts(self, node: NodeInfo) -> bool:
        return set(self.config.node_labels) <= set(node.labels)


Groups = Mapping[str, Group]


def _illegal(name: str, config: ResourceGroupConfig, why: str) -> IllegalResourceGroup:
    return IllegalResourceGroup(why, name, msgspec.json.encode(config).decode())


# -- what a config may be -----------------------------------------------------------------------
def check_config(name: str, config: ResourceGroupConfig, known: Iterable[str]) -> None:
    """Raise unless a group could have this config among these groups."""
    if config.requests is None or config.limits is None:
        raise _illegal(name, config, "requests or limits is required")
    if config.requests < 0 or config.limits < 0:
        raise _illegal(name, config, "node num in `requests` or `limits` should not less than 0")
    if max(config.requests, config.limits) > MOST_NODES:
        raise _illegal(name, config, f"node num in `requests` or `limits` should not be greater than {MOST_NODES}")
    if config.limits < config.requests:
        raise _illegal(name, config, "limits node num should not less than requests node num")
    there = set(known)
    for key, others in (("TransferFrom", config.transfer_from), ("TransferTo", config.transfer_to)):
        for other in others:
            if other == name:
                raise _illegal(name, config, f"resource group in `{key}` {other} should not be itself")
            if other not in there:
                raise _illegal(name, config, f"resource group in `{key}` {other} not exist")


def check_droppable(groups: Groups, group: Group) -> None:
    """Raise unless nothing stands on a group. Replicas are not its matter."""
    if group.name == DEFAULT_RESOURCE_GROUP:
        raise InvalidParameter(
            "default resource group is not deletable", expected="not default resource group", actual=group.name
        )
    if group.limits:
        why = "resource group's limits node num is not 0"
        raise InvalidParameter(why, expected="not empty resource group", actual=group.name)
    if group.nodes:
        why = "resource group is not empty"
        raise InvalidParameter(why, expected="not empty resource group", actual=group.name)
    for other in groups.values():
        for key, names in (("from", other.config.transfer_from), ("to", other.config.transfer_to)):
            if group.name in names:
                raise InvalidParameter(
                    f"resource group {group.name} is used by {other.name}'s `{key}`, remove that configuration first",
                    expected="not used resource group",
                    actual=group.name,
                )


# -- where nodes go -----------------------------------------------------------------------------
def settled(groups: Groups, nodes: Mapping[int, NodeInfo]) -> dict[str, Group]:
    """The groups with every node in exactly one of them, as near to what all of them want as can be."""
    place = {
        node: group.name
        for group in groups.values()
        for node in group.nodes
        if node in nodes and group.accepts(nodes[node])
    }
    arriving = [node for node in sorted(nodes) if node not in place]
    place.update(dict.fromkeys(arriving, DEFAULT_RESOURCE_GROUP))
    _take(groups, nodes, place)
    _give(groups, nodes, place)
    _fill(groups, nodes, place, arriving)
    return {
        name: msgspec.structs.replace(group, nodes=tuple(sorted(n for n, g in place.items() if g == name)))
        for name, group in groups.items()
    }


def _count(place: Mapping[int, str], name: str) -> int:
    return sum(1 for group in place.values() if group == name)


def _take(groups: Groups, nodes: Mapping[int, NodeInfo], place: dict[int, str]) -> None:
    """Give groups that lack nodes those that others can spare."""
    for name in sorted(groups):
        group = groups[name]
        while _count(place, name) < group.requests:
            able = [node for node in sorted(place) if place[node] != name and group.accepts(nodes[node])]
            spare = [node for node in able if _rank(groups, place, group, place[node]) is not None]
            if not spare:
                break
            place[min(spare, key=lambda node: (_rank(groups, place, group, place[node]) or 0, node))] = name


def _rank(groups: Groups, place: Mapping[int, str], to: Group, source: str) -> int | None:
    """How willingly a group gives a node away to another, the least first; None: not at all."""
    group, there = groups[source], _count(place, source)
    named = 0 if source in to.config.transfer_from else 1
    if there > group.limits:
        return named
    return 2 + named if there > group.requests else None


def _give(groups: Groups, nodes: Mapping[int, NodeInfo], place: dict[int, str]) -> None:
    """Take nodes from groups that have more than they may."""
    for name in sorted(groups):
        group = groups[name]
        if name == DEFAULT_RESOURCE_GROUP:
            continue
        there = sorted(node for node, holder in place.items() if holder == name)
        for node in there[group.limits :]:
            place[node] = _wanting(groups, nodes[node], place, group.config.transfer_to, but=name)


def _fill(groups: Groups, nodes: Mapping[int, NodeInfo], place: dict[int, str], arriving: Iterable[int]) -> None:
    """Nodes that have just come go where more may be."""
    for node in arriving:
        if place[node] == DEFAULT_RESOURCE_GROUP:
            place[node] = _wanting(groups, nodes[node], place, (), but=DEFAULT_RESOURCE_GROUP)


def _wanting(groups: Groups, node: NodeInfo, place: Mapping[int, str], preferred: tuple[str, ...], *, but: str) -> str:
    """The group that a spare node goes to: one of the preferred, of those that request more, of those that may have
    more; else the default group."""
    open_ = [
        g for name, g in sorted(groups.items())
        if name not in (but, DEFAULT_RESOURCE_GROUP) and g.accepts(node) and _count(place, name) < g.limits
    ]  # fmt: skip
    open_.sort(key=lambda g: (g.name not in preferred, _count(place, g.name) >= g.requests, g.name))
    return open_[0].name if open_ else DEFAULT_RESOURCE_GROUP
