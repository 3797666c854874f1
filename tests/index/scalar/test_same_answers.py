"""A filter keeps the same rows with indexes and without, whatever it says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.filter.rows import DYNAMIC, columns_of
from tests.index.scalar.indexed_rows import indexed, spec

from redkite.filter import compile_filter
from redkite.filter import indexed as narrowing
from redkite.model.schema import META_FIELD
from redkite.model.segments import IndexSpec

KINDS = [
    *((field, spec(kind)) for field in ("i8", "age", "big", "moment") for kind in ("INVERTED",)),
    ("big", spec("BITMAP")), ("price", spec("INVERTED")), ("score", spec("STL_SORT")), ("flag", spec("BITMAP")),
    ("name", spec("NGRAM", min_gram=1, max_gram=2)), ("name", spec("TRIE")), ("city", spec("HYBRID")),
    ("nums", spec("INVERTED")), ("words", spec("BITMAP")), ("bits", spec("HYBRID")), ("reals", spec("INVERTED")),
    ("doc", spec("INVERTED", json_path='["a"]', json_cast_type="JSON")),
    ("doc", spec("BITMAP", json_path='["b","c"]', json_cast_type="DOUBLE", json_cast_function="STRING_TO_DOUBLE")),
    ("doc", spec("INVERTED", json_path='["t"]', json_cast_type="ARRAY_VARCHAR")),
    (META_FIELD, spec("HYBRID", json_path='["color"]', json_cast_type="VARCHAR")),
    (META_FIELD, spec("NGRAM", json_path='["title"]', json_cast_type="VARCHAR", min_gram=1, max_gram=3)),
    ("place", spec("RTREE")), ("tale", spec("MATCH")),
]  # fmt: skip

small = st.integers(-3, 3)
edges = st.sampled_from([-(2**63), 2**63 - 1, -129, 127, 128, 2**31])
halves = st.integers(-5, 5).map(lambda n: n / 2)
texts = st.text(alphabet="abü%", max_size=4)
scalars = st.one_of(small, halves, texts, st.booleans(), st.sampled_from(["1", "-2.5", "1e0", "x1"]))
anything = st.one_of(
    st.none(),
    scalars,
    st.lists(scalars, max_size=3),
    st.just({}),
    st.just([[1]]),
    st.just({"x": 1}),
    st.just({"x": {"y": 2}, "z": None}),
    st.just(2**63 + 1),
)
places = st.sampled_from([
    "POINT (0 0)", "POINT (1 1)", "POINT (179.9 0)", "POINT EMPTY", "POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))",
    "LINESTRING (0 0, 3 3)", "POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))", "POINT (-179.9 0.1)",
])  # fmt: skip
tales = st.lists(st.sampled_from(["a", "b", "ab", "A", "c1", "-"]), max_size=5).map(" ".join)
rows = st.fixed_dictionaries(
    {"id": st.integers(0, 50), "city": texts, "reals": st.lists(halves, max_size=3), "place": places,
     "bits": st.lists(st.booleans(), max_size=2)},
    optional={
        "i8": st.integers(-128, 127) | small, "age": small, "big": small | edges.filter(lambda n: abs(n) > 200),
        "price": halves | st.just(float("nan")), "score": halves | st.just(float("nan")), "flag": st.booleans(),
        "name": texts, "nums": st.lists(small, max_size=3), "words": st.lists(texts, max_size=3),
        "moment": st.integers(-3, 3).map(lambda n: n * 10**12),
        "doc": st.dictionaries(st.sampled_from(["a", "t"]), anything, max_size=2)
        | st.fixed_dictionaries({"b": st.fixed_dictionaries({"c": anything}) | anything}),
        "color": anything, "title": anything, "tale": tales,
    },
)  # fmt: skip


def shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else orjson.dumps(value).decode()


COMPARE = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
JSON_PATHS = st.sampled_from(
    ['doc["a"]["x"]["y"]', 'doc["a"]', 'doc["b"]["c"]', 'doc["t"]', "color", "title", 'doc["a"]["x"]', "doc"]
)


@st.composite
def leaves(draw: st.DrawFn) -> str:
    """One condition, of any kind that some index answers or leaves alone."""
    return draw(draw(st.sampled_from(
        [numbers(), strings(), booleans(), arrays(), paths(), patterns(), shapes(), times(), matches()]
    )))  # fmt: skip


@st.composite
def numbers(draw: st.DrawFn) -> str:
    field = draw(st.sampled_from(["i8", "age", "big", "price", "score"]))
    constant = draw(small | edges if field in ("i8", "age", "big") else halves | small)
    shape = draw(st.integers(0, 4))
    if shape == 0:
        return f"{field} {draw(st.sampled_from(['in', 'not in']))} {draw(st.lists(small, max_size=9))}"
    if shape == 1:
        low = draw(small)
        return f"{low} {draw(st.sampled_from(['<', '<=']))} {field} < {low + draw(st.integers(1, 4))}"
    if shape == 2:
        return f"{field} {draw(st.sampled_from('+-*'))} 2 {draw(COMPARE)} {draw(small)}"
    if shape == 3:
        return f"{field} is {draw(st.sampled_from(['null', 'not null']))}"
    return f"{field} {draw(COMPARE)} {constant}"


@st.composite
def strings(draw: st.DrawFn) -> str:
    field = draw(st.sampled_from(["name", "city"]))
    shape = draw(st.integers(0, 3))
    if shape == 0:
        return f"{field} {draw(st.sampled_from(['in', 'not in']))} {shown(draw(st.lists(texts, max_size=6)))}"
    if shape == 1:
        low, high = sorted([draw(texts), draw(texts) + "z"], key=str.encode)
        return f"{shown(low)} <= {field} < {shown(high)}"
    return f"{field} {draw(COMPARE)} {shown(draw(texts))}"


@st.composite
def patterns(draw: st.DrawFn) -> str:
    field = draw(st.sampled_from(["name", "city", "title", 'doc["a"]', "color"]))
    return f"{field} like {shown(draw(st.text(alphabet='abü%_', max_size=5)))}"


@st.composite
def matches(draw: st.DrawFn) -> str:
    query, number = shown(draw(tales)), draw(st.integers(0, 3))
    call = draw(st.sampled_from([
        f"phrase_match(tale, {query}, {number})", f"text_match(tale, {query}, minimum_should_match={number + 1})",
        f"text_match_fuzzy(tale, {query}, max_edit_distance={number % 3})", f"text_match(tale, {query})",
    ]))  # fmt: skip
    return f"not {call}" if draw(st.booleans()) else call


@st.composite
def booleans(draw: st.DrawFn) -> str:
    return draw(
        st.sampled_from(["flag", "flag == true", "flag != true", "flag in [true]", "flag not in [true, false]"])
    )


@st.composite
def arrays(draw: st.DrawFn) -> str:
    field, values = draw(st.sampled_from([
        ("nums", small), ("words", texts), ("bits", st.booleans()), ("reals", halves),
    ]))  # fmt: skip
    if draw(st.booleans()):
        return f"array_contains({field}, {shown(draw(values))})"
    suffix = draw(st.sampled_from(["all", "any"]))
    return f"array_contains_{suffix}({field}, {shown(draw(st.lists(values, max_size=3)))})"


@st.composite
def paths(draw: st.DrawFn) -> str:
    path, value = draw(JSON_PATHS), draw(scalars)
    shape = draw(st.integers(0, 5))
    if shape == 0:
        return f"json_contains({path}, {shown(value)})"
    if shape == 1:
        suffix = draw(st.sampled_from(["all", "any"]))
        return f"json_contains_{suffix}({path}, {shown(draw(st.lists(scalars, max_size=3)))})"
    if shape == 2:
        return f"{path} {draw(st.sampled_from(['in', 'not in']))} {shown(draw(st.lists(scalars, max_size=4)))}"
    if shape == 3:
        return f"exists {path}" if path != "doc" else "doc is null"
    if shape == 4:
        return f"{path} {draw(st.sampled_from('+*'))} 2 {draw(COMPARE)} {draw(small)}"
    return f"{path} {'==' if isinstance(value, bool) else draw(COMPARE)} {shown(value)}"


@st.composite
def shapes(draw: st.DrawFn) -> str:
    relation = draw(st.sampled_from(["st_within", "st_intersects", "st_equals", "st_contains", "st_touches"]))
    if draw(st.integers(0, 3)) == 0:
        point = draw(st.sampled_from(["POINT (0 0)", "POINT (180 0)", "POINT (5 89.9)"]))
        return f"st_dwithin(place, '{point}', {draw(st.sampled_from([0, 1, 1000, 200000, 30000000]))})"
    return f"{relation}(place, '{draw(places)}')"


@st.composite
def times(draw: st.DrawFn) -> str:
    return f'moment {draw(COMPARE)} ISO "1970-01-{draw(st.integers(1, 28)):02}T13:46:40Z"'


filters = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
    ),
    max_leaves=4,
)


@given(st.lists(rows, max_size=25), filters)
def test_indexes_never_change_which_rows_a_filter_keeps(data: list[dict[str, Any]], text: str) -> None:
    condition = compile_filter(text, DYNAMIC)
    expected = condition.evaluate(columns_of(data))
    found = condition.evaluate(indexed(data, KINDS))
    assert found.tolist() == expected.tolist()


@given(st.lists(rows, max_size=25), filters, st.booleans())
def test_looking_at_the_rows_that_are_left_keeps_the_same_rows(
    data: list[dict[str, Any]], text: str, with_indexes: bool
) -> None:
    condition = compile_filter(text, DYNAMIC)
    expected = condition.evaluate(columns_of(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrowing, "_few_pay", lambda *_: True)
        found = condition.evaluate(indexed(data, KINDS) if with_indexes else columns_of(data))
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("field", "kind", "texts"),
    [
        ("age", spec("INVERTED"), ["age == 1", "age != 1", "age in [1, 2]", "age % 2 == 0", "0 < age < 3"]),
        ("score", spec("STL_SORT"), ["score > 0.5", "score not in [1.0]"]),
        ("flag", spec("BITMAP"), ["flag", "not flag"]),
        ("moment", spec("STL_SORT"), ['moment > ISO "1970-01-01T00:00:00Z"']),
        ("name", spec("TRIE"), ['name like "a%"', 'name == "a"', 'name in ["a", "b"]', 'name < "b"', 'name like "%b"']),
        ("name", spec("NGRAM", min_gram=2, max_gram=3), ['name like "%bc%"', 'name like "a_cd%"', 'name =~ "bcd"']),
        ("nums", spec("INVERTED"), ["array_contains(nums, 1)", "array_contains_all(nums, [1, 2])"]),
        ("words", spec("BITMAP"), ['array_contains_any(words, ["a"])']),
        (
            "doc",
            spec("INVERTED", json_path='["a"]', json_cast_type="JSON"),
            [
                'doc["a"] == 1',
                'doc["a"] like "x%"',
                'exists doc["a"]',
                'json_contains(doc["a"], 1)',
                'doc["a"]["x"]["y"] == 1',
                'not exists doc["a"]["z"]',
            ],
        ),
        (
            "doc",
            spec("INVERTED", json_path='["a"]', json_cast_type="DOUBLE", json_cast_function="STRING_TO_DOUBLE"),
            ['doc["a"] > 1', 'doc["a"] == "12.5"', 'doc["a"] in ["1", 2]'],
        ),
        ("place", spec("RTREE"), ["st_within(place, 'POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))')"]),
    ],
)
def test_an_index_answers_what_it_is_for(field: str, kind: IndexSpec, texts: list[str]) -> None:
    columns = indexed([{"id": 1, "age": 1, "name": "abcd", "doc": {"a": 1}}, {"id": 2}], [(field, kind)])
    for number, text in enumerate(texts, 1):
        compile_filter(text, DYNAMIC).evaluate(columns)
        assert columns.answers == number, text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (spec("INVERTED", json_path='["a"]', json_cast_type="DOUBLE"), 'doc["a"] == "x"'),
        (spec("INVERTED", json_path='["a"]', json_cast_type="VARCHAR"), 'doc["a"] in ["x", 1]'),
        (spec("INVERTED", json_path='["a"]', json_cast_type="ARRAY_DOUBLE"), 'doc["a"] == 1'),
        (spec("INVERTED", json_path='["a"]', json_cast_type="ARRAY_DOUBLE"), 'json_contains(doc["a"], "x")'),
        (spec("INVERTED", json_path='["a"]', json_cast_type="JSON"), 'doc["b"] == 1'),
        (spec("INVERTED", json_path='["a"]', json_cast_type="JSON"), 'doc["a"][0] == 1'),
        (spec("INVERTED", json_path='["a"]', json_cast_type="JSON"), 'doc["a"] not in []'),
        (
            spec("INVERTED", json_path='["a"]', json_cast_type="DOUBLE", json_cast_function="STRING_TO_DOUBLE"),
            'doc["a"] == "many"',
        ),
    ],
)
def test_an_index_over_a_path_leaves_alone_what_it_does_not_hold(kind: IndexSpec, text: str) -> None:
    columns = indexed([{"id": 1, "doc": {"a": "x"}}], [("doc", kind)])
    compile_filter(text, DYNAMIC).evaluate(columns)
    assert columns.answers == 0
