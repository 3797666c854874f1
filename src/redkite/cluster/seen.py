"""The query nodes that live, as those see them who report about all nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import overload

import msgspec

from redkite.cluster.membership import Membership, NodeRecord
from redkite.model.placement import NodeInfo


class SeenQueryNode(msgspec.Struct, frozen=True):
    """A query node, as the coordinator knows it."""

    node_id: int
    address: str = ""
    pruned: int = 0


class SeenQueryNodes(Sequence[SeenQueryNode]):
    """Those that live now."""

    def __init__(self, members: Membership) -> None:
        self._members = members

    def _now(self) -> list[SeenQueryNode]:
        return [SeenQueryNode(record.node_id, record.address) for record in self._members.nodes("query")]

    @overload
    def __getitem__(self, at: int) -> SeenQueryNode: ...

    @overload
    def __getitem__(self, at: slice) -> list[SeenQueryNode]: ...

    def __getitem__(self, at: int | slice) -> SeenQueryNode | list[SeenQueryNode]:
        return self._now()[at]

    def __len__(self) -> int:
        return len(self._now())

    def __iter__(self) -> Iterator[SeenQueryNode]:
        return iter(self._now())


def serving_nodes(records: Collection[NodeRecord]) -> tuple[NodeInfo, ...]:
    """Query nodes, as others speak of them."""
    return tuple(
        NodeInfo(node_id=r.node_id, address=r.address, hostname=r.host, labels=r.labels)
        for r in records
        if r.role == "query"
    )
