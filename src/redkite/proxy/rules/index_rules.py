"""Which index may stand on which field, with which parameters; and how a search may tune it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.limits import LIMITS, Limits
from redkite.model.rules.numbers import truth, whole_number
from redkite.model.schema import FieldSchema
from redkite.model.segments import IndexSpec
from redkite.model.types import DataType, Metric

AUTOINDEX = "AUTOINDEX"
INT32_MAX = (1 << 31) - 1

_FLOATS = frozenset({DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR})
_WITH_INT8 = _FLOATS | {DataType.INT8_VECTOR}
_BINARY = frozenset({DataType.BINARY_VECTOR})
_SPARSE = frozenset({DataType.SPARSE_FLOAT_VECTOR})
_INTEGERS = frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64})
_NUMBERS = _INTEGERS | {DataType.FLOAT, DataType.DOUBLE}
_TEXTS = frozenset({DataType.VARCHAR})
_ALL = frozenset(DataType)

_FIELD_TYPES: dict[str, frozenset[DataType]] = {
    "FLAT": _FLOATS,
    **dict.fromkeys(("IVF_FLAT", "IVF_SQ8", "IVF_PQ", "IVF_RABITQ", "SCANN", "DISKANN", "AISAQ"), _FLOATS),
    **dict.fromkeys(("GPU_BRUTE_FORCE", "GPU_IVF_FLAT", "GPU_IVF_PQ", "GPU_CAGRA"), _FLOATS),
    "HNSW": _WITH_INT8 | _BINARY,
    **dict.fromkeys(("HNSW_SQ", "HNSW_PQ", "HNSW_PRQ"), _WITH_INT8),
    **dict.fromkeys(("BIN_FLAT", "BIN_IVF_FLAT", "MINHASH_LSH"), _BINARY),
    **dict.fromkeys(("SPARSE_INVERTED_INDEX", "SPARSE_WAND"), _SPARSE),
    AUTOINDEX: _ALL,
    "INVERTED": _NUMBERS | _TEXTS | {DataType.BOOL, DataType.ARRAY, DataType.JSON, DataType.TIMESTAMPTZ},
    "BITMAP": _INTEGERS | _TEXTS | {DataType.BOOL, DataType.ARRAY, DataType.JSON},
    "STL_SORT": _NUMBERS | _TEXTS | {DataType.JSON, DataType.TIMESTAMPTZ},
    **dict.fromkeys(("TRIE", "Trie", "marisa-trie"), _TEXTS),
    "NGRAM": _TEXTS | {DataType.JSON},
    "RTREE": frozenset({DataType.GEOMETRY}),
}
"""Every index type of the protocol and the fields it may stand on."""
_FLOAT_METRICS = (Metric.L2, Metric.IP, Metric.COSINE)
_BUILD_PARAMS: dict[str, dict[str, tuple[int, int, int]]] = {
    "FLAT": {},
    "HNSW": {"M": (2, 2048, 30), "efConstruction": (1, INT32_MAX, 360)},
    AUTOINDEX: {},
}
"""Index type built here -> parameter -> (least, most, default)."""
_COMMON = frozenset({"index_type", "metric_type", "params"})
_PARAMS_NOT_BUILT = frozenset({"indexoffsetcache.enabled", "warmup", "index.nonEncoding"})

HNSW_LEAST_EF = 16
AUTOINDEX_LEAST_EF = 48
AUTOINDEX_MAX_LEVEL = 10
_AUTOINDEX_EFFORT = ("ef", "nprobe", "search_list")
_RANGE = ("radius", "range_filter")


def check_index(field: FieldSchema, params: Mapping[str, str], limits: Limits = LIMITS) -> IndexSpec:
    """Resolve the parameters of a new index on `field`.

    A JSON object under `params` is taken apart; outer keys count. Without `index_type` it is AUTOINDEX. Raises
    InvalidParameter for what the protocol forbids and Unimplemented for what this version does not build.
    """
    flat = _flatten(params, limits)
    index_type = flat.get("index_type", "") or AUTOINDEX
    fields = _FIELD_TYPES.get(index_type)
    if fields is None:
        text = f"invalid index type: {index_type}"
        raise InvalidParameter(text, expected="valid index", actual=text)
    kind = field.data_type
    if kind not in fields:
        raise InvalidParameter(f"data type {kind.wire_name} can't build with this index {index_type}")
    if index_type not in _BUILD_PARAMS or kind is not DataType.FLOAT_VECTOR:
        raise Unimplemented(
            f"index type {index_type} on a field of type {kind.wire_name} is not built in this version, "
            f"field name = {field.name}"
        )
    own = {key: value for key, value in flat.items() if key not in _COMMON and not _is_honoured(key, value)}
    if index_type == AUTOINDEX and own:
        raise InvalidParameter("only metric type can be passed when use AutoIndex")
    metric = _float_metric(index_type, flat.get("metric_type", ""))
    return IndexSpec(index_type=index_type, metric=metric, build=_build_params(index_type, own))


def _flatten(params: Mapping[str, str], limits: Limits) -> dict[str, str]:
    size = sum(len(key.encode()) + len(value.encode()) for key, value in params.items())
    if size > limits.max_index_params_bytes:
        raise InvalidParameter(
            f"the size of the index params ({size}) exceeds max size ({limits.max_index_params_bytes})"
        )
    flat = dict(params)
    nested = flat.pop("params", "")
    if nested:
        try:
            inner = msgspec.json.decode(nested, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidParameter(f"params [{nested[:100]}] is not a JSON object ({error})") from None
        for key, value in inner.items():
            flat.setdefault(key, value if isinstance(value, str) else msgspec.json.encode(value).decode())
    return flat


def _is_honoured(key: str, value: str) -> bool:
    """True for a general parameter that says what is done anyway; raises for one that asks for something else."""
    if key in _PARAMS_NOT_BUILT:
        raise Unimplemented(f"the index param {key} is not built in this version")
    if key != "mmap.enabled":
        return False
    flag = truth(value)
    if flag is None:
        raise InvalidParameter(f"the value for mmap.enabled must be true or false, but got {value}")
    if not flag:
        raise Unimplemented("mmap.enabled=false is not built in this version, indexes are always mapped")
    return True


def _float_metric(index_type: str, name: str) -> Metric:
    marks = {"expected": "valid index params", "actual": "invalid index params"}
    if not name:
        if index_type == AUTOINDEX:
            return Metric.COSINE
        raise InvalidParameter("metric type not set for vector index", **marks)
    if name.upper() not in _FLOAT_METRICS:
        raise InvalidParameter(f"float vector index does not support metric type: {name}", **marks)
    return Metric(name.upper())


def _build_params(index_type: str, given: Mapping[str, str]) -> dict[str, int]:
    known = _BUILD_PARAMS[index_type]
    for key in given:
        if key not in known:
            raise InvalidParameter(f"index param {key} is not known for index type {index_type}")
    build: dict[str, int] = {}
    for key, (least, most, default) in known.items():
        text = given.get(key)
        number = default if text is None else whole_number(text)
        if number is None:
            raise InvalidParameter(f"invalid integer value, key: '{key}', value: '{text}'")
        build[key] = _in_range(key, number, least, most)
    return build


def _in_range(key: str, number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise InvalidParameter(f"Out of range in json: param '{key}' ({number}) should be in range [{least}, {most}]")
    return number


# -- searching ----------------------------------------------------------------------------------
def check_search_params(spec: IndexSpec, params: Mapping[str, Any], limit: int) -> dict[str, int]:
    """The typed parameters of a search that needs `limit` rows per query (skipped ones included).

    | index | takes |
    |---|---|
    | FLAT | nothing |
    | HNSW | `ef`: candidates kept, at least `limit`; by default the larger of `limit` and 16 |
    | AUTOINDEX | `level` 1 to 10: that many times the larger of `limit` and 48 candidates; `ef`, `nprobe` and
      `search_list`, the efforts of other index types, each ask for at least so many candidates |
    """
    for key in _RANGE:
        if params.get(key) is not None:
            raise Unimplemented(f"range search: the search parameter {key} is not built in this version")
    given = {key: value for key, value in params.items() if key not in _RANGE}
    if spec.index_type == "FLAT":
        _refuse_unknown(spec, given, ())
        return {}
    if spec.index_type == AUTOINDEX:
        return {"ef": _autoindex_ef(spec, given, limit)}
    _refuse_unknown(spec, given, ("ef",))
    if "ef" not in given:
        return {"ef": max(limit, HNSW_LEAST_EF)}
    ef = _search_integer("ef", given["ef"], 1, INT32_MAX)
    if ef < limit:
        raise InvalidParameter(f"ef({ef}) should be larger than k({limit})")
    return {"ef": ef}


def _autoindex_ef(spec: IndexSpec, given: Mapping[str, Any], limit: int) -> int:
    _refuse_unknown(spec, given, ("level", *_AUTOINDEX_EFFORT))
    level = _search_integer("level", given.get("level", 1), 1, AUTOINDEX_MAX_LEVEL)
    efforts = [_search_integer(key, given[key], 1, INT32_MAX) for key in _AUTOINDEX_EFFORT if key in given]
    return max(level * max(limit, AUTOINDEX_LEAST_EF), *efforts, 1)


def _refuse_unknown(spec: IndexSpec, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise InvalidParameter(f"search parameter {key} is not known for index type {spec.index_type}")


def _search_integer(key: str, value: Any, least: int, most: int) -> int:
    number = whole_number(value) if isinstance(value, str) else value
    if not isinstance(number, int) or isinstance(number, bool):
        raise InvalidParameter(f"Type conflict in json: param '{key}' ({value}) should be integer")
    return _in_range(key, number, least, most)
