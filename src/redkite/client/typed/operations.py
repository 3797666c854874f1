"""What typed collections do, written once: the operations of the plain client, with objects in the place of dicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

from redkite.client import arguments
from redkite.client.operations import data as writes
from redkite.client.operations import hybrid, reads
from redkite.client.operations.collections import create_collection
from redkite.client.operations.data import Ids
from redkite.client.operations.hybrid import HybridOptions
from redkite.client.operations.kinds import OPTIONS, Orderings
from redkite.client.operations.loading import load_collection
from redkite.client.ranking import AnnSearchRequest
from redkite.client.results import SearchResult
from redkite.client.session import Operation, Session, ask
from redkite.client.typed.comparison import check
from redkite.client.typed.results import TypedHits, TypedRows
from redkite.client.typed.shape import Shape
from redkite.errors import CollectionNotFound, IndexNotFound, ParamError
from redkite.model import requests, results

Given = Any
"""One object, or an iterable of objects."""


def open_collection(session: Session, shape: Shape, name: str, create: bool) -> Operation[None]:
    """Make the collection where there is none; where there is one, see that it is what the model says, and load it."""
    try:
        info = yield from ask(
            requests.DescribeCollection(database=session.database, collection=name), results.CollectionInfo
        )
    except CollectionNotFound:
        if not create:
            raise
        yield from _create(session, shape, name)
        return
    metrics = yield from _metrics(session, name)
    check(shape, name, info, metrics)
    if metrics:
        yield from load_collection(session, name)


def _create(session: Session, shape: Shape, name: str) -> Operation[None]:
    options = shape.options
    yield from create_collection(
        session, name, None, "", "int", "", "", False, shape.schema(), shape.index_params(), None, None, None,
        options.shards, options.partitions, options.consistency, dict(options.properties) or None,
    )  # fmt: skip


def _metrics(session: Session, name: str) -> Operation[dict[str, str]]:
    """The metric of each vector field that has an index."""
    try:
        found = yield from ask(requests.DescribeIndex(database=session.database, collection=name), results.Indexes)
    except IndexNotFound:
        return {}
    return {index.field: index.params["metric_type"] for index in found.indexes if "metric_type" in index.params}


# -- writes -------------------------------------------------------------------------------------
def objects_of(shape: Shape, given: Given) -> list[Any]:
    """What was given as a list of objects."""
    if isinstance(given, shape.cls):
        return [given]
    if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__iter__"):
        raise ParamError(
            f"give an object of {shape.cls.__name__}, or a list of such, not {type(given).__name__}; "
            "dicts and columns go to the client's own insert()"
        )
    return list(given)


def insert(session: Session, shape: Shape, name: str, given: Given, partition: str) -> Operation[list[int | str]]:
    objects = objects_of(shape, given)
    if not objects:
        return []
    done = yield from writes.insert(session, name, shape.columns(objects, with_key=False), partition)
    return list(done["ids"])


def upsert(
    session: Session, shape: Shape, name: str, given: Given, partition: str, if_version: writes.Versions | None
) -> Operation[list[int | str]]:
    objects = objects_of(shape, given)
    if not objects:
        return []
    columns = shape.columns(objects, with_key=True)
    done = yield from writes.upsert(session, name, columns, partition, False, None, if_version, None, None)
    return list(done["ids"])


def delete(
    session: Session, name: str, keys: Ids | None, filter: str | None, filter_params: dict[str, Any] | None
) -> Operation[int]:
    done = yield from writes.delete(session, name, keys, filter, None, filter_params, None, None, None)
    return int(done["delete_count"])


# -- reads --------------------------------------------------------------------------------------
def get(session: Session, shape: Shape, name: str, keys: Ids, as_of: reads.Moment | None) -> Operation[list[Any]]:
    """The objects of some keys; those that are not there are left out."""
    listed = writes.id_list(keys)
    if not listed:
        return []
    found = yield from reads.query(
        session, name, None, shape.output_fields, listed, None, None, None, None, None, None, None, as_of, None, None
    )
    return list(TypedRows(shape, found))


def query(
    session: Session, shape: Shape, name: str, filter: str | None, limit: int | None, offset: int | None,
    order_by: Orderings | None, filter_params: dict[str, Any] | None, partition_names: Sequence[str] | None,
    consistency_level: str | int | None, as_of: reads.Moment | None,
) -> Operation[TypedRows[Any]]:  # fmt: skip
    found = yield from reads.query(
        session, name, filter, shape.output_fields, None, partition_names, limit, offset, filter_params,
        consistency_level, None, None, as_of, None, None, {"order_by_fields": order_by} if order_by else {},
    )  # fmt: skip
    return TypedRows(shape, found)


def count(session: Session, name: str, filter: str | None, filter_params: dict[str, Any] | None) -> Operation[int]:
    found = yield from reads.query(
        session, name, filter, ["count(*)"], None, None, None, None, filter_params, None, None, None, None, None, None
    )
    return int(found[0]["count(*)"])


def search(
    session: Session, shape: Shape, stored: Shape, name: str, queries: Any, limit: int, filter: str | None, using: str,
    search_params: Mapping[str, Any] | None, offset: int | None, filter_params: dict[str, Any] | None,
    partition_names: Sequence[str] | None, consistency_level: str | int | None, as_of: reads.Moment | None,
    options: Mapping[str, Any],
) -> Operation[list[TypedHits[Any]]]:  # fmt: skip
    """Searches by several queries. `stored` is the collection's own model, `shape` that of the hits."""
    if options.get("search_aggregation") is not None:
        raise ParamError("buckets hold no objects of a model: search_aggregation goes to the client's own search()")
    field = using or stored.target(queries)
    found = yield from reads.search(
        session, name, queries, filter, limit, shape.output_fields, search_params, partition_names, field, offset, None,
        filter_params, consistency_level, None, None, as_of, None, None, options,
    )  # fmt: skip
    return _typed(shape, found)


def hybrid_search(
    session: Session, shape: Shape, name: str, reqs: Sequence[AnnSearchRequest], ranker: hybrid.Ranker, limit: int,
    partition_names: Sequence[str] | None, options: Mapping[str, Any],
) -> Operation[list[TypedHits[Any]]]:  # fmt: skip
    found = yield from hybrid.hybrid_search(
        session, name, reqs, ranker, limit, shape.output_fields, partition_names, options
    )
    return _typed(shape, found)


def _typed(shape: Shape, found: SearchResult) -> list[TypedHits[Any]]:
    return [TypedHits(shape, found, hits) for hits in found]


def one(operation: Operation[list[TypedHits[Any]]]) -> Operation[TypedHits[Any]]:
    """Of a search by one query, its hits."""
    found = yield from operation
    if len(found) != 1:
        raise ParamError(f"this is a search by one query, and {len(found)} were given")
    return found[0]


def collection_name(shape: Shape, name: str) -> str:
    return arguments.name("name", name) if name else shape.name


def refuse(method: Callable[..., Any], unknown: Mapping[str, object]) -> None:
    """Options that a read does not have."""
    if unknown:
        name = method.__name__
        known = (*signature(method).parameters, *OPTIONS.get(name, HybridOptions.__annotations__))
        arguments.refuse_unknown(name, unknown, known)
