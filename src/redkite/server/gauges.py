"""What the engine holds now, as metrics: read from its coordinators and nodes when somebody asks, never counted along.

Nothing is opened to be looked at: of a collection that nobody has asked anything since the start, the rows that are
still in its log alone are not known.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from redkite.cluster.figures import Figure, asked_steps, lasting, progress_of, read_steps, storage_of
from redkite.coordinator.meta import CollectionMeta
from redkite.model.timestamps import LOGICAL_BITS
from redkite.model.version import PROTOCOL_VERSION
from redkite.node.counted_objects import CountedObjects
from redkite.node.querying import DELETE_BYTES, QueryNode
from redkite.node.shard import Shard
from redkite.node.tallies import Tallies
from redkite.node.topology import Topology
from redkite.proxy.reads import Reads
from redkite.query.timing import Bins
from redkite.server.exposition import NODE, Labels, Sample
from redkite.server.messages import message_samples

_ROLES: Final = ("proxy", "rootcoord", "querycoord", "datacoord", "querynode", "datanode", "streamingnode")
_PROC: Final = Path("/proc/self")


def engine_samples(topology: Topology) -> Iterator[Sample]:
    """Of one open database. May take a while where there are many collections: not for an event loop.

    Of a cluster, what its metadata says: rows, segments, garbage and work are told by the nodes that have them."""
    metas = topology.root.all_collections()
    yield from _root(topology, metas)
    yield from _loaded(topology, metas)
    yield from _stored(topology, metas)
    if not topology.streaming.are_here:
        yield from _imports(topology)
        yield from _memory(topology)
        return
    yield from _rows(topology, metas)
    yield from _served(topology, metas)
    yield from _progress(topology, metas)
    yield from _work(topology, metas)
    counts = {"querynode": len(topology.querying), "datanode": len(topology.data_nodes),
              "streamingnode": len(topology.streaming)}  # fmt: skip
    for role in _ROLES:
        labels = (NODE, ("role_name", role))
        yield Sample("milvus_num_node", "Nodes by role, all in this process.", counts.get(role, 1), labels)


def collection_rows(topology: Topology, meta: CollectionMeta) -> int:
    """Rows that are there, as far as that is known without opening anything."""
    open_shards = {shard.channel: shard for shard in topology.open_shards(meta)}
    sealed = topology.data.segments(meta.collection_id)
    closed = sum(s.rows - s.deleted_rows for s in sealed if s.channel not in open_shards)
    return closed + sum(shard.rows() for shard in open_shards.values())


def _root(topology: Topology, metas: tuple[CollectionMeta, ...]) -> Iterator[Sample]:
    prefix = "milvus_rootcoord_"
    databases = topology.root.list_databases()
    by_database = Counter(meta.database for meta in metas)
    yield Sample("redkite_databases", "Databases.", len(databases))
    yield Sample("redkite_collections", "Collections of all databases.", len(metas))
    yield Sample(f"{prefix}database_num", "Databases.", len(databases))
    for database in databases:
        labels: Labels = (("db_name", database.name),)
        yield Sample(f"{prefix}collection_num", "Collections of a database.", by_database[database.name], labels)
    yield Sample(f"{prefix}partition_num", "Partitions.", sum(len(meta.partitions) for meta in metas))
    yield Sample(f"{prefix}dml_channel_num", "Channels.", sum(len(meta.channels) for meta in metas))
    if topology.streaming.are_here:
        yield Sample(f"{prefix}proxy_num", "Proxies.", 1)
    given = topology.root.oracle.given_ids
    yield Sample(f"{prefix}id_alloc_count", "Ids handed out for what is made.", given, (), "counter")
    access = topology.access
    yield Sample(f"{prefix}credential_num", "Users.", len(access.users()))
    yield Sample(f"{prefix}num_of_roles", "Roles.", len(access.roles()))
    yield Sample(f"{prefix}num_of_privilege_groups", "Privilege groups made by users.", len(access.picture.groups))
    now = topology.root.oracle.now() >> LOGICAL_BITS
    yield Sample(f"{prefix}timestamp", "The newest timestamp, in milliseconds since 1970.", now)
    for meta in metas:
        yield from _indexed(topology, meta)


def _rows(topology: Topology, metas: tuple[CollectionMeta, ...]) -> Iterator[Sample]:
    total = 0
    for meta in metas:
        rows = collection_rows(topology, meta)
        total += rows
        named = (("db_name", meta.database), ("collection_name", meta.name))
        yield Sample("milvus_rootcoord_entity_num", "Rows.", rows, (*named, ("status", "total")))
        if topology.loads.entry(meta.collection_id) is not None:
            yield Sample("milvus_rootcoord_entity_num", "Rows.", rows, (*named, ("status", "loaded")))
    yield Sample("redkite_rows", "Rows of all collections.", total)


def _indexed(topology: Topology, meta: CollectionMeta) -> Iterator[Sample]:
    named = (("db_name", meta.database), ("collection_name", meta.name))
    sealed = topology.data.segments(meta.collection_id)
    for index in topology.data.made_indexes(meta.collection_id):
        rows = sum(file.rows for s in sealed if (file := s.index(index.index_id)) is not None)
        labels = (*named, ("index_name", index.name), ("is_vector_index", str(not index.spec.is_scalar).lower()))
        yield Sample("milvus_rootcoord_indexed_entity_num", "Rows of sealed segments in an index.", rows, labels)


def _groups(topology: Topology) -> Iterator[Sample]:
    loads = topology.loads
    copies = [copy.group for entry in loads.entries() for copy in entry.copies]
    for name in loads.groups.names():
        label = ("rg", name)
        replicas = copies.count(name)
        yield Sample("milvus_querycoord_resource_group_replica_total", "Replicas in a group.", replicas, (label,))
    for node in loads.groups.nodes:
        labels = (("rg", loads.groups.group_of(node.node_id)), ("node_id", str(node.node_id)))
        yield Sample("milvus_querycoord_resource_group_info", "Query nodes, by their group.", 1, labels)


def _loaded(topology: Topology, metas: tuple[CollectionMeta, ...]) -> Iterator[Sample]:
    loaded = [meta for meta in metas if topology.loads.entry(meta.collection_id) is not None]
    partitions = sum(
        len(topology.loads.loaded_partitions(m.collection_id, (p.partition_id for p in m.partitions))) for m in loaded
    )
    for where in (
        ("milvus_querycoord_", "milvus_querynode_") if topology.streaming.are_here else ("milvus_querycoord_",)
    ):
        labels: Labels = (NODE,) if where.endswith("node_") else ()
        yield Sample(f"{where}collection_num", "Collections that are loaded.", len(loaded), labels)
        yield Sample(f"{where}partition_num", "Partitions that are loaded.", partitions, labels)
    yield Sample("milvus_querycoord_querynode_num", "Query nodes.", len(topology.querying))
    yield from _groups(topology)
    on_their_way = sum(topology.loads.progress(meta.collection_id) is not None for meta in metas)
    yield Sample("milvus_querycoord_task_num", "Collections that are being loaded.", on_their_way)


def _served(topology: Topology, metas: tuple[CollectionMeta, ...]) -> Iterator[Sample]:
    mapped = 0
    for meta in metas:
        if topology.loads.entry(meta.collection_id) is None:
            continue
        sealed = growing = sealed_rows = growing_rows = sealed_bytes = growing_bytes = 0
        for shard in topology.open_shards(meta):
            here = {s.segment_id: s for s in shard.segments()}
            held = [here[i] for placement in shard.served() for i in placement.segment_ids if i in here]
            sealed, sealed_rows = sealed + len(held), sealed_rows + sum(s.rows for s in held)
            sealed_bytes += sum(s.size + sum(file.size for file in s.indexes) for s in held)
            buffers = shard.growing()
            growing, growing_rows = growing + len(buffers), growing_rows + sum(s.rows for s in buffers)
            growing_bytes += sum(s.memory for s in buffers)
        mapped += sealed_bytes
        for state, segments, rows, size in (
            ("Sealed", sealed, sealed_rows, sealed_bytes), ("Growing", growing, growing_rows, growing_bytes),
        ):  # fmt: skip
            labels = (
                NODE, ("db_name", meta.database), ("collection_name", meta.name),
                ("collection_id", str(meta.collection_id)), ("segment_state", state),
            )  # fmt: skip
            yield Sample("milvus_querynode_segment_num", "Segments that reads look at.", segments, labels)
            text = "Rows of segments that reads look at, deleted ones included."
            yield Sample("milvus_querynode_entity_num", text, rows, labels)
            text = "Bytes of segments that reads look at, with their indexes; sealed ones are mapped from their files."
            yield Sample("milvus_querynode_entity_size", text, size, labels)
    text = "Megabytes of files that reads look at: sealed segments and their indexes."
    yield Sample("milvus_querynode_disk_used_size", text, mapped / (1 << 20), (NODE,))
    for node in topology.querying:
        if isinstance(node, QueryNode):
            yield from _opened(node)


def _progress(topology: Topology, metas: tuple[CollectionMeta, ...]) -> Iterator[Sample]:
    shards = [shard for meta in metas for shard in topology.open_shards(meta) if isinstance(shard, Shard)]
    yield from (Sample(*figure) for figure in progress_of(1, shards, topology.env.clock.now_ms()))


def _opened(node: QueryNode) -> Iterator[Sample]:
    """The segments of one query node."""
    prefix, labels = "milvus_querynode_", (("node_id", str(node.node_id)),)
    text = "Milliseconds until a segment, with its indexes, was mapped and could be read."
    yield from _durations(f"{prefix}load_segment_latency", text, node.loading, labels)
    rows = node.deleted_rows
    text = "Deleted rows of sealed segments that are not compacted away yet."
    yield Sample(f"{prefix}delete_buffer_row_num", text, rows, labels)
    text = "Bytes of memory that they take, about."
    yield Sample(f"{prefix}delete_buffer_size", text, rows * DELETE_BYTES, labels)


def read_figures(reads: Reads) -> Iterator[Figure]:
    """Of the searches and queries that this process answers, and of where their rows come from."""
    text = "Milliseconds of reading a filter and binding it to its collection; those that are remembered take none."
    yield from lasting("milvus_proxy_parse_expr_latency", text, [reads.conditions.parsing], (NODE,))
    counts = reads.counts
    planning = counts.planning
    text = "Searches whose plan, with what the metadata says, was remembered, and those that made one."
    missed = planning.total + planning.failed
    for state, count in (("hit", max(0, counts.plans - missed)), ("miss", missed)):
        labels = (NODE, ("cache_name", "plan"), ("cache_state", state))
        yield Figure("milvus_proxy_cache_hit_count", text, count, labels, "counter")
    text = "Milliseconds of making a plan of the metadata."
    yield from lasting("milvus_proxy_cache_update_latency", text, [planning], (NODE, ("cache_name", "plan")))
    if counts.has_shards:
        nodes = counts.nodes
        yield from asked_steps(1, counts.times, [node.times for node in nodes])
        for node in nodes:
            yield from read_steps(node.node_id, node.times)
        if isinstance(counts.store, CountedObjects):
            yield from storage_of(counts.store.counted())


def _stored(topology: Topology, metas: tuple[CollectionMeta, ...]) -> Iterator[Sample]:
    prefix = "milvus_datacoord_"
    yield Sample(f"{prefix}collection_num", "Collections.", len(metas))
    if topology.streaming.are_here:
        yield Sample(f"{prefix}datanode_num", "Data nodes.", len(topology.data_nodes))
    states: Counter[tuple[str, str]] = Counter()
    for meta in metas:
        sealed = topology.data.segments(meta.collection_id)
        states.update(("Flushed", f"L{segment.level}") for segment in sealed)
        for shard in topology.open_shards(meta):
            states["Growing", "L1"] += len(shard.growing())
        named = (("db_name", meta.database), ("collection_id", str(meta.collection_id)), ("collection_name", meta.name))
        labels: Labels = (*named, ("segment_state", "Flushed"))
        yield Sample(f"{prefix}stored_rows_num", "Rows of sealed segments.", sum(s.rows for s in sealed), labels)
        text = "Bytes of the rows of sealed segments."
        yield Sample(f"{prefix}stored_binlog_size", text, sum(s.size for s in sealed), labels)
        size = sum(file.size for segment in sealed for file in segment.indexes)
        yield Sample(f"{prefix}stored_index_files_size", "Bytes of indexes.", size, named)
        wanted = topology.data.indexes(meta.collection_id)
        built = sum(s.index(index.index_id) is not None for s in sealed for index in wanted)
        waiting = sum(topology.data.wants_build(s, index) for s in sealed for index in wanted)
        for status, count in (("finished", built), ("unissued", waiting)):
            labels = (*named, ("status", status))
            yield Sample(f"{prefix}index_task_count", "Indexes over segments: built, and not yet.", count, labels)
    for (state, level), count in states.items():
        labels = (("segment_state", state), ("segment_level", level))
        yield Sample(f"{prefix}segment_num", "Segments.", count, labels)


def _work(topology: Topology, metas: tuple[CollectionMeta, ...]) -> Iterator[Sample]:
    jobs = topology.compactor.jobs
    states = Counter(plan.state for meta in metas for plan in jobs.plans_of(meta.collection_id))
    for state, count in states.items():
        labels = (("status", state.name.lower()),)
        yield Sample("milvus_datacoord_compaction_task_num", "Compactions that are remembered.", count, labels)
    yield from _imports(topology)
    for node in topology.data_nodes:
        yield from _tallied(node.node_id, node.tallies)
    failed = sum(len(node.failures) for node in topology.data_nodes)
    yield Sample("redkite_index_builds_failed", "Indexes over segments whose last build failed.", failed)
    yield from _memory(topology)
    yield Sample("redkite_garbage_objects", "Stored objects that wait to be deleted.", topology.garbage.waiting)
    pruned = sum(node.pruned for node in topology.querying)
    yield Sample("redkite_segments_ruled_out_total", "Segments that reads passed over.", pruned, (), "counter")


def _memory(topology: Topology) -> Iterator[Sample]:
    for part, size in topology.memory.usage().items():
        text = "Private memory of the database, by what holds it."
        yield Sample("redkite_memory_bytes", text, size, (("part", part),))


def _imports(topology: Topology) -> Iterator[Sample]:
    rows = topology.imports.imported_rows
    yield Sample("milvus_datacoord_bulk_insert_vectors_count", "Rows that imports brought.", rows, (), "counter")
    databases = topology.root.list_databases()
    imports = [job for database in databases for job in topology.imports.of_database(database.name)]
    for state, count in Counter(job.state for job in imports).items():
        labels: Labels = (("import_state", state.shown),)
        yield Sample("milvus_datacoord_import_jobs", "Imports that are remembered.", count, labels)
    for state, count in Counter(file.state for job in imports for file in job.files).items():
        labels = (("task_type", "ImportTask"), ("import_state", state.shown))
        yield Sample("milvus_datacoord_import_tasks", "Files of imports that are remembered.", count, labels)


def _tallied(node_id: int, tallies: Tallies) -> Iterator[Sample]:
    """What a data node has done since it started."""
    prefix, node = "milvus_datanode_", ("node_id", str(node_id))
    labels: Labels = (node, ("segment_level", "L1"))
    text = "Rows of growing segments that were written as sealed ones."
    yield Sample(f"{prefix}flushed_data_rows", text, tallies.flushed_rows, labels, "counter")
    text = "Bytes of growing segments that were written as sealed ones."
    yield Sample(f"{prefix}flushed_data_size", text, tallies.flushed_bytes, labels, "counter")
    built, failed = sum(tallies.builds.bins), tallies.builds.failed
    for status, count in (("total", built + failed), ("success", built), ("fail", failed)):
        text = "Indexes over segments that were begun, and how that ended."
        yield Sample(f"{prefix}index_task_count", text, count, (node, ("status", status)), "counter")
    for name, what, found in (
        ("build_index_latency", "Milliseconds of builds of indexes over segments.", tallies.builds),
        ("compaction_latency", "Milliseconds of compactions.", tallies.compactions),
    ):
        yield from _durations(f"{prefix}{name}", what, found, (node,))
        if name == "compaction_latency":
            yield from _durations("milvus_datacoord_compaction_latency", what, found, (node,))


def _durations(name: str, text: str, found: Bins, labels: Labels) -> Iterator[Sample]:
    """A histogram; nothing while nothing was done."""
    yield from (Sample(*figure) for figure in lasting(name, text, [found], labels))


# -- the process --------------------------------------------------------------------------------
def process_samples() -> Iterator[Sample]:
    """Of this process, as other programs show them."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    text = "CPU time of the server, in seconds."
    yield Sample("process_cpu_seconds_total", text, usage.ru_utime + usage.ru_stime, (), "counter")
    yield Sample("process_resident_memory_max_bytes", "Most memory the server has held.", usage.ru_maxrss * 1024)
    build = (("version", PROTOCOL_VERSION), ("built", ""), ("git_commit", ""))
    yield Sample("milvus_build_info", "The version, behind that of Milvus's protocol.", 1, build)
    yield Sample("milvus_runtime_info", "What the log and the catalog are.", 1, (("mq", "redkite"), ("meta", "sqlite")))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Sample("process_max_fds", "Files that may be open.", soft)
    labels = (("implementation", platform.python_implementation()), ("version", platform.python_version()))
    yield Sample("python_info", "The interpreter.", 1, labels)
    yield from message_samples()
    if sys.platform == "linux":
        yield from _linux_samples()


def _linux_samples() -> Iterator[Sample]:
    fields = (_PROC / "stat").read_text().rpartition(")")[2].split()
    booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    started = int(booted.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    yield Sample("process_start_time_seconds", "When it started, in seconds since 1970.", started)
    yield Sample("process_virtual_memory_bytes", "Address space.", int(fields[20]))
    yield Sample("process_resident_memory_bytes", "Memory, mapped files included.", resident_bytes())
    yield Sample("process_threads", "Threads.", int(fields[17]))
    yield Sample("process_open_fds", "Files that are open.", len(os.listdir(_PROC / "fd")))


def resident_bytes() -> int:
    """Memory of this process, mapped files included; 0 where the system does not tell."""
    try:
        pages = int((_PROC / "statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()
