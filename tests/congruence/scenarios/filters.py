"""The language of filters: one collection, one query for each expression."""

from scenarios.registry import scenario

FIELDS = [
    ("id", "INT64", {"is_primary": True}),
    ("v", "FLOAT_VECTOR", {"dim": 2}),
    ("n", "INT64", {}),
    ("i8", "INT8", {}),
    ("f", "FLOAT", {}),
    ("d", "DOUBLE", {}),
    ("b", "BOOL", {}),
    ("w", "VARCHAR", {"max_length": 50}),
    ("j", "JSON", {}),
    ("a", "ARRAY", {"element_type": "INT64", "max_capacity": 8}),
    ("aw", "ARRAY", {"element_type": "VARCHAR", "max_capacity": 8, "max_length": 9}),
]
ROWS = [
    {"id": 1, "n": 5, "i8": -3, "f": 0.5, "d": 1.25, "b": True, "w": "apple", "a": [1, 2, 3], "aw": ["x", "y"],
     "j": {"n": 1, "s": "abc", "l": [1, 2], "o": {"p": 1.5}, "t": True}},
    {"id": 2, "n": -7, "i8": 7, "f": -2.0, "d": 2.5, "b": False, "w": "Banana split", "a": [], "aw": [],
     "j": {"n": 2.0, "s": "a%c", "l": ["x", [1]], "o": {}, "z": None}},
    {"id": 3, "n": 0, "i8": 0, "f": 1e10, "d": -0.0, "b": True, "w": "", "a": [3], "aw": ["x"],
     "j": {"n": "2", "s": 7, "l": [], "t": False}},
    {"id": 4, "n": 2**40, "i8": 127, "f": 0.1, "d": 0.1, "b": False, "w": "50% off_now", "a": [5, 6, 7, 8],
     "aw": ["z", "z"], "j": {}},
    {"id": 5, "n": 10, "i8": 1, "f": 3.0, "d": 3.0, "b": True, "w": 'say "hi"\\', "a": [10], "aw": ["apple"],
     "j": {"n": 5, "s": "apple", "l": [5, 6, 7], "o": {"p": "q", "r": [10, 20]}}},
]  # fmt: skip
GOOD = """
id == 1 ;; id != 1 ;; n > 4 ;; n >= 5 ;; n < 0 ;; n <= -7 ;; 5 == n ;; 4 < n ;; n == 1099511627776 ;; n == 0x5
n == 05 ;; 1 < n < 11 ;; 1 <= n <= 10 ;; 11 > n > 1 ;; -8 < n < 1 ;; n in [5, 10] ;; n not in [5, 10] ;; n in []
n in [5,] ;; n IN [5] ;; n == 5 and b == true ;; n == 5 && b == true ;; n == 5 or n == 0 ;; n == 5 || n == 0
n == 5 AND b == true ;; n == 5 OR n == 0 ;; not (n == 5) ;; !(n == 5) ;; NOT (n == 5) ;; not (n == 5 or n == 0)
(n == 5) ;; ((n) == (5)) ;; n == 5 or n == 0 and b == false ;; n + 1 == 6 ;; n - 1 == 4 ;; n * 2 == 10 ;; n / 2 == 2
n % 2 == 1 ;; n % 5 == 0 ;; n + 1 > 5 ;; n * -1 == 7 ;; 1 + n == 6 ;; 2 * n == 10 ;; n == 2 + 3 ;; n == 2 ** 2 + 1
n == -(-5) ;; n == 10 / 2 ;; i8 == 127 ;; i8 < 0 ;; i8 > -4 ;; i8 in [-3, 7] ;; i8 == 200 ;; f == 0.5 ;; f > 0.4
f < 0 ;; f == 3 ;; f in [0.5, 3] ;; f == 0.1 ;; f >= 1e10 ;; f == .5 ;; f == 5e-1 ;; d == 0.1 ;; d == 0 ;; d > 1
d in [1.25, 2.5] ;; 1.0 < d < 2.0 ;; d == 3 ;; d + 0.5 == 1.75 ;; d * 2 == 5 ;; b == true ;; b == True ;; b == false
b != true ;; b ;; not b ;; b == TRUE ;; true ;; b in [true] ;; b and n > 0 ;; w == "apple" ;; w == 'apple'
w != "apple" ;; w > "a" ;; w < "a" ;; w in ["apple", ""] ;; w not in ["apple"] ;; w == "" ;; w like "app%"
w like "%split" ;; w like "%an%" ;; w like "a____" ;; w like "apple" ;; w like "%" ;; w like "" ;; w like "50\\\\%%"
w like "%off\\\\_%" ;; not (w like "app%") ;; w LIKE "app%" ;; not w like "app%" ;; w like "_pple"
w == "say \\"hi\\"\\\\" ;; w like "%\\"hi\\"%" ;; w == 'Banana split' ;; "a" < w < "b" ;; j["n"] == 1 ;; j["n"] == 2
j["n"] == 2.0 ;; j["n"] == "2" ;; j["n"] != 1 ;; j["n"] > 1 ;; j["n"] in [1, 2] ;; j['n'] == 1 ;; j["s"] == "abc"
j["s"] like "a%" ;; j["s"] like "a\\\\%c" ;; j["s"] in ["abc", 7] ;; j["t"] == true ;; j["t"] != true
j["o"]["p"] == 1.5 ;; j["o"]["p"] == "q" ;; j["o"]["r"][0] == 10 ;; j["l"][0] == 1 ;; j["l"][0] == "x"
j["l"][1] == 2 ;; j["nosuch"] == 1 ;; j["nosuch"] != 1 ;; not (j["n"] == 1) ;; j["n"] + 1 == 2 ;; 0 < j["n"] < 3
j["n"] not in [1] ;; exists j["n"] ;; exists j["z"] ;; exists j["o"] ;; exists j["l"] ;; exists j["o"]["p"]
not exists j["n"] ;; EXISTS j["t"] ;; json_contains(j["l"], 1) ;; json_contains(j["l"], "x")
json_contains(j["l"], [1]) ;; JSON_CONTAINS(j["l"], 5) ;; json_contains_all(j["l"], [5, 6])
json_contains_any(j["l"], [1, 7]) ;; json_contains_all(j["l"], []) ;; json_contains_any(j["l"], [])
array_length(j["l"]) == 2 ;; array_length(j["l"]) > 0 ;; array_contains(a, 3) ;; array_contains(a, 99)
array_contains_all(a, [1, 2]) ;; array_contains_any(a, [3, 5]) ;; array_contains_all(a, [])
array_contains_any(a, []) ;; array_length(a) == 3 ;; array_length(a) == 0 ;; array_length(a) > 1
ARRAY_CONTAINS(a, 3) ;; a[0] == 1 ;; a[0] > 2 ;; a[3] == 8 ;; a[9] == 1 ;; a[0] in [1, 3] ;; a == [1, 2, 3]
a != [3] ;; array_contains(aw, "x") ;; aw[0] == "x" ;; aw[0] like "x%" ;; array_contains_any(aw, ["y", "apple"])
json_contains(a, 1) ;; n == i8 ;; n > i8 ;; f < d ;; f == d ;; n == d ;; w != w ;; d >= f
id in [1, 2, 3] and (n > 0 or w like "B%") and not (b == false) ;; id > 0 and id > 1 and id > 2 ;; n is null
n is not null ;; j["z"] is null ;; j["n"] is null ;; j["n"] is not null
"""
BAD = """
n == ;; == 5 ;; n = 5 ;; n === 5 ;; n == 5 and ;; (n == 5 ;; n == 5) ;; n == "five" ;; w == 5 ;; n == 1.5 ;; b == 1
b > true ;; nosuch == 1 ;; n + 1 ;; 5 ;; "word" ;; n ;; n in 5 ;; n in ["a"] ;; n in [1.5] ;; w in [1] ;; n like "a"
w like 5 ;; not n == 5 ;; n == null ;; n + f == 1 ;; 5 - n == 0 ;; 5 / n == 1 ;; n << 1 == 2 ;; f % 2 == 1
n ** 2 == 4 ;; 5 < n > 3 ;; 9 < n < 1 ;; a > [1] ;; a[0.5] == 1 ;; a["x"] == 1 ;; j == 1 ;; w["x"] == 1 ;; j[n] == 1
array_contains(n, 1) ;; array_contains(a, "x") ;; array_contains_all(a, 1) ;; array_length(n) == 1
json_contains(n, 1) ;; exists n ;; v == 1 ;; id == 9223372036854775808 ;; w == "a ;; n == 5 xor n == 4 ;; nosuch(n)
n == {x} ;; And(n) ;; w == 'a" ;; v in [1] ;; text_match(w, "apple") ;; phrase_match(w, "apple") ;; n.x == 1
n == 5; n == 6 ;; j["n"] & 1 == 1
"""
NEWER = """
(n & 1) == 1 ;; (n | 1) == 5 ;; (n ^ 1) == 4 ;; w =~ "^a" ;; w !~ "^a" ;; w == r"apple" ;; j["s"] =~ "^a.c$"
w =~ "[" ;; random_sample(0.999999) ;; random_sample(2) ;; random_sample(0.5) and n > 0 ;; empty(w)
starts_with(w, "app")
"""


def expressions(text):
    return [part.strip() for line in text.strip().splitlines() for part in line.split(" ;; ")]


def filled(s):
    name = s.collection(FIELDS, {"v": {"index_type": "FLAT", "metric_type": "L2"}})
    s.need("insert", name, [dict(row, v=[row["id"], 0]) for row in ROWS])
    return name


@scenario()
def filters(s):
    name = filled(s)
    for text in expressions(GOOD):
        s.call("query", name, filter=text, output_fields=["id"], _note=text)


@scenario()
def filters_that_are_refused(s):
    name = filled(s)
    for text in expressions(BAD):
        s.call("query", name, filter=text, output_fields=["id"], _note=text)


@scenario()
def filters_that_divide_by_nothing(s):
    name = filled(s)
    for text in ("n / 0 == 1", "n % 0 == 1", "j['n'] / 0 == 1", "1 / 0 == 1"):
        s.call("query", name, filter=text, output_fields=["id"], _note=text)


@scenario()
def filters_of_newer_servers(s):
    name = filled(s)
    for text in expressions(NEWER):
        if "random_sample(0.5)" not in text:
            s.call("query", name, filter=text, output_fields=["id"], _note=text)


@scenario()
def filters_with_values_apart(s):
    name = filled(s)
    cases = [
        ("n == {x}", {"x": 5}), ("n in {x}", {"x": [5, 10]}), ("n in {x}", {"x": []}), ("w == {x}", {"x": "apple"}),
        ("w in {x}", {"x": ["apple", ""]}), ("f > {x}", {"x": 0.4}), ("b == {x}", {"x": True}),
        ("n > {low} and n < {high}", {"low": 0, "high": 9}), ("j['n'] == {x}", {"x": 1}),
        ("j['s'] in {x}", {"x": ["abc", 7]}), ("array_contains(a, {x})", {"x": 3}), ("{x} < n", {"x": 4}),
        ("array_contains_any(a, {x})", {"x": [3, 5]}), ("json_contains_any(j['l'], {x})", {"x": [1, "x"]}),
        ("w like {x}", {"x": "app%"}), ("n + {x} == 6", {"x": 1}), ("{a} < n < {b}", {"a": 1, "b": 11}),
        ("n == {x}", {"x": 5, "unused": 1}), ("n == {x}", {}), ("n in {x}", {"x": 5}), ("n == {x}", {"x": "five"}),
        ("n == {x}", {"x": [5]}), ("w like {x}", {"x": 5}), ("n in {x}", {"x": ["a"]}), ("n == {x}", {"x": 1.5}),
    ]  # fmt: skip
    for text, values in cases:
        s.call("query", name, filter=text, filter_params=values, output_fields=["id"],
               _note=f"{text} with {sorted(values.items())}")  # fmt: skip
    s.call("delete", name, filter="n == {x}", filter_params={"x": 10})
    s.call("query", name, filter="", output_fields=["count(*)"], _gives=[{"count(*)": 4}])
