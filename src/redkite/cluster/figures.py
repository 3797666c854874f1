"""What a node says of itself in numbers, read when somebody asks: each is one line of a metrics page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from redkite.coordinator.broadcast import Waits
from redkite.coordinator.pchannels import PChannel
from redkite.storage.cached_objects import CacheFigures

Labels = tuple[tuple[str, str], ...]


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
    kind: Literal["gauge", "counter"] = "gauge"


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
