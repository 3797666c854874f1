"""Collections: made, described, listed, renamed, changed and dropped, and the many ways not to make one."""

from scenarios.registry import scenario

PLAIN = [("id", "INT64", {"is_primary": True}), ("v", "FLOAT_VECTOR", {"dim": 4})]


@scenario()
def quick_collections(s):
    s.call("create_collection", "quick", dimension=4, consistency_level="Strong", _gives=None)
    s.call("describe_collection", "quick")
    s.call("list_collections", _gives=["quick"])
    s.call("has_collection", "quick", _gives=True)
    s.call("get_load_state", "quick")
    s.call("list_indexes", "quick", _gives=["vector"])
    s.call("describe_index", "quick", "vector")
    s.call("get_collection_stats", "quick", _gives={"row_count": 0})
    s.call("create_collection", "quick", dimension=4, consistency_level="Strong", _note="the same again", _gives=None)
    s.call("create_collection", "quick", dimension=8, _note="with another dimension", _code=1100,
           _text="create duplicate collection with different parameters, collection: quick")  # fmt: skip
    s.call("insert", "quick", [{"id": 1, "vector": [1, 0, 0, 0], "color": "red"}, {"id": 2, "vector": [0, 1, 0, 0]}],
           _gives={"insert_count": 2, "ids": [1, 2]})  # fmt: skip
    s.call("search", "quick", data=[[1, 0, 0, 0]], limit=2, output_fields=["color"])
    s.call("query", "quick", filter='color == "red"')
    s.call("query", "quick", filter="id > 0", output_fields=["color"], _note="a key that only some rows have")
    s.call("drop_collection", "quick", _gives=None)
    s.call("drop_collection", "quick", _note="again", _gives=None)
    s.call("has_collection", "quick", _note="after it was dropped", _gives=False)


@scenario()
def quick_collections_with_words_for_keys(s):
    s.call("create_collection", "words", dimension=4, id_type="string", max_length=20, metric_type="L2",
           consistency_level="Strong")  # fmt: skip
    s.call("describe_collection", "words")
    s.call("insert", "words", [{"id": "b", "vector": [1, 0, 0, 0]}, {"id": "a", "vector": [0, 3, 0, 0]}])
    s.call("search", "words", data=[[0, 0, 0, 0]], limit=2)
    s.call("get", "words", ["a", "zz"])
    s.call("get", "words", "b", _note="one key")
    s.call("delete", "words", ids=["a"])
    s.call("query", "words", filter="id != ''", output_fields=["id"])


@scenario()
def quick_collections_that_number_their_rows(s):
    s.call("create_collection", "numbered", dimension=4, auto_id=True, metric_type="IP",
           primary_field_name="key", vector_field_name="place", consistency_level="Strong")  # fmt: skip
    s.call("describe_collection", "numbered")
    s.call("insert", "numbered", [{"place": [1, 2, 3, 4]}, {"place": [4, 3, 2, 1]}])
    s.call("insert", "numbered", [{"key": 5, "place": [1, 2, 3, 4]}], _note="with a key")
    s.call("query", "numbered", filter="", limit=3, output_fields=["place"])
    s.call("search", "numbered", data=[[1, 1, 1, 1]], limit=1, output_fields=["place"])


@scenario()
def what_no_collection_has(s):
    text = "collection not found"
    s.call("describe_collection", "nowhere", _code=100, _text=text)
    s.call("has_collection", "nowhere", _gives=False)
    s.call("get_collection_stats", "nowhere", _code=100, _text=text)
    s.call("insert", "nowhere", [{"id": 1}], _code=100, _text=text)
    s.call("upsert", "nowhere", [{"id": 1}], _code=100, _text=text)
    s.call("delete", "nowhere", filter="id == 1", _code=100, _text=text)
    s.call("query", "nowhere", filter="id == 1", _code=100, _text=text)
    s.call("search", "nowhere", data=[[1.0, 2.0]], _code=100, _text=text)
    s.call("get", "nowhere", [1], _code=100, _text=text)
    s.call("load_collection", "nowhere", _code=100, _text=text)
    s.call("release_collection", "nowhere", _code=100, _text=text)
    s.call("get_load_state", "nowhere")
    s.call("flush", "nowhere", _code=100, _text=text)
    s.call("rename_collection", "nowhere", "elsewhere", _code=100, _text=text)
    s.call("create_partition", "nowhere", "p", _code=100, _text=text)
    s.call("drop_partition", "nowhere", "p")
    s.call("has_partition", "nowhere", "p", _code=100, _text=text)
    s.call("list_partitions", "nowhere", _code=100, _text=text)
    s.call("create_alias", "nowhere", "a", _code=100, _text=text)
    s.call("list_indexes", "nowhere")
    s.call("describe_index", "nowhere", "v")
    s.call("drop_index", "nowhere", "v")
    s.call("create_index", "nowhere", {"v": {"metric_type": "L2"}}, _code=100, _text=text)
    s.call("alter_collection_properties", "nowhere", {"mmap.enabled": True}, _code=100, _text=text)
    s.call("drop_collection", "nowhere", _gives=None)
    s.call("truncate_collection", "nowhere")


@scenario()
def every_property_of_a_schema(s):
    fields = [
        ("key", "VARCHAR", {"is_primary": True, "max_length": 40, "description": "the key"}),
        ("flag", "BOOL", {}),
        ("tiny", "INT8", {}),
        ("small", "INT16", {}),
        ("middle", "INT32", {}),
        ("large", "INT64", {"is_clustering_key": True}),
        ("rough", "FLOAT", {}),
        ("exact", "DOUBLE", {}),
        ("words", "VARCHAR", {"max_length": 65535}),
        ("owner", "VARCHAR", {"max_length": 10, "is_partition_key": True}),
        ("facts", "JSON", {}),
        ("tags", "ARRAY", {"element_type": "VARCHAR", "max_capacity": 4096, "max_length": 8}),
        ("numbers", "ARRAY", {"element_type": "INT64", "max_capacity": 1}),
        ("v", "FLOAT_VECTOR", {"dim": 32768}),
        ("b", "BINARY_VECTOR", {"dim": 8}),
    ]
    s.call("create", "whole", fields, None, [], False, dynamic=True, num_partitions=3, consistency_level="Strong",
           schema={"description": "everything"})  # fmt: skip
    s.call("describe_collection", "whole")
    s.call("list_partitions", "whole", _gives=["_default_0", "_default_1", "_default_2"])
    s.call("get_load_state", "whole")
    s.call("create_partition", "whole", "mine", _code=1100,
           _text="disable create partition if partition key mode is used")  # fmt: skip
    s.call("drop_partition", "whole", "_default_0", _code=1100)


@scenario()
def fields_that_may_be_null_in_schemas(s):
    fields = [
        ("id", "INT64", {"is_primary": True, "auto_id": True}),
        ("v", "FLOAT_VECTOR", {"dim": 2}),
        ("maybe", "INT32", {"nullable": True}),
        ("five", "INT64", {"default_value": 5}),
        ("word", "VARCHAR", {"max_length": 9, "default_value": "none", "nullable": True}),
        ("rough", "FLOAT", {"default_value": 0.5}),
        ("flag", "BOOL", {"default_value": True}),
    ]
    s.call("create", "loose", fields, None, [], False)
    s.call("describe_collection", "loose")


@scenario()
def schemas_that_are_refused(s):
    def wrong(note, fields, code=1100, text="", **options):
        s.call("create", "wrong", fields, None, [], False, _note=note, _code=code, _text=text, **options)
        s.clean_up()  # what one client or server refuses, another may make

    key, vector = PLAIN
    wrong("no vector", [key], text="schema does not contain vector field")
    wrong("dimension of 1", [key, ("v", "FLOAT_VECTOR", {"dim": 1})],
          text="invalid dimension: 1 of field v. float vector dimension should be in range 2 ~ 32768")  # fmt: skip
    wrong("dimension too large", [key, ("v", "FLOAT_VECTOR", {"dim": 32769})],
          text="float vector dimension should be in range 2 ~ 32768")  # fmt: skip
    wrong("binary dimension", [key, ("b", "BINARY_VECTOR", {"dim": 12})],
          text="invalid dimension: 12 of field b. binary vector dimension should be multiple of 8. ")  # fmt: skip
    wrong("no dimension", [key, ("v", "FLOAT_VECTOR", {})], text="dimension is not defined in field type params")
    wrong("sparse with dimension", [key, ("s", "SPARSE_FLOAT_VECTOR", {"dim": 8})],
          text="dim should not be specified for sparse vector field s")  # fmt: skip
    wrong("word of no length", [key, vector, ("w", "VARCHAR", {})], 1101,
          "type param(max_length) should be specified for the field(w) of collection wrong")  # fmt: skip
    wrong("word too long", [key, vector, ("w", "VARCHAR", {"max_length": 65536})],
          text="the maximum length specified for the field(w) should be in (0, 65535], but got 65536")  # fmt: skip
    wrong("word of length 0", [key, vector, ("w", "VARCHAR", {"max_length": 0})],
          text="the maximum length specified for the field(w) should be in (0, 65535], but got 0 instead")  # fmt: skip
    wrong("array without capacity", [key, vector, ("a", "ARRAY", {"element_type": "INT64"})], 1101,
          "type param(max_capacity) should be specified for array field a of collection wrong")  # fmt: skip
    wrong("array too large", [key, vector, ("a", "ARRAY", {"element_type": "INT64", "max_capacity": 4097})],
          text="the maximum capacity specified for a Array should be in (0, 4096]")  # fmt: skip
    wrong("array of vectors", [key, vector, ("a", "ARRAY", {"element_type": "JSON", "max_capacity": 4})],
          text="element type JSON is not supported")  # fmt: skip
    wrong("the same name twice", [key, vector, ("v", "INT64", {})], text="duplicated field name v found")
    wrong("name with a blank", [key, vector, ("two words", "INT64", {})], 1701,
          "Field name can only contain numbers, letters, and underscores.")  # fmt: skip
    wrong("name with a digit first", [key, vector, ("1a", "INT64", {})], 1701,
          "The first character of a field name must be an underscore or letter.")  # fmt: skip
    wrong("name too long", [key, vector, ("n" * 256, "INT64", {})], 1701,
          "The length of a field name must be less than 255 characters.")  # fmt: skip
    wrong("name of an operator", [key, vector, ("like", "INT64", {})], 1701, "is keyword in milvus")
    wrong("name of the server's", [key, vector, ("Timestamp", "INT64", {})], 1701)
    wrong("partitions without a key", PLAIN, text="num_partitions should only be specified with partition key",
          num_partitions=4)  # fmt: skip
    wrong("too many shards", PLAIN, text="maximum shards's number should be limited to 16", num_shards=17)
    wrong("nothing may expire so", PLAIN, text="collection TTL", properties={"collection.ttl.seconds": "-7"})
    wrong("too many fields", [*PLAIN, *((f"f{n}", "INT64", {}) for n in range(63))],
          text="maximum field's number should be limited to 64")  # fmt: skip
    wrong("too many vectors", [key, *((f"v{n}", "FLOAT_VECTOR", {"dim": 2}) for n in range(11))],
          text="maximum vector field's number should be limited to 10")  # fmt: skip
    wrong("partition key may be null", [*PLAIN, ("o", "INT64", {"is_partition_key": True, "nullable": True})],
          text="partition key field not support nullable")  # fmt: skip
    wrong("default of a wrong kind", [*PLAIN, ("n", "INT64", {"default_value": "five"})])
    wrong("default of JSON", [*PLAIN, ("j", "JSON", {"default_value": "{}"})])


@scenario("sdk", "redkite")
def schemas_that_the_client_refuses(s):
    key, vector = PLAIN
    s.call("create", "c1", [vector], None, [], False, _note="no key")
    s.call("create", "c2", [key, ("k", "INT64", {"is_primary": True}), vector], None, [], False, _note="two keys")
    s.call("create", "c3", [("k", "FLOAT", {"is_primary": True}), vector], None, [], False, _note="a key of fractions")
    s.call("create", "c4", [key, vector, ("n", "INT64", {"auto_id": True})], None, [], False, _note="auto_id elsewhere")
    s.call("create", "c5", [key, vector, ("a", "INT64", {"is_partition_key": True}),
           ("b", "INT64", {"is_partition_key": True})], None, [], False, _note="two partition keys")  # fmt: skip
    s.call("create", "c6", [("id", "INT64", {"is_primary": True, "is_partition_key": True}), vector], None, [], False,
           _note="the key is the partition key")  # fmt: skip
    s.call("create", "c7", [key, vector, ("o", "FLOAT", {"is_partition_key": True})], None, [], False,
           _note="partition key of fractions")  # fmt: skip
    s.call("create", "c9", [key, vector, ("a", "INT64", {"is_clustering_key": True}),
           ("b", "INT64", {"is_clustering_key": True})], None, [], False, _note="two clustering keys")  # fmt: skip
    s.call("create", "c8", [key, vector], None, [], False, consistency_level="Sometimes", _note="unknown consistency")


@scenario()
def names_of_collections(s):
    def wrong(note, name, text):
        s.call("create", name, PLAIN, None, [], False, _note=note, _code=1100, _text=text)

    wrong("with a blank", "two words", "collection name can only contain numbers, letters and underscores")
    wrong("with a digit first", "1st", "the first character of a collection name must be an underscore or letter")
    wrong("too long", "n" * 256, "the length of a collection name must be less than 255 characters")
    wrong("with a letter of elsewhere", "größe", "collection name can only contain numbers, letters and underscores")
    s.call("create", "_" + "x" * 254, PLAIN, None, [], False, _note="of 255 letters", _gives=None)
    s.call("drop_collection", "_" + "x" * 254)


@scenario()
def collections_renamed_and_emptied(s):
    s.collection(PLAIN, name="before")
    s.call("insert", "before", [{"id": 1, "v": [1, 2, 3, 4]}])
    s.call("rename_collection", "before", "after", _gives=None)
    s.call("has_collection", "before", _gives=False)
    s.call("query", "after", filter="id >= 0", output_fields=["id"], _gives=[{"id": 1}])
    s.call("rename_collection", "after", "after", _note="to itself", _code=1100,
           _text="collection name or database name should be different")  # fmt: skip
    s.collection(PLAIN, name="third")
    s.call("rename_collection", "after", "third", _note="to one that is there", _code=1100,
           _text="duplicated new collection name default:third with other collection name or alias")  # fmt: skip
    s.call("create_alias", "third", "nickname")
    s.call("rename_collection", "nickname", "fourth", _note="by an alias", _code=1100,
           _text="unsupported use an alias to rename collection, alias:nickname")  # fmt: skip
    s.call("truncate_collection", "after")
    s.call("query", "after", filter="id >= 0", output_fields=["id"], _note="emptied")
    s.call("drop_collection", "third", _note="while it has an alias",
           _text="unable to drop the collection [third] because it has associated aliases", _code=1100)  # fmt: skip
    s.call("drop_alias", "nickname")
    s.call("drop_collection", "third", _note="without aliases", _gives=None)
    s.call("drop_collection", "after")


@scenario()
def properties_of_collections(s):
    name = s.collection(PLAIN, properties={"collection.ttl.seconds": "3600"})
    s.call("describe_collection", name)
    s.call("alter_collection_properties", name, {"collection.ttl.seconds": 1800}, _gives=None)
    s.call("alter_collection_properties", name, {"mmap.enabled": True}, _note="mmap while it is loaded", _code=104,
           _text="can not alter mmap properties if collection loaded")  # fmt: skip
    s.call("alter_collection_properties", name, {"collection.ttl.seconds": "soon"}, _note="no number", _code=1100,
           _text="collection TTL is not a valid positive integer")  # fmt: skip
    s.call("alter_collection_properties", name, {"timezone": "Mars/Olympus"}, _note="no such zone", _code=1100,
           _text="unknown or invalid IANA Time Zone ID: Mars/Olympus")  # fmt: skip
    s.call("drop_collection_properties", name, ["collection.ttl.seconds"], _gives=None)
    s.call("describe_collection", name, _note="afterwards")


@scenario()
def loading_and_releasing(s):
    name = s.collection([*PLAIN, ("n", "INT64", {})], index=None)
    s.call("load_collection", name, _note="without an index", _code=700, _text="index not found[collection=")
    s.call("get_load_state", name, _note="not loaded")
    s.call("create_index", name, {"v": {"metric_type": "L2", "index_type": "FLAT"}}, _gives=None)
    s.call("search", name, data=[[1, 2, 3, 4]], _note="not loaded", _code=101, _text="collection not loaded")
    s.call("query", name, filter="id > 0", _note="not loaded", _code=101, _text="collection not loaded")
    s.call("insert", name, [{"id": 1, "v": [1, 2, 3, 4], "n": 5}], _note="not loaded")
    s.call("load_collection", name, _gives=None)
    s.call("load_collection", name, _note="again", _gives=None)
    s.call("get_load_state", name, _note="loaded")
    s.call("query", name, filter="n == 5", output_fields=["n"], _gives=[{"id": 1, "n": 5}])
    s.call("refresh_load", name)
    s.call("release_collection", name, _gives=None)
    s.call("release_collection", name, _note="again", _gives=None)
    s.call("get_load_state", name, _note="released")


@scenario("sdk", "redkite")
def some_fields_loaded(s):
    name = s.collection([*PLAIN, ("n", "INT64", {}), ("w", "VARCHAR", {"max_length": 5})],
                        index={"v": {"metric_type": "L2", "index_type": "FLAT"}}, load=False)  # fmt: skip
    s.call("insert", name, [{"id": 1, "v": [1, 2, 3, 4], "n": 5, "w": "x"}])
    s.call("load_collection", name, load_fields=["v", "n"], _note="without the key", _code=1100,
           _text="does not contain primary key field id")  # fmt: skip
    s.call("load_collection", name, load_fields=["id", "n"], _note="without a vector", _code=1100,
           _text="does not contain vector field")  # fmt: skip
    s.call("load_collection", name, load_fields=["id", "v", "n"], _note="without a word")
    s.call("load_collection", name, load_fields=["id", "v", "n", "w"], _note="all fields", _gives=None)
    s.call("query", name, filter="n == 5", output_fields=["*"])


@scenario()
def fields_that_come_later(s):
    name = s.collection(PLAIN)
    s.call("insert", name, [{"id": 1, "v": [1, 2, 3, 4]}])
    kind = s.kit.kind
    s.call("add_collection_field", name, field_name="later", data_type=kind("INT64"), nullable=True, _gives=None)
    s.call("add_collection_field", name, field_name="with_default", data_type=kind("VARCHAR"), nullable=True,
           max_length=9, default_value="old")  # fmt: skip
    s.call("add_collection_field", name, field_name="strict", data_type=kind("INT64"), nullable=False,
           _note="may not be null", _code=1100, _text="added field must be nullable")  # fmt: skip
    s.call("add_collection_field", name, field_name="later", data_type=kind("INT64"), nullable=True, _note="twice",
           _code=1100, _text="duplicate")  # fmt: skip
    s.call("insert", name, [{"id": 2, "v": [4, 3, 2, 1], "later": 7}], _note="with it")
    s.call("query", name, filter="id > 0", output_fields=["later", "with_default"])
    s.call("query", name, filter="later is null", output_fields=["id"])
    s.call("drop_collection_field", name, field_name="later")
    s.call("query", name, filter="id > 0", output_fields=["later"], _note="after it was dropped")


@scenario("sdk", "redkite")
def arguments_the_client_looks_at(s):
    s.collection(PLAIN, name="args")
    s.call("describe_collection", None, _note="no name")
    s.call("describe_collection", 7, _note="a number for a name")
    s.call("search", "args", data=[[1, 2, 3, 4]], limit="ten", _note="a word for a limit")
    s.call("search", "args", data=[[1, 2, 3, 4]], output_fields="id", _note="a word for output fields")
    s.call("query", "args", filter=7, _note="a number for a filter")
    s.call("query", "args", filter="id > 1", ids=[1], _note="keys and a filter")
    s.call("delete", "args", ids=[1], filter="id > 1", _note="keys and a filter")
    s.call("delete", "args", _note="neither")
    s.call("insert", "args", "rows", _note="a word for rows")
    s.call("insert", "args", [], _note="no rows")
    s.call("upsert", "args", [], _note="no rows")
    s.call("search", "args", data=[], _note="no vectors")
    s.call("get", "args", [], _note="no keys")
    s.call("search", "args", data=[[1, 2, 3, 4]], partition_names="p", _note="a word for partitions")
    s.call("query", "args", filter="id > 0", consistency_level="Sometimes", _note="unknown consistency")
