"""The first version of REST, requests as they are."""

from scenarios.registry import scenario

V1 = "/v1/vector/"


@scenario("http")
def collections_by_the_first_rest(s):
    def ask(verb, path, body=None, note=""):
        s.call(verb, V1 + path, body, _note=f"{path.split('?')[0]}{' ' if note else ''}{note}")

    ask("GET", "collections", note="none")
    ask("POST", "collections/create", {"collectionName": "first", "dimension": 2, "metricType": "L2"})
    ask("POST", "collections/create", {"collectionName": "first"}, "without a dimension")
    ask("POST", "collections/create", {"dimension": 2}, "without a name")
    ask("POST", "collections/create", {"collectionName": "two words", "dimension": 2}, "a blank")
    ask("POST", "collections/create", b"{", "no JSON")
    ask("GET", "collections", note="one")
    ask("GET", "collections/describe?collectionName=first")
    ask("GET", "collections/describe?collectionName=nosuch", note="not there")
    ask("GET", "collections/describe", note="without a name")
    ask("POST", "collections/drop", {"collectionName": "nosuch"}, "not there")
    ask("POST", "collections/drop", {"collectionName": "first"})
    ask("GET", "nosuch", note="unknown")


@scenario("http")
def rows_by_the_first_rest(s):
    def ask(path, body, note=""):
        s.call("POST", V1 + path, dict(body, collectionName="kept"), _note=f"{path}{' ' if note else ''}{note}")

    ask("collections/create", {"dimension": 2, "metricType": "L2"})
    ask("insert", {"data": [{"vector": [1, 0], "color": "red", "n": 1}, {"vector": [2, 0], "n": 2}]})
    ask("insert", {"data": {"vector": [3, 0], "size": 7, "n": 3}}, "one row")
    ask("insert", {"data": [{"id": 4, "vector": [1, 2]}]}, "with a key")
    ask("insert", {"data": [{"vector": [1, 2, 3]}]}, "dimension")
    ask("insert", {"data": [{"n": 4}]}, "without a vector")
    ask("insert", {"data": [{"vector": "x"}]}, "a word for a vector")
    ask("insert", {}, "nothing")
    ask("query", {"filter": "n in [1, 2, 3]", "outputFields": ["n"]})
    ask("query", {"filter": "n == 1", "outputFields": ["color", "vector"]}, "fields")
    ask("query", {"filter": "nosuch ==", "outputFields": ["id"]}, "a broken filter")
    ask("query", {"outputFields": ["id"]}, "without a filter")
    ask("get", {"id": 1, "outputFields": ["id", "color"]}, "not there")
    ask("get", {}, "nothing")
    ask("search", {"vector": [0, 0], "limit": 2, "outputFields": ["n"]})
    ask("search", {"vector": [0, 0], "limit": 2, "filter": "n > 1", "outputFields": ["color"]}, "a filter")
    ask("search", {"vector": [0], "limit": 2}, "dimension")
    ask("search", {"limit": 2}, "without a vector")
    ask("search", {"vector": [0, 0], "limit": 20000}, "limit too large")
    ask("delete", {"id": 1}, "not there")
    ask("delete", {}, "nothing")
    ask("query", {"filter": "n > 0", "outputFields": ["n"]}, "afterwards")
    ask("collections/drop", {})
