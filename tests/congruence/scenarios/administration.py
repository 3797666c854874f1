"""Databases, aliases, users and roles, groups, flushes and compactions, and what servers say of themselves."""

from scenarios.registry import scenario

PLAIN = [("id", "INT64", {"is_primary": True}), ("v", "FLOAT_VECTOR", {"dim": 2})]


@scenario()
def databases(s):
    s.call("list_databases", _gives=["default"])
    s.call("create_database", "north", _gives=None)
    s.call("create_database", "north", _note="again", _code=1100, _text="database already exist: north")
    s.call("create_database", "two words", _note="a blank", _code=802,
           _text="database name can only contain numbers, letters and underscores")  # fmt: skip
    s.call("create_database", "1st", _note="a digit first", _code=802,
           _text="the first character of a database name must be an underscore or letter")  # fmt: skip
    s.do("list_databases: two of them", lambda: sorted(s.caller.invoke("list_databases", (), {})))
    s.call("describe_database", "north")
    s.call("describe_database", "nowhere", _note="not there", _code=800, _text="database not found[database=nowhere]")
    s.call("drop_database", "nowhere", _note="not there")
    s.call("drop_database", "default", _note="default", _code=1100, _text="can not drop default database")
    s.call("use_database", "north")
    s.call("using_database", "north")
    s.call("create_collection", "there", dimension=2, consistency_level="Strong")
    s.call("list_collections", _note="in it")
    s.call("insert", "there", [{"id": 1, "vector": [1, 2]}], _note="in it")
    s.call("query", "there", filter="id == 1", output_fields=["id"], _note="in it")
    s.call("drop_database", "north", _note="not empty", _code=1100,
           _text="database:north not empty, must drop all collections before drop database")  # fmt: skip
    s.call("describe_collection", "elsewhere", _note="missing in it", _code=100,
           _text="collection not found[database=north][collection=elsewhere]")  # fmt: skip
    s.call("alter_database_properties", "north", {"database.replica.number": 1})
    s.call("describe_database", "north", _note="with a property")
    s.call("drop_collection", "there")
    s.call("use_database", "nowhere", _note="not there")
    s.call("using_database", "nowhere", _note="not there")
    s.call("using_database", "default")
    s.call("use_database", "default", _note="back")
    s.call("drop_database", "north", _gives=None)
    s.call("list_databases", _note="one again")


@scenario()
def aliases(s):
    s.collection(PLAIN, name="first")
    s.collection(PLAIN, name="second")
    s.call("create_alias", "first", "nick", _gives=None)
    s.call("create_alias", "first", "nick", _note="again")
    s.call("create_alias", "second", "nick", _note="taken", _code=1602, _text="alias already exist")
    s.call("create_alias", "first", "second", _note="a collection's name", _code=1601,
           _text="alias and collection name conflict")  # fmt: skip
    s.call("create_alias", "first", "two words", _note="a blank", _code=1100)
    s.call("list_aliases", "first")
    s.call("list_aliases", _note="all")
    s.call("describe_alias", "nick")
    s.call("describe_alias", "nosuch", _note="not there", _code=1600, _text="alias not found")
    s.call("insert", "nick", [{"id": 1, "v": [1, 2]}])
    s.call("query", "nick", filter="id > 0", output_fields=["id"], _gives=[{"id": 1}])
    s.call("search", "nick", data=[[1, 2]], limit=1)
    s.call("describe_collection", "nick", _note="by its alias")
    s.call("has_collection", "nick", _note="by its alias")
    s.call("alter_alias", "second", "nick", _gives=None)
    s.call("query", "nick", filter="id > 0", output_fields=["id"], _note="of the other", _gives=[])
    s.call("alter_alias", "second", "nosuch", _note="not there", _code=1600, _text="alias not found")
    s.call("create", "nick", PLAIN, None, [], False, _note="a collection with its name", _code=1601)
    s.call("drop_collection", "nick", _note="by its alias")
    s.call("drop_alias", "nick", _gives=None)
    s.call("drop_alias", "nick", _note="again", _gives=None)


@scenario()
def users_and_roles(s):
    s.call("list_users")
    s.call("create_user", "amy", "secret1", _gives=None)
    s.call("create_user", "amy", "secret1", _note="again", _code=1100, _text="user already exists: amy")
    s.call("create_user", "eve", "x", _note="a short password", _code=1100, _text="invalid password length")
    s.call("create_user", "1st", "secret1", _note="a digit first", _code=1100, _text="invalid user name 1st")
    s.call("list_users", _note="two of them")
    s.call("describe_user", "amy")
    s.call("describe_user", "nobody", _note="not there")
    s.call("list_roles")
    s.call("create_role", "pilot", _gives=None)
    s.call("create_role", "pilot", _note="again", _code=1100, _text='role [name:"pilot"] already exists')
    s.call("grant_role", "amy", "pilot", _gives=None)
    s.call("grant_role", "amy", "nosuch", _note="no such role", _code=1100, _text="not found the role")
    s.call("grant_role", "nobody", "pilot", _note="no such user")
    s.call("describe_user", "amy", _note="with a role")
    s.call("grant_privilege", "pilot", "Collection", "Search", "*", _gives=None)
    s.call("grant_privilege", "pilot", "Collection", "Fly", "*", _note="no such privilege", _code=1100,
           _text="not found the privilege name[Fly]")  # fmt: skip
    s.call("grant_privilege", "pilot", "Bird", "Search", "*", _note="no such object", _code=1100,
           _text="not found the object type[name: Bird]")  # fmt: skip
    s.call("describe_role", "pilot")
    s.call("grant_privilege_v2", "pilot", "Query", "some")
    s.call("grant_privilege_v2", "pilot", "ClusterAdmin", "some", _note="of the whole", _code=1100)
    s.call("describe_role", "pilot", _note="with two")
    s.call("drop_role", "pilot", _note="with privileges", _code=1100,
           _text="fail to drop the role that it has privileges. Use REVOKE API to revoke privileges")  # fmt: skip
    s.call("revoke_privilege", "pilot", "Collection", "Search", "*", _gives=None)
    s.call("revoke_privilege", "pilot", "Collection", "Search", "*", _note="again")
    s.call("revoke_privilege_v2", "pilot", "Query", "some")
    s.call("revoke_role", "amy", "pilot", _gives=None)
    s.call("update_password", "amy", "wrong-one", "secret2", _note="a wrong old one", _code=1400)
    s.call("update_password", "amy", "secret1", "secret2")
    s.call("drop_role", "pilot", _gives=None)
    s.call("drop_role", "pilot", _note="again", _code=1100, _text="not found the role")
    s.call("drop_role", "admin", _note="one of the server's", _code=1401)
    s.call("drop_user", "amy", _gives=None)
    s.call("drop_user", "amy", _note="again")
    s.call("drop_user", "root", _note="the first", _code=1401, _text="root user cannot be deleted")
    s.call("describe_role", "nosuch", _note="not there")
    s.call("create_privilege_group", "crew")
    s.call("add_privileges_to_group", "crew", ["Search", "Query"])
    s.call("drop_privilege_group", "crew")


@scenario()
def upkeep(s):
    name = s.collection(PLAIN)
    s.call("insert", name, [{"id": n, "v": [n, n]} for n in range(10)])
    s.call("flush", name, _gives=None)
    s.call("get_collection_stats", name, _gives={"row_count": 10})
    s.call("get_partition_stats", name, "_default")
    s.do("compact", lambda: type(s.caller.invoke("compact", (name,), {})).__name__)
    s.call("get_server_type")
    s.call("list_resource_groups")
    s.call("get_compaction_state", 1, _note="of no job")


@scenario()
def timeouts_and_empty_names(s):
    s.call("describe_collection", "", _note="no name")
    s.call("has_collection", "", _note="no name")
    s.call("drop_collection", "", _note="no name")
    s.call("create_partition", "", "p", _note="no name")
    s.call("drop_alias", "", _note="no name")
    s.call("describe_alias", "", _note="no name")
    s.call("create_database", "", _note="no name")
    s.call("describe_database", "", _note="no name")
    s.call("create_user", "", "secret1", _note="no name")
    s.call("create_role", "", _note="no name")
