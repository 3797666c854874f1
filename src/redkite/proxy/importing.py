"""The work of one import: files are read, checked as all rows are, and written as segments; then all are seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from redkite.coordinator.imports import ImportJob, ImportJobs
from redkite.coordinator.meta import CollectionMeta
from redkite.errors import ImportFailed, InvalidInput, MilvusException, NotFound, StandbyMode, Unavailable
from redkite.formats import readers
from redkite.formats.faults import BadFile
from redkite.formats.readers import Stored
from redkite.formats.slabs import Fault, Slab, bound
from redkite.functions.registry import Functions
from redkite.index.registry import BuildCancelled
from redkite.logs import get_logger
from redkite.model.batch import arrow_type
from redkite.model.imports import ImportedFile, ImportState, extension
from redkite.model.quotas import MEGABYTE
from redkite.model.reading import Queries
from redkite.model.schema import DEFAULT_PARTITION
from redkite.model.segments import SegmentMeta
from redkite.node.importing import (
    SegmentMaker,
    check_columns,
    check_partitions,
    made_of,
    stored_columns,
    with_indexes,
)
from redkite.node.topology import Topology
from redkite.proxy.import_files import ImportFolder
from redkite.proxy.routing import Partition, pieces
from redkite.proxy.rules.import_rules import ImportOptions, read_options
from redkite.proxy.rules.row_rules import RowRules, rules_of
from redkite.segment.files import segment_prefix

log = get_logger(__name__)

_PRE, _READ, _SORTED, _INDEXED = (10, 40), (40, 70), (70, 80), (80, 98)
"""Percent at the beginning and the end of what is done one after another."""
Pace = Callable[[CollectionMeta, str, float], float]
"""Takes whose rows were read, for whom, and how many megabytes; says after how many seconds to go on."""
_LOOK_SECONDS = 0.25
"""How often whoever waits looks whether it is to stop."""
_OWN_ROW = re.compile(r"\brow(?P<what> number:)? 0\b")


class Group(NamedTuple):
    """The files of some rows, found."""

    number: int
    files: tuple[Stored, ...]

    @property
    def name(self) -> str:
        return ",".join(file.name for file in self.files)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class ImportWork:
    """One job. `go_on` raises when it has to stop."""

    def __init__(
        self,
        topology: Topology,
        functions: Functions,
        folder: ImportFolder,
        jobs: ImportJobs,
        job: ImportJob,
        go_on: Callable[[], None],
        pace: Pace,
    ) -> None:
        self._topology = topology
        self._functions = functions
        self._folder = folder
        self._jobs = jobs
        self._job_id = job.job_id
        self._options: ImportOptions = read_options(job.options)
        self._deadline = job.created_ms + self._options.timeout_ms if self._options.timeout_ms else 0
        self._collection = topology.root.find_by_id(job.collection_id)
        self._partition = _partition(self._collection, job.partition)
        self._groups = job.groups
        self._go_on_outside = go_on
        self._pace = pace
        self._user = job.user
        self._own_ids = True
        """Whether every primary key was given out here."""
        policy = topology.compactor.policy
        self._maker = SegmentMaker(
            topology.store, topology.data, topology.data_nodes[0], self._collection, policy.rows, policy.bytes,
            topology.root.oracle.allocate(),
        )  # fmt: skip

    def run(self) -> None:
        """All of it, or an error and nothing."""
        try:
            segments = self._write()
        except BaseException:
            discard(self._topology, self._collection.collection_id, self._maker.begun)
            raise
        self._jobs.update(self._job_id, progress=_INDEXED[1])
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

    @property
    def held(self) -> int:
        """Bytes of rows in memory."""
        return self._maker.held

    def _go_on(self) -> None:
        self._go_on_outside()
        if self._deadline and self._topology.env.clock.now_ms() > self._deadline:
            raise ImportFailed(f"import timeout, it took longer than {self._options.timeout_ms / 1000:g} s")

    def _paced(self, size: int) -> None:
        """Wait where so many bytes were more than a second is for."""
        wait = self._pace(self._collection, self._user, size / MEGABYTE)
        while wait > 0:
            self._go_on()
            self._wait(min(wait, _LOOK_SECONDS))
            wait = self._pace(self._collection, self._user, 0.0)  # a limit may have been changed

    def _wait(self, seconds: float) -> None:
        try:
            self._topology.env.tasks.future().result(seconds)
        except TimeoutError:
            return  # nobody ends it earlier

    # -- the steps ------------------------------------------------------------------------------
    def _write(self) -> list[SegmentMeta]:
        groups = self._look()
        self._jobs.update(self._job_id, state=ImportState.IMPORTING, progress=_READ[0])
        for group in groups:
            self._read(group, len(groups))
        self._maker.finish()
        self._jobs.update(self._job_id, state=ImportState.INDEX_BUILDING, progress=_INDEXED[0])
        segments = []
        for at, meta in enumerate(self._maker.made):
            self._go_on()
            segments.append(self._indexed(meta))
            self._at(_INDEXED, (at + 1) / len(self._maker.made))
        return segments

    def _look(self) -> list[Group]:
        """Find every file, and how many rows those say they have that say so."""
        self._jobs.update(self._job_id, state=ImportState.PRE_IMPORTING, progress=_PRE[0])
        most = self._topology.limits.max_import_file_bytes
        groups, found = [], []
        for number, names in enumerate(self._groups):
            self._go_on()
            group = Group(number, tuple(self._folder.find(name) for name in names))
            for file in group.files:
                if file.size > most:
                    raise ImportFailed(f"file '{file.name}' has {file.size} bytes, more than {most}")
                if not file.size:
                    raise ImportFailed(f"file '{file.name}' is empty")
            groups.append(group)
            total = _total(group)
            found.append(ImportedFile(name=group.name, size=group.size, total_rows=total, state=ImportState.PENDING))
            self._jobs.update(self._job_id, files=tuple(found))
            self._at(_PRE, (number + 1) / len(self._groups))
        return groups

    def _read(self, group: Group, groups: int) -> None:
        """Make rows of one group and hand them over."""
        self._file(group, state=ImportState.IMPORTING)
        rows = 0
        for checked in self._rows(group):
            self._go_on()
            for number, parts, some in pieces(self._collection, checked, self._partition):
                self._maker.add(number, parts, some)
            rows += checked.num_rows
            known = self._file(group, rows=rows)
            share = min(1.0, rows / known.total_rows) if known.total_rows else 0.5
            self._at(_READ, (group.number + share) / groups)
        self._file(
            group,
            rows=rows,
            total_rows=rows,
            state=ImportState.COMPLETED,
            completed_ms=self._topology.env.clock.now_ms(),
        )

    def _indexed(self, meta: SegmentMeta) -> SegmentMeta:
        def wanted() -> bool:
            try:
                self._go_on()
            except MilvusException:
                return False
            return True

        topology = self._topology
        collection = topology.root.current(self._collection)
        try:
            return with_indexes(topology.data, topology.data_nodes[0], collection, meta, wanted)
        except BuildCancelled:
            self._go_on()
            raise Unavailable("the database was closed before the import was done") from None
        except MilvusException as error:
            # The rows can be searched without; the shard builds it once they are there.
            log.warning("an index over imported segment %d is built later: %s", meta.segment_id, error.message)
            return meta

    def _at(self, span: tuple[int, int], share: float) -> None:
        self._jobs.update(self._job_id, progress=int(span[0] + share * (span[1] - span[0])))

    def _file(self, group: Group, **fields: object) -> ImportedFile:
        files = list(self._jobs.find(self._job_id).files)
        files[group.number] = changed = msgspec.structs.replace(files[group.number], **fields)
        self._jobs.update(self._job_id, files=tuple(files))
        return changed

    # -- rows -----------------------------------------------------------------------------------
    def _rows(self, group: Group) -> Iterator[pa.RecordBatch]:
        """The rows of a group as they are kept. Raises ImportFailed, which names the file, the column and the row."""
        schema = self._collection.schema
        rules = rules_of(schema, self._topology.limits, self._functions)
        zone = self._topology.root.zone_of(self._collection)
        try:
            for slab in _slabs(group, self._collection, self._options):
                if not slab.rows:
                    continue
                try:
                    rows = bound(schema, slab)
                except Fault as fault:
                    where = "" if fault.row is None else f", row {slab.first + fault.row}"
                    raise ImportFailed(
                        f"file '{_named(group, fault.column)}', column '{fault.column}'{where}: {fault.reason}"
                    ) from None
                self._paced(rows.nbytes)
                ids = self._ids(rows, rules)
                try:
                    yield rules.check(rows, upsert=False, auto_ids=ids, zone=zone)
                except InvalidInput as error:
                    raise self._blamed(group, slab, rows, rules, error) from None
        except BadFile as error:
            where = "" if error.row is None else f", row {error.row}"
            raise ImportFailed(f"file '{group.name}'{where}: {error.reason}") from None

    def _ids(self, rows: pa.RecordBatch, rules: RowRules) -> pa.Array | None:
        if not rules.needs_ids(rows, upsert=False):
            self._own_ids = False
            return None
        first = self._topology.root.oracle.allocate_ids(max(rows.num_rows, 1))
        ids = pa.array(np.arange(first, first + rows.num_rows))
        return ids if pa.types.is_integer(arrow_type(rules.schema.primary)) else ids.cast(pa.string())

    def _blamed(
        self, group: Group, slab: Slab, rows: pa.RecordBatch, rules: RowRules, error: InvalidInput
    ) -> ImportFailed:
        """What a check says of many rows, said of the first that is at fault."""
        unfilled = {
            field.name: _Unfilled(function.inputs, arrow_type(field))
            for field in rules.schema.fields
            if (function := rules.functions.get(field.name)) is not None
        }
        plain = RowRules(rules.schema, self._topology.limits, unfilled)
        zone = self._topology.root.zone_of(self._collection)

        def fault(some: pa.RecordBatch) -> InvalidInput | None:
            ids = self._ids(some, plain)
            try:
                plain.check(some, upsert=False, auto_ids=ids, zone=zone)
            except InvalidInput as found:
                return found
            return None

        low, high = 0, rows.num_rows
        if fault(rows) is None:  # what a function says of its texts
            return ImportFailed(f"file '{group.name}', rows {slab.first} to {slab.first + high - 1}: {error.message}")
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fault(rows.slice(low, middle - low)) is not None else (middle, high)
        row = slab.first + low
        alone = fault(rows.slice(low, 1)) or error
        message = _OWN_ROW.sub(lambda found: f"row{found['what'] or ''} {row}", alone.message)
        return ImportFailed(f"file '{group.name}', row {row}: {message}")


class _Unfilled:
    """In place of a function, where only the rows that are given matter."""

    def __init__(self, inputs: tuple[str, ...], kind: pa.DataType) -> None:
        self.inputs = inputs
        self._kind = kind

    def fill(self, inputs: Sequence[pa.Array]) -> pa.Array:
        return pa.nulls(len(inputs[0]), self._kind)

    def queries(self, texts: Sequence[str], analyzer_name: str = "") -> Queries:
        raise ImportFailed(f"nothing is searched while files are read ({len(texts)} texts, {analyzer_name!r})")


def _partition(collection: CollectionMeta, name: str) -> Partition:
    if collection.has_partition_key:
        return None
    return collection.need_partition(name or DEFAULT_PARTITION).partition_id


def _named(group: Group, column: str) -> str:
    """The file of a column."""
    if len(group.files) == 1:
        return group.name
    return next((file.name for file in group.files if readers.stem(file.name) == column), group.name)


def _total(group: Group) -> int:
    """How many rows the files say they have; 0 for those that do not say. Raises ImportFailed."""
    kind = extension(group.files[0].name)
    try:
        if kind == ".parquet":
            return readers.parquet_rows(group.files[0])
        if kind == ".npy":
            return readers.npy_rows(_by_field(group))
    except BadFile as error:
        raise ImportFailed(f"file '{group.name}': {error.reason}") from None
    return 0


def _by_field(group: Group) -> Mapping[str, Stored]:
    found: dict[str, Stored] = {}
    for file in group.files:
        name = readers.stem(file.name)
        if name in found:
            raise ImportFailed(f"two files are for field '{name}': '{found[name].name}' and '{file.name}'")
        found[name] = file
    return found


def _slabs(group: Group, collection: CollectionMeta, options: ImportOptions) -> Iterator[Slab]:
    kind = extension(group.files[0].name)
    file = group.files[0]
    if kind == ".parquet":
        return readers.read_parquet(file, collection.schema)
    if kind == ".npy":
        return readers.read_npy(_by_field(group), collection.schema)
    if kind == ".csv":
        return readers.read_csv(file, options.csv)
    return readers.read_json(file, collection.schema, lines=kind != ".json")


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
