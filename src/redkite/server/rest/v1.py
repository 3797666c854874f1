"""The first version of REST, which older clients still speak: a few endpoints, whose successes have code 200.

They are the second version's with other names for some keys; what that added to the envelope stands there, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import orjson

from redkite.errors import CollectionNotFound
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType
from redkite.server.rest import collections, entities
from redkite.server.rest.bodies import (
    Body,
    CollectionDataReq,
    CollectionFilterReq,
    CollectionIDReq,
    CollectionNameReq,
    CollectionReq,
    EmptyReq,
    QueryReqV2,
    SearchReqV2,
    UpsertReq,
)
from redkite.server.rest.exchange import Endpoint, Exchange, MissingKeys, answer
from redkite.server.rest.indexes import indexes_of
from redkite.server.rest.rows import read_ids
from redkite.server.rest.streams import Content

_BASE: Final = "/v1/vector/"
_SUCCESS, _SUCCESS_V1 = b'{"code":0,', b'{"code":200,'
_SIZES: Final = ("dim", "max_length")


class CreateCollectionReq(Body, frozen=True):
    required = ("collection_name", "dimension")
    collection_name: str = ""
    dimension: int = 0
    description: str = ""
    metric_type: str = "COSINE"
    primary_field: str = "id"
    vector_field: str = "vector"
    enable_dynamic_field: bool = True


class QueryReq(Body, frozen=True):
    required = ("collection_name", "filter")
    collection_name: str = ""
    filter: str = ""
    output_fields: tuple[str, ...] = ("*",)
    limit: int = 100
    offset: int = 0


class GetReq(Body, frozen=True):
    required = ("collection_name", "id")
    collection_name: str = ""
    id: Any = None
    output_fields: tuple[str, ...] = ("*",)


class DeleteReq(Body, frozen=True):
    required = ("collection_name",)
    collection_name: str = ""
    id: Any = None
    filter: str = ""


class SearchReq(Body, frozen=True):
    required = ("collection_name", "vector")
    collection_name: str = ""
    vector: list[Any] = []
    filter: str = ""
    limit: int = 100
    offset: int = 0
    output_fields: tuple[str, ...] = ()
    params: dict[str, Any] = {}


# -- collections --------------------------------------------------------------------------------
async def _list(exchange: Exchange, body: EmptyReq) -> Content:
    return await collections.ENDPOINTS["collections/list"].handle(exchange, body)


async def _create(exchange: Exchange, body: CreateCollectionReq) -> Content:
    whole = CollectionReq(
        collection_name=body.collection_name,
        dimension=body.dimension,
        description=body.description,
        metric_type=body.metric_type,
        primary_field_name=body.primary_field,
        vector_field_name=body.vector_field,
        auto_id=True,
        params={"enableDynamicField": body.enable_dynamic_field},
    )
    return await collections.ENDPOINTS["collections/create"].handle(exchange, whole)


async def _drop(exchange: Exchange, body: CollectionNameReq) -> Content:
    """Unlike later, dropping what is not there is an error."""
    name, database = body.collection_name, exchange.database
    found = await exchange.ask(rq.HasCollection(database=database, collection=name), rs.Flag)
    if not found.value:
        raise CollectionNotFound(f"collection not found, database: {database}, collection: {name}")
    return await collections.ENDPOINTS["collections/drop"].handle(exchange, body)


async def _describe(exchange: Exchange, body: CollectionNameReq) -> Content:
    name = body.collection_name
    info = await exchange.ask(rq.DescribeCollection(database=exchange.database, collection=name), rs.CollectionInfo)
    load = await exchange.ask(rq.GetLoadState(database=exchange.database, collection=name), rs.LoadStateInfo)
    found = await indexes_of(exchange, name)
    return answer(
        {
            "collectionName": info.schema.name,
            "description": info.schema.description,
            "fields": [_described(field) for field in info.schema.user_fields],
            "indexes": [
                {"indexName": i.index_name, "fieldName": i.field, "metricType": i.params.get("metric_type", "")}
                for i in found
            ],
            "load": f"LoadState{load.state.name}",
            "shardsNum": info.shards,
            "enableDynamicField": info.schema.enable_dynamic_field,
        }
    )


def _described(field: FieldSchema) -> dict[str, Any]:
    """The size of a type stands behind its name."""
    size = next((field.params[key] for key in _SIZES if key in field.params), "")
    return {
        "name": field.name,
        "type": f"{field.data_type.wire_name}({size})" if size else field.data_type.wire_name,
        "primaryKey": field.is_primary,
        "autoId": field.auto_id,
        "description": field.description,
    }


# -- rows -----------------------------------------------------------------------------------------
async def _rows(exchange: Exchange, path: str, body: Body) -> Content:
    return await entities.ENDPOINTS[f"entities/{path}"].handle(exchange, body)


async def _insert(exchange: Exchange, body: CollectionDataReq) -> Content:
    return await _rows(exchange, "insert", body)


async def _upsert(exchange: Exchange, body: CollectionDataReq) -> Content:
    values = {name: getattr(body, name) for name in body.__struct_fields__}
    return await _rows(exchange, "upsert", UpsertReq(**values))


async def _query(exchange: Exchange, body: QueryReq) -> Content:
    return await _rows(
        exchange,
        "query",
        QueryReqV2(
            collection_name=body.collection_name, filter=body.filter, output_fields=body.output_fields,
            limit=body.limit, offset=body.offset,
        ),
    )  # fmt: skip


async def _get(exchange: Exchange, body: GetReq) -> Content:
    whole = CollectionIDReq(collection_name=body.collection_name, id=body.id, output_fields=body.output_fields)
    return await _rows(exchange, "get", whole)


async def _delete(exchange: Exchange, body: DeleteReq) -> Content:
    """By keys or by a filter."""
    condition = body.filter
    if body.id is not None:
        info = await exchange.ask(
            rq.DescribeCollection(database=exchange.database, collection=body.collection_name), rs.CollectionInfo
        )
        primary = info.schema.primary
        condition = f"{primary.name} in {_listed(primary, read_ids(primary, body.id))}"
    elif not condition:
        raise MissingKeys("either id or filter is required")
    whole = CollectionFilterReq(collection_name=body.collection_name, filter=condition)
    await entities.ENDPOINTS["entities/delete"].handle(exchange, whole)
    return answer({})


def _listed(primary: FieldSchema, ids: list[Any]) -> str:
    return str(ids) if primary.data_type is DataType.INT64 else orjson.dumps(ids).decode()


async def _search(exchange: Exchange, body: SearchReq) -> Content:
    """One query."""
    whole = SearchReqV2(
        collection_name=body.collection_name,
        data=[body.vector],
        filter=body.filter,
        limit=body.limit,
        offset=body.offset,
        output_fields=body.output_fields,
        search_params={"params": body.params},
    )
    return await _rows(exchange, "search", whole)


# -- as HTTP has it -------------------------------------------------------------------------------
def as_v1(content: bytes) -> bytes:
    """An answer, or the beginning of one, with the first version's code for a success."""
    return _SUCCESS_V1 + content[len(_SUCCESS) :] if content.startswith(_SUCCESS) else content


def query_body(query: bytes) -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
    """The query of a GET as if it were a body."""
    body = msgspec.json.encode(dict(parse_qsl(query.decode("latin-1"))))

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


V1: Final[dict[tuple[str, str], Endpoint]] = {
    (method, _BASE + path): endpoint
    for (method, path), endpoint in {
        ("GET", "collections"): Endpoint(EmptyReq, _list),
        ("GET", "collections/describe"): Endpoint(CollectionNameReq, _describe),
        ("POST", "collections/create"): Endpoint(CreateCollectionReq, _create),
        ("POST", "collections/drop"): Endpoint(CollectionNameReq, _drop),
        ("POST", "insert"): Endpoint(CollectionDataReq, _insert),
        ("POST", "upsert"): Endpoint(CollectionDataReq, _upsert),
        ("POST", "query"): Endpoint(QueryReq, _query),
        ("POST", "get"): Endpoint(GetReq, _get),
        ("POST", "delete"): Endpoint(DeleteReq, _delete),
        ("POST", "search"): Endpoint(SearchReq, _search),
    }.items()
}
