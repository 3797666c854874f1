"""Which index may stand on a field that holds no vectors, and with which parameters."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from redkite.errors import InvalidParameter, MilvusException, MissingParameter
from redkite.filter.diagnostics import Source
from redkite.filter.json_column import JsonPath
from redkite.filter.parser import parse
from redkite.filter.syntax import Name, Path
from redkite.index.scalar.family import CAST, FUNCTION, LEAST_GRAM, MOST_GRAM, OFFSET_CACHE, PATH
from redkite.index.scalar.ngram import MOST_GRAM_BYTES
from redkite.index.scalar.paths import Cast
from redkite.model.rules.numbers import truth, whole_number
from redkite.model.schema import FieldSchema
from redkite.model.segments import IndexSpec
from redkite.model.types import DataType

AUTOINDEX = "AUTOINDEX"
STRING_TO_DOUBLE = "STRING_TO_DOUBLE"

_INTEGERS = frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64})
_FLOATS = frozenset({DataType.FLOAT, DataType.DOUBLE})
_BITS = _INTEGERS | {DataType.BOOL, DataType.VARCHAR}
_ORDERED = _INTEGERS | _FLOATS | {DataType.VARCHAR, DataType.TIMESTAMPTZ}
_ARRAYS = frozenset({DataType.ARRAY})
_JSON = frozenset({DataType.JSON})

FIELD_TYPES: dict[str, frozenset[DataType]] = {
    "INVERTED": _ORDERED | _BITS | _ARRAYS | _JSON,
    "BITMAP": _BITS | _ARRAYS | _JSON,
    "STL_SORT": _ORDERED | _JSON,
    "TRIE": frozenset({DataType.VARCHAR}),
    "NGRAM": frozenset({DataType.VARCHAR}) | _JSON,
    "RTREE": frozenset({DataType.GEOMETRY}),
    AUTOINDEX: _ORDERED | _BITS | _ARRAYS | _JSON | {DataType.GEOMETRY},
}
"""Every index type for scalar fields, and the fields it may stand on."""
ALIASES = {"Asceneding": "STL_SORT", "Trie": "TRIE", "marisa-trie": "TRIE"}
"""Other names of them."""
_ELEMENTS = {"INVERTED": _BITS | _FLOATS, AUTOINDEX: _BITS | _FLOATS, "BITMAP": _BITS}
_JSON_PARAMS = frozenset({PATH, CAST, FUNCTION})
_GRAM_PARAMS = frozenset({LEAST_GRAM, MOST_GRAM})


def could_mean_key(index_type: str, params: Mapping[str, str]) -> bool:
    """Whether an index on a field that does not exist can be meant for a key of the dynamic field."""
    kind = ALIASES.get(index_type, index_type)
    return not _JSON_PARAMS.isdisjoint(params) or (kind != AUTOINDEX and DataType.JSON in FIELD_TYPES.get(kind, ()))


def check_scalar_index(field: FieldSchema, index_type: str, params: Mapping[str, str], key: str = "") -> IndexSpec:
    """Resolve the parameters of a new index; without a type it is AUTOINDEX. `key` is the key of the dynamic field that
    was named in place of a field. Properties are not among `params`."""
    given = {name: value for name, value in params.items() if name not in ("index_type", "metric_type")}
    if params.get("metric_type"):
        raise InvalidParameter(f"metric type {params['metric_type']} has no meaning for a field of type {_type(field)}")
    index_type = index_type or AUTOINDEX
    kind = ALIASES.get(index_type, index_type)
    if kind not in FIELD_TYPES:
        text = f"invalid index type: {index_type}"
        raise InvalidParameter(text, expected="valid index", actual=text)
    _check_field(field, index_type, kind)
    build: dict[str, int | float | str | bool] = {}
    if kind == "NGRAM":
        build |= _grams(given)
    if field.data_type is DataType.JSON:
        build |= _json(field, kind, given, key)
    known = (_GRAM_PARAMS if kind == "NGRAM" else frozenset()) | (
        _JSON_PARAMS if field.data_type is DataType.JSON else frozenset()
    )
    for name in given:
        if name not in known:
            raise InvalidParameter(f"index param {name} is not known for index type {index_type}")
    return IndexSpec(index_type=index_type, build=build, kind=_built(field, kind))


def _type(field: FieldSchema) -> str:
    return field.data_type.wire_name


def _check_field(field: FieldSchema, index_type: str, kind: str) -> None:
    if field.data_type not in FIELD_TYPES[kind]:
        raise InvalidParameter(f"data type {_type(field)} can't build with this index {index_type}")
    if field.data_type is DataType.ARRAY and field.element_type not in _ELEMENTS[kind]:
        name = field.element_type.wire_name
        raise InvalidParameter(f"data type Array of {name} can't build with this index {index_type}")
    if kind == "BITMAP" and field.is_primary:
        raise InvalidParameter("create bitmap index on primary key not supported")


def _built(field: FieldSchema, kind: str) -> str:
    """What is built where the type was left to the server."""
    if kind != AUTOINDEX:
        return kind
    return _CHOSEN.get(field.data_type, "HYBRID")


_CHOSEN = {DataType.BOOL: "BITMAP", DataType.GEOMETRY: "RTREE", DataType.TIMESTAMPTZ: "STL_SORT"}


def _grams(given: Mapping[str, str]) -> dict[str, int | float | str | bool]:
    if LEAST_GRAM not in given or MOST_GRAM not in given:
        raise InvalidParameter("Ngram index must specify both min_gram and max_gram")
    least, most = whole_number(given[LEAST_GRAM]), whole_number(given[MOST_GRAM])
    if least is None or most is None or not 1 <= least <= most <= MOST_GRAM_BYTES:
        raise InvalidParameter(
            f"invalid min_gram or max_gram value for Ngram index: {given[LEAST_GRAM]}, {given[MOST_GRAM]}"
        )
    return {LEAST_GRAM: least, MOST_GRAM: most}


# -- paths --------------------------------------------------------------------------------------
def _json(field: FieldSchema, kind: str, given: Mapping[str, str], key: str) -> dict[str, int | float | str | bool]:
    cast = given.get(CAST, "")
    if not cast:
        raise MissingParameter("json index must specify cast type")
    if cast.upper() not in Cast.__members__:
        raise InvalidParameter(f"json_cast_type must be one of {', '.join(Cast)}, but got {cast}")
    if kind == "NGRAM" and cast.upper() != Cast.VARCHAR:
        raise InvalidParameter(f"Ngram index on a JSON field must have json_cast_type VARCHAR, but got {cast}")
    path = read_path(field, given.get(PATH, "") or key or field.name)
    build: dict[str, int | float | str | bool] = {
        PATH: msgspec.json.encode(path).decode(),
        CAST: cast.upper(),
    }
    function = given.get(FUNCTION, "")
    if function:
        if function.upper() != STRING_TO_DOUBLE:
            raise InvalidParameter(f"json_cast_function {function} is not known; it may be {STRING_TO_DOUBLE}")
        if cast.upper() != Cast.DOUBLE:
            raise InvalidParameter(f"json_cast_function {STRING_TO_DOUBLE} wants json_cast_type DOUBLE, not {cast}")
        build[FUNCTION] = STRING_TO_DOUBLE
    return build


def read_path(field: FieldSchema, text: str) -> JsonPath:
    """The keys that a text such as `meta["a"]["b"]` names; below the dynamic field it may begin with a key."""
    try:
        node = parse(Source(text, "query"))
    except MilvusException as error:
        raise InvalidParameter(f"json_path {text!r} cannot be read: {error.message}") from None
    if not isinstance(node, Name | Path):
        raise InvalidParameter(f'json_path {text!r} is no path, such as {field.name}["a"]["b"]')
    keys = node.keys if isinstance(node, Path) else ()
    if node.name == field.name:
        return keys
    if not field.is_dynamic:
        raise InvalidParameter(f"json_path {text!r} does not begin with its field {field.name}")
    return (node.name, *keys)


def default_name(field: FieldSchema, spec: IndexSpec) -> str:
    """What an index is called that was given no name."""
    keys = [str(key) for key in spec.path or ()]
    return "/".join(keys if field.is_dynamic and keys else [field.name, *keys])


def own_properties(spec: IndexSpec, properties: Mapping[str, str]) -> dict[str, str]:
    """Check the properties that only bitmaps have; returns the others, which every index may have."""
    value = properties.get(OFFSET_CACHE)
    if value is not None:
        if spec.kind not in ("BITMAP", "HYBRID"):
            raise InvalidParameter(f"the index property {OFFSET_CACHE} has a meaning for bitmaps only")
        if truth(value) is None:
            raise InvalidParameter(f"the value for {OFFSET_CACHE} must be true or false, but got {value}")
    return {name: value for name, value in properties.items() if name != OFFSET_CACHE}
