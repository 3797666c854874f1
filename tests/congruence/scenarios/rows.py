"""Rows: written, changed and deleted, with every type of field, and what is not a row."""

from scenarios.registry import scenario

PLAIN = [("id", "INT64", {"is_primary": True}), ("v", "FLOAT_VECTOR", {"dim": 2})]
L2 = {"v": {"index_type": "FLAT", "metric_type": "L2"}}


@scenario()
def writing(s):
    name = s.collection([*PLAIN, ("n", "INT64", {})])
    s.call("insert", name, {"id": 1, "v": [1, 0], "n": 10}, _note="one row", _gives={"insert_count": 1, "ids": [1]})
    s.call("insert", name, [{"id": 2, "v": [0, 1], "n": 20}, {"id": 3, "v": [1, 1], "n": 30}])
    s.call("query", name, filter="id in [3, 1]")
    s.call("upsert", name, {"id": 2, "v": [2, 2], "n": 21}, _gives={"upsert_count": 1, "ids": [2]})
    s.call("upsert", name, [{"id": 4, "v": [2, 2], "n": 40}], _note="a new row")
    s.call("query", name, filter="n > 15", output_fields=["n"])
    s.call("delete", name, ids=[1, 99], _note="by keys", _gives={"delete_count": 2})
    s.call("delete", name, filter="n == 30", _note="by a filter", _gives={"delete_count": 1})
    s.call("delete", name, filter="n == 30", _note="nothing is left")
    s.call("delete", name, ids=4, _note="by one key")
    s.call("query", name, filter="id >= 0", output_fields=["n"], _note="what is left", _gives=[{"id": 2, "n": 21}])
    s.call("query", name, filter="", output_fields=["count(*)"], _gives=[{"count(*)": 1}])
    s.call("insert", name, [{"id": 2, "v": [9, 9], "n": 9}], _note="a key that is there")
    s.call("query", name, filter="id == 2", output_fields=["n"], _note="a key that is there twice")
    s.call("get", name, [2, 77], output_fields=["v"])
    s.call("get", name, 77, _note="nothing", _gives=[])


@scenario()
def rows_that_are_refused(s):
    name = s.collection([*PLAIN, ("n", "INT8", {}), ("w", "VARCHAR", {"max_length": 4}),
                         ("a", "ARRAY", {"element_type": "INT16", "max_capacity": 2}), ("j", "JSON", {})])  # fmt: skip
    good = {"id": 1, "v": [1, 2], "n": 1, "w": "abcd", "a": [1, 2], "j": {"k": 1}}

    def wrong(note, code=None, text="", **changes):
        row = {key: value for key, value in {**good, **changes}.items() if value is not wrong}
        s.call("insert", name, [row], _note=note, _code=code, _text=text)

    s.call("insert", name, [good], _note="whole")
    wrong("dimension", v=[1, 2, 3])
    wrong("a field is missing", n=wrong)
    wrong("a field too many", extra=1)
    wrong("too long", 1100, "length of varchar field w exceeds max length, row number: 0, length: 5, max length: 4",
          w="abcde")  # fmt: skip
    wrong("too long in bytes", 1100, "length of varchar field w exceeds max length", w="ééé")
    wrong("number too large", n=128)
    wrong("array too large", 1100, "the length (3) of 0th array exceeds max capacity (2)", a=[1, 2, 3])
    wrong("element too large", a=[40000])
    wrong("word for a number", n="one")
    wrong("number for a word", w=1)
    wrong("null", n=None)
    wrong("null vector", v=None)
    wrong("no number at all", v=[float("nan"), 1])
    wrong("infinite", v=[float("inf"), 1])
    wrong("a vector of words", v=["a", "b"])
    wrong("no vector", v=5)
    wrong("JSON of a word", j="word")
    wrong("JSON of a number", j=5)
    wrong("JSON of a list", j=[1, "two", None])
    wrong("JSON null", j=None)
    wrong("the second array wrong", a="ab")
    s.call("insert", name, [good, {**good, "id": 2, "w": "abcde"}], _note="one of two is wrong", _code=1100,
           _text="row number: 1, length: 5, max length: 4")  # fmt: skip
    s.call("insert", name, [good], partition_name="nowhere", _note="partition", _code=200,
           _text="partition not found[partition=nowhere]")  # fmt: skip
    s.call("upsert", name, [{**good, "id": 7}, {**good, "id": 7}], _note="the same key twice", _code=1100,
           _text="duplicate primary keys are not allowed in the same batch")  # fmt: skip
    s.call("upsert", name, [{key: value for key, value in good.items() if key != "id"}], _note="without a key")
    s.call("delete", name, filter="", _note="everything")
    s.call("delete", name, filter="true", _note="everything, said otherwise")
    s.call("delete", name, filter="nosuch == 1", _note="by an unknown field", _code=1100,
           _text="failed to create delete plan: cannot parse expression: nosuch == 1")  # fmt: skip
    s.call("query", name, filter="id >= 0", output_fields=["w"], _note="what got in")


@scenario()
def every_type_of_field(s):
    fields = [
        *PLAIN, ("flag", "BOOL", {}), ("tiny", "INT8", {}), ("small", "INT16", {}), ("middle", "INT32", {}),
        ("large", "INT64", {}), ("rough", "FLOAT", {}), ("exact", "DOUBLE", {}),
        ("word", "VARCHAR", {"max_length": 100}), ("facts", "JSON", {}),
        ("flags", "ARRAY", {"element_type": "BOOL", "max_capacity": 4}),
        ("ints", "ARRAY", {"element_type": "INT32", "max_capacity": 4}),
        ("longs", "ARRAY", {"element_type": "INT64", "max_capacity": 4}),
        ("floats", "ARRAY", {"element_type": "FLOAT", "max_capacity": 4}),
        ("doubles", "ARRAY", {"element_type": "DOUBLE", "max_capacity": 4}),
        ("words", "ARRAY", {"element_type": "VARCHAR", "max_capacity": 4, "max_length": 20}),
    ]  # fmt: skip
    name = s.collection(fields)
    rows = [
        {"id": -(2**63), "v": [-1.5, 2.25], "flag": True, "tiny": -128, "small": -32768, "middle": -(2**31),
         "large": -(2**63), "rough": 0.1, "exact": 0.1, "word": "", "facts": {}, "flags": [True, False], "ints": [],
         "longs": [1], "floats": [0.5], "doubles": [0.1], "words": ["", "ü"]},
        {"id": 2**63 - 1, "v": [1e-15, 1e15], "flag": False, "tiny": 127, "small": 32767, "middle": 2**31 - 1,
         "large": 2**63 - 1, "rough": 1e30, "exact": 1e300, "word": 'é "quoted" \\ \n 日本',
         "facts": {"a": [1, {"b": None}], "c": 1.5, "d": "x", "e": True}, "flags": [], "ints": [1, -1, 2**31 - 1],
         "longs": [2**63 - 1], "floats": [], "doubles": [], "words": []},
    ]  # fmt: skip
    s.call("insert", name, rows)
    s.call("query", name, filter="flag == true")
    s.call("query", name, filter="flag == false", _note="the other")
    s.call("search", name, data=[[0, 0]], limit=2, output_fields=["*"])
    s.call("search", name, data=[[0, 0]], limit=1, output_fields=["facts", "words", "id"], _note="some fields")
    s.call("query", name, filter="large == 9223372036854775807", output_fields=["large", "exact", "rough"])


@scenario()
def values_that_are_null(s):
    fields = [
        *PLAIN, ("n", "INT64", {"nullable": True}), ("w", "VARCHAR", {"max_length": 9, "nullable": True}),
        ("f", "FLOAT", {"nullable": True}), ("t", "BOOL", {"nullable": True}), ("j", "JSON", {"nullable": True}),
        ("a", "ARRAY", {"element_type": "INT64", "max_capacity": 4, "nullable": True}),
        ("d", "INT64", {"default_value": 5}),
        ("dn", "VARCHAR", {"max_length": 9, "default_value": "x", "nullable": True}),
    ]  # fmt: skip
    name = s.collection(fields, L2)
    s.call("insert", name, [
        {"id": 1, "v": [1, 1], "n": 1, "w": "one", "f": 1.5, "t": True, "j": {"k": 1}, "a": [1], "d": 1, "dn": "y"},
        {"id": 2, "v": [2, 2], "n": None, "w": None, "f": None, "t": None, "j": None, "a": None, "d": None, "dn": None},
        {"id": 3, "v": [3, 3]},
        {"id": 4, "v": [4, 4], "n": 4, "w": "four", "a": []},
    ])  # fmt: skip
    s.call("query", name, filter="id > 0")
    s.call("query", name, filter="id > 9", _note="no rows", _gives=[])
    s.call("search", name, data=[[0, 0]], limit=4, output_fields=["n", "w", "j", "a", "d", "dn", "t", "f"])
    for text in ("n is null", "n is not null", "w is null", "j is null", "a is null", "n > 0", "not (n > 0)",
                 "n != 1", "w != 'one'", "w like 'o%'", "not (w like 'o%')", "t == true", "t == false", "d == 5",
                 "dn == 'x'", "n == 1 or w == 'four'", "n in [1]", "n not in [1]", "array_length(a) == 0",
                 "j['k'] == 1", "j['k'] is null", "exists j['k']", "n + 1 == 2"):  # fmt: skip
        s.call("query", name, filter=text, output_fields=["id"], _note=text)
    s.call("upsert", name, [{"id": 1, "v": [1, 1], "n": None}], _note="a value becomes null")
    s.call("query", name, filter="id == 1", output_fields=["n", "w", "d"], _note="afterwards")


@scenario()
def keys_that_no_schema_names(s):
    name = s.collection(PLAIN, L2, dynamic=True)
    s.call("insert", name, [
        {"id": 1, "v": [1, 1], "color": "red", "size": 5, "deep": {"a": {"b": [1, 2]}}, "list": [1, "x"]},
        {"id": 2, "v": [2, 2], "color": 7, "flag": True, "none": None, "half": 0.5},
        {"id": 3, "v": [3, 3]},
    ])  # fmt: skip
    s.call("query", name, filter="id > 0", _note="all")
    s.call("query", name, filter="id > 0", output_fields=["color"], _note="one key")
    s.call("query", name, filter="id > 0", output_fields=["color", "size", "nosuch"], _note="some keys")
    s.call("query", name, filter="id > 0", output_fields=["*"], _note="a star")
    s.call("query", name, filter="id > 0", output_fields=["$meta"], _note="the field itself")
    s.call("search", name, data=[[0, 0]], limit=3, output_fields=["color", "flag"])
    s.call("search", name, data=[[0, 0]], limit=3, output_fields=["*"], _note="a star")
    for text in ('color == "red"', "color == 7", "size > 4", '$meta["size"] > 4', "exists size", "not exists size",
                 'deep["a"]["b"][0] == 1', "flag == true", "size in [5, 6]", 'color like "r%"', "nosuch == 1",
                 "nosuch != 1", 'json_contains(list, 1)', 'json_contains(list, "x")', "half < 1", "none is null",
                 "size == 5.0", "size != 5", "not (size == 5)"):  # fmt: skip
        s.call("query", name, filter=text, output_fields=["id"], _note=text)
    s.call("insert", name, [{"id": 9, "v": [1, 1], "$meta": {"a": 1}}], _note="the field itself")
    s.call("upsert", name, [{"id": 3, "v": [3, 3], "color": "blue"}])
    s.call("query", name, filter="id == 3", _note="after an upsert")


@scenario()
def parts_of_rows_changed(s):
    fields = [*PLAIN, ("n", "INT64", {}), ("w", "VARCHAR", {"max_length": 9, "nullable": True})]
    name = s.collection(fields, L2, dynamic=True)
    s.call("insert", name, [{"id": 1, "v": [1, 1], "n": 1, "w": "one", "x": 1, "y": 2}])
    s.call("upsert", name, [{"id": 1, "n": 2}], partial_update=True)
    s.call("query", name, filter="id == 1")
    s.call("upsert", name, [{"id": 1, "w": None, "x": 9}], partial_update=True, _note="a null and a key")
    s.call("query", name, filter="id == 1", _note="afterwards")
    s.call("upsert", name, [{"id": 2, "n": 2}], partial_update=True, _note="a row that is not there")


@scenario()
def partitions(s):
    name = s.collection(PLAIN, L2)
    s.call("create_partition", name, "north", _gives=None)
    s.call("create_partition", name, "north", _note="again", _gives=None)
    s.call("create_partition", name, "south-1", _note="with a dash")
    s.call("create_partition", name, "", _note="no name")
    s.call("create_partition", name, "two words", _note="a blank", _code=1100,
           _text="Partition name can only contain numbers, letters and underscores.")  # fmt: skip
    s.call("create_partition", name, "n" * 256, _note="too long", _code=1100,
           _text="The length of a partition name must be less than 255 characters.")  # fmt: skip
    s.call("list_partitions", name)
    s.call("has_partition", name, "north", _gives=True)
    s.call("has_partition", name, "west", _note="not there", _gives=False)
    s.call("insert", name, [{"id": 1, "v": [1, 1]}], partition_name="north")
    s.call("insert", name, [{"id": 2, "v": [2, 2]}])
    s.call("get_partition_stats", name, "west", _note="not there", _code=200)
    s.call("query", name, filter="id > 0", partition_names=["north"], output_fields=["id"], _gives=[{"id": 1}])
    s.call("query", name, filter="id > 0", partition_names=["_default"], output_fields=["id"], _note="default")
    s.call("query", name, filter="id > 0", partition_names=["west"], _note="not there", _code=1100,
           _text="partition name west not found")  # fmt: skip
    s.call("search", name, data=[[0, 0]], partition_names=["north", "_default"], limit=5)
    s.call("search", name, data=[[0, 0]], partition_names=["west"], _note="not there", _code=1100,
           _text="partition name west not found")  # fmt: skip
    s.call("delete", name, ids=[1], partition_name="_default", _note="in another partition")
    s.call("query", name, filter="", output_fields=["count(*)"])
    s.call("delete", name, ids=[1], partition_name="north")
    s.call("query", name, filter="", output_fields=["count(*)"], _note="afterwards")
    s.call("drop_partition", name, "north", _note="while it is loaded", _code=1100,
           _text="partition cannot be dropped, partition is loaded, please release it first")  # fmt: skip
    s.call("release_partitions", name, ["north"], _gives=None)
    s.call("get_load_state", name, partition_name="north", _note="released")
    s.call("drop_partition", name, "north", _gives=None)
    s.call("drop_partition", name, "north", _note="again", _gives=None)
    s.call("load_partitions", name, ["west"], _note="not there", _code=200)
    s.call("drop_partition", name, "_default", _note="default, while it is loaded", _code=1100,
           _text="partition cannot be dropped, partition is loaded, please release it first")  # fmt: skip
    s.call("release_collection", name)
    s.call("drop_partition", name, "_default", _note="default", _code=1100,
           _text="default partition cannot be deleted")  # fmt: skip
    s.call("load_partitions", name, ["south-1"], _gives=None)
    s.call("query", name, filter="id > 0", partition_names=["_default"], _note="not loaded")
    s.call("query", name, filter="id > 0", output_fields=["id"], _note="of what is loaded")
    s.call("search", name, data=[[0, 0]], _note="of what is loaded")


@scenario()
def rows_by_the_key_of_their_partition(s):
    name = s.collection([*PLAIN, ("owner", "VARCHAR", {"max_length": 9, "is_partition_key": True})], L2)
    s.call("insert", name, [{"id": n, "v": [n, 0], "owner": "ab"[n % 2]} for n in range(6)])
    s.call("query", name, filter='owner == "a"', output_fields=["owner"])
    s.call("search", name, data=[[0, 0]], filter='owner in ["b"]', limit=9)
    s.call("insert", name, [{"id": 9, "v": [0, 0], "owner": "a"}], partition_name="_default_0", _note="into one",
           _code=1100, _text="not support manually specifying the partition names if partition key mode")  # fmt: skip
    s.call("search", name, data=[[0, 0]], partition_names=["_default_0"], _code=1100, _note="in one",
           _text="not support manually specifying the partition names if partition key mode is used")  # fmt: skip
    s.call("delete", name, filter='owner == "a"')
    s.call("query", name, filter="id >= 0", output_fields=["owner"], _note="afterwards")
