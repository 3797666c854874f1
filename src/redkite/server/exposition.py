"""The text that Prometheus reads: Redkite's own metrics and, of the same numbers, those of Milvus by their names.

Only what is counted is there: no metric stands at zero because nobody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import accumulate
from typing import Final, NamedTuple

from redkite.server.metrics import (
    CANCEL,
    EDGES,
    MILLISECONDS,
    OK,
    SECONDS,
    SIZES,
    SYSTEM,
    USER,
    Counted,
    Counts,
    Kind,
)

NODE: Final = ("node_id", "1")
"""The proxy's, where Milvus has a label for it."""
_READS: Final = {"Search": "search", "HybridSearch": "hybrid_search", "Query": "query"}
_WRITES: Final = {"Insert": "insert", "Upsert": "upsert", "Delete": "delete"}
_TYPES: Final = {**_READS, **_WRITES}
_DEFINITIONS: Final = frozenset({
    "CreateCollection", "DropCollection", "HasCollection", "DescribeCollection", "ShowCollections", "AlterCollection",
    "RenameCollection", "CreatePartition", "DropPartition", "HasPartition", "ShowPartitions", "CreateAlias",
    "DropAlias", "AlterAlias", "DescribeAlias", "ListAliases", "CreateDatabase", "DropDatabase", "ListDatabases",
    "AlterDatabase", "DescribeDatabase",
})  # fmt: skip
_LOADS: Final = frozenset({"LoadCollection", "LoadPartitions"})
_RELEASES: Final = frozenset({"ReleaseCollection", "ReleasePartitions"})
_INDEXES: Final = frozenset({"CreateIndex"})
_FLUSHES: Final = frozenset({"Flush", "FlushAll"})
_CAUSES: Final = {USER: "user", SYSTEM: "system"}

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One number of a metric that is read when it is asked for."""

    name: str
    help: str
    value: float
    labels: Labels = ()
    kind: str = "gauge"
    family: str = ""
    """What it belongs to, where that has another name: the parts of a histogram."""


class Text:
    """Families of metrics, one behind another, in the format of version 0.0.4."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, text: str, values: Mapping[Labels, float]) -> None:
        """A counter or gauge; nothing is written of one that has no values."""
        if values:
            self._head(name, kind, text)
            self._lines += [f"{name}{_braces(labels)} {_number(value)}" for labels, value in values.items()]

    def histogram(
        self, name: str, text: str, values: Mapping[Labels, Counts], bounds: Iterable[float], scale: float
    ) -> None:
        """`scale`: of these bounds make one second."""
        if not values:
            return
        self._head(name, "histogram", text)
        bounds = tuple(bounds)
        ends = [EDGES.index(bound / scale) + 1 for bound in bounds]
        for labels, counts in values.items():
            below = list(accumulate(counts.bins, initial=0))
            for bound, end in zip(bounds, ends, strict=True):
                self._lines.append(f"{name}_bucket{_braces((*labels, ('le', f'{bound}')))} {below[end]}")
            self._lines.append(f"{name}_bucket{_braces((*labels, ('le', '+Inf')))} {counts.total}")
            self._lines.append(f"{name}_sum{_braces(labels)} {counts.seconds * scale:.6f}")
            self._lines.append(f"{name}_count{_braces(labels)} {counts.total}")

    def sizes(self, name: str, text: str, values: Mapping[Labels, tuple[list[int], int]]) -> None:
        """A histogram of numbers by `SIZES`: how often, and their sum."""
        values = {labels: found for labels, found in values.items() if any(found[0])}
        if not values:
            return
        self._head(name, "histogram", text)
        for labels, (bins, total) in values.items():
            for bound, below in zip((*map(str, SIZES), "+Inf"), accumulate(bins), strict=True):
                self._lines.append(f"{name}_bucket{_braces((*labels, ('le', bound)))} {below}")
            self._lines.append(f"{name}_sum{_braces(labels)} {total}")
            self._lines.append(f"{name}_count{_braces(labels)} {sum(bins)}")

    def samples(self, samples: Iterable[Sample]) -> None:
        """Families of samples, put together by their names."""
        families: dict[str, dict[tuple[str, Labels], Sample]] = {}
        for sample in samples:
            families.setdefault(sample.family or sample.name, {})[sample.name, sample.labels] = sample
        for name, found in families.items():
            first = next(iter(found.values()))
            self._head(name, first.kind, first.help)
            self._lines += [f"{one.name}{_braces(one.labels)} {_number(one.value)}" for one in found.values()]

    def _head(self, name: str, kind: str, text: str) -> None:
        self._lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def exposition(counted: Counted, samples: Iterable[Sample] = ()) -> str:
    """Everything as text."""
    text = Text()
    _own(text, counted)
    _proxy(text, counted)
    _coordinators(text, counted)
    text.samples([*(Sample(*figure) for figure in counted.engine), *samples])
    return str(text)


def _own(text: Text, counted: Counted) -> None:
    calls = _grouped(counted, lambda kind: (("protocol", kind.protocol), ("method", kind.method)))
    text.family("redkite_requests_total", "counter", "Requests answered.", {k: c.total for k, c in calls.items()})
    text.family(
        "redkite_request_errors_total", "counter", "Requests answered with an error.",
        {k: c.failed for k, c in calls.items()},
    )  # fmt: skip
    text.family(
        "redkite_requests_refused_total", "counter", "Requests that a rate or a quota did not let pass.",
        {k: c.refused for k, c in calls.items() if c.refused},
    )  # fmt: skip
    text.histogram("redkite_request_seconds", "Time from the whole request to its answer.", calls, SECONDS, 1)
    rows = sum(c.rows for _, c in counted.calls)
    text.family("redkite_rows_written_total", "counter", "Rows of inserts and upserts that were asked for.", {(): rows})
    text.family(
        "redkite_audit_lines_lost_total", "counter", "Requests that the audit log could not keep.",
        {(): counted.audit_lost},
    )  # fmt: skip


def _proxy(text: Text, counted: Counted) -> None:
    by_function = _grouped(counted, lambda k: (NODE, ("function_name", k.rpc)) if k.rpc else None)
    text.family("milvus_proxy_req_count", "counter", "Requests by function and outcome.", _outcomes(counted))
    text.histogram("milvus_proxy_req_latency", "Milliseconds of requests.", by_function, MILLISECONDS, 1000)
    by_grpc = _grouped(
        counted, lambda k: (NODE, ("function_name", k.method)) if k.protocol == "grpc" and k.rpc else None
    )
    text.histogram("milvus_proxy_grpc_latency", "Milliseconds of requests over gRPC.", by_grpc, MILLISECONDS, 1000)
    text.family(
        "milvus_proxy_user_rpc_count", "counter", "Requests by who made them.",
        {(("username", user),): calls for user, calls in counted.users.items()},
    )  # fmt: skip
    text.histogram(
        "milvus_proxy_sq_latency", "Milliseconds of searches and queries.",
        _grouped(counted, lambda k: _typed(k, _READS, "query_type", "db_name", "collection_name")), MILLISECONDS, 1000,
    )  # fmt: skip
    text.histogram(
        "milvus_proxy_collection_sq_latency", "Milliseconds of searches and queries, by collection.",
        _grouped(counted, lambda k: _typed(k, _READS, "query_type", "collection_name")), MILLISECONDS, 1000,
    )  # fmt: skip
    text.histogram(
        "milvus_proxy_mutation_latency", "Milliseconds of writes.",
        _grouped(counted, lambda k: _typed(k, _WRITES, "msg_type", "db_name", "collection_name")), MILLISECONDS, 1000,
    )  # fmt: skip
    text.family(
        "milvus_proxy_rate_limit_req_count", "counter", "Requests that may be limited, by outcome.", _limited(counted)
    )
    _vectors(text, counted)
    reads = _grouped(counted, lambda k: _typed(k, _READS, "query_type", "db_name", "collection_name"))
    text.family(
        "milvus_proxy_slow_query_count", "counter", "Searches and queries over the limit of the slow-query log.",
        {labels: c.slow for labels, c in reads.items() if c.slow},
    )  # fmt: skip
    moved = _grouped(counted, lambda k: _typed(k, _TYPES, "msg_type", "db_name", "collection_name"))
    text.family(
        "milvus_proxy_receive_bytes_count", "counter", "Bytes of requests.",
        {labels: c.received for labels, c in moved.items()},
    )  # fmt: skip
    text.family(
        "milvus_proxy_send_bytes_count", "counter", "Bytes of answers.", {labels: c.sent for labels, c in moved.items()}
    )
    rest = _grouped(counted, lambda k: (NODE, ("path", _path(k.method))) if k.protocol == "rest" else None)
    text.family(
        "milvus_proxy_restful_api_req_count", "counter", "Requests of REST.", {k: c.total for k, c in rest.items()}
    )
    text.histogram(
        "milvus_proxy_restful_api_req_latency", "Milliseconds of requests of REST.", rest, MILLISECONDS, 1000
    )


def _path(method: str) -> str:
    """Of REST's second version the method is what stands behind its base; of the first, the whole path."""
    return method if method.startswith("/") else f"/v2/vectordb/{method}"


def _vectors(text: Text, counted: Counted) -> None:
    """Queries and rows."""
    for rpc, name, what in (
        ("Insert", "insert_vectors_count", "Rows inserted."),
        ("Upsert", "upsert_vectors_count", "Rows upserted."),
        ("Delete", "delete_vectors_count", "Rows deleted."),
    ):
        done = _grouped(counted, _only({rpc}, _named))
        text.family(f"milvus_proxy_{name}", "counter", what, {k: c.done for k, c in done.items()})
    searched = _grouped(
        counted, lambda k: _typed(k, {r: t for r, t in _READS.items() if r != "Query"}, "query_type", "db_name",
                                  "collection_name"),
    )  # fmt: skip
    queries = {labels: c.queries for labels, c in searched.items()}
    text.family(
        "milvus_proxy_search_vectors_count", "counter", "Query vectors that were answered.",
        {labels: c.done for labels, c in searched.items()},
    )  # fmt: skip
    text.family("milvus_proxy_received_nq", "counter", "Query vectors that were asked.", queries)


def _coordinators(text: Text, counted: Counted) -> None:
    """Calls that define, load and index."""
    name = "milvus_rootcoord_ddl_req"
    text.family(f"{name}_count", "counter", "Definitions by function and outcome.", _by_status(counted, _DEFINITIONS))
    functions = _grouped(counted, _only(_DEFINITIONS, lambda k: (("function_name", k.rpc),)))
    text.histogram(f"{name}_latency", "Milliseconds of definitions.", functions, MILLISECONDS, 1000)
    for name, rpcs in (("load", _LOADS), ("release", _RELEASES)):
        prefix = f"milvus_querycoord_{name}"
        text.family(f"{prefix}_req_count", "counter", f"Calls to {name}.", _by_status(counted, rpcs, named=False))
        found = _grouped(counted, _only(rpcs, lambda _: ()))
        text.histogram(f"{prefix}_latency", f"Milliseconds of calls to {name}.", found, MILLISECONDS, 1000)
    flushes = _by_status(counted, _FLUSHES, named=False)
    text.family(
        "milvus_datanode_flush_req_count", "counter", "Calls to flush.",
        {(NODE, *labels): calls for labels, calls in flushes.items()},
    )  # fmt: skip
    _query_node(text, counted)
    made = _by_status(counted, _INDEXES, named=False)
    text.family("milvus_datacoord_index_req_count", "counter", "Calls to create indexes.", made)


def _query_node(text: Text, counted: Counted) -> None:
    """Reads. One that was refused for what it asks never came to a query node."""
    reads = _grouped(counted, lambda k: _typed(k, _READS, "query_type"))
    requests: dict[Labels, float] = {}
    for labels, counts in reads.items():
        reached = counts.ends[OK] + counts.ends[SYSTEM] + counts.ends[CANCEL]
        ends = (("total", reached), ("success", counts.ends[OK]), ("fail", counts.ends[SYSTEM]))
        requests |= {(*labels, ("status", status)): calls for status, calls in ends}
    prefix = "milvus_querynode_"
    text.family(f"{prefix}sq_req_count", "counter", "Searches and queries by their outcome.", requests)
    searches = _grouped(counted, lambda k: (NODE,) if k.rpc in ("Search", "HybridSearch") else None)
    text.sizes(
        f"{prefix}search_nq", "Searches by their number of queries.",
        {labels: (c.nqs, c.queries) for labels, c in searches.items()},
    )  # fmt: skip
    text.sizes(
        f"{prefix}search_topk", "Searches by how many hits they want of each query.",
        {labels: (c.limits, c.wanted) for labels, c in searches.items()},
    )  # fmt: skip


def _by_status(counted: Counted, rpcs: frozenset[str], *, named: bool = True) -> dict[Labels, float]:
    """Calls of some functions by their names, if wanted, and how they ended."""
    found: dict[Labels, float] = {}
    for kind, counts in counted.calls:
        if kind.rpc in rpcs:
            name: Labels = (("function_name", kind.rpc),) if named else ()
            ends = (("total", counts.total), ("success", counts.ends[OK]), ("fail", counts.failed))
            for status, calls in ends:
                labels = (*name, ("status", status))
                found[labels] = found.get(labels, 0) + calls
    return found


def _limited(counted: Counted) -> dict[Labels, float]:
    """Calls of functions of which some were refused for a rate or a quota."""
    found: dict[Labels, float] = {}
    functions = {kind.rpc for kind, counts in counted.calls if counts.refused}
    for kind, counts in counted.calls:
        if kind.rpc in functions:
            passed = counts.total - counts.refused
            for status, calls in (("total", counts.total), ("success", passed), ("fail", counts.refused)):
                labels = (NODE, ("msg_type", kind.rpc), ("status", status))
                found[labels] = found.get(labels, 0) + calls
    return found


def _outcomes(counted: Counted) -> dict[Labels, float]:
    """Calls by their status and its cause."""
    found: dict[Labels, float] = {}

    def count(kind: Kind, status: str, cause: str, calls: int) -> None:
        labels = (
            NODE, ("function_name", kind.rpc), ("status", status), ("cause", cause), ("db_name", kind.database),
            ("collection_name", kind.collection),
        )  # fmt: skip
        found[labels] = found.get(labels, 0) + calls

    for kind, counts in counted.calls:
        if not kind.rpc:
            continue
        count(kind, "total", "na", counts.total)
        for status, end in (("success", OK), ("cancel", CANCEL)):
            if counts.ends[end]:
                count(kind, status, "na" if end == OK else "cancel", counts.ends[end])
        for end, cause in _CAUSES.items():
            if counts.ends[end]:
                count(kind, "fail", cause, counts.ends[end])
    return found


def _only(rpcs: AbstractSet[str], labels_of: Callable[[Kind], Labels]) -> Callable[[Kind], Labels | None]:
    """Labels of the calls of some functions alone."""
    return lambda kind: labels_of(kind) if kind.rpc in rpcs else None


def _grouped(counted: Counted, labels_of: Callable[[Kind], Labels | None]) -> dict[Labels, Counts]:
    """Sums by labels, of the calls that have any."""
    found: dict[Labels, Counts] = {}
    for kind, counts in counted.calls:
        labels = labels_of(kind)
        if labels is not None:
            found.setdefault(labels, Counts()).add(counts)
    return found


def _typed(kind: Kind, types: Mapping[str, str], label: str, *more: str) -> Labels | None:
    if kind.rpc not in types:
        return None
    named = {"db_name": kind.database, "collection_name": kind.collection}
    return (NODE, (label, types[kind.rpc]), *((name, named[name]) for name in more))


def _named(kind: Kind) -> Labels:
    return (NODE, ("db_name", kind.database), ("collection_name", kind.collection))


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6f}"
