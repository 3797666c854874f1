"""What a server lets through, as metrics: rates that are set, what is denied, what waits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from redkite.model.quotas import MEGABYTE, WRITES, Quotas
from redkite.server.calls import Calls
from redkite.server.exposition import NODE, Sample
from redkite.server.metrics import EDGES, MILLISECONDS

_RATES: Final = {
    "insert": "DMLInsert", "upsert": "DMLUpsert", "delete": "DMLDelete", "bulk_load": "DMLBulkLoad",
    "search": "DQLSearch", "query": "DQLQuery", "database_changes": "DDLDB", "collection_changes": "DDLCollection",
    "partition_changes": "DDLPartition", "index_changes": "DDLIndex", "flush": "DDLFlush",
    "compaction": "DDLCompaction",
}  # fmt: skip
_STATES: Final = {2: "ReadLimited", 3: "WriteLimited", 4: "DenyToRead", 5: "DenyToWrite", 6: "DenyToDDL"}


def limit_samples(quotas: Quotas) -> Iterator[Sample]:
    """Rates over everything that are set; of writes in bytes a second."""
    for kind, name in _RATES.items():
        rate = getattr(quotas, kind).cluster
        if rate >= 0:
            labels = (NODE, ("collection_id", "cluster"), ("msg_type", name))
            scale = MEGABYTE if kind in WRITES else 1
            yield Sample("milvus_proxy_limiter_rate", "Rates over everything that are set.", rate * scale, labels)
            if kind == "insert":
                scope = (NODE, ("scope", "cluster"))
                yield Sample("milvus_proxy_max_insert_rate", "Bytes of inserts a second.", rate * scale, scope)


def state_samples(states: Iterable[int]) -> Iterator[Sample]:
    """What is denied or limited now."""
    for state in states:
        labels = (("quota_states", _STATES.get(state, str(state))),)
        yield Sample("milvus_rootcoord_quota_states", "What is limited or denied now.", 1, labels)


def queue_samples(calls: Calls) -> Iterator[Sample]:
    """Calls that have come and are not answered: those that wait for a thread."""
    labels = (NODE, ("queue_type", "calls"), ("task_state", "unissued"))
    yield Sample("milvus_proxy_queue_task_num", "Requests that wait for a thread.", calls.waiting, labels)
    name, text = "milvus_proxy_req_in_queue_latency", "Milliseconds that requests have waited for a thread."
    for method, waited in calls.waited.items():
        of = (NODE, ("function_name", method))
        below = list(accumulate(waited.bins, initial=0))
        for bound in MILLISECONDS:
            end = EDGES.index(bound / 1000) + 1
            yield Sample(f"{name}_bucket", text, below[end], (*of, ("le", str(bound))), "histogram", name)
        yield Sample(f"{name}_bucket", text, waited.total, (*of, ("le", "+Inf")), "histogram", name)
        yield Sample(f"{name}_sum", text, waited.seconds * 1000, of, "histogram", name)
        yield Sample(f"{name}_count", text, waited.total, of, "histogram", name)
