"""What a cluster takes: nodes, memory, requests to the store, money, for so many vectors and so much traffic.

A model of few constants, each measured (`benchmarks/results`) or named as a price. It is for plans: the first thing
that real data of your own tells you differently should replace a constant.

    size(Load(vectors=100_000_000, dim=768, searches=200)).query_nodes
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Final, Literal

import msgspec

from redkite.errors import InvalidParameter

GB: Final = 10**9
MONTH_SECONDS: Final = 730 * 3600
Kind = Literal["HNSW", "DISKANN"]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, on two cores of a server, vectors of 128 numbers unless said otherwise."""

    stored_ratio: float = 1.015
    """Bytes of rows in the store, to raw ones."""
    row_bytes: int = 16
    """Key and timestamp of a row."""
    graph_bytes: int = 152
    """Links, level and place of a row in an HNSW of M = 16; its vector stands beside them in half precision."""
    diskann_bits: float = 2.5
    """In memory, for each number of a vector, where the vectors themselves stay on disk."""
    build_core_seconds: float = 280e-6
    """A row of an HNSW of M = 16, efConstruction = 200."""
    insert_core_seconds: float = 4.6e-6
    """A row through gRPC, decoded, checked, logged and applied."""
    search_core_seconds: float = 0.45e-3
    """A search at the proxy: read, planned, answered."""
    hop_core_seconds: float = 0.86e-3
    """Asking another node and being answered: both sides, on a busy machine."""
    segment_core_seconds: float = 76e-6
    """A search of one segment at a recall of .96."""
    node_bytes: int = 200_000_000
    """A node without data."""
    segment_objects: int = 3
    """Rows, keys in order, an index."""
    rewrites: float = 3.0
    """How often a row is written anew by compactions until its segment is full."""


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """In US dollars, about what large clouds ask without a contract."""

    core_hour: float = 0.04
    memory_gb_hour: float = 0.003
    disk_gb_month: float = 0.08
    """Of fast local disks."""
    object_gb_month: float = 0.023
    thousand_puts: float = 0.005
    thousand_gets: float = 0.0004


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a cluster."""

    vectors: int
    dim: int = 768
    scalar_bytes: int = 100
    """Of the other fields of a row."""
    searches: float = 100.0
    """A second, at the busiest time."""
    inserts: float = 100.0
    """Rows a second, on average."""
    replicas: int = 1
    index: Kind = "HNSW"
    segment_rows: int = 1_048_576
    """`seal_rows`; `seal_bytes` has to leave room for it."""
    loads_a_month: float = 4.0
    """How often every segment is read from the store: new nodes, restarts without a cache."""
    host_cores: int = 8
    host_memory: int = 64 * GB
    usable: float = 0.75
    """The part of a host's memory and cores that is planned for."""

    def __post_init__(self) -> None:
        for name in ("vectors", "dim", "replicas", "segment_rows", "host_cores", "host_memory"):
            if getattr(self, name) < 1:
                raise InvalidParameter(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("scalar_bytes", "searches", "inserts", "loads_a_month"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InvalidParameter(f"{name} must be 0 or more, not {getattr(self, name)}")
        if not 0 < self.usable <= 1:
            raise InvalidParameter(f"usable must be more than 0 and at most 1, not {self.usable}")


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """What that takes. Bytes are of all nodes together, requests and dollars a month's."""

    segments: int
    stored_bytes: int
    """In the store of objects, indexes included."""
    memory_bytes: int
    """Of query nodes, to search without waiting for a disk."""
    disk_bytes: int
    """Of their caches."""
    query_nodes: int
    streaming_nodes: int
    data_nodes: int
    proxies: int
    coordinators: int
    pchannels: int
    puts: int
    gets: int
    dollars: float

    @property
    def nodes(self) -> int:
        return self.query_nodes + self.streaming_nodes + self.data_nodes + self.proxies + self.coordinators


_MEASURED: Final = Measured()
_PRICES: Final = Prices()


def row_bytes(load: Load, measured: Measured = _MEASURED) -> float:
    """A row in the store, without indexes."""
    return measured.stored_ratio * (4 * load.dim + load.scalar_bytes + measured.row_bytes)


def index_bytes(load: Load, measured: Measured = _MEASURED) -> float:
    """A row's part of an index, in memory and in the store."""
    if load.index == "DISKANN":
        return load.dim * measured.diskann_bits / 8
    return 2 * load.dim + measured.graph_bytes


def size(load: Load, measured: Measured = _MEASURED, prices: Prices = _PRICES) -> Size:
    """What a cluster takes for a load."""
    segments = ceil(load.vectors / load.segment_rows)
    stored = load.vectors * (row_bytes(load, measured) + index_bytes(load, measured))
    # A graph's winners are compared exactly: their vectors want to be in memory, too. DISKANN reads them from disk.
    held = index_bytes(load, measured) + (0 if load.index == "DISKANN" else 4 * load.dim)
    memory = load.vectors * held * load.replicas
    room = load.host_memory * load.usable - measured.node_bytes
    cores = load.host_cores * load.usable
    width = (load.dim / 128) ** 0.5
    query_cores = load.searches * segments * measured.segment_core_seconds * width
    query_nodes = max(load.replicas * ceil(memory / load.replicas / room), ceil(query_cores / cores), 2)
    asked = max(1, query_nodes // load.replicas)
    insert_cores = load.inserts * measured.insert_core_seconds * load.dim / 128
    streaming_cores = insert_cores + load.searches * asked * measured.hop_core_seconds
    proxy_cores = load.searches * (measured.search_core_seconds + measured.hop_core_seconds) + insert_cores
    build_cores = load.inserts * measured.build_core_seconds * (load.dim / 128) * (1 + measured.rewrites)
    streaming, proxies = max(2, ceil(streaming_cores / cores)), max(2, ceil(proxy_cores / cores))
    data = max(1, ceil(build_cores / cores))
    rewritten = load.inserts * MONTH_SECONDS / load.segment_rows * (1 + measured.rewrites)
    puts = ceil(rewritten * measured.segment_objects)
    gets = ceil(segments * measured.segment_objects * load.replicas * load.loads_a_month + 2 * puts)
    disk = stored * load.replicas
    hosts = query_nodes + streaming + data + proxies
    dollars = hosts * _host(load, prices) + (disk * prices.disk_gb_month + stored * prices.object_gb_month) / GB
    dollars += puts / 1000 * prices.thousand_puts + gets / 1000 * prices.thousand_gets
    return Size(
        segments=segments, stored_bytes=int(stored), memory_bytes=int(memory), disk_bytes=int(disk),
        query_nodes=query_nodes, streaming_nodes=streaming, data_nodes=data, proxies=proxies, coordinators=2,
        pchannels=max(16, 4 * streaming), puts=puts, gets=gets, dollars=round(dollars, 2),
    )  # fmt: skip


def _host(load: Load, prices: Prices) -> float:
    """A host, for a month."""
    hour = load.host_cores * prices.core_hour + load.host_memory / GB * prices.memory_gb_hour
    return hour * MONTH_SECONDS / 3600


SIZES: Final = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000)
"""Of the table in docs/scaling.md."""


def table() -> Iterator[str]:
    """The lines of the table in docs/scaling.md: 768 numbers, 100 searches a second, one replica."""
    yield "| vectors | index | in the store | memory | query | streaming | data | proxies | PUTs | GETs | $ a month |"
    yield "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for vectors in SIZES:
        for index in ("HNSW", "DISKANN"):
            found = size(Load(vectors=vectors, index="HNSW" if index == "HNSW" else "DISKANN", inserts=vectors / 1e6))
            yield (
                f"| {vectors:,} | {index} | {_shown(found.stored_bytes)} | {_shown(found.memory_bytes)} | "
                f"{found.query_nodes} | {found.streaming_nodes} | {found.data_nodes} | {found.proxies} | "
                f"{found.puts:,} | {found.gets:,} | {found.dollars:,.0f} |"
            )


def _shown(count: int) -> str:
    return f"{count / 1e12:.1f} TB" if count >= 1e12 else f"{count / 1e9:.1f} GB"
