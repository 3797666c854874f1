"""Resource groups: they are kept in the catalog, with the nodes that are in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from threading import RLock

import msgspec

from redkite.coordinator.groups import (
    DEFAULT_CONFIG,
    EMPTY_CONFIG,
    MAX_GROUPS,
    MOST_NODES,
    Group,
    check_config,
    check_droppable,
    settled,
)
from redkite.errors import (
    Corruption,
    InvalidParameter,
    MilvusException,
    NodesNotEnough,
    ResourceGroupExists,
    ResourceGroupNotFound,
    TooManyResourceGroups,
)
from redkite.model.decoding import from_json
from redkite.model.placement import NodeInfo, ResourceGroupConfig
from redkite.model.schema import DEFAULT_RESOURCE_GROUP
from redkite.storage.catalog import Catalog

_PREFIX = "resource-group/"


class ResourceGroups:
    """Safe from any thread. Readers see one state of all groups; a change is one commit. The default group is there
    without being recorded, until somebody changes it."""

    def __init__(self, catalog: Catalog, nodes: Iterable[NodeInfo]) -> None:
        self._catalog = catalog
        self.lock = RLock()
        """Held while a group changes, and by who must not see one change."""
        self._nodes = {node.node_id: node for node in nodes}
        self._leaving: frozenset[int] = frozenset()
        self._groups: dict[str, Group] = {}
        self.reload()

    def reload(self) -> None:
        """Read everything from the catalog. Nodes that are gone are in no group, new ones where they are wanted."""
        try:
            found = [from_json(value, Group) for _, value in self._catalog.scan(_PREFIX)]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corruption(f"the catalog's entries under {_PREFIX} cannot be read: {error}") from error
        groups = {group.name: group for group in found}
        groups.setdefault(DEFAULT_RESOURCE_GROUP, Group(name=DEFAULT_RESOURCE_GROUP, config=DEFAULT_CONFIG))
        self._saved = groups
        self._groups = settled(groups, self._staying())

    def _staying(self) -> dict[int, NodeInfo]:
        return {number: node for number, node in self._nodes.items() if number not in self._leaving}

    # -- nodes ----------------------------------------------------------------------------------
    def see(self, nodes: Iterable[NodeInfo], leaving: Collection[int] = ()) -> None:
        """Take over which nodes there are, and which of them are in no group any more since they are about to go.
        Nothing is written."""
        with self.lock:
            self._nodes = {node.node_id: node for node in nodes}
            self._leaving = frozenset(leaving)
            self._groups = settled(self._groups, self._staying())

    def settle(self) -> None:
        """Write down which node is in which group now, where that has changed."""
        with self.lock:
            self._save(self._groups)

    @property
    def able(self) -> tuple[int, ...]:
        """Every node that something new may be placed on."""
        return tuple(number for number in self._nodes if number not in self._leaving)

    # -- what is there --------------------------------------------------------------------------
    def names(self) -> tuple[str, ...]:
        """The default group first, then by name."""
        others = sorted(name for name in self._groups if name != DEFAULT_RESOURCE_GROUP)
        return (DEFAULT_RESOURCE_GROUP, *others)

    def find(self, name: str) -> Group | None:
        return self._groups.get(name)

    def need(self, name: str) -> Group:
        """The group of that name, or an error 300."""
        group = self._groups.get(name)
        if group is None:
            raise ResourceGroupNotFound.named(name)
        return group

    def group_of(self, node: int) -> str:
        return next((g.name for g in self._groups.values() if node in g.nodes), DEFAULT_RESOURCE_GROUP)

    def node(self, node_id: int) -> NodeInfo | None:
        return self._nodes.get(node_id)

    @property
    def nodes(self) -> tuple[NodeInfo, ...]:
        return tuple(self._nodes.values())

    # -- changes --------------------------------------------------------------------------------
    def create(self, name: str, config: ResourceGroupConfig | None) -> None:
        wanted = EMPTY_CONFIG if config is None else config
        with self.lock:
            there = self._groups.get(name)
            if there is not None:
                if there.config != wanted:
                    raise ResourceGroupExists.named(name)
                return
            if len(self._groups) >= MAX_GROUPS:
                raise TooManyResourceGroups.of(name, MAX_GROUPS)
            check_config(name, wanted, self._groups)
            self._save({**self._groups, name: Group(name=name, config=wanted)})

    def update(self, configs: Mapping[str, ResourceGroupConfig]) -> None:
        if not configs:
            raise InvalidParameter("no resource group is given")
        with self.lock:
            for name, config in configs.items():
                self.need(name)
                check_config(name, config, self._groups)
            changed = {n: msgspec.structs.replace(self._groups[n], config=c) for n, c in configs.items()}
            self._save({**self._groups, **changed})

    def drop(self, name: str) -> None:
        """Missing is success. Whether replicas live there is for the caller to look at, under the lock."""
        with self.lock:
            group = self._groups.get(name)
            if group is None:
                return
            check_droppable(self._groups, group)
            self._save({n: g for n, g in self._groups.items() if n != name})

    def transfer_nodes(self, source: str, target: str, count: int) -> None:
        """Let one group want so many nodes less, and another so many more."""
        if source == target:
            raise InvalidParameter(
                f"source resource group and target resource group should not be the same, resource group: {source}"
            )
        if count < 1:
            raise InvalidParameter("", expected="NumNode > 0", actual=f"invalid NumNode {count}")
        with self.lock:
            giving, taking = self.need(source), self.need(target)
            if len(giving.nodes) < count:
                raise NodesNotEnough.of(source, len(giving.nodes), count)
            given, taken = _wanting_less(giving, count), _wanting_more(taking, count)
            moved = giving.nodes[:count]
            self._save({
                **self._groups,
                source: msgspec.structs.replace(giving, config=given, nodes=giving.nodes[count:]),
                target: msgspec.structs.replace(taking, config=taken, nodes=(*taking.nodes, *moved)),
            })  # fmt: skip

    def _save(self, groups: Mapping[str, Group]) -> None:
        after = settled(groups, self._staying())
        puts = {
            f"{_PREFIX}{name}": msgspec.json.encode(group)
            for name, group in after.items()
            if group != self._saved.get(name)
        }
        gone = [f"{_PREFIX}{name}" for name in self._saved if name not in after]
        if puts or gone:
            try:
                self._catalog.commit(puts, gone)
            except MilvusException:
                self.reload()  # the catalog alone knows what happened
                raise
        self._groups = self._saved = after


def _wanting_less(group: Group, count: int) -> ResourceGroupConfig:
    """The default group has what is left over: it wants nothing by itself."""
    if group.name == DEFAULT_RESOURCE_GROUP:
        return group.config
    less = max(0, group.requests - count), max(0, group.limits - count)
    return msgspec.structs.replace(group.config, requests=less[0], limits=less[1])


def _wanting_more(group: Group, count: int) -> ResourceGroupConfig:
    if group.name == DEFAULT_RESOURCE_GROUP:
        return group.config
    more = min(group.requests + count, MOST_NODES)
    return msgspec.structs.replace(group.config, requests=more, limits=max(group.limits, more))
