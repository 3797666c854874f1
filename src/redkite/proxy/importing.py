"""The work of one import: segments are made of files, wherever that is done; then all of their rows are seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from redkite.coordinator.imports import ImportJob, ImportJobs
from redkite.coordinator.meta import CollectionMeta
from redkite.errors import ImportFailed, MilvusException, NotFound, StandbyMode, Unavailable
from redkite.index.registry import BuildCancelled
from redkite.logs import get_logger
from redkite.model.imports import ImportedFile, ImportState
from redkite.model.quotas import MEGABYTE
from redkite.model.schema import DEFAULT_PARTITION
from redkite.model.segments import SegmentMeta
from redkite.node.importing import check_columns, check_partitions, made_of, stored_columns, with_indexes
from redkite.node.topology import Topology
from redkite.proxy.import_reading import ImportTask, MakeSegments
from redkite.proxy.rules.import_rules import ImportOptions, read_options
from redkite.segment.files import segment_prefix

log = get_logger(__name__)

_INDEXED = (80, 98)
"""Percent at the beginning and the end of what follows the reading of files."""
Pace = Callable[[CollectionMeta, str, float], float]
"""Takes whose rows were read, for whom, and how many megabytes; says after how many seconds to go on."""


class ImportWork:
    """One job, and the desk of whoever reads its files. `go_on` raises when it has to stop."""

    def __init__(
        self,
        topology: Topology,
        make: MakeSegments,
        jobs: ImportJobs,
        job: ImportJob,
        go_on: Callable[[], None],
        pace: Pace,
    ) -> None:
        self._topology = topology
        self._make = make
        self._jobs = jobs
        self._job = job
        self._job_id = job.job_id
        self._options: ImportOptions = read_options(job.options)
        self._deadline = job.created_ms + self._options.timeout_ms if self._options.timeout_ms else 0
        self._collection = topology.root.find_by_id(job.collection_id)
        self._partition = _partition(self._collection, job.partition)
        self._go_on_outside = go_on
        self._pace = pace
        self._own_ids = True
        """Whether every primary key was given out here."""
        self._begun: list[int] = []
        """Ids of all segments that may have left objects."""

    def run(self) -> None:
        """All of it, or an error and nothing."""
        try:
            segments = self._write()
        except BaseException:
            discard(self._topology, self._collection.collection_id, self._begun)
            raise
        self._jobs.goes_on(self._job_id, _INDEXED[1])
        if self._options.auto_commit:
            self._commit(segments)
        else:
            self._jobs.wait_for_commit(self._job_id, segments)

    def _commit(self, segments: list[SegmentMeta]) -> None:
        """Raises StandbyMode where nothing may be changed any more; then nothing of it is left."""
        standing = self._topology.standing
        try:
            standing.begin()
        except StandbyMode:
            discard(self._topology, self._collection.collection_id, [segment.segment_id for segment in segments])
            raise
        try:
            commit_import(self._topology, self._jobs, self._job_id, segments, self._own_ids)
        finally:
            standing.end()

    # -- the desk -------------------------------------------------------------------------------
    def go_on(self) -> None:
        self._go_on_outside()
        if self._deadline and self._topology.env.clock.now_ms() > self._deadline:
            raise ImportFailed(f"import timeout, it took longer than {self._options.timeout_ms / 1000:g} s")

    def told(self, files: tuple[ImportedFile, ...], state: ImportState, progress: int) -> None:
        self.go_on()
        self._jobs.goes_on(self._job_id, progress, files=files, state=state)

    def pace(self, size: int) -> float:
        return self._pace(self._collection, self._job.user, size / MEGABYTE)

    def ids(self, count: int) -> int:
        return self._topology.root.oracle.allocate_ids(count)

    def segment_id(self) -> int:
        self._begun.append(self._topology.data.allocate_id())
        return self._begun[-1]

    # -- the steps ------------------------------------------------------------------------------
    def _write(self) -> list[SegmentMeta]:
        topology = self._topology
        policy = topology.compactor.policy
        made = self._make(
            ImportTask(
                collection=self._collection, partition=self._partition, groups=self._job.groups,
                options=self._job.options, zone=topology.root.zone_of(self._collection), limits=topology.limits,
                stamp=topology.root.oracle.allocate(), most_rows=policy.rows, most_bytes=policy.bytes,
            ),
            self,
        )  # fmt: skip
        self._own_ids = made.own_ids
        given_up = set(self._begun).difference(meta.segment_id for meta in made.segments)
        discard(topology, self._collection.collection_id, sorted(given_up))
        self._jobs.goes_on(self._job_id, _INDEXED[0], state=ImportState.INDEX_BUILDING)
        segments = []
        for at, meta in enumerate(made.segments):
            self.go_on()
            segments.append(self._indexed(meta))
            share = (at + 1) / len(made.segments)
            self._jobs.goes_on(self._job_id, int(_INDEXED[0] + share * (_INDEXED[1] - _INDEXED[0])))
        return segments

    def _indexed(self, meta: SegmentMeta) -> SegmentMeta:
        def wanted() -> bool:
            try:
                self.go_on()
            except MilvusException:
                return False
            return True

        topology = self._topology
        collection = topology.root.current(self._collection)
        try:
            return with_indexes(topology.data, topology.data_nodes[0], collection, meta, wanted)
        except BuildCancelled:
            self.go_on()
            raise Unavailable("the database was closed before the import was done") from None
        except MilvusException as error:
            # The rows can be searched without; the shard builds it once they are there.
            log.warning("an index over imported segment %d is built later: %s", meta.segment_id, error.message)
            return meta


def _partition(collection: CollectionMeta, name: str) -> int | None:
    if collection.has_partition_key:
        return None
    return collection.need_partition(name or DEFAULT_PARTITION).partition_id


# -- the end ------------------------------------------------------------------------------------
def commit_import(
    topology: Topology, jobs: ImportJobs, job_id: int, segments: Sequence[SegmentMeta], unique: bool
) -> None:
    """Make the rows of a job visible and the job complete, in one commit."""
    done = jobs.find(job_id)
    meta = topology.root.find_by_id(done.collection_id)
    made = made_of(topology.store, meta, segments, unique=unique)

    stored = stored_columns(topology.store, segments)

    def check() -> None:
        now = topology.root.find_by_id(done.collection_id)
        check_partitions(now, segments)
        check_columns(now, stored)

    def notes() -> Mapping[str, bytes]:
        nonlocal done
        done, record = jobs.completed(job_id)
        return record

    is_there = False

    def committed() -> None:
        nonlocal is_there
        is_there = True

    try:
        shards = topology.shards(meta)
        topology.admit(topology.data, shards, made, topology.root.oracle.allocate, check, notes, committed)
    except (ImportFailed, NotFound):
        discard(topology, meta.collection_id, [segment.segment_id for segment in segments])
        raise
    finally:
        # Whether another commit that fails is on disk is not known: then what was written is left to the next open.
        if is_there:
            jobs.is_complete(done)


def discard(topology: Topology, collection_id: int, segments: Sequence[int]) -> None:
    """What was written for nothing. What cannot be removed now is swept at the next open."""
    for segment_id in segments:
        try:
            topology.garbage.discard_prefix(segment_prefix(collection_id, segment_id))
        except MilvusException:
            return
