"""Programs written for the older classes: connections, collections as objects, and functions over them."""

from scenarios.registry import scenario

ALIAS = "older"


def connect(s):
    s.kit.connections.connect(alias=ALIAS, uri=s.caller.uri)


def made(s, name, *more, **options):
    kit = s.kit
    fields = [
        kit.FieldSchema("id", kit.DataType.INT64, is_primary=True),
        kit.FieldSchema("v", kit.DataType.FLOAT_VECTOR, dim=2),
        kit.FieldSchema("n", kit.DataType.INT64),
        *more,
    ]
    return kit.Collection(name, kit.CollectionSchema(fields, "of old"), using=ALIAS, **options)


def rows(found):
    return [[(hit.id, round(hit.distance, 4)) for hit in hits] for hits in found]


@scenario("sdk", "redkite")
def collections_as_objects(s):
    connect(s)
    kit = s.kit
    s.do("has_collection: before", lambda: kit.utility.has_collection("objects", using=ALIAS))
    c = made(s, "objects")
    s.do("has_collection", lambda: kit.utility.has_collection("objects", using=ALIAS))
    s.do("list_collections", lambda: kit.utility.list_collections(using=ALIAS))
    s.do("name", lambda: c.name)
    s.do("description", lambda: c.description)
    s.do("num_shards", lambda: c.num_shards)
    s.do("primary_field", lambda: c.primary_field.name)
    s.do("fields", lambda: [field.name for field in c.schema.fields])
    s.do("is_empty", lambda: c.is_empty)
    s.do("load: without an index", c.load)
    s.do(
        "insert: columns",
        lambda: list(c.insert([[1, 2, 3], [[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]], [7, 8, 9]]).primary_keys),
    )
    s.do("insert: rows", lambda: c.insert([{"id": 4, "v": [3.0, 3.0], "n": 10}]).insert_count)
    s.do("insert: a column too few", lambda: c.insert([[5], [[1.0, 1.0]]]).insert_count)
    s.do("upsert", lambda: c.upsert([[4], [[3.0, 3.5]], [11]]).upsert_count)
    s.do("flush", c.flush)
    s.do("num_entities", lambda: c.num_entities)
    index = {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 4}}
    s.do("create_index", lambda: c.create_index("v", index, index_name="by_v").code)
    s.do("has_index", lambda: c.has_index(index_name="by_v"))
    s.do("has_index: not there", lambda: c.has_index(index_name="nosuch"))
    s.do("indexes", lambda: [(one.field_name, one.index_name, one.params) for one in c.indexes])
    s.do("index", lambda: c.index(index_name="by_v").params)
    s.do("search: before it is loaded", lambda: rows(c.search([[0.0, 0.0]], "v", {"metric_type": "L2"}, limit=2)))
    s.do("load", c.load)
    s.do("loading_progress", lambda: kit.utility.loading_progress("objects", using=ALIAS))
    s.do("load_state", lambda: str(kit.utility.load_state("objects", using=ALIAS)))
    s.do("index_building_progress", lambda: sorted(kit.utility.index_building_progress("objects", "by_v", using=ALIAS)))
    s.do("search", lambda: rows(c.search([[0.0, 0.0]], "v", {"metric_type": "L2", "params": {"nprobe": 4}}, limit=4)))
    s.do("search: with fields", lambda: [hit.entity.get("n") for hit in
         c.search([[0.0, 0.0]], "v", {"metric_type": "L2"}, 2, "n > 7", output_fields=["n"])[0]])  # fmt: skip
    s.do("search: ids and distances", lambda: [
         c.search([[0.0, 0.0]], "v", {"metric_type": "L2"}, limit=2, consistency_level="Strong")[0].ids])  # fmt: skip
    s.do("search: another metric", lambda: rows(c.search([[0.0, 0.0]], "v", {"metric_type": "IP"}, limit=2)))
    s.do("query", lambda: list(c.query("n >= 8", output_fields=["n"])))
    s.do("query: count", lambda: list(c.query("", output_fields=["count(*)"])))
    s.do("query: limit and offset", lambda: list(c.query("id > 0", limit=2, offset=1, output_fields=["id"])))
    s.do("delete", lambda: c.delete("id in [1, 2]").delete_count)
    s.do("query: afterwards", lambda: list(c.query("id > 0", output_fields=["id"])))
    s.do("drop_index: while it is loaded", c.drop_index)
    s.do("release", c.release)
    s.do("drop_index", lambda: c.drop_index(index_name="by_v"))
    s.do("drop", c.drop)
    s.do("drop_collection: again", lambda: kit.utility.drop_collection("objects", using=ALIAS))
    s.do("Collection: not there", lambda: kit.Collection("objects", using=ALIAS))


@scenario("sdk", "redkite")
def partitions_as_objects(s):
    connect(s)
    c = made(s, "parted")
    c.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    s.do("create_partition", lambda: c.create_partition("north").name)
    s.do("has_partition", lambda: c.has_partition("north"))
    s.do("partitions", lambda: sorted(one.name for one in c.partitions))
    p = c.partition("north")
    s.do("insert", lambda: p.insert([[1], [[1.0, 1.0]], [5]]).insert_count)
    s.do("flush", p.flush)
    s.do("num_entities", lambda: p.num_entities)
    s.do("load", p.load)
    s.do("query", lambda: list(p.query("id > 0", output_fields=["n"])))
    s.do("search", lambda: rows(p.search([[0.0, 0.0]], "v", {"metric_type": "L2"}, limit=2)))
    s.do("delete", lambda: p.delete("id in [1]").delete_count)
    s.do("partition: not there", lambda: c.partition("south"))
    s.do("drop: while it is loaded", p.drop)
    s.do("release", p.release)
    s.do("drop", p.drop)
    s.do("partitions: one again", lambda: [one.name for one in c.partitions])
    c.drop()


@scenario("sdk", "redkite")
def functions_of_the_older_kind(s):
    connect(s)
    kit = s.kit
    made(s, "useful")
    tool = kit.utility
    s.do("create_alias", lambda: tool.create_alias("useful", "handy", using=ALIAS))
    s.do("list_aliases", lambda: list(tool.list_aliases("useful", using=ALIAS)))
    s.do("drop_alias", lambda: tool.drop_alias("handy", using=ALIAS))
    s.do("rename_collection", lambda: tool.rename_collection("useful", "renamed", using=ALIAS))
    s.do("has_partition", lambda: tool.has_partition("renamed", "_default", using=ALIAS))
    s.do("load_state", lambda: str(tool.load_state("renamed", using=ALIAS)))
    s.do("loading_progress: not loaded", lambda: tool.loading_progress("renamed", using=ALIAS))
    s.do("list_usernames", lambda: list(tool.list_usernames(using=ALIAS)))
    s.do("create_user", lambda: tool.create_user("ann", "secret1", using=ALIAS))
    s.do("list_users", lambda: [group.username for group in tool.list_users(False, using=ALIAS).groups])
    s.do("delete_user", lambda: tool.delete_user("ann", using=ALIAS))
    s.do("list_roles", lambda: sorted(group.role_name for group in tool.list_roles(False, using=ALIAS).groups))
    s.do("get_server_type", lambda: tool.get_server_type(using=ALIAS))
    s.do("list_database", lambda: list(kit.db.list_database(using=ALIAS)))
    s.do("create_database", lambda: kit.db.create_database("old_db", using=ALIAS))
    s.do("using_database", lambda: kit.db.using_database("old_db", using=ALIAS))
    s.do("list_collections: in it", lambda: tool.list_collections(using=ALIAS))
    s.do("using_database: back", lambda: kit.db.using_database("default", using=ALIAS))
    s.do("drop_database", lambda: kit.db.drop_database("old_db", using=ALIAS))
    s.do("drop_collection", lambda: tool.drop_collection("renamed", using=ALIAS))
    s.do("role", lambda: _role(kit))


@scenario("sdk", "redkite")
def waiting_and_counting(s):
    connect(s)
    tool = s.kit.utility
    c = made(s, "waited")
    c.insert([[1, 2], [[1.0, 0.0], [0.0, 1.0]], [1, 2]])
    c.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    s.do("list_indexes", lambda: list(tool.list_indexes("waited", using=ALIAS)))
    s.do("wait_for_index_building_complete", lambda: bool(tool.wait_for_index_building_complete("waited", using=ALIAS)))
    c.load()
    s.do("wait_for_loading_complete", lambda: tool.wait_for_loading_complete("waited", using=ALIAS))
    s.do("get_replicas", lambda: len(c.get_replicas().groups))
    s.do("list_resource_groups", lambda: list(tool.list_resource_groups(using=ALIAS)))
    s.do("describe", lambda: sorted(c.describe())[:3])
    s.do("has_partition: not there", lambda: tool.has_partition("waited", "nosuch", using=ALIAS))
    s.do("has_collection: an empty name", lambda: tool.has_collection("", using=ALIAS))
    s.do("rename_collection: a taken name", lambda: tool.rename_collection("waited", "waited", using=ALIAS))
    s.do("get_connection_addr", lambda: sorted(s.kit.connections.get_connection_addr(ALIAS))[:1])
    s.do("has_connection", lambda: [s.kit.connections.has_connection(one) for one in (ALIAS, "nosuch")])
    s.do("Collection: another schema", lambda: made(s, "waited", s.kit.FieldSchema("more", s.kit.DataType.INT8)))
    s.do("Collection: no connection", lambda: s.kit.Collection("waited", using="nosuch"))
    s.do("create_alias: of nothing", lambda: tool.create_alias("nosuch", "a", using=ALIAS))
    s.do("update_password: of nobody", lambda: tool.update_password("nobody", "secret1", "secret2", using=ALIAS))
    c.drop()


def _role(kit):
    role = kit.Role("mate", using=ALIAS)
    before = role.is_exist()
    role.create()
    role.grant("Collection", "*", "Insert")
    listed = [(one.object, one.object_name, one.privilege) for one in role.list_grants().groups]
    role.revoke("Collection", "*", "Insert")
    role.drop()
    return [before, listed, role.is_exist()]


@scenario("sdk", "redkite")
def iterators_of_the_older_kind(s):
    connect(s)
    c = made(s, "paged")
    c.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    c.insert([list(range(12)), [[float(n), 0.0] for n in range(12)], [n % 3 for n in range(12)]])
    c.load()

    def pages(iterator, ids):
        found = []
        for _ in range(20):
            page = iterator.next()
            if page is None or len(page) == 0:
                break
            found.append(ids(page))
        iterator.close()
        return found

    s.do("query_iterator", lambda: pages(c.query_iterator(batch_size=5, expr="n > 0", output_fields=["n"]),
         lambda page: [row["id"] for row in page]))  # fmt: skip
    s.do("query_iterator: a limit", lambda: pages(c.query_iterator(batch_size=5, limit=6),
         lambda page: [row["id"] for row in page]))  # fmt: skip
    s.do("search_iterator", lambda: pages(c.search_iterator([[0.0, 0.0]], "v", {"metric_type": "L2", "params": {}},
         batch_size=5), lambda page: page.ids()))  # fmt: skip
    s.do("search_iterator: a filter and a limit", lambda: pages(c.search_iterator([[0.0, 0.0]], "v",
         {"metric_type": "L2", "params": {}}, 3, 5, "n == 1"), lambda page: page.ids()))  # fmt: skip
    s.do("hybrid_search", lambda: rows(c.hybrid_search([s.kit.AnnSearchRequest([[0.0, 0.0]], "v",
         {"metric_type": "L2"}, limit=3)], s.kit.RRFRanker(), limit=3)))  # fmt: skip
    c.drop()
