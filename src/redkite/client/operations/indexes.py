"""Indexes: create and wait, describe, drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from redkite.client import arguments
from redkite.client.index_params import IndexParam, IndexParams
from redkite.client.session import Operation, Session, Wait, ask, backoff
from redkite.errors import IndexNotFound, MilvusException, ParamError
from redkite.model import requests, results
from redkite.model.types import IndexState

_STATE_NAMES = {
    IndexState.NONE: "IndexStateNone",
    IndexState.UNISSUED: "Unissued",
    IndexState.IN_PROGRESS: "InProgress",
    IndexState.FINISHED: "Finished",
    IndexState.FAILED: "Failed",
    IndexState.RETRY: "Retry",
}


class AmbiguousIndexName(ParamError):
    """Several indexes, and no name given."""


def create_index(session: Session, collection_name: str, index_params: IndexParams, sync: bool) -> Operation[None]:
    """Create indexes one after the other; with `sync`, come back when each is built."""
    name = arguments.name("collection_name", collection_name)
    if not isinstance(index_params, IndexParams):
        raise arguments.wrong_type("index_params", IndexParams, index_params)
    if not index_params:
        raise ParamError("IndexParams is empty, no index can be created")
    wait = arguments.flag("sync", sync)
    for param in index_params:
        request = requests.CreateIndex(
            database=session.database,
            collection=name,
            field=arguments.name("field_name", param.field_name),
            index_name=param.index_name,
            params=arguments.texts("params", param.get_index_configs()),
        )
        yield from ask(request, results.Done)
        if wait:
            yield from _wait_built(session, name, param)


def _wait_built(session: Session, name: str, param: IndexParam) -> Operation[None]:
    request = requests.DescribeIndex(
        database=session.database, collection=name, index_name=param.index_name, field=param.field_name
    )
    for delay in backoff():
        found = yield from ask(request, results.Indexes)
        mine = found.indexes
        failed = next((index for index in mine if index.state is IndexState.FAILED), None)
        if failed is not None:
            raise MilvusException(f"index {failed.index_name} of {name} could not be built: {failed.fail_reason}")
        if all(index.state is IndexState.FINISHED for index in mine):
            return
        yield Wait(delay)


def list_indexes(session: Session, collection_name: str, field_name: str | None) -> Operation[list[str]]:
    name = arguments.name("collection_name", collection_name)
    field = arguments.optional_name("field_name", field_name)
    try:
        found = yield from ask(requests.DescribeIndex(database=session.database, collection=name), results.Indexes)
    except IndexNotFound:
        return []
    return [index.index_name for index in found.indexes if not field or index.field == field]


def describe_index(session: Session, collection_name: str, index_name: str) -> Operation[dict[str, Any] | None]:
    """The index's settings and progress, or None when there is no such index."""
    name = arguments.name("collection_name", collection_name)
    index = arguments.optional_name("index_name", index_name)
    request = requests.DescribeIndex(database=session.database, collection=name, index_name=index)
    try:
        found = yield from ask(request, results.Indexes)
    except IndexNotFound:
        return None
    if len(found.indexes) > 1:
        raise AmbiguousIndexName("There are multiple indexes, please specify the index_name.")
    return _shown(found.indexes[0]) if found.indexes else None


def _shown(index: results.IndexInfo) -> dict[str, Any]:
    """Parameters that came as one JSON object are shown as one."""
    params: dict[str, Any] = dict(index.params)
    if "params" in params:
        params["params"] = msgspec.json.decode(params["params"])
    return {
        **params,
        "field_name": index.field,
        "index_name": index.index_name,
        "total_rows": index.total_rows,
        "indexed_rows": index.indexed_rows,
        "pending_index_rows": index.pending_rows,
        "state": _STATE_NAMES[index.state],
    }


def alter_index_properties(
    session: Session, collection_name: str, index_name: str, properties: Mapping[str, Any]
) -> Operation[None]:
    request = requests.AlterIndex(
        database=session.database,
        collection=arguments.name("collection_name", collection_name),
        index_name=arguments.name("index_name", index_name),
        properties=arguments.texts("properties", properties),
    )
    yield from ask(request, results.Done)


def drop_index_properties(
    session: Session, collection_name: str, index_name: str, property_keys: Sequence[str]
) -> Operation[None]:
    request = requests.AlterIndex(
        database=session.database,
        collection=arguments.name("collection_name", collection_name),
        index_name=arguments.name("index_name", index_name),
        delete_keys=arguments.names("property_keys", property_keys),
    )
    yield from ask(request, results.Done)


def drop_index(session: Session, collection_name: str, index_name: str) -> Operation[None]:
    name = arguments.name("collection_name", collection_name)
    index = arguments.name("index_name", index_name)
    request = requests.DropIndex(database=session.database, collection=name, index_name=index)
    yield from ask(request, results.Done)
