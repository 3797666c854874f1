"""Functions that ask models, and came to rows that were there: their values are made in the background.

Rows without a value are read in the order of their keys, some at a time; the model is asked while others read and
write; then those of them that are still as they were read are written anew, with their value. When no row is without
one any more, the schema says so. What was not done when the process ended is found by the schema at the next start.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import NamedTuple

import pyarrow as pa

from redkite.coordinator.function_changes import unfilled, with_all_filled
from redkite.coordinator.jobs import why
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Executor, Timer
from redkite.errors import NotFound, NotLoaded
from redkite.filter import compile_filter
from redkite.functions.registry import Functions
from redkite.logs import get_logger
from redkite.model.schema import FieldSchema, FunctionSchema
from redkite.node.topology import Topology
from redkite.proxy.changes import Fill
from redkite.proxy.reads import Reads
from redkite.proxy.writes import Writes

log = get_logger(__name__)

BATCH = 256
"""Rows at a time."""
LOOK_SECONDS = 1.0
"""How often it is looked whether there is something to do …"""
MOST_PAUSES = 60
"""… and so many times that it is not tried again at most, after a model has failed several times."""
CLOSE_SECONDS = 0.2
"""A model that is asked keeps nobody from closing the database for longer."""
_AFTER = "redkite_after"


class _Closing(Exception):
    """The database is being closed."""


class Filling(NamedTuple):
    """How far a function has come."""

    rows: int
    """That have a value by now, of those looked at."""
    reason: str
    """Why it could not go on; empty when it can."""


class _Pause(NamedTuple):
    failures: int
    left: int


class Backfills:
    """One after another, on a thread of its own."""

    def __init__(
        self,
        topology: Topology,
        reads: Reads,
        writer: Writes,
        functions: Functions,
        changed: Callable[[], None],
        *,
        writes: bool,
    ) -> None:
        """`writes` False: nothing is done here, but in the process that writes."""
        self._topology = topology
        self._reads = reads
        self._writer = writer
        self._functions = functions
        self._changed = changed
        self._lock = Lock()
        self._worker: Executor | None = None
        self._asker: Executor | None = None
        self._timer: Timer | None = None
        self._is_queued = self._closing = False
        self._known: dict[tuple[int, str], Filling] = {}
        self._pauses: dict[tuple[int, str], _Pause] = {}
        self._writes = writes
        self.resume()

    def begin(self) -> None:
        """There is something to do."""
        with self._lock:
            self._pauses = {}
            tasks = self._topology.env.tasks
            if self._worker is None:
                self._worker = tasks.executor("backfill", 1)
            if self._timer is None and not self._closing:
                self._timer = tasks.every(LOOK_SECONDS, self._look, "backfill")
        self._look()

    def resume(self) -> None:
        """There may be something to do: at the start, and where a collection is loaded that was copied in the middle of
        it."""
        collections = self._topology.root.all_collections()
        if self._writes and self._timer is None and any(unfilled(meta.schema) for meta in collections):
            self.begin()

    def of(self, meta: CollectionMeta, field: str) -> Filling | None:
        """How far the function of a field is with the rows that were there; None when it has none to do."""
        found = next((f for f, output in unfilled(meta.schema) if output.name == field), None)
        return None if found is None else self._known.get((meta.collection_id, found.name), Filling(0, ""))

    def close(self) -> None:
        with self._lock:
            self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._asker is not None:
            self._asker.shutdown(wait=False)
        if self._worker is not None:
            self._worker.shutdown(wait=True)

    def _look(self) -> None:
        with self._lock:
            if self._closing or self._is_queued or self._worker is None:
                return
            self._is_queued = True
            self._worker.submit(self._run)

    def _run(self) -> None:
        collections = self._topology.root.all_collections
        try:
            for meta in collections():
                for function, field in unfilled(meta.schema):
                    self._fill(meta, function, field)
        finally:
            with self._lock:
                self._is_queued = False
                if self._timer is not None and not any(unfilled(meta.schema) for meta in collections()):
                    self._timer.cancel()
                    self._timer = None

    def _fill(self, meta: CollectionMeta, function: FunctionSchema, field: FieldSchema) -> None:
        key = (meta.collection_id, function.name)
        pause = self._pauses.get(key)
        if pause is not None and pause.left > 0:
            self._pauses[key] = pause._replace(left=pause.left - 1)
            return
        try:
            while not self._closing and self._pass(meta, key, field):
                pass
            if not self._closing:
                self._end(meta, key, field)
        except NotLoaded as error:
            self._known[key] = Filling(self._done(key), f"waits: {error.message}")
        except (NotFound, _Closing):
            return  # dropped meanwhile; or the next start goes on
        except Exception as error:  # noqa: BLE001  whatever it is, it is tried again
            failures = 1 if pause is None else pause.failures + 1
            self._pauses[key] = _Pause(failures, min(2**failures, MOST_PAUSES))
            self._known[key] = Filling(self._done(key), why(error))
            log.warning("function %s of collection %s: %s", function.name, meta.name, why(error))

    def _done(self, key: tuple[int, str]) -> int:
        known = self._known.get(key)
        return 0 if known is None else known.rows

    def _end(self, meta: CollectionMeta, key: tuple[int, str], field: FieldSchema) -> None:
        found = self._topology.root.current(meta)
        filled = partial(with_all_filled, field_id=field.field_id)
        with self._topology.standing.change():
            changed = self._topology.root.change_collection(found.database, found.name, filled)
            self._changed()
            self._topology.follow(changed)
        self._known.pop(key, None)
        self._pauses.pop(key, None)

    def _pass(self, meta: CollectionMeta, key: tuple[int, str], field: FieldSchema) -> int:
        """Go through all rows once; how many of them had no value."""
        missing = done = 0
        last: int | str | None = None
        while not self._closing:
            meta = self._topology.root.current(meta)
            function = self._functions.of(meta.schema).get(field.name)
            if function is None:
                return 0  # dropped meanwhile
            rows = self._page(meta, (meta.schema.primary.name, *function.inputs, field.name), last)
            if not rows.num_rows:
                break
            last = rows.column(0)[-1].as_py()
            without = rows.filter(rows.column(field.name).is_null())
            if without.num_rows:
                missing += without.num_rows
                values = self._asked(partial(function.fill, [without.column(name) for name in function.inputs]))
                self._write(meta, field, without, values, function.inputs)
            done += rows.num_rows
            self._known[key] = Filling(max(done, self._done(key)), "")
        return missing

    def _asked(self, ask: Callable[[], pa.Array]) -> pa.Array:
        """What a model says, on another thread: it may take long, and whoever closes the database does not wait for
        it. Raises _Closing."""
        with self._lock:
            if self._closing:
                raise _Closing
            if self._asker is None:
                self._asker = self._topology.env.tasks.executor("backfill-model", 1)
            answer = self._asker.submit(ask)
        while True:
            try:
                return answer.result(CLOSE_SECONDS)
            except TimeoutError:
                if answer.done():
                    return answer.result()
                if self._closing:
                    raise _Closing from None

    def _page(self, meta: CollectionMeta, columns: tuple[str, ...], last: int | str | None) -> pa.RecordBatch:
        """The next rows in the order of their keys."""
        primary = meta.schema.primary
        least = "" if primary.data_type.is_string else -(1 << 63)
        sign, value = (">=", least) if last is None else (">", last)
        condition = compile_filter(f"{primary.name} {sign} {{{_AFTER}}}", meta.schema, {_AFTER: value})
        shards = self._topology.shards(meta)
        return self._reads.rows_now(meta, shards, condition, columns, limit=BATCH)

    def _write(
        self, meta: CollectionMeta, field: FieldSchema, rows: pa.RecordBatch, values: pa.Array, inputs: tuple[str, ...]
    ) -> None:
        """Write rows with their values, but for those that have changed since they were read."""
        wanted = rows.select([meta.schema.primary.name, *inputs])
        with self._topology.standing.change():
            self._writer.fill(meta, Fill(field=field.name, rows=wanted, inputs=inputs, values=values)).result()
