"""Which index may stand on which scalar field, and what its parameters come to."""

from __future__ import annotations

from typing import Any

import pytest

from redkite.errors import MilvusException
from redkite.model.schema import META_FIELD, FieldSchema
from redkite.model.segments import IndexSpec
from redkite.model.types import DataType
from redkite.proxy.rules.index_rules import check_index, check_properties_of
from redkite.proxy.rules.scalar_index_rules import default_name

END = ": invalid parameter"


def field(name: str, kind: DataType, element: DataType = DataType.NONE, **more: Any) -> FieldSchema:
    return FieldSchema(name=name, data_type=kind, element_type=element, **more)


KEY = field("id", DataType.INT64, is_primary=True)
FLAG = field("flag", DataType.BOOL)
AGE = field("age", DataType.INT16)
PRICE = field("price", DataType.FLOAT)
TITLE = field("title", DataType.VARCHAR)
WHEN = field("when", DataType.TIMESTAMPTZ)
PLACE = field("place", DataType.GEOMETRY)
TAGS = field("tags", DataType.ARRAY, DataType.VARCHAR)
MARKS = field("marks", DataType.ARRAY, DataType.DOUBLE)
META = field("meta", DataType.JSON)
REST = field(META_FIELD, DataType.JSON, is_dynamic=True)


def resolved(where: FieldSchema, key: str = "", **params: str) -> IndexSpec:
    return check_index(where, params, key=key)


@pytest.mark.parametrize(
    ("where", "index_type", "built"),
    [
        (AGE, "INVERTED", "INVERTED"), (FLAG, "INVERTED", "INVERTED"), (PRICE, "INVERTED", "INVERTED"),
        (WHEN, "INVERTED", "INVERTED"), (TAGS, "INVERTED", "INVERTED"), (MARKS, "INVERTED", "INVERTED"),
        (AGE, "BITMAP", "BITMAP"), (FLAG, "BITMAP", "BITMAP"), (TITLE, "BITMAP", "BITMAP"), (TAGS, "BITMAP", "BITMAP"),
        (KEY, "STL_SORT", "STL_SORT"), (PRICE, "STL_SORT", "STL_SORT"), (WHEN, "STL_SORT", "STL_SORT"),
        (AGE, "Asceneding", "STL_SORT"), (TITLE, "TRIE", "TRIE"), (TITLE, "Trie", "TRIE"),
        (TITLE, "marisa-trie", "TRIE"), (PLACE, "RTREE", "RTREE"), (FLAG, "AUTOINDEX", "BITMAP"),
        (AGE, "AUTOINDEX", "HYBRID"), (TITLE, "", "HYBRID"), (TAGS, "", "HYBRID"), (WHEN, "", "STL_SORT"),
        (PLACE, "", "RTREE"),
    ],
)  # fmt: skip
def test_each_type_stands_on_its_fields(where: FieldSchema, index_type: str, built: str) -> None:
    spec = resolved(where, index_type=index_type)
    assert spec == IndexSpec(index_type=index_type or "AUTOINDEX", kind=built)
    assert spec.is_scalar
    assert default_name(where, spec) == where.name


@pytest.mark.parametrize(
    ("where", "params", "code", "text"),
    [
        (AGE, {"index_type": "HYBRID"}, 1100,
         "invalid index type: HYBRID: invalid parameter[expected=valid index][actual=invalid index type: HYBRID]"),
        (PRICE, {"index_type": "BITMAP"}, 1100, "data type Float can't build with this index BITMAP" + END),
        (WHEN, {"index_type": "BITMAP"}, 1100, "data type Timestamptz can't build with this index BITMAP" + END),
        (KEY, {"index_type": "BITMAP"}, 1100, "create bitmap index on primary key not supported" + END),
        (MARKS, {"index_type": "BITMAP"}, 1100, "data type Array of Double can't build with this index BITMAP" + END),
        (FLAG, {"index_type": "STL_SORT"}, 1100, "data type Bool can't build with this index STL_SORT" + END),
        (TAGS, {"index_type": "STL_SORT"}, 1100, "data type Array can't build with this index STL_SORT" + END),
        (AGE, {"index_type": "TRIE"}, 1100, "data type Int16 can't build with this index TRIE" + END),
        (AGE, {"index_type": "NGRAM"}, 1100, "data type Int16 can't build with this index NGRAM" + END),
        (TITLE, {"index_type": "RTREE"}, 1100, "data type VarChar can't build with this index RTREE" + END),
        (PLACE, {"index_type": "INVERTED"}, 1100, "data type Geometry can't build with this index INVERTED" + END),
        (TITLE, {"index_type": "NGRAM"}, 1100, "Ngram index must specify both min_gram and max_gram" + END),
        (TITLE, {"index_type": "NGRAM", "min_gram": "2"}, 1100,
         "Ngram index must specify both min_gram and max_gram" + END),
        (TITLE, {"index_type": "NGRAM", "min_gram": "0", "max_gram": "2"}, 1100,
         "invalid min_gram or max_gram value for Ngram index: 0, 2" + END),
        (TITLE, {"index_type": "NGRAM", "min_gram": "3", "max_gram": "2"}, 1100,
         "invalid min_gram or max_gram value for Ngram index: 3, 2" + END),
        (TITLE, {"index_type": "NGRAM", "min_gram": "x", "max_gram": "2"}, 1100,
         "invalid min_gram or max_gram value for Ngram index: x, 2" + END),
        (AGE, {"index_type": "INVERTED", "M": "16"}, 1100,
         "index param M is not known for index type INVERTED" + END),
        (AGE, {"index_type": "INVERTED", "json_cast_type": "DOUBLE"}, 1100,
         "index param json_cast_type is not known for index type INVERTED" + END),
        (AGE, {"index_type": "INVERTED", "metric_type": "L2"}, 1100,
         "metric type L2 has no meaning for a field of type Int16" + END),
        (META, {"index_type": "INVERTED"}, 1101, "json index must specify cast type: missing parameter"),
        (META, {"index_type": "INVERTED", "json_cast_type": "INT"}, 1100,
         "json_cast_type must be one of BOOL, DOUBLE, VARCHAR, ARRAY_BOOL, ARRAY_DOUBLE, ARRAY_VARCHAR, JSON, "
         "but got INT" + END),
        (META, {"index_type": "NGRAM", "json_cast_type": "DOUBLE", "min_gram": "1", "max_gram": "2"}, 1100,
         "Ngram index on a JSON field must have json_cast_type VARCHAR, but got DOUBLE" + END),
        (META, {"index_type": "INVERTED", "json_cast_type": "DOUBLE", "json_path": 'other["a"]'}, 1100,
         "json_path 'other[\"a\"]' does not begin with its field meta" + END),
        (META, {"index_type": "INVERTED", "json_cast_type": "DOUBLE", "json_path": "meta == 1"}, 1100,
         "json_path 'meta == 1' is no path, such as meta[\"a\"][\"b\"]" + END),
        (META, {"index_type": "INVERTED", "json_cast_type": "VARCHAR", "json_cast_function": "STRING_TO_DOUBLE"}, 1100,
         "json_cast_function STRING_TO_DOUBLE wants json_cast_type DOUBLE, not VARCHAR" + END),
        (META, {"index_type": "INVERTED", "json_cast_type": "DOUBLE", "json_cast_function": "UPPER"}, 1100,
         "json_cast_function UPPER is not known; it may be STRING_TO_DOUBLE" + END),
        (AGE, {"index_type": "INVERTED", "indexoffsetcache.enabled": "true"}, 1100,
         "the index property indexoffsetcache.enabled has a meaning for bitmaps only" + END),
        (AGE, {"index_type": "BITMAP", "indexoffsetcache.enabled": "maybe"}, 1100,
         "the value for indexoffsetcache.enabled must be true or false, but got maybe" + END),
        (AGE, {"index_type": "BITMAP", "shiny.enabled": "true"}, 1100,
         "the index property shiny.enabled has no meaning for this index" + END),
    ],
)  # fmt: skip
def test_what_is_not_an_index_is_refused(where: FieldSchema, params: dict[str, str], code: int, text: str) -> None:
    with pytest.raises(MilvusException) as caught:
        check_index(where, params)
    assert (caught.value.code, caught.value.message) == (code, text)


def test_a_path_may_be_written_with_either_quote_and_be_the_field_itself() -> None:
    given = {"index_type": "INVERTED", "json_cast_type": "double"}
    for text in ('meta["a"]["b"]', "meta['a']['b']"):
        spec = check_index(META, {**given, "json_path": text})
        assert spec.path == ("a", "b")
        assert spec.build["json_cast_type"] == "DOUBLE"
        assert default_name(META, spec) == "meta/a/b"
    assert check_index(META, given).path == ()


def test_a_key_of_the_dynamic_field_is_a_path_of_its_own() -> None:
    given = {"index_type": "AUTOINDEX", "json_cast_type": "VARCHAR"}
    assert check_index(REST, given, key="color").path == ("color",)
    assert check_index(REST, {**given, "json_path": 'color["shade"]'}, key="color").path == ("color", "shade")
    assert check_index(REST, {**given, "json_path": '$meta["color"]'}).path == ("color",)
    assert default_name(REST, check_index(REST, given, key="color")) == "color"


def test_grams_and_casts_are_part_of_what_an_index_is() -> None:
    spec = resolved(TITLE, index_type="NGRAM", params='{"min_gram": 2, "max_gram": 4}')
    assert spec.build == {"min_gram": 2, "max_gram": 4}
    spec = resolved(META, index_type="BITMAP", json_cast_type="DOUBLE", json_cast_function="string_to_double")
    assert spec.build["json_cast_function"] == "STRING_TO_DOUBLE"


def test_properties_may_be_altered_where_they_have_a_meaning() -> None:
    bitmap = resolved(AGE, index_type="BITMAP")
    check_properties_of(bitmap, {"indexoffsetcache.enabled": "true"}, ())
    check_properties_of(resolved(AGE, index_type="INVERTED"), {"mmap.enabled": "false"}, ())
    with pytest.raises(MilvusException, match="has a meaning for bitmaps only"):
        check_properties_of(resolved(TITLE, index_type="TRIE"), {"indexoffsetcache.enabled": "true"}, ())
