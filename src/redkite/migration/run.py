"""Carry collections over: planned first, then written by portions, then looked at again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redkite.client.endpoint import ConnectionOptions
from redkite.client.schema import CollectionSchema
from redkite.client.sync import MilvusClient
from redkite.errors import ParamError
from redkite.migration.check import Sample, differing
from redkite.migration.opening import open_source
from redkite.migration.plan import Found, Place, Source, Wishes, shown
from redkite.migration.server import counted
from redkite.migration.state import State
from redkite.model.rules.property_rules import ALLOW_INSERT_AUTO_ID

Progress = Callable[[str, int, int], None]
"""Called with a collection's name, the rows that are written, and how many there are (-1 when nobody knows)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One collection."""

    source: str
    name: str
    rows: int
    """Written, in all runs together."""
    stored: int
    """Counted at the target afterwards."""
    compared: int
    """Rows of the sample that were read again."""
    differing: tuple[str, ...]
    """What is not as it was; empty when all is."""

    @property
    def is_whole(self) -> bool:
        return not self.differing


@dataclass(frozen=True, slots=True)
class Report:
    """What was planned and, unless nothing else was asked for, done."""

    kind: str
    plan: tuple[Found, ...]
    notes: tuple[str, ...]
    """What is carried of no collection."""
    outcomes: tuple[Outcome, ...]
    """Empty after a dry run."""

    @property
    def is_whole(self) -> bool:
        """Whether every row arrived as it was."""
        return all(outcome.is_whole for outcome in self.outcomes)


def migrate(
    source: str,
    target: str,
    *,
    kind: str = "",
    collections: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    key: str = "",
    vector: str = "",
    metric: str = "",
    typed: bool = False,
    batch: int = 1000,
    token: str = "",
    database: str = "",
    target_token: str = "",
    target_database: str = "",
    memory_limit: int | str = 0,
    python: str = "",
    state: str = "",
    dry_run: bool = False,
    on_plan: Callable[[Report], None] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Carry collections of another system, or of another Redkite, over into a database.

    A run that is cut off goes on where it stopped when it is made again, as long as its state file is there.

    Args:
        source: An address or a path; see `redkite migrate --help`.
        target: A path that ends in `.db`, or the address of a server.
        kind: What the source is, where its address does not tell: milvus, milvus-lite, redkite, chroma, qdrant,
            lancedb or parquet.
        collections: Only these.
        rename: Name at the source -> name at the target.
        key: Of LanceDB and Parquet: the column that is the primary key; `id` where there is one.
        vector: Of Parquet: the column of vectors.
        metric: Of LanceDB and Parquet: `COSINE`, `L2` or `IP`.
        typed: Payload and metadata become columns where the first 1,000 rows agree on their types.
        batch: Rows of one write.
        token: At the source.
        database: At the source.
        target_token: At the target.
        target_database: At the target; made when it is not there.
        memory_limit: Of a target that is a file: private memory of its database at most, such as `1GB`.
        python: An interpreter that has milvus-lite, for its files.
        state: The file that notes how far the migration is; by default one in the current folder.
        dry_run: Plan only.
        on_plan: Called with the plan before anything is written.
        progress: Called after every write.

    Raises:
        ParamError: The source cannot be read, or a collection cannot be made of it, or its name is taken.
    """
    wishes = Wishes(
        collections=tuple(collections), rename=dict(rename or {}), key=key, vector=vector, metric=metric, typed=typed,
        batch=batch,
    )  # fmt: skip
    if not 1 <= batch <= 16_384:
        raise ParamError(f"batch={batch} must be in [1, 16384]")
    if Path(source).exists() and Path(target).exists() and Path(source).samefile(target):
        raise ParamError(f"the source and the target are the same: {source}")
    opened = open_source(source, kind, token=token, database=database, python=python)
    try:
        plan = opened.found(wishes)
        _check_names(plan)
        report = Report(opened.kind, tuple(plan), opened.notes, ())
        if on_plan is not None:
            on_plan(report)
        if dry_run:
            return report
        ends = shown(source), shown(target)
        path = Path(state) if state else State.default_path(*ends, database, target_database)
        same = {"database": database, "target_database": target_database, "key": key, "vector": vector}
        noted = State(path, *ends, {**same, "typed": str(typed)})
        bounds: ConnectionOptions = {"memory_limit": memory_limit} if memory_limit else {}
        with MilvusClient(target, token=target_token, **bounds) as client:
            _use(client, target_database)
            job = _Job(opened, client, noted, batch, progress)
            outcomes = job.run(plan)
        noted.remove()
        return Report(opened.kind, tuple(plan), opened.notes, tuple(outcomes))
    finally:
        opened.close()


def _check_names(plan: Sequence[Found]) -> None:
    names: dict[str, str] = {}
    for found in plan:
        if found.name in names:
            raise ParamError(f"{names[found.name]} and {found.source} would both be called {found.name}: rename one")
        names[found.name] = found.source


def _use(client: MilvusClient, database: str) -> None:
    if database:
        if database not in client.list_databases():
            client.create_database(database)
        client.use_database(database)


class _Job:
    """One run."""

    def __init__(
        self, source: Source, client: MilvusClient, state: State, batch: int, progress: Progress | None
    ) -> None:
        self._source = source
        self._client = client
        self._state = state
        self._batch = batch
        self._progress = progress

    def run(self, plan: Sequence[Found]) -> list[Outcome]:
        unknown = [found.name for found in plan if not self._state.knows(found.name, found.source)]
        taken = [name for name in unknown if self._client.has_collection(name)]
        if taken:
            raise ParamError(
                f"the target has {', '.join(taken)} already, and not from this migration: drop it, or use --rename"
            )
        return [self._one(found) for found in plan]

    def _one(self, found: Found) -> Outcome:
        if not self._state.knows(found.name, found.source) or not self._client.has_collection(found.name):
            self._state.begin(found.name, found.source)
            self._create(found)
        there = self._client.list_partitions(found.name)
        for partition in found.partitions:
            if partition not in there:
                self._client.create_partition(found.name, partition)
        sample = Sample(found.key)
        if not self._state.is_done(found.name):
            self._copy(found, sample)
            self._finish(found)
            self._state.note(found.name, self._state.place(found.name), self._state.rows(found.name), done=True)
        return self._outcome(found, sample)

    def _create(self, found: Found) -> None:
        """The collection without its indexes: those are built once, when all rows are there."""
        properties = dict(found.properties)
        if found.key and found.schema.auto_id:
            properties[ALLOW_INSERT_AUTO_ID] = "true"
        self._client.create_collection(
            found.name, schema=_copy_of(found.schema), num_shards=found.shards, num_partitions=found.key_partitions,
            consistency_level=found.consistency, properties=properties,
        )  # fmt: skip

    def _copy(self, found: Found, sample: Sample) -> None:
        place = self._state.place(found.name)
        rows = self._state.rows(found.name)
        resumed = self._state.is_resumed and bool(found.key)  # the first write may be one that was made already
        if not found.key and self._state.is_resumed:
            # A write may have been acknowledged that was not noted any more. Without keys the count tells.
            self._client.load_collection(found.name) if self._client.list_indexes(found.name) else None
            rows, place = self._rows_without_key(found, place)
            self._state.note(found.name, place, rows)  # there may be no further portion that would
        for portion in self._source.portions(found, place, self._batch):
            write = self._client.upsert if resumed else self._client.insert
            write(found.name, portion.rows, partition_name=portion.partition)
            resumed = False
            rows += portion.count
            sample.add(portion)
            self._state.note(found.name, portion.place, rows)
            if self._progress is not None:
                self._progress(found.name, rows, found.rows)

    def _rows_without_key(self, found: Found, place: Place) -> tuple[int, Place]:
        stored = self._client.get_collection_stats(found.name)["row_count"]
        return stored, ({**place, "offset": stored} if stored else place)

    def _finish(self, found: Found) -> None:
        """What there is when all rows are."""
        if found.indexes:
            self._client.create_index(found.name, found.indexes)
        self._client.load_collection(found.name)
        if found.key and found.schema.auto_id and ALLOW_INSERT_AUTO_ID not in found.properties:
            self._client.drop_collection_properties(found.name, [ALLOW_INSERT_AUTO_ID])
        for alias in found.aliases:
            if alias not in self._client.list_aliases(found.name)["aliases"]:
                self._client.create_alias(found.name, alias)

    def _outcome(self, found: Found, sample: Sample) -> Outcome:
        rows = self._state.rows(found.name)
        stored = counted(self._client, found.name)
        there = self._source.count(found)
        if not sample.rows and found.key:
            first = next(self._source.portions(found, {}, self._batch), None)
            if first is not None:
                sample.add(first)
        wrong = list(differing(self._client, found, sample))
        if stored != rows:
            wrong.insert(0, f"{rows:,} rows were written, and {stored:,} are there: a key came more than once")
        if there not in (stored, rows):
            wrong.append(
                f"the source has {there:,} rows now: somebody wrote to it meanwhile, or its keys are not unique"
            )
        return Outcome(found.source, found.name, rows, stored, sample.rows, tuple(wrong))


def _copy_of(schema: CollectionSchema) -> Any:
    """A schema of its own for each collection that is made of it."""
    return CollectionSchema(
        fields=schema.fields, description=schema.description, struct_fields=schema.struct_fields,
        functions=schema.functions, auto_id=schema.auto_id, enable_dynamic_field=schema.enable_dynamic_field,
    )  # fmt: skip
