"""Which index may stand on which field, with which parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.limits import LIMITS, Limits
from redkite.model.rules.numbers import truth
from redkite.model.schema import FieldSchema
from redkite.model.segments import IndexSpec
from redkite.model.types import DataType, Metric
from redkite.proxy.rules.index_params import Value, read_build_params
from redkite.proxy.rules.index_types import AUTOINDEX, FIELD_TYPES, FLOAT_METRICS, SET_METRICS, VECTOR_TYPES
from redkite.proxy.rules.scalar_index_rules import check_scalar_index, could_mean_key, own_properties

MMAP, WARMUP = "mmap.enabled", "warmup"
WARMUPS = ("sync", "async", "disable")
"""Whether an index is read through when it is opened, or as searches come to its parts."""
_COMMON = frozenset({"index_type", "metric_type", "params"})
_LIST_METRICS = frozenset(metric for metric in Metric if metric.is_of_lists)
MINHASH_BITS = 32
"""Of an element of what a MinHash function writes."""
_BAND_ELEMENTS = 4
_METRIC_MARKS = {"expected": "valid index params", "actual": "invalid index params"}


_ABSENT = {
    "AISAQ": "its graph would lie on disk with the codes in it: DISKANN is for vectors larger than memory",
}
_SVS = "SVS_"


def check_index(field: FieldSchema, params: Mapping[str, str], limits: Limits = LIMITS, key: str = "") -> IndexSpec:
    """Resolve the parameters of a new index on `field`; `key` is what was named below the dynamic field.

    A JSON object under `params` is taken apart; outer keys count. Without `index_type` it is AUTOINDEX. Raises
    InvalidParameter for what the protocol forbids and Unimplemented for what this version does not build.
    """
    flat = _flatten(params, limits)
    index_type = flat.get("index_type", "") or AUTOINDEX
    if field.data_type is DataType._ARRAY_OF_VECTOR:
        return _lists_index(field, index_type, flat, limits)
    fields = FIELD_TYPES.get(index_type)
    if index_type in _ABSENT or index_type.startswith(_SVS):
        why = _ABSENT.get(index_type, "it is built by Intel's SVS library: HNSW_SQ is nearest to it")
        raise Unimplemented(f"index type {index_type} is not built in this version, {why}; field name = {field.name}")
    if fields is None:
        text = f"invalid index type: {index_type}"
        raise InvalidParameter(text, expected="valid index", actual=text)
    kind = field.data_type
    if kind not in fields:
        raise InvalidParameter(f"data type {kind.wire_name} can't build with this index {index_type}")
    if not kind.is_vector:
        own = {name: value for name, value in flat.items() if not is_property(name)}
        spec = check_scalar_index(field, index_type, own, key)
        check_properties(own_properties(spec, {name: value for name, value in flat.items() if is_property(name)}))
        return spec
    if index_type not in VECTOR_TYPES or not kind.is_vector:
        raise Unimplemented(
            f"index type {index_type} on a field of type {kind.wire_name} is not built in this version, "
            f"field name = {field.name}"
        )
    check_properties({key: value for key, value in flat.items() if is_property(key)})
    own = {key: value for key, value in flat.items() if key not in _COMMON and not is_property(key)}
    if index_type == AUTOINDEX and own:
        raise InvalidParameter("only metric type can be passed when use AutoIndex")
    metric, built = _metric(field, index_type, flat.get("metric_type", "")), index_type
    if metric is Metric.MHJACCARD and _holds_signatures(field):
        own = _signature_params(field, index_type, own)
        built = "MINHASH_LSH"
    build = read_build_params(index_type, VECTOR_TYPES[built].build, own)
    _check_shape(field, index_type, build)
    for key in ("bm25_k1", "bm25_b"):
        if key in build and metric is not Metric.BM25:
            raise InvalidParameter(f"index param {key} is of indexes with metric BM25, not {metric}")
    return IndexSpec(index_type=index_type, metric=metric, build=build, kind=_stands_for(field, index_type, metric))


def _lists_index(field: FieldSchema, index_type: str, params: Mapping[str, str], limits: Limits) -> IndexSpec:
    """Of a vector sub-field: with a metric of lists, which AUTOINDEX takes when none is named, for searches with lists
    of vectors; with one of single vectors for searches among the elements."""
    if index_type == "MINHASH_LSH" or index_type.startswith("GPU_"):
        raise InvalidParameter(f"data type {field.data_type.wire_name} can't build with this index {index_type}")
    name = params.get("metric_type", "").upper()
    if not name and index_type == AUTOINDEX:
        name = f"MAX_SIM_{_DEFAULT_METRICS[field.element_type]}"
    listed = Metric(name) if name in _LIST_METRICS else None
    if listed is not None:
        params = {**params, "metric_type": str(listed.of_elements)}
    spec = check_index(field.element, params, limits)
    if spec.metric in SET_METRICS:
        raise InvalidParameter(f"array of vector index does not support metric type: {spec.metric}", **_METRIC_MARKS)
    return spec if listed is None else msgspec.structs.replace(spec, metric=listed)


def means_key(params: Mapping[str, str], limits: Limits = LIMITS) -> bool:
    """Whether an index on a field that does not exist is meant for a key of the dynamic field."""
    flat = _flatten(params, limits)
    return could_mean_key(flat.get("index_type", "") or AUTOINDEX, flat)


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


# -- metrics ------------------------------------------------------------------------------------
def _metric(field: FieldSchema, index_type: str, name: str) -> Metric:
    kind = field.data_type
    if not name:
        if index_type == AUTOINDEX:
            filled = _FILLED_METRICS.get(kind) if field.is_function_output else None
            return filled or _DEFAULT_METRICS[kind]
        raise InvalidParameter("metric type not set for vector index", **_METRIC_MARKS)
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        return _sparse_metric(name, _holds_words(field))
    known = VECTOR_TYPES[index_type].binary_metrics if kind is DataType.BINARY_VECTOR else FLOAT_METRICS
    if name.upper() not in known:
        noun = {DataType.BINARY_VECTOR: "binary", DataType.INT8_VECTOR: "int"}.get(kind, "float")
        raise InvalidParameter(f"{noun} vector index does not support metric type: {name}", **_METRIC_MARKS)
    return Metric(name.upper())


def _holds_words(field: FieldSchema) -> bool:
    """Whether the BM25 function fills it: no other one fills sparse vectors."""
    return field.is_function_output and field.data_type is DataType.SPARSE_FLOAT_VECTOR


def _holds_signatures(field: FieldSchema) -> bool:
    """Whether the MinHash function fills it: no other one fills binary vectors."""
    return field.is_function_output and field.data_type is DataType.BINARY_VECTOR


def _signature_params(field: FieldSchema, index_type: str, given: Mapping[str, str]) -> dict[str, str]:
    """The parameters with the width that a MinHash function writes; AUTOINDEX cuts bands of few elements, which texts
    share that are alike by a third."""
    width = given.get("mh_element_bit_width", str(MINHASH_BITS))
    if width != str(MINHASH_BITS):
        raise InvalidParameter(
            f"param 'mh_element_bit_width' ({width}) should be {MINHASH_BITS} on a field that a MinHash function fills"
        )
    bands = {"mh_lsh_band": str(max(1, field.dim // MINHASH_BITS // _BAND_ELEMENTS))} if index_type == AUTOINDEX else {}
    return {**bands, **given, "mh_element_bit_width": width}


def _sparse_metric(name: str, words: bool) -> Metric:
    if words and name.upper() != Metric.BM25:
        raise InvalidParameter(
            f"index metric type of BM25 function output field must be BM25, got {name}", **_METRIC_MARKS
        )
    if words:
        return Metric.BM25
    if name.upper() == Metric.BM25:
        raise InvalidParameter("only BM25 Function output field support BM25 metric type", **_METRIC_MARKS)
    if name.upper() != Metric.IP:
        raise InvalidParameter("only IP&BM25 is the supported metric type for sparse index", **_METRIC_MARKS)
    return Metric.IP


_FILLED_METRICS = {DataType.SPARSE_FLOAT_VECTOR: Metric.BM25, DataType.BINARY_VECTOR: Metric.MHJACCARD}
"""Of fields that functions fill."""
_DEFAULT_METRICS = {
    DataType.FLOAT_VECTOR: Metric.COSINE, DataType.FLOAT16_VECTOR: Metric.COSINE,
    DataType.BFLOAT16_VECTOR: Metric.COSINE, DataType.INT8_VECTOR: Metric.COSINE,
    DataType.BINARY_VECTOR: Metric.HAMMING, DataType.SPARSE_FLOAT_VECTOR: Metric.IP,
}  # fmt: skip


def _stands_for(field: FieldSchema, index_type: str, metric: Metric) -> str:
    """What is built for AUTOINDEX, where that is not the graph over dense vectors; empty for every other type."""
    if index_type == AUTOINDEX and field.data_type is DataType.SPARSE_FLOAT_VECTOR:
        return "SPARSE_INVERTED_INDEX"
    if index_type != AUTOINDEX or field.data_type is not DataType.BINARY_VECTOR:
        return ""
    if metric is Metric.MHJACCARD:
        return "MINHASH_LSH"
    return "BIN_FLAT" if metric in SET_METRICS else "HNSW"


# -- parameters that depend on the field --------------------------------------------------------
def _check_shape(field: FieldSchema, index_type: str, build: Mapping[str, Value]) -> None:
    """Whether the vectors of the field can be cut as the parameters say."""
    dim, parts = field.dim, build.get("m")
    if parts and isinstance(parts, int) and dim % parts:
        raise InvalidParameter(
            f"The dimension of a vector (dim) should be a multiple of the number of subquantizers (m). "
            f"Dimension: {dim}, m: {parts}"
        )
    if index_type == "SCANN":
        width = build["sub_dim"]
        assert isinstance(width, int)
        if dim % width:
            raise InvalidParameter(f"The dimension of a vector (dim) should be a multiple of sub_dim: {dim}, {width}")
    if build.get("refine") is not True and "refine_type" in build:
        raise InvalidParameter("param 'refine_type' wants param 'refine' to be true")
    if index_type == "MINHASH_LSH":
        _check_signature(dim, build)
    if index_type == "GPU_IVF_PQ":
        parts, bits = build["m"], build["nbits"]
        assert isinstance(parts, int) and isinstance(bits, int)
        if parts * bits % 8:
            raise InvalidParameter(f"'m' ({parts}) times 'nbits' ({bits}) should be a multiple of 8 for {index_type}")
    if index_type == "GPU_CAGRA":
        wide, narrow = build["intermediate_graph_degree"], build["graph_degree"]
        assert isinstance(wide, int) and isinstance(narrow, int)
        if narrow > wide:
            raise InvalidParameter(
                f"param 'graph_degree' ({narrow}) should not be larger than 'intermediate_graph_degree' ({wide})"
            )


def _check_signature(dim: int, build: Mapping[str, Value]) -> None:
    """Whether the vectors are so many elements, and bands of them."""
    width, bands = build["mh_element_bit_width"], build["mh_lsh_band"]
    assert isinstance(width, int) and isinstance(bands, int)
    if width % 8 or dim % width:
        raise InvalidParameter(
            f"param 'mh_element_bit_width' ({width}) should be a multiple of 8 that the dimension ({dim}) is a "
            "multiple of"
        )
    if bands > dim // width:
        raise InvalidParameter(f"param 'mh_lsh_band' ({bands}) should not be larger than {dim // width} elements")


# -- properties: what may be changed later ------------------------------------------------------
def is_property(key: str) -> bool:
    """Whether it says how an index is held, not what it is: it may be altered and does not make another index of it."""
    return "." in key or key == WARMUP


def check_named(index_name: str) -> str:
    """The name of an index that has to be said."""
    if not index_name:
        raise InvalidParameter("index name is empty")
    return index_name


def check_properties_of(spec: IndexSpec, properties: Mapping[str, str], delete_keys: Sequence[str]) -> None:
    """What an alteration of an index may set, or take away."""
    if bool(properties) == bool(delete_keys):
        raise InvalidParameter("an alteration either sets properties of an index or deletes some, and not none")
    for key in (*properties, *delete_keys):
        if not is_property(key):
            raise InvalidParameter(f"{key} is not allowed to be altered, only properties of an index are")
    check_properties(own_properties(spec, properties) if spec.is_scalar else properties)


def check_properties(properties: Mapping[str, str]) -> None:
    """What may be said about how an index over vectors is held."""
    for key, value in properties.items():
        if key == MMAP:
            if truth(value) is None:
                raise InvalidParameter(f"the value for mmap.enabled must be true or false, but got {value}")
        elif key == WARMUP:
            if value not in WARMUPS:
                raise InvalidParameter(f"the value for warmup must be one of {', '.join(WARMUPS)}, but got {value}")
        else:
            raise InvalidParameter(f"the index property {key} has no meaning for this index")
