"""REST v2 in the vocabulary of `MilvusClient`, so that its answers may be compared with the SDK's."""

import base64
import http.client
import json
import struct
from urllib.parse import urlsplit

from callers import NotOffered, as_json, tidy

_KINDS = {
    "BOOL": "Bool", "INT8": "Int8", "INT16": "Int16", "INT32": "Int32", "INT64": "Int64", "FLOAT": "Float",
    "DOUBLE": "Double", "VARCHAR": "VarChar", "ARRAY": "Array", "JSON": "JSON", "GEOMETRY": "Geometry",
    "TIMESTAMPTZ": "Timestamptz", "BINARY_VECTOR": "BinaryVector", "FLOAT_VECTOR": "FloatVector",
    "FLOAT16_VECTOR": "Float16Vector", "BFLOAT16_VECTOR": "BFloat16Vector",
    "SPARSE_FLOAT_VECTOR": "SparseFloatVector", "INT8_VECTOR": "Int8Vector",
}  # fmt: skip
_NUMBERS = {
    "Bool": 1, "Int8": 2, "Int16": 3, "Int32": 4, "Int64": 5, "Float": 10, "Double": 11, "VarChar": 21, "Array": 22,
    "JSON": 23, "Geometry": 24, "Timestamptz": 26, "BinaryVector": 100, "FloatVector": 101, "Float16Vector": 102,
    "BFloat16Vector": 103, "SparseFloatVector": 104, "Int8Vector": 105,
}  # fmt: skip
_BYTES = ("BinaryVector", "Float16Vector", "BFloat16Vector", "Int8Vector")
_LEVELS = {"Strong": 0, "Session": 1, "Bounded": 2, "Eventually": 3, "Customized": 4}
_FLAGS = {"is_primary": "isPrimary", "is_partition_key": "isPartitionKey", "is_clustering_key": "isClusteringKey",
          "nullable": "nullable", "default_value": "defaultValue", "description": "description"}  # fmt: skip


class RestError(Exception):
    """An envelope that is no success."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class HttpCaller:
    """Requests as they are: `invoke("POST", ("/path", body))`."""

    way = "http"
    kit = None

    def __init__(self, uri):
        self.uri = uri
        self._place = urlsplit(uri)
        self._connection = None

    def invoke(self, method, args, kwargs):
        if method.startswith("drop_"):
            return None
        status, answer = self.ask(method, args[0], args[1] if len(args) > 1 else None, kwargs)
        return {"status": status, "body": answer}

    def ask(self, verb, path, body, headers=()):
        for fresh in (False, True):
            if self._connection is None or fresh:
                self._connection = http.client.HTTPConnection(self._place.hostname, self._place.port, timeout=60)
            try:
                sent = {"Content-Type": "application/json", **dict(headers)}
                data = body if isinstance(body, (bytes, type(None))) else as_json(body)
                self._connection.request(verb, path, data, sent)
                answer = self._connection.getresponse()
                text = answer.read()
                break
            except (http.client.HTTPException, ConnectionError):
                if fresh:
                    raise
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text.decode(errors="replace")

    def error(self, error):
        return {"class": type(error).__name__, "code": None, "text": str(error)}

    def close(self):
        if self._connection is not None:
            self._connection.close()


class RestCaller:
    """Answers in the shapes of the SDK: rows with values instead of their texts, hits in lists by query."""

    way = "rest"

    def __init__(self, uri):
        self.uri = uri
        self.kit = RestKit()
        self._http = HttpCaller(uri)
        self._database = ""
        self._described = {}

    def close(self):
        self._http.close()

    def error(self, error):
        if isinstance(error, RestError):
            return {"code": error.code, "text": tidy(error.message)}
        return {"code": None, "text": f"{type(error).__name__}: {error}"}

    def invoke(self, method, args, kwargs):
        work = getattr(self, "_do_" + method, None)
        if work is not None:
            return work(*args, **kwargs)
        if method not in _PLAIN:
            raise NotOffered(f"no endpoint for {method}")
        path, names, read = _PLAIN[method]
        body = dict(zip(names, args, strict=False))
        for key, value in kwargs.items():
            if key not in _ARGUMENTS:
                raise NotOffered(f"{path} takes no {key}")
            body[_ARGUMENTS[key]] = value
        self._described.clear()
        return read(self._post(path, body))

    def _post(self, path, body, whole=False):
        if self._database and "dbName" not in body:
            body = dict(body, dbName=self._database)
        status, answer = self._http.ask("POST", "/v2/vectordb/" + path, body)
        if status != 200 or not isinstance(answer, dict) or answer.get("code"):
            told = answer if isinstance(answer, dict) else {"code": status, "message": answer}
            raise RestError(status, told["code"], told.get("message", ""))
        return answer if whole else answer.get("data")

    # -- collections ------------------------------------------------------------------------------
    def _do_create(self, name, fields, index, functions, load, dynamic=False, schema=None, **options):
        made = {"fields": [_field(*field) for field in fields], "enableDynamicField": dynamic}
        made["autoID"] = any(details.get("auto_id") for _, _, details in fields)
        if functions:
            made["functions"] = [_function(one) for one in functions]
        body = {"collectionName": name, "schema": made, "params": {}}
        for key, value in {**(schema or {}), **options}.items():
            if key == "consistency_level":
                body["consistencyLevel"] = value
            elif key == "properties":
                body["properties"] = value
            elif key == "description":
                body["description"] = value
            elif key in _CREATE_PARAMS:
                body["params"][_CREATE_PARAMS[key]] = value
            else:
                raise NotOffered(f"collections/create takes no {key}")
        if index and load:
            body["indexParams"] = _indexes(index)
        self._post("collections/create", body)
        if index and not load:
            self._post("indexes/create", {"collectionName": name, "indexParams": _indexes(index)})

    def _do_create_collection(self, name, dimension=None, **options):
        body = {"collectionName": name, "dimension": dimension, "params": {}}
        for key, value in options.items():
            if key in _QUICK:
                body[_QUICK[key]] = value
            elif key in _CREATE_PARAMS:
                body["params"][_CREATE_PARAMS[key]] = value
            elif key == "id_type":
                body["idType"] = {"int": "Int64", "string": "VarChar"}[value]
            else:
                raise NotOffered(f"collections/create takes no {key}")
        if dimension is None:
            del body["dimension"]
        self._post("collections/create", body)

    def _do_create_index(self, name, wanted, **_):
        self._post("indexes/create", {"collectionName": name, "indexParams": _indexes(wanted)})

    def _do_describe_collection(self, name):
        told = self._post("collections/describe", {"collectionName": name})
        return {
            "collection_name": told["collectionName"],
            "auto_id": told["autoId"],
            "num_shards": told["shardsNum"],
            "description": told["description"],
            "aliases": told["aliases"] or [],
            "consistency_level": _LEVELS[told["consistencyLevel"]],
            "properties": {pair["key"]: pair["value"] for pair in told["properties"] or []},
            "num_partitions": told["partitionsNum"],
            "enable_dynamic_field": told["enableDynamicField"],
            "fields": [_described(field) for field in told["fields"]],
        }

    def _do_add_collection_field(self, name, field_name, data_type, **details):
        field = _field(field_name, next(key for key, kind in _KINDS.items() if kind == data_type), details)
        self._described.pop(name, None)
        self._post("collections/fields/add", {"collectionName": name, "schema": field})

    def _do_drop_collection_field(self, name, field_name):
        self._described.pop(name, None)
        self._post("collections/fields/drop", {"collectionName": name, "fieldName": field_name})

    def _do_describe_index(self, name, index_name):
        told = self._post("indexes/describe", {"collectionName": name, "indexName": index_name})[0]
        params = {pair["key"]: pair["value"] for pair in told["indexParams"]}
        return {
            **params,
            "field_name": told["fieldName"],
            "index_name": told["indexName"],
            "total_rows": told["totalRows"],
            "indexed_rows": told["indexedRows"],
            "pending_index_rows": told["pendingRows"],
            "state": told["indexState"],
        }

    def _do_describe_database(self, name):
        told = self._post("databases/describe", {"dbName": name})
        return {"name": told["dbName"], **{pair["key"]: pair["value"] for pair in told["properties"] or []}}

    def _do_list_aliases(self, name=""):
        return {"aliases": self._post("aliases/list", _optional(collectionName=name))}

    def _do_describe_alias(self, name):
        told = self._post("aliases/describe", {"aliasName": name})
        return {"alias": told["aliasName"], "collection_name": told["collectionName"], "db_name": told["dbName"]}

    def _do_describe_user(self, name):
        told = self._post("users/describe", {"userName": name}, whole=True)
        return {"user_name": name, "roles": told["data"], "description": told.get("description", "")}

    def _do_describe_role(self, name):
        told = self._post("roles/describe", {"roleName": name}, whole=True)
        names = {"objectType": "object_type", "objectName": "object_name", "dbName": "db_name",
                 "privilege": "privilege", "grantor": "grantor_name"}  # fmt: skip
        grants = [{names[key]: value for key, value in one.items() if value} for one in told["data"]]
        return {
            "role": name,
            "description": told.get("description", ""),
            "privileges": [dict(one, role_name=name) for one in grants],
        }

    def _do_compact(self, name):
        return self._post("collections/compact", {"collectionName": name})["compactionID"]

    def _do_get_compaction_state(self, job):
        return self._post("collections/get_compaction_state", {"jobID": job})["state"]

    def _do_add_privileges_to_group(self, group, privileges):
        body = {"privilegeGroupName": group, "privileges": privileges}
        self._post("privilege_groups/add_privileges_to_group", body)

    def _do_get_load_state(self, name, partition_name=""):
        body = {"collectionName": name}
        if partition_name:
            body["partitionNames"] = [partition_name]
        told = self._post("collections/get_load_state", body)
        numbers = {"LoadStateNotExist": 0, "LoadStateNotLoad": 1, "LoadStateLoading": 2, "LoadStateLoaded": 3}
        return {"state": numbers[told["loadState"]]}

    def _do_use_database(self, name):
        self._post("databases/describe", {"dbName": name})
        self._database = name

    _do_using_database = _do_use_database

    # -- rows ---------------------------------------------------------------------------------------
    def _do_insert(self, name, data, partition_name="", **_):
        told = self._post("entities/insert", _rows(name, data, partition_name))
        return {"insert_count": told["insertCount"], "ids": told["insertIds"]}

    def _do_upsert(self, name, data, partition_name="", partial_update=False):
        body = _rows(name, data, partition_name)
        if partial_update:
            body["partialUpdate"] = True
        told = self._post("entities/upsert", body)
        return {"upsert_count": told["upsertCount"], "ids": told["upsertIds"]}

    def _do_delete(self, name, ids=None, filter="", partition_name="", filter_params=None):
        if ids is not None:
            many = list(ids) if isinstance(ids, (list, tuple)) else [ids]
            filter = "{} in {}".format(self._schema(name)["pk"], json.dumps(many))
        body = {"collectionName": name, "filter": filter}
        body.update(_optional(partitionName=partition_name, exprParams=filter_params))
        return {"delete_count": self._post("entities/delete", body)["deleteCount"]}

    def _do_get(self, name, ids, output_fields=None, partition_names=None):
        body = {"collectionName": name, "id": ids}
        body.update(_optional(outputFields=output_fields, partitionNames=partition_names))
        return self._read(name, self._post("entities/get", body))

    def _do_query(self, name, filter="", output_fields=None, ids=None, **options):
        if ids is not None:
            raise NotOffered("entities/query takes no ids")
        body = {"collectionName": name, "filter": filter}
        body.update(_optional(outputFields=output_fields), **_reading(options))
        return self._read(name, self._post("entities/query", body))

    def _do_search(self, name, data=None, filter="", limit=None, output_fields=None, search_params=None, **options):
        body = {"collectionName": name}
        if data is not None:
            body["data"] = self._vectors(name, data, options.get("anns_field"))
        if "ids" in options:
            body["ids"] = options.pop("ids")
        body.update(
            _optional(filter=filter, outputFields=output_fields, searchParams=search_params),
            limit=10 if limit is None else limit,
            **_reading(options),
        )
        return self._hits(name, self._post("entities/search", body, whole=True), output_fields)

    def _do_hybrid_search(self, name, reqs, ranker, limit=10, output_fields=None, **options):
        body = {"collectionName": name, "limit": limit, "rerank": ranker}
        body["search"] = [dict(one, data=self._vectors(name, one["data"], one["annsField"])) for one in reqs]
        body.update(_optional(outputFields=output_fields), **_reading(options))
        return self._hits(name, self._post("entities/hybrid_search", body, whole=True), output_fields)

    # -- inside -------------------------------------------------------------------------------------
    def _schema(self, name):
        """Types of the collection's fields by name, and its primary key."""
        if name not in self._described:
            told = self._post("collections/describe", {"collectionName": name})
            fields = {field["name"]: field for field in told["fields"]}
            kinds = {one: field["type"] for one, field in fields.items()}
            pk = next(one for one, field in fields.items() if field["primaryKey"])
            self._described[name] = {"kinds": kinds, "pk": pk}
        return self._described[name]

    def _vectors(self, name, data, field):
        kinds = self._schema(name)["kinds"]
        vectors = [one for one, kind in kinds.items() if kind.endswith("Vector")]
        kind = kinds.get(field or vectors[0], "")
        return [_sent(kind, vector) for vector in data]

    def _read(self, name, rows):
        kinds = self._schema(name)["kinds"]
        return [{key: _value(kinds.get(key), value) for key, value in row.items()} for row in rows]

    def _hits(self, name, whole, output_fields):
        pk = self._schema(name)["pk"]
        asked = set(output_fields or ())
        hits = []
        for row in self._read(name, whole["data"]):
            entity = {key: _unwrapped(value) for key, value in row.items() if key not in (pk, "distance")}
            if pk in asked or "*" in asked:
                entity[pk] = row[pk]
            hits.append({pk: row[pk], "distance": row["distance"], "entity": entity})
        lists, start = [], 0
        for count in whole.get("topks") or [len(hits)]:
            lists.append(hits[start : start + count])
            start += count
        return lists


class RestKit:
    """Stand-ins for what programs import beside the client."""

    @staticmethod
    def kind(name):
        return _KINDS[name]

    @staticmethod
    def AnnSearchRequest(data, anns_field, param, limit, expr="", **_):
        body = {"data": data, "annsField": anns_field, "limit": limit, "params": param.get("params", {})}
        body.update(_optional(filter=expr, metricType=param.get("metric_type")))
        return body

    @staticmethod
    def RRFRanker(k=60):
        return {"strategy": "rrf", "params": {"k": k}}

    @staticmethod
    def WeightedRanker(*weights, norm_score=True):
        return {"strategy": "weighted", "params": {"weights": list(weights), "norm_score": norm_score}}

    def __getattr__(self, name):
        raise NotOffered(f"{name} is not there")


# -- requests -----------------------------------------------------------------------------------
def _optional(**values):
    return {key: value for key, value in values.items() if value not in (None, "", {})}


def _rows(name, data, partition):
    body = {"collectionName": name, "data": [_row(row) for row in (data if isinstance(data, list) else [data])]}
    body.update(_optional(partitionName=partition))
    return body


def _row(row):
    return {key: _sent("", value) for key, value in row.items()}


def _sent(kind, value):
    if isinstance(value, (bytes, bytearray)):
        if kind == "Int8Vector":
            return list(struct.unpack(f"{len(value)}b", value))
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, dict) and value and all(isinstance(key, int) for key in value):
        return {str(key): number for key, number in value.items()}
    return value


def _reading(options):
    known = {}
    for key, value in options.items():
        if key not in _ARGUMENTS:
            raise NotOffered(f"no argument for {key}")
        known[_ARGUMENTS[key]] = value
    return known


def _field(name, kind, details):
    field = {"fieldName": name, "dataType": _KINDS[kind], "elementTypeParams": {}}
    for key, value in details.items():
        if key in _FLAGS:
            field[_FLAGS[key]] = value
        elif key == "element_type":
            field["elementDataType"] = _KINDS[value]
        elif key != "auto_id":
            field["elementTypeParams"][key] = value
    return field


def _function(given):
    return {
        "name": given["name"],
        "type": given["type"],
        "inputFieldNames": given["input_field_names"],
        "outputFieldNames": given["output_field_names"],
        "params": given.get("params", {}),
    }


def _indexes(wanted):
    made = []
    for field, details in wanted.items():
        one = {"fieldName": field}
        names = {"index_name": "indexName", "metric_type": "metricType", "index_type": "indexType", "params": "params"}
        for key, value in details.items():
            if key not in names:
                raise NotOffered(f"indexes/create takes no {key}")
            one[names[key]] = value
        made.append(one)
    return made


# -- answers ------------------------------------------------------------------------------------
def _value(kind, value):
    if value is None:
        return None
    if kind == "JSON" and isinstance(value, str):
        return json.loads(value)
    if kind == "Array" and isinstance(value, dict):
        parts = value.get("Data") or {}
        return next((part.get("data", []) for part in parts.values()), [])
    if kind in _BYTES:
        return [base64.b64decode(value)]
    if kind == "SparseFloatVector":
        return {int(key): number for key, number in value.items()}
    return value


def _unwrapped(value):
    """A vector of bytes in a hit is not in a list, unlike in a row of a query: so the SDK shows them."""
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], bytes) else value


def _described(field):
    params = {}
    for pair in field.get("params") or []:
        number = pair["key"] in ("dim", "max_length", "max_capacity")
        params[pair["key"]] = int(pair["value"]) if number else pair["value"]
    told = {
        "field_id": field["id"],
        "name": field["name"],
        "description": field["description"],
        "type": _NUMBERS[field["type"]],
        "params": params,
    }
    flags = {"primaryKey": "is_primary", "autoId": "auto_id", "partitionKey": "is_partition_key",
             "clusteringKey": "is_clustering_key", "nullable": "nullable"}  # fmt: skip
    told.update({name: True for key, name in flags.items() if field.get(key)})
    if field.get("elementType"):
        told["element_type"] = _NUMBERS[field["elementType"]]
    return told


def _nothing(_):
    return None


def _as_is(data):
    return data


_ARGUMENTS = {
    "limit": "limit", "offset": "offset", "partition_names": "partitionNames", "anns_field": "annsField",
    "filter_params": "exprParams", "consistency_level": "consistencyLevel", "order_by_fields": "orderByFields",
    "group_by_field": "groupingField", "group_size": "groupSize", "strict_group_size": "strictGroupSize",
    "properties": "properties", "property_keys": "propertyKeys", "db_name": "dbName", "is_clustering": "isClustering",
    "partition_name": "partitionName", "role_name": "roleName", "privilege": "privilege", "index_name": "indexName",
    "collection_name": "collectionName", "target_db": "newDbName", "object_type": "objectType",
    "object_name": "objectName",
}  # fmt: skip
_QUICK = {"metric_type": "metricType", "auto_id": "autoID", "primary_field_name": "primaryFieldName",
          "vector_field_name": "vectorFieldName", "consistency_level": "consistencyLevel"}  # fmt: skip
_CREATE_PARAMS = {"max_length": "max_length", "enable_dynamic_field": "enableDynamicField", "num_shards": "shardsNum",
                  "num_partitions": "partitionsNum"}  # fmt: skip
_C = ("collectionName",)
_CP = ("collectionName", "partitionName")
_PLAIN = {
    "list_collections": ("collections/list", (), _as_is),
    "has_collection": ("collections/has", _C, lambda data: data["has"]),
    "drop_collection": ("collections/drop", _C, _nothing),
    "truncate_collection": ("collections/truncate", _C, _nothing),
    "rename_collection": ("collections/rename", ("collectionName", "newCollectionName"), _nothing),
    "get_collection_stats": ("collections/get_stats", _C, lambda data: {"row_count": data["rowCount"]}),
    "load_collection": ("collections/load", _C, _nothing),
    "release_collection": ("collections/release", _C, _nothing),
    "refresh_load": ("collections/refresh_load", _C, _nothing),
    "flush": ("collections/flush", _C, _nothing),
    "alter_collection_properties": ("collections/alter_properties", ("collectionName", "properties"), _nothing),
    "drop_collection_properties": ("collections/drop_properties", ("collectionName", "propertyKeys"), _nothing),
    "create_partition": ("partitions/create", _CP, _nothing),
    "drop_partition": ("partitions/drop", _CP, _nothing),
    "has_partition": ("partitions/has", _CP, lambda data: data["has"]),
    "list_partitions": ("partitions/list", _C, _as_is),
    "get_partition_stats": ("partitions/get_stats", _CP, lambda data: {"row_count": data["rowCount"]}),
    "load_partitions": ("partitions/load", ("collectionName", "partitionNames"), _nothing),
    "release_partitions": ("partitions/release", ("collectionName", "partitionNames"), _nothing),
    "list_indexes": ("indexes/list", _C, _as_is),
    "drop_index": ("indexes/drop", ("collectionName", "indexName"), _nothing),
    "alter_index_properties": ("indexes/alter_properties", ("collectionName", "indexName", "properties"), _nothing),
    "create_alias": ("aliases/create", ("collectionName", "aliasName"), _nothing),
    "alter_alias": ("aliases/alter", ("collectionName", "aliasName"), _nothing),
    "drop_alias": ("aliases/drop", ("aliasName",), _nothing),
    "create_database": ("databases/create", ("dbName", "properties"), _nothing),
    "drop_database": ("databases/drop", ("dbName",), _nothing),
    "list_databases": ("databases/list", (), _as_is),
    "alter_database_properties": ("databases/alter", ("dbName", "properties"), _nothing),
    "create_user": ("users/create", ("userName", "password"), _nothing),
    "drop_user": ("users/drop", ("userName",), _nothing),
    "list_users": ("users/list", (), _as_is),
    "update_password": ("users/update_password", ("userName", "password", "newPassword"), _nothing),
    "create_role": ("roles/create", ("roleName",), _nothing),
    "drop_role": ("roles/drop", ("roleName",), _nothing),
    "list_roles": ("roles/list", (), _as_is),
    "grant_role": ("users/grant_role", ("userName", "roleName"), _nothing),
    "revoke_role": ("users/revoke_role", ("userName", "roleName"), _nothing),
    "grant_privilege": ("roles/grant_privilege", ("roleName", "objectType", "privilege", "objectName"), _nothing),
    "revoke_privilege": ("roles/revoke_privilege", ("roleName", "objectType", "privilege", "objectName"), _nothing),
    "grant_privilege_v2": ("roles/grant_privilege_v2", ("roleName", "privilege", "collectionName"), _nothing),
    "revoke_privilege_v2": ("roles/revoke_privilege_v2", ("roleName", "privilege", "collectionName"), _nothing),
    "create_privilege_group": ("privilege_groups/create", ("privilegeGroupName",), _nothing),
    "drop_privilege_group": ("privilege_groups/drop", ("privilegeGroupName",), _nothing),
    "create_resource_group": ("resource_groups/create", ("name",), _nothing),
    "drop_resource_group": ("resource_groups/drop", ("name",), _nothing),
    "list_resource_groups": ("resource_groups/list", (), _as_is),
}
