"""The state of a cluster for people: tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from redkite.cluster.config import ROLES
from redkite.launch.runtime import Placed
from redkite.launch.status import ClusterStatus, NodeStatus

_MIB: Final = 1 << 20


def table(status: ClusterStatus, *, channels: bool = False) -> str:
    """All nodes with what is wrong with each; with `channels`, who owns which."""
    lines = [_headline(status), ""]
    nodes = sorted(status.nodes, key=lambda node: (ROLES.index(_role(node)), node.node_id))
    lines += _columns(
        ("NODE", "ROLE", "STATE", "CHANNELS", "VERSION", "ADDRESS", "CLIENTS", "UP", "MEMORY", "HOST"),
        [_row(node) for node in nodes],
    )
    reasons = [f"  node {node.node_id} ({node.role}): {reason}" for node in nodes for reason in node.health]
    reasons = [f"  {problem}" for problem in status.problems] + reasons
    if reasons:
        lines += ["", "Not well:", *reasons]
    if channels:
        rows = [(c.name, c.state, str(c.node_id or "-"), str(c.term)) for c in status.channels]
        lines += ["", *_columns(("CHANNEL", "STATE", "OWNER", "TERM"), rows)]
    return "\n".join(lines)


def places(placed: Mapping[str, Placed], faults: Mapping[str, str]) -> str:
    """What a runtime looks after, where etcd cannot be asked."""
    rows = [
        (one.name, one.stage, one.where or "-", one.address or "-", str(one.restarts), one.error or "-")
        for one in sorted(placed.values(), key=lambda one: one.name)
    ]
    lines = list(_columns(("PLACE", "STATE", "WHERE", "ADDRESS", "RESTARTS", "SAID"), rows))
    lines += [f"{name}: {fault}" for name, fault in faults.items() if fault]
    return "\n".join(lines)


def _headline(status: ClusterStatus) -> str:
    well = "well" if status.is_well else "not well"
    owned = sum(channel.state == "assigned" for channel in status.channels)
    leader = f"node {status.leader} leads" if status.leader else "nobody leads"
    return (
        f"Cluster '{status.name}' is {well}: {len(status.nodes)} nodes, {leader}, {owned} of {len(status.channels)} "
        "channels owned"
    )


def _row(node: NodeStatus) -> tuple[str, ...]:
    state = "drained" if node.drained else "draining" if node.draining else "well" if not node.health else "not well"
    return (
        str(node.node_id), node.role + (" (leads)" if node.leads else ""), state,
        str(node.channels) if node.role == "streaming" else "-", node.version, node.address,
        f"port {node.port}" if node.port else "-", _age(node.up_seconds),
        f"{node.resident_bytes / _MIB:.0f} MB" if node.resident_bytes else "-", node.host,
    )  # fmt: skip


def _role(node: NodeStatus) -> str:
    return node.role if node.role in ROLES else ROLES[-1]


def _age(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _columns(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    whole = [tuple(titles), *map(tuple, rows)]
    widths = [max(len(row[n]) for row in whole) for n in range(len(titles))]
    for row in whole:
        yield "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
