"""The files of an import are read, checked as all rows are, and written as segments: wherever that is done.

Everything it takes comes with the task; what it makes goes to the object store, and nobody sees it. Whoever keeps the
job has a desk, which is told how far it is, gives out ids, and says when to stop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import tzinfo
from threading import Lock
from typing import Final, NamedTuple, Protocol, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.env import Env
from redkite.errors import ImportFailed, InvalidInput
from redkite.formats import readers
from redkite.formats.faults import BadFile
from redkite.formats.readers import CsvOptions, Stored
from redkite.formats.slabs import Fault, Slab, bound
from redkite.functions.registry import Functions
from redkite.model.batch import arrow_type
from redkite.model.imports import ImportedFile, ImportState, extension
from redkite.model.limits import Limits
from redkite.model.reading import Queries
from redkite.model.segments import SegmentMeta
from redkite.node.importing import SegmentMaker
from redkite.node.memory import MemoryBudget
from redkite.proxy.import_files import ImportFolder
from redkite.proxy.routing import pieces
from redkite.proxy.rules.import_rules import read_options
from redkite.proxy.rules.row_rules import RowRules, rules_of
from redkite.storage.objects import ObjectStore

LOOKED, READ = (10, 40), (40, 70)
"""Percent at the beginning and the end of what is done one after another."""
_LOOK_SECONDS: Final = 0.25
"""How often whoever waits looks whether it is to stop."""
_OWN_ROW = re.compile(r"\brow(?P<what> number:)? 0\b")


class ImportTask(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be read, and what it is to become."""

    collection: CollectionMeta
    partition: int | None
    """None: by the partition key."""
    groups: tuple[tuple[str, ...], ...]
    options: dict[str, str]
    zone: tzinfo
    limits: Limits
    stamp: int
    """Of the rows until they are admitted."""
    most_rows: int
    most_bytes: int
    """Of a segment."""


class ImportMade(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    segments: tuple[SegmentMeta, ...]
    """In the order they were written."""
    own_ids: bool
    """Whether every primary key was given out here."""


class ImportDesk(Protocol):
    """Who keeps the job. Everything here raises when the import has to stop."""

    def go_on(self) -> None: ...

    def told(self, files: tuple[ImportedFile, ...], state: ImportState, progress: int) -> None:
        """How far it is."""
        ...

    def pace(self, size: int) -> float:
        """So many bytes of rows were read; after how many seconds to go on."""
        ...

    def ids(self, count: int) -> int:
        """The first of so many primary keys that nobody else gets."""
        ...

    def segment_id(self) -> int:
        """Of a segment that is about to be written: if nothing comes of the import, what is there of it is removed."""
        ...


MakeSegments: TypeAlias = Callable[[ImportTask, ImportDesk], ImportMade]


def itself(make: MakeSegments) -> MakeSegments:
    """Where nobody else does it."""
    return make


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


class ImportReader:
    """Does such tasks, several at a time if need be. Safe from any thread."""

    def __init__(
        self, env: Env, store: ObjectStore, memory: MemoryBudget, functions: Functions, folder: ImportFolder
    ) -> None:
        self._env, self._store, self._memory = env, store, memory
        self._functions, self._folder = functions, folder
        self._lock = Lock()
        self._makers: list[SegmentMaker] = []
        memory.watch("import rows", self._held)

    def _held(self) -> int:
        """Bytes of rows in memory."""
        with self._lock:
            return sum(maker.held for maker in self._makers)

    def make(self, task: ImportTask, desk: ImportDesk) -> ImportMade:
        """All segments of the files, while the caller waits. Raises ImportFailed."""
        maker = SegmentMaker(
            self._store, self._memory, desk.segment_id, task.collection, task.most_rows, task.most_bytes, task.stamp
        )
        with self._lock:
            self._makers.append(maker)
        try:
            return _Reading(self._env, task, desk, maker, self._functions, self._folder).run()
        finally:
            with self._lock:
                self._makers.remove(maker)


class _Reading:
    """One task."""

    def __init__(
        self,
        env: Env,
        task: ImportTask,
        desk: ImportDesk,
        maker: SegmentMaker,
        functions: Functions,
        folder: ImportFolder,
    ) -> None:
        self._env, self._task, self._desk, self._maker = env, task, desk, maker
        self._functions, self._folder = functions, folder
        self._collection = task.collection
        self._csv = read_options(task.options).csv
        self._files: list[ImportedFile] = []
        self._own_ids = True

    def run(self) -> ImportMade:
        groups = self._look()
        self._tell(ImportState.IMPORTING, READ, 0.0)
        for group in groups:
            self._read(group, len(groups))
        self._maker.finish()
        return ImportMade(segments=tuple(self._maker.made), own_ids=self._own_ids)

    def _tell(self, state: ImportState, span: tuple[int, int], share: float) -> None:
        self._desk.told(tuple(self._files), state, int(span[0] + share * (span[1] - span[0])))

    def _paced(self, size: int) -> None:
        """Wait where so many bytes were more than a second is for."""
        wait = self._desk.pace(size)
        while wait > 0:
            self._desk.go_on()
            self._wait(min(wait, _LOOK_SECONDS))
            wait = self._desk.pace(0)  # a limit may have been changed

    def _wait(self, seconds: float) -> None:
        try:
            self._env.tasks.future().result(seconds)
        except TimeoutError:
            return  # nobody ends it earlier

    # -- the steps ------------------------------------------------------------------------------
    def _look(self) -> list[Group]:
        """Find every file, and how many rows those say they have that say so."""
        self._tell(ImportState.PRE_IMPORTING, LOOKED, 0.0)
        most = self._task.limits.max_import_file_bytes
        groups = []
        for number, names in enumerate(self._task.groups):
            self._desk.go_on()
            group = Group(number, tuple(self._folder.find(name) for name in names))
            for file in group.files:
                if file.size > most:
                    raise ImportFailed(f"file '{file.name}' has {file.size} bytes, more than {most}")
                if not file.size:
                    raise ImportFailed(f"file '{file.name}' is empty")
            groups.append(group)
            total = _total(group)
            self._files.append(
                ImportedFile(name=group.name, size=group.size, total_rows=total, state=ImportState.PENDING)
            )
            self._tell(ImportState.PRE_IMPORTING, LOOKED, (number + 1) / len(self._task.groups))
        return groups

    def _read(self, group: Group, groups: int) -> None:
        """Make rows of one group and hand them over."""
        number = group.number
        self._tell_of(number, groups, 0.0, state=ImportState.IMPORTING)
        rows = 0
        for checked in self._rows(group):
            self._desk.go_on()
            for shard, parts, some in pieces(self._collection, checked, self._task.partition):
                self._maker.add(shard, parts, some)
            rows += checked.num_rows
            total = self._files[number].total_rows
            self._tell_of(number, groups, min(1.0, rows / total) if total else 0.5, rows=rows)
        done = self._env.clock.now_ms()
        self._tell_of(
            number, groups, 1.0, rows=rows, total_rows=rows, state=ImportState.COMPLETED, completed_ms=done
        )  # fmt: skip

    def _tell_of(self, number: int, groups: int, share: float, **fields: object) -> None:
        """One file has changed, and so much of it is done."""
        self._files[number] = msgspec.structs.replace(self._files[number], **fields)
        self._tell(ImportState.IMPORTING, READ, (number + share) / groups)

    # -- rows -----------------------------------------------------------------------------------
    def _rows(self, group: Group) -> Iterator[pa.RecordBatch]:
        """The rows of a group as they are kept. Raises ImportFailed, which names the file, the column and the row."""
        schema, zone = self._collection.schema, self._task.zone
        rules = rules_of(schema, self._task.limits, self._functions)
        try:
            for slab in _slabs(group, self._collection, self._csv):
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
        first = self._desk.ids(max(rows.num_rows, 1))
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
        plain, zone = RowRules(rules.schema, self._task.limits, unfilled), self._task.zone

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


def _slabs(group: Group, collection: CollectionMeta, csv: CsvOptions) -> Iterator[Slab]:
    kind = extension(group.files[0].name)
    file = group.files[0]
    if kind == ".parquet":
        return readers.read_parquet(file, collection.schema)
    if kind == ".npy":
        return readers.read_npy(_by_field(group), collection.schema)
    if kind == ".csv":
        return readers.read_csv(file, csv)
    return readers.read_json(file, collection.schema, lines=kind != ".json")
