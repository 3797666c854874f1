"""Writes: insert, upsert, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from redkite.client import arguments
from redkite.client.results import OmitZeroDict
from redkite.client.rows import RowPlan, is_empty
from redkite.client.session import Operation, Session, ask, ask_by_ids, fresh_plan_of, plan_of
from redkite.client.values import python_values
from redkite.errors import DataNotMatchException, ParamError, SchemaMismatch
from redkite.model import requests, results
from redkite.model.types import FieldOp, changes_partly

Ids = int | str | Sequence[int] | Sequence[str]


def insert(session: Session, collection_name: str, data: Any, partition_name: str | None) -> Operation[dict[str, Any]]:
    """Write rows, and come back when they are durable and can be read."""
    name = arguments.name("collection_name", collection_name)
    partition = arguments.optional_name("partition_name", partition_name)
    key = yield from _write_one(session, requests.Insert, name, partition, data)
    if key is not None:
        return OmitZeroDict({"insert_count": 1, "ids": [key]})
    if is_empty(data):
        return {"insert_count": 0, "ids": []}
    write = _Write(session, name, partition, data, upsert=False, partial=False)
    yield from write.run()
    return OmitZeroDict({"insert_count": write.count, "ids": write.ids})


def _write_one(
    session: Session, kind: type[requests.Insert | requests.Upsert], name: str, partition: str, data: Any
) -> Operation[Any]:
    """Write the only row of `data` without making a batch of it. Its key; None where that cannot be done, and nothing
    was written."""
    row = data[0] if type(data) is list and len(data) == 1 else data
    plan = session.plan(name) if type(row) is dict and session.is_embedded else None
    made = None if plan is None or plan.layout is None else plan.layout.row(row)
    if plan is None or made is None:
        return None
    request = kind(
        database=session.database, collection=name, rows=made, partition=partition, schema_timestamp=plan.timestamp
    )
    try:
        done = yield from ask(request, results.Written)
    except SchemaMismatch:
        return None
    session.last_writes[session.database, name] = done.timestamp
    return made.key


Versions = int | Sequence[int]
"""One for all rows, or one for each."""


def upsert(
    session: Session,
    collection_name: str,
    data: Any,
    partition_name: str | None,
    partial_update: bool,
    field_ops: Mapping[str, FieldOp | str] | None,
    if_version: Versions | None,
    where: str | None,
    where_params: dict[str, Any] | None,
) -> Operation[dict[str, Any]]:
    """Write rows in place of those with the same primary key."""
    name = arguments.name("collection_name", collection_name)
    partition = arguments.optional_name("partition_name", partition_name)
    ops = _field_ops(field_ops)
    partial = arguments.flag("partial_update", partial_update) or changes_partly(ops.values())
    condition = _condition(if_version, where, where_params)
    if not partial and not ops and condition is None:
        key = yield from _write_one(session, requests.Upsert, name, partition, data)
        if key is not None:
            return OmitZeroDict({"upsert_count": 1, "ids": [key]})
    if is_empty(data):
        return {"upsert_count": 0, "ids": []}
    write = _Write(session, name, partition, data, upsert=True, partial=partial)
    write.ops = ops
    write.condition = condition
    yield from write.run()
    return OmitZeroDict({"upsert_count": write.count, "ids": write.ids})


def _field_ops(given: Mapping[str, FieldOp | str] | None) -> dict[str, FieldOp]:
    ops: dict[str, FieldOp] = {}
    for name, op in (given or {}).items():
        try:
            ops[name] = op if isinstance(op, FieldOp) else FieldOp[str(op).upper()]
        except KeyError:
            known = ", ".join(repr(known.name.lower()) for known in FieldOp)
            raise ParamError(f"field_ops of field {name}: {op!r} is none of {known}") from None
    return ops


def _condition(
    if_version: Versions | None, where: str | None, where_params: dict[str, Any] | None
) -> requests.Condition | None:
    if where_params and not where:
        raise ParamError("where_params without where")
    if if_version is None and not where:
        return None
    given = [] if if_version is None else [if_version] if isinstance(if_version, int) else if_version
    versions = tuple(arguments.integer("if_version", version) for version in given)
    if any(version < 0 for version in versions):
        raise ParamError(f"if_version={min(versions)} is no version: 0 means that there is no such row")
    return requests.Condition(
        versions=versions, where=arguments.expression(where), where_params=arguments.template(where_params)
    )


class _Write:
    """One insert or upsert: rows become a batch by the cached schema, large batches several requests.

    A schema that turns out to be stale is fetched again, once, and what is not yet written is written by it.
    """

    def __init__(self, session: Session, name: str, partition: str, data: Any, *, upsert: bool, partial: bool) -> None:
        self._session = session
        self._name = name
        self._partition = partition
        self._data = data
        self._upsert = upsert
        self._partial = partial
        self.ops: dict[str, FieldOp] = {}
        self.condition: requests.Condition | None = None
        self._refreshed = False
        self.count = 0
        self.ids: list[Any] = []

    def run(self) -> Operation[None]:
        plan, batch = yield from self._prepared()
        while batch.num_rows > 0:
            part = head(batch, self._session.max_request_bytes)
            if self.condition is not None and part.num_rows < batch.num_rows:
                raise ParamError(f"a conditional write is one message: {batch.num_rows} rows do not fit, send fewer")
            try:
                done = yield from ask(self._request(plan, part), results.Mutation)
            except SchemaMismatch:
                if self._refreshed:
                    raise
                plan = yield from self._refresh()
                rest = batch.num_rows
                whole = plan.batch(self._data, upsert=self._upsert, partial=self._partial)
                batch = whole.slice(whole.num_rows - rest)
                continue
            self.count += done.count
            self.ids += python_values(done.ids)
            self._session.last_writes[self._session.database, self._name] = done.timestamp
            batch = batch.slice(part.num_rows)

    def _prepared(self) -> Operation[tuple[RowPlan, pa.RecordBatch]]:
        """The batch by the cached schema; rows that do not fit it get a second chance with the current one."""
        cached = self._session.plan(self._name) is not None
        plan = yield from plan_of(self._session, self._name)
        try:
            return plan, plan.batch(self._data, upsert=self._upsert, partial=self._partial)
        except DataNotMatchException:
            if not cached:
                raise
        plan = yield from self._refresh()
        return plan, plan.batch(self._data, upsert=self._upsert, partial=self._partial)

    def _refresh(self) -> Operation[RowPlan]:
        self._refreshed = True
        plan = yield from fresh_plan_of(self._session, self._name)
        return plan

    def _request(self, plan: RowPlan, rows: pa.RecordBatch) -> requests.Request:
        if self._session.is_embedded:  # the engine keeps what it is given, and users write to their arrays again
            rows = pa.ipc.read_record_batch(rows.serialize(), rows.schema)
        if self._upsert:
            return requests.Upsert(
                database=self._session.database, collection=self._name, rows=rows, partition=self._partition,
                schema_timestamp=plan.timestamp, partial=self._partial, field_ops=self.ops, condition=self.condition,
            )  # fmt: skip
        return requests.Insert(
            database=self._session.database, collection=self._name, rows=rows, partition=self._partition,
            schema_timestamp=plan.timestamp,
        )  # fmt: skip


def head(batch: pa.RecordBatch, limit: int | None) -> pa.RecordBatch:
    """As many of the first rows as one request may carry; at least one."""
    if limit is None or 10 * batch.get_total_buffer_size() + 24 * batch.num_rows * batch.num_columns <= limit:
        return batch  # by what `wire_bytes` counts at most for a byte and for a value
    while batch.num_rows > 1:
        size = wire_bytes(batch)
        if size <= limit:
            break
        batch = batch.slice(0, max(1, min(batch.num_rows - 1, batch.num_rows * limit // size)))
    return batch


def wire_bytes(batch: pa.RecordBatch) -> int:
    """What a batch weighs as a message, at most: an integer takes up to ten bytes there, a text six beside itself."""
    rows = batch.num_rows
    total = 0
    for column in batch.columns:
        if pa.types.is_list(column.type):
            elements = column.flatten()
            numbers = 10 * len(elements) if pa.types.is_integer(elements.type) else column.nbytes
            total += numbers + 24 * rows
        else:
            total += 10 * rows if pa.types.is_integer(column.type) else column.nbytes + 6 * rows
    return total


# -- delete -------------------------------------------------------------------------------------
def delete(
    session: Session,
    collection_name: str,
    ids: Ids | None,
    filter: str | None,
    partition_name: str | None,
    filter_params: dict[str, Any] | None,
    if_version: Versions | None,
    where: str | None,
    where_params: dict[str, Any] | None,
) -> Operation[dict[str, int]]:
    """Delete rows by primary key or by filter. Missing keys are no error."""
    name = arguments.name("collection_name", collection_name)
    keys = id_list(ids)
    if keys and filter:
        raise ParamError("Ambiguous filter parameter, only one deletion condition can be specified.")
    if ids is not None and not keys and not filter:
        return OmitZeroDict({"delete_count": 0})
    if not keys and filter is None:
        raise ParamError("missing required argument: [ids] or [filter]")
    request = requests.Delete(
        database=session.database,
        collection=name,
        filter=arguments.expression(filter),
        partition=arguments.optional_name("partition_name", partition_name),
        filter_params=arguments.template(filter_params),
        condition=_condition(if_version, where, where_params),
    )
    if keys:
        done = yield from ask_by_ids(session, request, keys, results.Mutation)
    else:
        done = yield from ask(request, results.Mutation)
    session.last_writes[session.database, name] = done.timestamp
    return OmitZeroDict({"delete_count": done.count})


def id_list(ids: Ids | None) -> list[Any]:
    """Primary keys as a list of plain Python values."""
    given: Any = ids
    if given is None:
        return []
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if isinstance(given, int | str | np.integer) and not isinstance(given, bool):
        given = [given]
    if not isinstance(given, list | tuple | set | range):
        raise TypeError(f"wrong type of argument ids, expect list, int or str, got '{type(given).__name__}'")
    for key in given:
        if isinstance(key, bool) or not isinstance(key, int | str | np.integer):
            raise TypeError(f"wrong type of argument ids, expect list, int or str, got '{type(key).__name__}'")
    return [arguments.plain(key) for key in given]
