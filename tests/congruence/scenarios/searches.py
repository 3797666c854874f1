"""Searches: scores, orders, limits, ranges, groups, pages, several vectors at once, and what is refused."""

from scenarios.registry import scenario

PLAIN = [("id", "INT64", {"is_primary": True}), ("v", "FLOAT_VECTOR", {"dim": 2}), ("n", "INT64", {}),
         ("w", "VARCHAR", {"max_length": 9})]  # fmt: skip
ROWS = [{"id": n, "v": [float(n), float(n % 3)], "n": n % 4, "w": "abc"[n % 3]} for n in range(1, 13)]


def filled(s, metric="L2", **options):
    """The collection of most of these scenarios: 12 rows, exact searches."""
    name = s.collection(PLAIN, {"v": {"index_type": "FLAT", "metric_type": metric}}, **options)
    s.need("insert", name, ROWS)
    return name


@scenario()
def scores_of_metrics(s):
    for metric in ("L2", "IP", "COSINE"):
        name = s.collection(PLAIN[:2], {"v": {"index_type": "FLAT", "metric_type": metric}}, name="m_" + metric)
        s.need("insert", name, [{"id": 1, "v": [1, 0]}, {"id": 2, "v": [3, 4]}, {"id": 3, "v": [-1, 0]},
                                {"id": 4, "v": [0, 0]}])  # fmt: skip
        s.call("search", name, data=[[1, 0], [0, 2]], limit=4, _note=metric)
        s.call("search", name, data=[[0, 0]], limit=4, _note=metric + " of nothing")
        for params in ({"radius": 0.5}, {"radius": 5.0, "range_filter": 1.0}, {"radius": 1.0, "range_filter": 5.0},
                       {"range_filter": 1.0}):  # fmt: skip
            note = f"{metric} within {sorted(params.items())}"
            s.call("search", name, data=[[1, 0]], limit=4, search_params={"params": params}, _note=note)
        s.call("search", name, data=[[1, 0]], search_params={"metric_type": metric}, limit=1, _note=metric + " named")
        other = {"L2": "IP", "IP": "COSINE", "COSINE": "L2"}[metric]
        s.call("search", name, data=[[1, 0]], search_params={"metric_type": other}, limit=1,
               _note=f"{metric}, not {other}", _code=1100,
               _text=f"metric type not match: invalid parameter[expected={metric}][actual={other}]")  # fmt: skip


@scenario()
def searching(s):
    name = filled(s)
    s.call("search", name, data=[[1, 1]])
    s.call("search", name, data=[[1, 1], [9, 0]], limit=2, output_fields=["n", "w"], _note="two, with fields")
    s.call("search", name, data=[[1, 1]], limit=3, output_fields=["*"], _note="a star")
    s.call("search", name, data=[[1, 1]], limit=3, output_fields=["id"], _note="the key")
    s.call("search", name, data=[[1, 1]], limit=3, output_fields=["v"], _note="the vector")
    s.call("search", name, data=[[1, 1]], limit=3, filter="n == 2", _note="a filter")
    s.call("search", name, data=[[1, 1]], limit=3, filter="n == 99", _note="no row passes")
    s.call("search", name, data=[[1, 1], [2, 2]], limit=3, filter="n == 99", output_fields=["*"],
           _note="no row passes, with fields")  # fmt: skip
    s.call("search", name, data=[[1, 1]], limit=3, offset=2, _note="an offset")
    s.call("search", name, data=[[1, 1]], limit=3, offset=11, _note="an offset near the end")
    s.call("search", name, data=[[1, 1]], limit=3, offset=50, _note="an offset behind the end")
    s.call("search", name, data=[[1, 1]], limit=3, search_params={"offset": 1}, _note="an offset in the parameters")
    s.call("search", name, data=[[1.234, 1]], limit=2, search_params={"round_decimal": 1}, _note="rounded")
    s.call("search", name, data=[[1.234, 1]], limit=2, round_decimal=2, _note="rounded, said otherwise")
    s.call("search", name, data=[[1, 1]], limit=16384, _note="the largest limit")
    s.call("search", name, data=[[1, 1]], limit=1, anns_field="v", _note="the field named")
    s.call("search", name, data=[[1, 1]], limit=1, filter="id in {ids}", filter_params={"ids": [7, 8]},
           _note="a template")  # fmt: skip
    for level in ("Strong", "Bounded", "Session", "Eventually"):
        s.call("search", name, data=[[1, 1]], limit=1, consistency_level=level, _note=level)
    s.call("search", name, ids=[3, 4], limit=2, _note="by keys")


@scenario()
def searches_that_are_refused(s):
    name = filled(s)

    def wrong(note, code=1100, text="", data=None, **options):
        s.call("search", name, data=data or [[1, 1]], _note=note, _code=code, _text=text, **options)

    wrong("limit 0", None, limit=0)
    wrong("limit too large", text="topk [16385] is invalid, it should be in range [1, 16384], but got 16385",
          limit=16385)  # fmt: skip
    wrong("limit negative", None, limit=-1)
    wrong("offset and limit", limit=10, offset=16380,
          text="offset+topk [16390] is invalid, it should be in range [1, 16384], but got 16390")  # fmt: skip
    wrong("offset negative", limit=10, offset=-1, text="offset [-1] is invalid")
    wrong("another dimension", None, data=[[1, 2, 3]])
    wrong("no such output", text="field nosuch not exist", output_fields=["nosuch"])
    wrong("no such vector field", text="failed to", anns_field="nosuch")
    wrong("a field that is no vector", None, anns_field="n")
    wrong("round_decimal", None, round_decimal=7)
    wrong("filter", text="failed to create query plan: cannot parse expression: n ==", filter="n ==")
    wrong("filter of an unknown field", text="failed to create query plan: cannot parse expression: nosuch == 1",
          filter="nosuch == 1")  # fmt: skip
    wrong("filter that is no question", text="cannot parse expression", filter="n + 1")
    wrong("a template without its value", text="", filter="n == {missing}")
    wrong("group by nothing", None, group_by_field="nosuch")
    wrong("bits", None, data=[b"\x01"])
    s.call("search", name, data=[[1, 1]] * 16385, limit=1, _note="too many", _code=1100,
           _text="nq [16385] is invalid, nq (number of search vector per search request)")  # fmt: skip


@scenario()
def ties_come_in_the_order_of_keys(s):
    name = s.collection(PLAIN[:2], {"v": {"index_type": "FLAT", "metric_type": "L2"}})
    s.need("insert", name, [{"id": n, "v": [1, 1]} for n in (9, 3, 7, 1, 5)])
    s.need("insert", name, [{"id": n, "v": [1, 1]} for n in (8, 2)])
    s.call("search", name, data=[[0, 0]], limit=7)
    s.call("search", name, data=[[0, 0]], limit=3, _note="three of them")
    s.call("search", name, data=[[0, 0]], limit=3, offset=3, _note="the next three")


@scenario()
def groups(s):
    name = filled(s)
    s.call("search", name, data=[[0, 0]], limit=3, group_by_field="w")
    s.call("search", name, data=[[0, 0]], limit=2, group_by_field="n", output_fields=["n"], _note="with fields")
    s.call("search", name, data=[[0, 0]], limit=2, group_by_field="w", group_size=2, strict_group_size=True,
           _note="two of each")  # fmt: skip
    s.call("search", name, data=[[0, 0]], limit=2, group_by_field="w", group_size=11, _note="too many of each")
    s.call("search", name, data=[[0, 0]], limit=2, group_by_field="v", _note="by a vector")


@scenario()
def queries(s):
    name = filled(s)
    s.call("query", name, filter="n == 2")
    s.call("query", name, filter="id < 4", output_fields=["w"], _note="a field")
    s.call("query", name, filter="id < 3", output_fields=["*"], _note="a star")
    s.call("query", name, filter="id < 3", output_fields=["id", "v"], _note="the vector")
    s.call("query", name, filter="id > 0", limit=3, output_fields=["n"], _note="a limit")
    s.call("query", name, filter="id > 0", limit=3, offset=10, output_fields=["n"], _note="an offset")
    s.call("query", name, filter="id > 0", limit=3, offset=100, output_fields=["n"], _note="an offset behind the end")
    s.call("query", name, filter="", limit=2, output_fields=["id"], _note="no filter")
    s.call("query", name, filter="", _note="neither filter nor limit", _code=1100,
           _text="empty expression should be used with limit")  # fmt: skip
    s.call("query", name, filter="n > 100", _note="nothing", _gives=[])
    s.call("query", name, ids=[3, 1], output_fields=["n"], _note="keys")
    s.call("query", name, filter="", output_fields=["count(*)"], _gives=[{"count(*)": 12}])
    s.call("query", name, filter="n == 1", output_fields=["count(*)"], _note="count some", _gives=[{"count(*)": 3}])
    s.call("query", name, filter="n == 77", output_fields=["count(*)"], _note="count none", _gives=[{"count(*)": 0}])
    s.call("query", name, filter="n == 1", output_fields=["count(*)"], limit=5, _note="count with a limit", _code=1100,
           _text="count entities with pagination is not allowed")  # fmt: skip
    s.call("query", name, filter="n == 1", output_fields=["count(*)", "n"], _note="count and a field")
    s.call("query", name, filter="id > 0", limit=16385, _note="limit too large", _code=1100,
           _text="invalid max query result window, (offset+limit) should be in range [1, 16384]")  # fmt: skip
    s.call("query", name, filter="id > 0", limit=0, _note="limit 0")
    s.call("query", name, filter="id > 0", limit=-5, _note="limit negative")
    s.call("query", name, filter="id > 0", limit=5, offset=-1, _note="offset negative", _code=1100,
           _text="invalid max query result window, offset [-1] is invalid, should be gte than 0")  # fmt: skip
    s.call("query", name, filter="id > 0", output_fields=["nosuch"], _note="no such output", _code=1100,
           _text="field nosuch not exist")  # fmt: skip
    s.call("query", name, filter="id in {keys}", filter_params={"keys": [5, 6]}, output_fields=["id"],
           _note="a template")  # fmt: skip
    s.call("query", name, filter="id > 0", output_fields=["n"], limit=4, order_by_fields=["n:desc", "id:asc"],
           _note="ordered")  # fmt: skip
    s.call("query", name, filter="id > 0", output_fields=["n", "count(*)"], group_by_fields=["n"], _note="grouped")
    s.call("query", name, filter="id > 0", output_fields=["sum(n)", "max(id)", "min(id)"], _note="aggregates")


@scenario("sdk", "redkite")
def iterators(s):
    name = filled(s)

    def pages(method, **options):
        iterator = getattr(s.caller.client, method, None)
        if iterator is None:
            raise s.kit.NotOffered("no method " + method)
        iterator = iterator(name, **options)
        found = []
        for _ in range(20):
            page = iterator.next()
            if page is None or len(page) == 0:
                break
            found.append(list(page.ids()) if hasattr(page, "ids") else [row["id"] for row in page])
        iterator.close()
        return found

    s.do("query_iterator", lambda: pages("query_iterator", batch_size=5, output_fields=["n"]))
    s.do("query_iterator: a filter", lambda: pages("query_iterator", batch_size=2, filter="n > 1"))
    s.do("query_iterator: a limit", lambda: pages("query_iterator", batch_size=5, limit=7))
    s.do("query_iterator: nothing", lambda: pages("query_iterator", batch_size=5, filter="n > 100"))
    s.do("query_iterator: an offset", lambda: pages("query_iterator", batch_size=5, offset=4))
    s.do("search_iterator", lambda: pages("search_iterator", data=[[0, 0]], batch_size=5))
    s.do("search_iterator: a limit", lambda: pages("search_iterator", data=[[0, 0]], batch_size=5, limit=7))
    s.do("search_iterator: a filter", lambda: pages("search_iterator", data=[[0, 0]], batch_size=4, filter="n < 2"))
    s.do("search_iterator: nothing", lambda: pages("search_iterator", data=[[0, 0]], batch_size=4, filter="n > 50"))
    s.do("search_iterator: a range", lambda: pages("search_iterator", data=[[0, 0]], batch_size=4,
         search_params={"params": {"radius": 50.0, "range_filter": 5.0}}))  # fmt: skip
    s.do("search_iterator: two vectors", lambda: pages("search_iterator", data=[[0, 0], [1, 1]], batch_size=4))
    s.do("search_iterator: no page size", lambda: pages("search_iterator", data=[[0, 0]], batch_size=-1))
    s.do("query_iterator: page too large", lambda: pages("query_iterator", batch_size=16385))


@scenario()
def several_vectors_at_once(s):
    fields = [*PLAIN[:2], ("u", "FLOAT_VECTOR", {"dim": 2}), ("n", "INT64", {})]
    index = {"v": {"index_type": "FLAT", "metric_type": "L2"}, "u": {"index_type": "FLAT", "metric_type": "IP"}}
    name = s.collection(fields, index)
    s.need("insert", name, [{"id": n, "v": [n, 0], "u": [0, 10 - n], "n": n % 2} for n in range(1, 9)])
    ask = s.kit.AnnSearchRequest
    s.call("search", name, data=[[1, 0]], _note="without a field", _code=1100,
           _text="multiple anns_fields exist, please specify a anns_field in search_params")  # fmt: skip

    def both(first=4, second=4, **options):
        return [
            ask(data=[[0, 0]], anns_field="v", param={"metric_type": "L2", "params": {}}, limit=first, **options),
            ask(data=[[0, 1]], anns_field="u", param={"metric_type": "IP", "params": {}}, limit=second),
        ]

    ranks, weighs = s.kit.RRFRanker, s.kit.WeightedRanker
    s.call("hybrid_search", name, both(), ranks(), limit=3, _note="by ranks")
    s.call("hybrid_search", name, both(), ranks(10), limit=3, output_fields=["n"], _note="by ranks, k of 10")
    s.call("hybrid_search", name, both(), ranks(), limit=3, offset=2, _note="an offset")
    s.call("hybrid_search", name, both(expr="n == 1"), ranks(), limit=8, _note="a filter in one")
    s.call("hybrid_search", name, both(2, 3), ranks(), limit=8, _note="unequal limits")
    s.call("hybrid_search", name, both(), weighs(0.7, 0.3), limit=4, _note="by weights")
    s.call("hybrid_search", name, both(), weighs(0.7), limit=4, _note="one weight too few", _code=1100,
           _text="the length of weights param mismatch with ann search requests")  # fmt: skip
    s.call("hybrid_search", name, both(), weighs(1.7, 0.3), limit=4, _note="a weight too large")
    s.call("hybrid_search", name, both(), ranks(0), limit=4, _note="k of 0")
    s.call("hybrid_search", name, both(), ranks(), limit=0, _note="limit 0")
    s.call("hybrid_search", name, both()[:1], ranks(), limit=3, _note="only one")


@scenario()
def kinds_of_vectors(s):
    fields = [("id", "INT64", {"is_primary": True}), ("b", "BINARY_VECTOR", {"dim": 8})]
    for metric in ("HAMMING", "JACCARD"):
        name = s.collection(fields, {"b": {"index_type": "BIN_FLAT", "metric_type": metric}}, name="b_" + metric)
        s.need("insert", name, [{"id": 1, "b": b"\x0f"}, {"id": 2, "b": b"\xff"}, {"id": 3, "b": b"\x00"}])
        s.call("search", name, data=[b"\x0e"], limit=3, output_fields=["b"], _note=metric)
        s.call("query", name, filter="id == 1", _note=metric)
    s.call("insert", "b_HAMMING", [{"id": 9, "b": b"\x0f\x0f"}], _note="too many bits")


@scenario()
def vectors_with_few_numbers(s):
    fields = [("id", "INT64", {"is_primary": True}), ("s", "SPARSE_FLOAT_VECTOR", {})]
    name = s.collection(fields, {"s": {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP"}})
    s.call("insert", name, [{"id": 1, "s": {1: 0.5, 100: 2.0}}, {"id": 2, "s": {1: 1.0}}, {"id": 3, "s": {7: 1.0}}])
    s.call("search", name, data=[{1: 1.0, 100: 0.1}], limit=3, output_fields=["s"])
    s.call("query", name, filter="id > 0")
    s.call("search", name, data=[{999: 1.0}], limit=3, _note="nothing in common")
    s.call("insert", name, [{"id": 4, "s": {1: -1.0}}], _note="a negative number")
    s.call("insert", name, [{"id": 5, "s": {-1: 1.0}}], _note="a negative place")
    s.call("search", name, data=[{1: 1.0}], search_params={"params": {"drop_ratio_search": 0.2}}, limit=3,
           _note="some left out")  # fmt: skip
    s.call("search", name, data=[{1: 1.0}], search_params={"metric_type": "L2"}, limit=3, _note="by distance")


@scenario("sdk", "redkite")
def vectors_of_small_numbers(s):
    numpy = __import__("numpy")
    fields = [
        ("id", "INT64", {"is_primary": True}),
        ("h", "FLOAT16_VECTOR", {"dim": 4}),
        ("i", "INT8_VECTOR", {"dim": 4}),
    ]
    index = {"h": {"index_type": "FLAT", "metric_type": "L2"}, "i": {"index_type": "HNSW", "metric_type": "L2",
             "params": {"M": 8, "efConstruction": 64}}}  # fmt: skip
    name = s.collection(fields, index)
    rows = [{"id": n, "h": numpy.arange(n, n + 4).astype("float16"), "i": numpy.arange(n, n + 4).astype("int8")}
            for n in (1, 2, 3)]  # fmt: skip
    s.call("insert", name, rows)
    s.call("search", name, data=[rows[1]["h"]], anns_field="h", limit=3, output_fields=["h"], _note="halves")
    s.call("search", name, data=[rows[1]["i"]], anns_field="i", limit=3, output_fields=["i"], _note="bytes")
    s.call("query", name, filter="id == 2", _note="both")


@scenario()
def indexes(s):
    name = s.collection([*PLAIN, ("j", "JSON", {})], index=None)
    s.call("list_indexes", name, _note="none")
    s.call("describe_index", name, "v", _note="none")

    def make(note, field="v", code=None, text="", **details):
        s.call("create_index", name, {field: details}, _note=note, _code=code, _text=text)

    make("unknown kind", code=1100, text="invalid index type: NOSUCH", index_type="NOSUCH", metric_type="L2")
    make("unknown metric", code=1100, text="float vector index does not support metric type: NOSUCH",
         index_type="HNSW", metric_type="NOSUCH", params={"M": 8, "efConstruction": 64})  # fmt: skip
    make("metric of bits", code=1100, text="float vector index does not support metric type: HAMMING",
         index_type="HNSW", metric_type="HAMMING", params={"M": 8, "efConstruction": 64})  # fmt: skip
    make(
        "M too large", code=1100, text="", index_type="HNSW", metric_type="L2", params={"M": 9999, "efConstruction": 8}
    )
    make("M a word", code=1100, text="", index_type="HNSW", metric_type="L2", params={"M": "many", "efConstruction": 8})
    make("vector kind for numbers", "n", 1100, "can't build", index_type="HNSW", metric_type="L2")
    make("no such field", "nosuch", 1100, "cannot create index on non-exist field: nosuch", index_type="FLAT",
         metric_type="L2")  # fmt: skip
    make("a name with a blank", code=1100, text="Invalid index name", index_type="FLAT", metric_type="L2",
         index_name="two words")  # fmt: skip
    make("a graph", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64}, index_name="graph")
    s.call("list_indexes", name)
    s.call("describe_index", name, "graph")
    make("the same again", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64},
         index_name="graph")  # fmt: skip
    make("another on the field", code=1100, text="", index_type="FLAT", metric_type="L2", index_name="other")
    make("another of the name", "n", 1100, "", index_type="INVERTED", index_name="graph")
    make("of numbers", "n", index_type="INVERTED")
    make("of words", "w", index_type="Trie", index_name="words")
    s.call("list_indexes", name, _note="three of them")
    s.call("describe_index", name, "words")
    s.call("describe_index", name, "n", _note="of numbers")
    s.call("describe_index", name, "nosuch", _note="not there")
    s.call("load_collection", name)
    s.call("drop_index", name, "graph", _note="while it is loaded", _code=1100,
           _text="vector index cannot be dropped on loaded collection")  # fmt: skip
    s.call("release_collection", name)
    s.call("drop_index", name, "graph", _gives=None)
    s.call("drop_index", name, "graph", _note="again", _gives=None)
    s.call("drop_index", name, "nosuch", _note="not there", _gives=None)
    s.call("list_indexes", name, _note="two of them")


@scenario()
def parameters_of_searches(s):
    name = s.collection(PLAIN[:2], {"v": {"index_type": "HNSW", "metric_type": "L2",
                        "params": {"M": 8, "efConstruction": 64}}})  # fmt: skip
    s.need("insert", name, [{"id": n, "v": [n, n]} for n in range(30)])
    s.call("flush", name)
    s.call("search", name, data=[[3, 3]], search_params={"params": {"ef": 20}}, limit=5)
    s.call("search", name, data=[[3, 3]], search_params={"params": {"ef": 5}}, limit=10, _note="ef below the limit")
    s.call("search", name, data=[[3, 3]], search_params={"params": {"ef": "x"}}, limit=3, _note="ef a word")
    s.call("search", name, data=[[3, 3]], search_params={"params": {"nosuch": 1}}, limit=3, _note="unknown")
    s.call("get_collection_stats", name, _note="after a flush")
    s.call("delete", name, ids=[1, 2])
    s.call("query", name, filter="", output_fields=["count(*)"], _gives=[{"count(*)": 28}])
