"""Messages of gRPC as clients in other languages send them, field by field."""

import base64

from scenarios.registry import scenario


def schema(name, description=""):
    """A serialized CollectionSchema: `id` and a vector `v` of two numbers."""
    from pymilvus.grpc_gen import schema_pb2

    made = schema_pb2.CollectionSchema(name=name, description=description)
    made.fields.add(name="id", data_type=5, is_primary_key=True)
    vector = made.fields.add(name="v", data_type=101)
    vector.type_params.add(key="dim", value="2")
    return made.SerializeToString()


def vectors(*numbers):
    """A serialized PlaceholderGroup."""
    import struct

    from pymilvus.grpc_gen import common_pb2

    made = common_pb2.PlaceholderGroup()
    made.placeholders.add(tag="$0", type=101, values=[struct.pack("<2f", *pair) for pair in numbers])
    return made.SerializeToString()


def filled(s, name):
    s.need("CreateCollection", {"collection_name": name, "schema": schema(name), "shards_num": 1})
    s.need("CreateIndex", {"collection_name": name, "field_name": "v", "index_name": "", "extra_params": [
        {"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]})  # fmt: skip
    s.need("LoadCollection", {"collection_name": name, "replica_number": 1})
    s.need("Insert", insertion(name, [1, 2, 3], [1.0, 0.0, 2.0, 0.0, 3.0, 0.0]))


def insertion(name, keys, numbers, **more):
    return {
        "collection_name": name,
        "num_rows": len(keys),
        "hash_keys": [0] * len(keys),
        "fields_data": [
            {"type": "Int64", "field_name": "id", "scalars": {"long_data": {"data": keys}}},
            {"type": "FloatVector", "field_name": "v", "vectors": {"dim": 2, "float_vector": {"data": numbers}}},
        ],
        **more,
    }


def search(name, **more):
    """`more` is of the message; parameters of the search are in `params`."""
    params = {"anns_field": "v", "topk": "2", "params": "{}", "metric_type": "L2", "round_decimal": "-1",
              **more.pop("params", {})}  # fmt: skip
    return {
        "collection_name": name,
        "dsl_type": "BoolExprV1",
        "nq": 1,
        "placeholder_group": vectors((0, 0)),
        "search_params": [{"key": key, "value": value} for key, value in params.items() if value is not None],
        **more,
    }


@scenario("raw")
def the_first_calls_of_every_client(s):
    s.call("Connect", {"client_info": {"sdk_type": "GoMilvusClient", "sdk_version": "2.5.0", "local_time": "now",
                       "user": "root", "host": "here"}})  # fmt: skip
    s.call("Connect", {}, _note="nothing said")
    s.call("Connect", {}, dbname="nowhere", _note="a database that is not there")
    s.call("GetVersion")
    s.call("CheckHealth", _gives={"isHealthy": True, "status": {}})
    s.call("GetComponentStates")
    s.call("AllocTimestamp")
    s.call("ListDatabases")
    s.call("ListDatabases", dbname="nowhere", _note="a database that is not there")
    s.call("ShowCollections", {})
    s.call("ShowCollections", {"type": "InMemory"}, _note="those in memory")
    s.call("GetMetrics", {"request": '{"metric_type":"nosuch"}'}, _note="unknown")
    s.call("GetMetrics", {"request": "no JSON"}, _note="no JSON")
    s.call("Dummy", {"request_type": "anything"})
    s.call("RegisterLink")
    s.call("CalcDistance")


@scenario("raw")
def which_database_is_meant(s):
    s.need("CreateDatabase", {"db_name": "aside"})
    s.need("CreateCollection", {"db_name": "aside", "collection_name": "hid", "schema": schema("hid")})
    s.call("DescribeDatabase", {"db_name": "aside"})
    s.call("HasCollection", {"collection_name": "hid"}, _note="nothing said", _gives={"status": {}})
    s.call(
        "HasCollection",
        {"collection_name": "hid"},
        dbname="aside",
        _note="metadata",
        _gives={"status": {}, "value": True},
    )
    s.call(
        "HasCollection",
        {"collection_name": "hid", "db_name": "aside"},
        _note="message",
        _gives={"status": {}, "value": True},
    )
    s.call(
        "HasCollection",
        {"collection_name": "hid", "db_name": "aside"},
        dbname="default",
        _note="both",
        _gives={"status": {}, "value": True},
    )
    s.call(
        "HasCollection",
        {"collection_name": "hid", "db_name": "default"},
        dbname="aside",
        _note="both, turned",
        _gives={"status": {}},
    )
    s.call("HasCollection", {"collection_name": "hid"}, dbname="nowhere", _note="not there")
    s.call("DescribeCollection", {"collection_name": "hid"}, dbname="aside", _note="metadata")
    s.call("DescribeCollection", {"collection_name": "hid"}, dbname="nowhere", _note="not there")
    s.call("ShowCollections", {}, dbname="aside")
    s.call("ShowCollections", {"db_name": "nowhere"}, _note="not there")
    s.call("DropDatabase", {"db_name": "aside"}, _note="not empty")
    s.call("DropCollection", {"collection_name": "hid"}, dbname="aside")
    s.call("DropDatabase", {"db_name": "aside"})
    s.call("DropDatabase", {"db_name": "aside"}, _note="again", _gives={})


@scenario("raw")
def collections_by_message(s):
    s.call("CreateCollection", {"collection_name": "plain", "schema": schema("plain")})
    s.call("CreateCollection", {"collection_name": "plain", "schema": schema("plain")}, _note="again", _gives={})
    s.call("CreateCollection", {"collection_name": "plain", "schema": schema("plain", "other")}, _note="otherwise")
    s.call("CreateCollection", {"collection_name": "bad", "schema": b"\xff\xff"}, _note="no schema")
    s.call("CreateCollection", {"collection_name": "empty"}, _note="an empty schema")
    s.call("CreateCollection", {"collection_name": "named", "schema": schema("otherwise")}, _note="two names")
    s.call("HasCollection", {"collection_name": "plain"})
    s.call("HasCollection", {"collection_name": "nosuch"}, _note="not there")
    s.call("DescribeCollection", {"collection_name": "plain"})
    s.call("DescribeCollection", {"collection_name": "nosuch"}, _note="not there")
    s.call("DescribeCollection", {}, _note="no name")
    s.call("DescribeCollection", {"collectionID": 1}, _note="by an id of nothing")
    s.call("GetCollectionStatistics", {"collection_name": "plain"})
    s.call("GetLoadState", {"collection_name": "plain"})
    s.call("GetLoadState", {"collection_name": "nosuch"}, _note="not there", _gives={"status": {}})
    s.call("GetLoadingProgress", {"collection_name": "plain"}, _note="not loaded")
    s.call("GetLoadingProgress", {"collection_name": "nosuch"}, _note="not there")
    s.call("ShowPartitions", {"collection_name": "plain"})
    s.call("HasPartition", {"collection_name": "plain", "partition_name": "nosuch"})
    s.call("DescribeIndex", {"collection_name": "plain"}, _note="none")
    s.call("GetIndexState", {"collection_name": "plain", "field_name": "v"}, _note="none")
    s.call("LoadCollection", {"collection_name": "plain"}, _note="without an index")
    s.call("ReleaseCollection", {"collection_name": "plain"}, _note="not loaded", _gives={})
    s.call("DropCollection", {"collection_name": "plain"})
    s.call("DropCollection", {"collection_name": "plain"}, _note="again", _gives={})
    s.call("DropCollection", {}, _note="no name")
    s.call("DropCollection", {"collection_name": "named"}, _note="the other name")


@scenario("raw")
def rows_by_message(s):
    filled(s, "rows")
    s.call("Insert", insertion("rows", [4], [4.0, 0.0]))
    s.call("Insert", insertion("rows", [5], [5.0, 0.0], schema_timestamp=1), _note="an old schema")
    s.call("Insert", insertion("rows", [5], [5.0]), _note="half a vector")
    s.call("Insert", {"collection_name": "rows", "num_rows": 0}, _note="no rows")
    s.call("Insert", {"collection_name": "rows", "num_rows": 1}, _note="no columns")
    s.call("Insert", dict(insertion("rows", [6, 7], [6.0, 0.0, 7.0, 0.0]), num_rows=3), _note="rows miscounted")
    s.call("Insert", dict(insertion("rows", [6], [6.0, 0.0]), hash_keys=[]), _note="no hash keys")
    s.call("Insert", insertion("rows", [8], [8.0, 0.0], partition_name="nosuch"), _note="partition")
    s.call("Upsert", insertion("rows", [4], [4.5, 0.0]))
    s.call("Delete", {"collection_name": "rows", "expr": "id in [4, 99]"})
    s.call("Delete", {"collection_name": "rows", "expr": ""}, _note="everything")
    s.call("Delete", {"collection_name": "rows", "expr": "id in [6]", "partition_name": "_default"}, _note="partition")
    s.call("Query", {"collection_name": "rows", "expr": "id > 0", "output_fields": ["id", "v"]}, _note="rows")
    s.call("Query", {"collection_name": "rows", "expr": "id > 100", "output_fields": ["id", "v"]}, _note="no rows")
    s.call("Query", {"collection_name": "rows", "expr": "id > 0", "output_fields": ["count(*)"]}, _note="count")
    s.call("Query", {"collection_name": "rows", "expr": "id > 0", "query_params": [{"key": "limit", "value": "x"}]},
           _note="a limit that is no number")  # fmt: skip
    s.call("Query", {"collection_name": "rows", "expr": "id > 0", "guarantee_timestamp": 1, "output_fields": ["id"]},
           _note="an old timestamp")  # fmt: skip
    s.call("Query", {"collection_name": "rows", "expr": "id > 0", "travel_timestamp": 5, "output_fields": ["id"]},
           _note="a time to travel to")  # fmt: skip
    s.call("Flush", {"collection_names": ["rows"]})
    s.call("Flush", {"collection_names": []}, _note="nothing")
    s.call("Flush", {"collection_names": ["nosuch"]}, _note="not there")
    s.call("GetFlushState", {"segmentIDs": []}, _note="of nothing")
    s.call("ManualCompaction", {"collectionID": 1}, _note="of nothing")
    s.call("GetCompactionState", {"compactionID": 1}, _note="of nothing")
    s.call("DropCollection", {"collection_name": "rows"})


@scenario("raw")
def searches_by_message(s):
    filled(s, "found")
    s.call("Search", search("found"))
    s.call("Search", search("found", output_fields=["v"]), _note="with fields")
    s.call("Search", search("found", dsl="id > 100"), _note="nothing is found")
    s.call("Search", search("found", dsl="id > 100", output_fields=["v"]), _note="nothing, with fields")
    s.call("Search", search("found", params={"anns_field": None}), _note="no field named")
    s.call("Search", search("found", params={"metric_type": None}), _note="no metric named")
    s.call("Search", search("found", params={"metric_type": ""}), _note="an empty metric")
    s.call("Search", search("found", params={"topk": None}), _note="no limit")
    s.call("Search", search("found", params={"topk": "x"}), _note="a word for a limit")
    s.call("Search", search("found", params={"params": None}), _note="no parameters")
    s.call("Search", search("found", params={"params": "{"}), _note="broken parameters")
    s.call("Search", search("found", params={"round_decimal": "1"}), _note="rounded")
    s.call("Search", search("found", params={"offset": "1"}), _note="an offset")
    s.call("Search", search("found", nq=2), _note="miscounted vectors")
    s.call("Search", search("found", nq=0), _note="vectors not counted")
    s.call("Search", search("found", placeholder_group=b""), _note="no vectors")
    s.call("Search", search("found", placeholder_group=b"\xff\xff"), _note="broken vectors")
    s.call("Search", search("found", guarantee_timestamp=1, consistency_level="Eventually"), _note="eventually")
    s.call("Search", search("found", use_default_consistency=True), _note="the collection's consistency")
    s.call("Search", search("found", partition_names=["_default"]), _note="a partition")
    s.call("Search", search("nosuch"), _note="not there")
    s.call("GetPersistentSegmentInfo", {"collectionName": "nosuch"}, _note="not there")
    s.call("GetQuerySegmentInfo", {"collectionName": "nosuch"}, _note="not there")
    s.call("DropIndex", {"collection_name": "found", "index_name": "nosuch"}, _note="not there", _gives={})
    s.call("DescribeIndex", {"collection_name": "found"})
    s.call("GetIndexState", {"collection_name": "found", "field_name": "v"})
    s.call("GetIndexBuildProgress", {"collection_name": "found", "field_name": "v"})
    s.call("DropCollection", {"collection_name": "found"})


@scenario("raw")
def users_by_message(s):
    secret = base64.b64encode(b"secret1").decode()
    s.call("CreateCredential", {"username": "ada", "password": secret})
    s.call("CreateCredential", {"username": "ada", "password": secret}, _note="again")
    s.call("CreateCredential", {"username": "bea", "password": "*"}, _note="a password that is not base64")
    s.call("CreateCredential", {"username": "bea", "password": base64.b64encode(b"x").decode()}, _note="too short")
    s.call("UpdateCredential", {"username": "ada", "oldPassword": base64.b64encode(b"wrong-1").decode(),
           "newPassword": secret}, _note="a wrong old one")  # fmt: skip
    s.call("ListCredUsers")
    s.call("SelectUser", {"user": {"name": "ada"}, "include_role_info": True})
    s.call("SelectUser", {"user": {"name": "nobody"}}, _note="not there")
    s.call("CreateRole", {"entity": {"name": "cook"}})
    s.call("CreateRole", {"entity": {"name": "cook"}}, _note="again")
    s.call("OperateUserRole", {"username": "ada", "role_name": "cook", "type": "AddUserToRole"})
    s.call("OperateUserRole", {"username": "ada", "role_name": "nosuch", "type": "AddUserToRole"}, _note="not there")
    s.call("SelectRole", {"role": {"name": "cook"}, "include_user_info": True})
    s.call("SelectRole", {"role": {"name": "nosuch"}}, _note="not there")
    grant = {"role": {"name": "cook"}, "object": {"name": "Collection"}, "object_name": "*",
             "grantor": {"user": {"name": "root"}, "privilege": {"name": "Search"}}}  # fmt: skip
    s.call("OperatePrivilege", {"entity": grant, "type": "Grant"})
    s.call("OperatePrivilege", {"entity": grant, "type": "Grant"}, _note="again")
    s.call("SelectGrant", {"entity": {"role": {"name": "cook"}}})
    s.call("SelectGrant", {"entity": {"role": {"name": "nosuch"}}}, _note="not there")
    s.call("DropRole", {"role_name": "cook"}, _note="with a grant")
    s.call("OperatePrivilege", {"entity": grant, "type": "Revoke"})
    s.call("OperatePrivilege", {"entity": grant, "type": "Revoke"}, _note="again")
    s.call("DropRole", {"role_name": "cook"})
    s.call("DropRole", {"role_name": "cook"}, _note="again")
    s.call("DropRole", {"role_name": "admin"}, _note="the server's own")
    s.call("DeleteCredential", {"username": "ada"})
    s.call("DeleteCredential", {"username": "ada"}, _note="again", _gives={})
    s.call("DeleteCredential", {"username": "root"}, _note="the first")


@scenario("raw")
def aliases_and_groups_by_message(s):
    s.need("CreateCollection", {"collection_name": "one", "schema": schema("one")})
    s.call("CreateAlias", {"collection_name": "one", "alias": "uno"})
    s.call("CreateAlias", {"collection_name": "one", "alias": "uno"}, _note="again")
    s.call("CreateAlias", {"collection_name": "nosuch", "alias": "due"}, _note="of nothing")
    s.call("DescribeCollection", {"collection_name": "uno"})
    s.call("AlterAlias", {"collection_name": "one", "alias": "due"}, _note="not there")
    s.call("DropCollection", {"collection_name": "uno"}, _note="by its alias")
    s.call("DropCollection", {"collection_name": "one"}, _note="with an alias")
    s.call("DropAlias", {"alias": "uno"})
    s.call("DropAlias", {"alias": "uno"}, _note="again", _gives={})
    s.call("RenameCollection", {"oldName": "one", "newName": "two"})
    s.call("RenameCollection", {"oldName": "one", "newName": "two"}, _note="again")
    s.call(
        "AlterCollection", {"collection_name": "two", "properties": [{"key": "collection.ttl.seconds", "value": "9"}]}
    )
    s.call("AlterCollection", {"collection_name": "two"}, _note="nothing")
    s.call("DropCollection", {"collection_name": "two"})
    s.call("ListResourceGroups")
    s.call("DescribeResourceGroup", {"resource_group": "nosuch"}, _note="not there")
    s.call("GetReplicas", {"collection_name": "nosuch"}, _note="not there")
    s.call("ListImportTasks", {"collection_name": "nosuch"}, _note="not there")
    s.call("GetImportState", {"task": 1}, _note="of nothing")
    s.call("LoadBalance", {"src_nodeID": 99}, _note="of nothing")
