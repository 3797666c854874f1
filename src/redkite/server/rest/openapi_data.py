"""What the OpenAPI document says of answers, and its examples."""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TEXT: Final[Schema] = {"type": "string"}
_WHOLE: Final[Schema] = {"type": "integer"}
_TRUTH: Final[Schema] = {"type": "boolean"}
_DONE: Final[Schema] = {"type": "object", "maxProperties": 0}
_NAMES: Final = _list(_TEXT)
_KEYS: Final = _list({"type": ["integer", "string"]})
_ROWS: Final = _list({"type": "object"})
_PAIRS: Final = _list(_object(key=_TEXT, value=_TEXT))
_HAS: Final = _object(has=_TRUTH)
_COUNT: Final = _object(rowCount=_WHOLE)
_JOB: Final = _object(jobId=_TEXT)
_COST: Final[Schema] = {"cost": _WHOLE}
_REACH: Final[Schema] = {
    "dataRatio": {"type": "number"}, "dataRows": _WHOLE, "leftOutRows": _WHOLE, "leftOutSegments": _WHOLE,
}  # fmt: skip
_TOPKS: Final[Schema] = {
    "cost": _WHOLE, "topks": _list(_WHOLE), "recalls": _list({"type": "number"}), "aggTopks": _list(_WHOLE),
    "explain": {"type": "object"}, **_REACH,
}  # fmt: skip

_DONE_BY: Final = {
    "collections": (
        "create drop truncate load refresh_load release rename alter_properties drop_properties flush alter_function "
        "add_function_field drop_function_field fields/alter_properties fields/add fields/drop struct_fields/add"
    ),
    "databases": "create drop alter alter_properties drop_properties",
    "partitions": "create drop load release",
    "indexes": "create drop alter_properties drop_properties",
    "aliases": "create alter drop",
    "users": "create update_password drop grant_role revoke_role",
    "roles": (
        "create alter drop grant_privilege revoke_privilege grant_privilege_v2 revoke_privilege_v2"
    ),
    "privilege_groups": "create drop add_privileges_to_group remove_privileges_from_group",
    "snapshots": "create drop unpin",
}  # fmt: skip
ANSWERS: Final[dict[str, Schema]] = {
    **{f"{group}/{name}": _DONE for group, names in _DONE_BY.items() for name in names.split()},
    "collections/list": _NAMES,
    "collections/has": _HAS,
    "collections/describe": _object(
        collectionName=_TEXT, collectionID=_WHOLE, description=_TEXT, autoId=_TRUTH, fields=_ROWS, structFields=_ROWS,
        functions=_ROWS, aliases=_NAMES, indexes=_ROWS, load=_TEXT, shardsNum=_WHOLE, partitionsNum=_WHOLE,
        consistencyLevel=_TEXT, enableDynamicField=_TRUTH, properties=_PAIRS,
    ),
    "collections/get_stats": _COUNT,
    "collections/get_load_state": _object(loadState=_TEXT),
    "collections/compact": _object(compactionID=_WHOLE),
    "collections/get_compaction_state": _object(
        compactionID=_WHOLE, state=_TEXT, executingPlanNumber=_WHOLE, timeoutPlanNumber=_WHOLE,
        completedPlanNumber=_WHOLE,
    ),
    "databases/list": _NAMES,
    "databases/describe": _object(dbName=_TEXT, dbID=_WHOLE, properties=_PAIRS),
    "entities/insert": _object(insertCount=_WHOLE, insertIds=_KEYS),
    "entities/upsert": _object(upsertCount=_WHOLE, upsertIds=_KEYS),
    "entities/delete": _object(deleteCount=_WHOLE),
    "entities/get": _ROWS,
    "entities/query": _ROWS,
    "entities/search": _ROWS,
    "entities/hybrid_search": _ROWS,
    "entities/advanced_search": _ROWS,
    "partitions/list": _NAMES,
    "partitions/has": _HAS,
    "partitions/get_stats": _COUNT,
    "indexes/list": _NAMES,
    "indexes/describe": _list(
        _object(
            indexName=_TEXT, fieldName=_TEXT, indexType=_TEXT, metricType=_TEXT, totalRows=_WHOLE, indexedRows=_WHOLE,
            pendingRows=_WHOLE, indexState=_TEXT, failReason=_TEXT, indexParams=_PAIRS,
        )
    ),
    "aliases/list": _NAMES,
    "aliases/describe": _object(dbName=_TEXT, collectionName=_TEXT, aliasName=_TEXT),
    "users/list": _NAMES,
    "users/describe": _NAMES,
    "roles/list": _NAMES,
    "roles/describe": _list(
        _object(objectType=_TEXT, objectName=_TEXT, privilege=_TEXT, dbName=_TEXT, grantor=_TEXT)
    ),
    "privilege_groups/list": _object(
        privilegeGroups=_list(_object(privilegeGroupName=_TEXT, privileges=_TEXT)),
    ),
    "common/run_analyzer": _object(results=_list(_object(tokens=_ROWS))),
    "quotacenter/describe": _TEXT,
    "snapshots/list": _NAMES,
    "snapshots/describe": _object(snapshotName=_TEXT, description=_TEXT, collectionName=_TEXT, partitionNames=_NAMES),
    "snapshots/restore": _JOB,
    "snapshots/pin": _object(pinId=_TEXT),
    "jobs/snapshot/list": _object(records=_ROWS),
    "jobs/snapshot/describe": _object(jobId=_TEXT, state=_TEXT, progress=_WHOLE),
    "jobs/snapshot/export": _object(jobId=_TEXT, snapshotMetadataURI=_TEXT),
    "jobs/snapshot/restore_external": _JOB,
    "/v1/vector/collections": _NAMES,
    "/v1/vector/collections/create": _DONE,
    "/v1/vector/collections/drop": _DONE,
    "/v1/vector/insert": _object(insertCount=_WHOLE, insertIds=_KEYS),
    "/v1/vector/upsert": _object(upsertCount=_WHOLE, upsertIds=_KEYS),
    "/v1/vector/query": _ROWS,
    "/v1/vector/get": _ROWS,
    "/v1/vector/search": _ROWS,
    "/v1/vector/delete": _DONE,
}  # fmt: skip
"""The `data` of each endpoint's success; anything where none is given."""

MORE: Final[dict[str, dict[str, Schema]]] = {
    "entities/insert": _COST, "entities/upsert": _COST, "entities/get": _COST | _REACH,
    "entities/query": _COST | _REACH,
    "entities/search": _TOPKS, "entities/hybrid_search": _TOPKS, "entities/advanced_search": _TOPKS,
    "collections/describe": {"message": _TEXT}, "collections/get_load_state": {"message": _TEXT},
    "users/describe": {"description": _TEXT}, "roles/describe": {"description": _TEXT},
}  # fmt: skip
"""What stands beside `data`."""

_ROW: Final = {"id": 1, "vector": [0.1, 0.2, 0.3, 0.4], "title": "a book"}
EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "collections/create": {"collectionName": "books", "dimension": 4},
    "entities/insert": {"collectionName": "books", "data": [_ROW]},
    "entities/upsert": {"collectionName": "books", "data": [_ROW]},
    "entities/search": {
        "collectionName": "books", "data": [[0.1, 0.2, 0.3, 0.4]], "limit": 3, "outputFields": ["title"],
        "filter": "id > 0",
    },
    "entities/hybrid_search": {
        "collectionName": "books",
        "search": [{"data": [[0.1, 0.2, 0.3, 0.4]], "annsField": "vector", "limit": 3}],
        "rerank": {"strategy": "rrf", "params": {"k": 60}},
        "limit": 3,
    },
    "entities/query": {"collectionName": "books", "filter": "id in [1, 2]", "outputFields": ["title"]},
    "entities/get": {"collectionName": "books", "id": [1, 2]},
    "entities/delete": {"collectionName": "books", "filter": "id in [1]"},
    "roles/grant_privilege_v2": {"roleName": "reader", "privilege": "Search", "collectionName": "books"},
}  # fmt: skip
VALUES: Final[dict[str, Any]] = {
    "dbName": "default", "partitionName": "part", "partitionNames": ["part"], "newCollectionName": "novels",
    "properties": {"collection.ttl.seconds": "0"}, "propertyKeys": ["collection.ttl.seconds"], "fieldName": "title",
    "fieldParams": {"max_length": "128"}, "dataType": "VarChar", "indexName": "vector", "aliasName": "volumes",
    "userName": "bob", "password": "bob's secret", "newPassword": "a better one", "roleName": "reader",
    "objectType": "Collection", "objectName": "books", "privilege": "Search", "privilegeGroupName": "readers",
    "snapshotName": "monday", "targetCollectionName": "books_again", "backupName": "monday", "jobId": "1",
    "pinId": "1", "text": ["a text"], "filter": "id in [1]", "data": [_ROW], "id": [1], "name": "words",
    "type": "BM25", "inputFieldNames": ["title"], "outputFieldNames": ["sparse"], "dimension": 4,
    "functionName": "words", "vector": [0.1, 0.2, 0.3, 0.4], "destination": "backups", "files": [["rows.parquet"]],
    "targetS3Path": "exports", "snapshotMetadataURI": "exports/metadata.json",
}  # fmt: skip
"""Values of examples, by key."""
