"""What a node says of itself in numbers, read when somebody asks: each is one line of a metrics page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from redkite.coordinator.broadcast import Waits
from redkite.coordinator.pchannels import PChannel
from redkite.model.timestamps import LOGICAL_BITS
from redkite.node.counted_objects import Kind as Operation
from redkite.node.counted_objects import Operations
from redkite.node.shard import Shard
from redkite.query.timing import BOUNDS, Bins, ReadTimes
from redkite.storage.cached_objects import CacheFigures

Labels = tuple[tuple[str, str], ...]

_SCOPES: Final = "OnLeader with what is growing, FromLeader sealed segments alone"


ROLE_NAMES: Final[Mapping[str, str]] = {
    "coordinator": "mixcoord", "streaming": "streamingnode", "query": "querynode", "data": "datanode", "proxy": "proxy",
}  # fmt: skip
"""Roles as Milvus's metrics call them."""


class Figure(NamedTuple):
    """One number of a metric."""

    name: str
    help: str
    value: float
    labels: Labels = ()
    kind: Literal["gauge", "counter", "histogram"] = "gauge"
    family: str = ""
    """What it belongs to, where that has another name: the parts of a histogram."""


def lasting(name: str, text: str, found: Iterable[Bins], labels: Labels) -> Iterator[Figure]:
    """A histogram of durations, the sum of several; nothing while nothing was done."""
    every = list(found)
    bins = [sum(counts) for counts in zip(*(one.bins for one in every), strict=True)]
    total = sum(bins)
    if not total:
        return
    bounds = (*(str(2**power) for power in range(BOUNDS)), "+Inf")
    for bound, below in zip(bounds, accumulate(bins), strict=True):
        yield Figure(f"{name}_bucket", text, below, (*labels, ("le", bound)), "histogram", name)
    yield Figure(f"{name}_sum", text, sum(one.milliseconds for one in every), labels, "histogram", name)
    yield Figure(f"{name}_count", text, total, labels, "histogram", name)


def read_steps(node_id: int, times: ReadTimes) -> Iterator[Figure]:
    """How long reads took in a query node, by Milvus's names."""
    prefix, text = "milvus_querynode_sq_", "Milliseconds of reads in"
    searches, queries = ((("node_id", str(node_id)), ("query_type", kind)) for kind in ("search", "query"))
    of_owner = ("scope", "FromLeader")
    for labels, found in ((searches, (times.searches, times.straight)), (queries, (times.queries,))):
        yield from lasting(f"{prefix}req_latency", f"{text} nodes: {_SCOPES}.", found, (*labels, of_owner))
        # A query node has no queue: from the question to the answer it works on segments.
        yield from lasting(f"{prefix}core_latency", f"{text} the sealed segments of a query node.", found, labels)
    sealed = (*searches, ("segment_state", "Sealed"))
    yield from lasting(f"{prefix}segment_latency", "Milliseconds of searches in a segment.", (times.segments,), sealed)
    text = "Milliseconds of making one answer of what was found in segments."
    reduced = (*searches, ("reduce_type", "segments"))
    yield from lasting(f"{prefix}reduce_latency", text, (times.reductions,), reduced)
    text = "Searches of a segment that were done again by comparing rows, because its index had found too few."
    yield Figure("milvus_proxy_retry_search_cnt", text, times.redone, searches, "counter")


def asked_steps(node_id: int, times: ReadTimes, nodes: Iterable[ReadTimes]) -> Iterator[Figure]:
    """How long all shards of a read took together, growing segments among them. `nodes`: of this process."""
    name, text = "milvus_querynode_sq_req_latency", f"Milliseconds of reads in nodes: {_SCOPES}."
    straight = [node.straight for node in nodes]
    for kind, found in (("search", [times.searches, *straight]), ("query", [times.queries])):
        labels = (("node_id", str(node_id)), ("query_type", kind), ("scope", "OnLeader"))
        yield from lasting(name, text, found, labels)


def storage_of(counted: Iterable[tuple[Operation, Operations]]) -> Iterator[Figure]:
    """What was asked of the store of objects, by Milvus's names."""
    prefix = "milvus_storage_"
    for kind, found in counted:
        of: Labels = (("persistent_data_op_type", kind),)
        done = found.lasted.total
        for status, count in (("total", done + found.failed), ("success", done), ("fail", found.failed)):
            labels = (*of, ("status", status))
            yield Figure(f"{prefix}op_count", "Operations on stored objects.", count, labels, "counter")
        text = "Milliseconds of operations on stored objects; to map one is to read it."
        yield from lasting(f"{prefix}request_latency", text, (found.lasted,), of)
        yield from lasting(f"{prefix}kv_size", "Bytes of objects that were read or written.", (found.sizes,), of)


def progress_of(node_id: int, shards: Iterable[Shard], now_ms: int) -> Iterator[Figure]:
    """How far behind the writes of open shards what can be read is, and what is sealed."""
    text = "Milliseconds since the oldest write that is logged, or about to be, and cannot be read yet; 0 when none is."
    for shard in shards:
        first, until = shard.under_way, shard.sealed_until(now_ms)
        node, channel = ("node_id", str(node_id)), ("channel_name", shard.channel)
        if first != 0:
            lag = 0 if first is None else max(0, now_ms - (first >> LOGICAL_BITS))
            yield Figure("milvus_proxy_tt_lag_ms", text, lag, (node, channel))
            about = (node, channel, ("collection_id", str(shard.collection.collection_id)))
            yield Figure("milvus_querynode_consume_tt_lag_ms", text, lag, about)
        if until is not None and first != 0:
            until = until if first is None else min(until, first >> LOGICAL_BITS)
            since = "Seconds since 1970 up to which what was written to a channel is in sealed segments."
            yield Figure("milvus_datacoord_channel_checkpoint_unix_seconds", since, until / 1000, (node, channel))


class Took(NamedTuple):
    """How often something was done, and the seconds it took: all together, and the last time."""

    times: int = 0
    seconds: float = 0.0
    last: float = 0.0

    def and_one(self, seconds: float) -> Took:
        return Took(self.times + 1, self.seconds + seconds, seconds)


def taken(name: str, what: str, took: Took) -> Iterator[Figure]:
    """Of something that a node does now and then."""
    yield Figure(f"{name}_total", f"How often {what}.", took.times, (), "counter")
    yield Figure(f"{name}_seconds_total", f"Seconds in which {what}, together.", took.seconds, (), "counter")
    yield Figure(f"{name}_seconds_last", f"Seconds in which {what}, the last time.", took.last)


def channels_of(channels: Mapping[str, PChannel]) -> Iterator[Figure]:
    """The terms of channels; those that nobody owns have no node."""
    for name, channel in sorted(channels.items()):
        node = str(channel.node_id) if channel.is_owned else ""
        labels = (("channel", name), ("owner", node))
        yield Figure("redkite_channel_term", "How often the channel was given to a node.", channel.term, labels)


def waits_of(waits: Mapping[str, Waits]) -> Iterator[Figure]:
    """How long changes waited for what they are about, by its kind."""
    for kind, one in sorted(waits.items()):
        labels = (("kind", kind),)
        name, text = "redkite_lock", "Keys that changes took"
        yield Figure(f"{name}_taken_total", f"{text}.", one.taken, labels, "counter")
        yield Figure(f"{name}_waited_total", f"{text} and had to wait for.", one.waited, labels, "counter")
        text = "Seconds that changes waited for keys"
        yield Figure(f"{name}_wait_seconds_total", f"{text}, together.", one.seconds, labels, "counter")
        yield Figure(f"{name}_wait_seconds_longest", f"{text}, the longest time.", one.longest, labels)


class Piece(NamedTuple):
    """A segment that reads look at on this node."""

    collection_id: int
    rows: int
    size: int
    """Bytes."""


def segments_of(node_id: int, state: str, pieces: Iterable[Piece]) -> Iterator[Figure]:
    """By Milvus's names, for each collection; `state`: `Growing` or `Sealed`. Collections have numbers here and no
    names, because anybody may ask a node that is not for clients."""
    segments, rows, sizes = Counter[int](), Counter[int](), Counter[int]()
    for piece in pieces:
        segments[piece.collection_id] += 1
        rows[piece.collection_id] += piece.rows
        sizes[piece.collection_id] += piece.size
    for collection_id in sorted(segments):
        labels = (("node_id", str(node_id)), ("collection_id", str(collection_id)), ("segment_state", state))
        for name, text, found in (
            ("segment_num", "Segments that reads look at on this node.", segments),
            ("entity_num", "Rows of segments that reads look at on this node, deleted ones included.", rows),
            ("entity_size", "Bytes of segments that reads look at on this node, with their indexes.", sizes),
        ):
            yield Figure(f"milvus_querynode_{name}", text, found[collection_id], labels)


def rows_of(rows: Mapping[int, int], is_loaded: Callable[[int], bool]) -> Iterator[Figure]:
    """Rows that are there, by collection, of the shards that a node answers for: all owners together have all."""
    text = "Rows of the shards that this node owns."
    yield Figure("redkite_rows", text, sum(rows.values()))
    for collection_id, count in sorted(rows.items()):
        for status in ("total", "loaded") if is_loaded(collection_id) else ("total",):
            labels = (("collection_id", str(collection_id)), ("status", status))
            yield Figure("milvus_rootcoord_entity_num", text, count, labels)


def cache_of(found: CacheFigures) -> Iterator[Figure]:
    """The cache of objects on this node's disk."""
    name = "redkite_object_cache"
    yield Figure(f"{name}_bytes", "Bytes of objects on this node's disk.", found.held_bytes)
    yield Figure(f"{name}_objects", "Objects on this node's disk.", found.objects)
    yield Figure(f"{name}_hits_total", "Reads of objects that were there.", found.hits, (), "counter")
    yield Figure(f"{name}_fetched_total", "Objects that were fetched.", found.fetched, (), "counter")
    yield Figure(f"{name}_fetched_bytes_total", "Bytes of them.", found.fetched_bytes, (), "counter")
    yield Figure(f"{name}_evicted_total", "Objects that gave place to others.", found.evicted, (), "counter")
    yield Figure(f"{name}_uncached_total", "Reads past the cache, for want of room.", found.uncached, (), "counter")
