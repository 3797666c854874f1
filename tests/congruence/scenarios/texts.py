"""Words, times and places: full-text search, analyzers, time zones, shapes."""

from scenarios.registry import scenario

TEXTS = ["the quick brown fox", "a lazy dog sleeps", "quick quick dogs", "", "Fox and dog, quick!"]


@scenario()
def full_text_search(s):
    fields = [
        ("id", "INT64", {"is_primary": True}),
        ("t", "VARCHAR", {"max_length": 200, "enable_analyzer": True, "enable_match": True}),
        ("s", "SPARSE_FLOAT_VECTOR", {}),
    ]
    bm25 = {"name": "words", "type": "BM25", "input_field_names": ["t"], "output_field_names": ["s"]}
    name = s.collection(fields, {"s": {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"}}, functions=[bm25])
    s.call("describe_collection", name)
    s.call("insert", name, [{"id": n, "t": text} for n, text in enumerate(TEXTS)])
    s.call("search", name, data=["quick"], limit=5, output_fields=["t"])
    s.call("search", name, data=["quick dog", "nothing here"], limit=5, anns_field="s", _note="two of them")
    s.call("search", name, data=["quick"], limit=5, filter="id > 1", _note="with a filter")
    s.call("query", name, filter="id == 0", output_fields=["*"], _note="a star")
    s.call("query", name, filter="id == 0", output_fields=["s"], _note="what the function made", _code=1100,
           _text="not allowed to retrieve raw data of field s")  # fmt: skip
    for text in ('text_match(t, "fox")', 'text_match(t, "fox dog")', 'TEXT_MATCH(t, "FOX")', 'text_match(t, "")',
                 'text_match(t, "quick dog", minimum_should_match=2)', 'phrase_match(t, "brown fox")',
                 'phrase_match(t, "quick fox", 1)', 'phrase_match(t, "fox brown")',
                 'text_match(t, "fox") and id > 0', 'not text_match(t, "fox")'):  # fmt: skip
        s.call("query", name, filter=text, output_fields=["id"], _note=text)
    s.call("insert", name, [{"id": 9, "t": "x", "s": {1: 1.0}}], _note="with what the function makes")
    s.call("search", name, data=[{1: 1.0}], limit=2, _note="by numbers")


@scenario("sdk", "redkite")
def analyzers(s):
    def words(note, *args, **options):
        s.call("run_analyzer", *args, _note=note, **options)

    words("standard", ["The Quick, brown fox's 2 dogs"], {"tokenizer": "standard"})
    words("lower case", "The Quick", {"tokenizer": "standard", "filter": ["lowercase"]})
    words("english", "The running dogs", {"type": "english"})
    words("whitespace", "a,b c", {"tokenizer": "whitespace"})
    words("stop words", "the fox", {"tokenizer": "standard", "filter": [{"type": "stop", "stop_words": ["the"]}]})
    words("default", "The Fox")
    words("unknown", "x", {"tokenizer": "nosuch"})


@scenario()
def times(s):
    fields = [("id", "INT64", {"is_primary": True}), ("v", "FLOAT_VECTOR", {"dim": 2}),
              ("t", "TIMESTAMPTZ", {"nullable": True})]  # fmt: skip
    name = s.collection(fields, properties={"timezone": "Asia/Shanghai"})
    s.call("insert", name, [
        {"id": 1, "v": [1, 1], "t": "2025-01-01T00:00:00Z"},
        {"id": 2, "v": [2, 2], "t": "2025-01-01T00:00:00+09:00"},
        {"id": 3, "v": [3, 3], "t": "2025-06-01 12:30:00.5"},
        {"id": 4, "v": [4, 4], "t": None},
    ])  # fmt: skip
    s.call("query", name, filter="id > 0", output_fields=["t"])
    for text in ('t > ISO "2025-01-01T00:00:00Z"', 't == ISO "2025-01-01T00:00:00Z"', "t is null",
                 't + INTERVAL "P1D" > ISO "2025-01-02T00:00:00Z"', 't < ISO "2025-01-01 08:00:00"'):  # fmt: skip
        s.call("query", name, filter=text, output_fields=["id"], _note=text)
    s.call("query", name, filter="id < 3", output_fields=["t"], timezone="America/New_York", _note="another zone")
    s.call("query", name, filter="id < 3", output_fields=["t"], time_fields="year,month,day,hour", _note="parts")
    s.call("insert", name, [{"id": 9, "v": [1, 1], "t": "yesterday"}], _note="no time", _code=1100,
           _text="got invalid timestamptz string 'yesterday'")  # fmt: skip


@scenario()
def shapes(s):
    fields = [("id", "INT64", {"is_primary": True}), ("v", "FLOAT_VECTOR", {"dim": 2}), ("g", "GEOMETRY", {})]
    name = s.collection(fields)
    s.call("insert", name, [
        {"id": 1, "v": [1, 1], "g": "POINT (1 1)"},
        {"id": 2, "v": [2, 2], "g": "POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))"},
        {"id": 3, "v": [3, 3], "g": "LINESTRING (5 5, 9 9)"},
    ])  # fmt: skip
    s.call("query", name, filter="id > 0", output_fields=["g"])
    for text in ('st_within(g, "POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))")', 'st_contains(g, "POINT (2 2)")',
                 'st_intersects(g, "LINESTRING (0 0, 6 6)")', 'st_equals(g, "POINT (1 1)")',
                 'ST_DWITHIN(g, "POINT (1 1)", 10)', "st_isvalid(g)"):  # fmt: skip
        s.call("query", name, filter=text, output_fields=["id"], _note=text)
    s.call("insert", name, [{"id": 9, "v": [1, 1], "g": "SQUARE (1)"}], _note="no shape", _code=1100)
