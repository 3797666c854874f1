from __future__ import annotations

from typing import Any

import msgspec
import pytest

from redkite.errors import MilvusException
from redkite.model.limits import LIMITS
from redkite.model.schema import FieldSchema
from redkite.model.segments import IndexSpec
from redkite.model.types import DataType, Metric
from redkite.proxy.rules.index_rules import check_index, check_search_params

END = ": invalid parameter"
BAD_PARAMS = "[expected=valid index params][actual=invalid index params]"
VECTOR = FieldSchema(name="v", data_type=DataType.FLOAT_VECTOR, params={"dim": "8"})
TITLE = FieldSchema(name="title", data_type=DataType.VARCHAR, params={"max_length": "8"})
BITS = FieldSchema(name="bits", data_type=DataType.BINARY_VECTOR, params={"dim": "8"})

FLAT = IndexSpec(index_type="FLAT", metric=Metric.L2)
HNSW = IndexSpec(index_type="HNSW", metric=Metric.L2, build={"M": 16, "efConstruction": 200})
AUTO = IndexSpec(index_type="AUTOINDEX", metric=Metric.COSINE)


@pytest.mark.parametrize(
    ("params", "spec"),
    [
        ({}, AUTO),
        ({"index_type": "AUTOINDEX", "metric_type": "IP"}, IndexSpec(index_type="AUTOINDEX", metric=Metric.IP)),
        ({"index_type": "FLAT", "metric_type": "l2"}, FLAT),
        ({"index_type": "HNSW", "metric_type": "L2", "M": "16", "efConstruction": "200"}, HNSW),
        ({"index_type": "HNSW", "metric_type": "L2", "params": '{"M": 16, "efConstruction": "200"}'}, HNSW),
        ({"index_type": "HNSW", "metric_type": "L2", "M": "16", "params": '{"M": 8, "efConstruction": 200}'}, HNSW),
        (
            {"index_type": "HNSW", "metric_type": "COSINE", "mmap.enabled": "true"},
            IndexSpec(index_type="HNSW", metric=Metric.COSINE, build={"M": 30, "efConstruction": 360}),
        ),
    ],
)
def test_index_params_are_resolved(params: dict[str, str], spec: IndexSpec) -> None:
    assert check_index(VECTOR, params) == spec


HNSW_L2 = {"index_type": "HNSW", "metric_type": "L2"}
BAD_INDEXES: list[tuple[FieldSchema, dict[str, str], int, str]] = [
    (VECTOR, {"index_type": "hnsw"}, 1100,
     "invalid index type: hnsw: invalid parameter[expected=valid index][actual=invalid index type: hnsw]"),
    (TITLE, {"index_type": "HNSW"}, 1100, "data type VarChar can't build with this index HNSW" + END),
    (VECTOR, {"index_type": "INVERTED"}, 1100, "data type FloatVector can't build with this index INVERTED" + END),
    (VECTOR, {"index_type": "IVF_FLAT", "metric_type": "L2", "nlist": "128"}, 10,
     "index type IVF_FLAT on a field of type FloatVector is not built in this version, field name = v"),
    (TITLE, {"index_type": "INVERTED"}, 10,
     "index type INVERTED on a field of type VarChar is not built in this version, field name = title"),
    (TITLE, {}, 10, "index type AUTOINDEX on a field of type VarChar is not built in this version, field name = title"),
    (BITS, {"index_type": "BIN_FLAT", "metric_type": "HAMMING"}, 10,
     "index type BIN_FLAT on a field of type BinaryVector is not built in this version, field name = bits"),
    (VECTOR, {"index_type": "HNSW"}, 1100, "metric type not set for vector index" + END + BAD_PARAMS),
    (VECTOR, {"index_type": "FLAT", "metric_type": "HAMMING"}, 1100,
     "float vector index does not support metric type: HAMMING" + END + BAD_PARAMS),
    (VECTOR, {"index_type": "AUTOINDEX", "metric_type": "L2", "M": "8"}, 1100,
     "only metric type can be passed when use AutoIndex" + END),
    (VECTOR, {**HNSW_L2, "M": "1"}, 1100,
     "Out of range in json: param 'M' (1) should be in range [2, 2048]" + END),
    (VECTOR, {**HNSW_L2, "M": "2049"}, 1100,
     "Out of range in json: param 'M' (2049) should be in range [2, 2048]" + END),
    (VECTOR, {**HNSW_L2, "efConstruction": "0"}, 1100,
     "Out of range in json: param 'efConstruction' (0) should be in range [1, 2147483647]" + END),
    (VECTOR, {**HNSW_L2, "M": "many"}, 1100, "invalid integer value, key: 'M', value: 'many'" + END),
    (VECTOR, {**HNSW_L2, "M": "16.0"}, 1100, "invalid integer value, key: 'M', value: '16.0'" + END),
    (VECTOR, {**HNSW_L2, "nlist": "16"}, 1100, "index param nlist is not known for index type HNSW" + END),
    (VECTOR, {"index_type": "FLAT", "metric_type": "L2", "M": "8"}, 1100,
     "index param M is not known for index type FLAT" + END),
    (VECTOR, {**HNSW_L2, "warmup": "sync"}, 10, "the index param warmup is not built in this version"),
    (VECTOR, {**HNSW_L2, "mmap.enabled": "false"}, 10,
     "mmap.enabled=false is not built in this version, indexes are always mapped"),
    (VECTOR, {**HNSW_L2, "mmap.enabled": "maybe"}, 1100,
     "the value for mmap.enabled must be true or false, but got maybe" + END),
]  # fmt: skip


@pytest.mark.parametrize(("field", "params", "code", "text"), BAD_INDEXES)
def test_an_index_that_cannot_be_is_refused(field: FieldSchema, params: dict[str, str], code: int, text: str) -> None:
    with pytest.raises(MilvusException) as caught:
        check_index(field, params)
    assert (caught.value.code, caught.value.message) == (code, text)


@pytest.mark.parametrize("nested", ["{", "[1]", '"M"', "[" * 100_000])
def test_nested_params_must_be_a_json_object(nested: str) -> None:
    with pytest.raises(MilvusException, match="is not a JSON object"):
        check_index(VECTOR, {**HNSW_L2, "params": nested})


def test_the_size_of_index_params_is_limited() -> None:
    with pytest.raises(MilvusException, match="exceeds max size"):
        check_index(VECTOR, {**HNSW_L2, "M": "1" * 100}, msgspec.structs.replace(LIMITS, max_index_params_bytes=99))


@pytest.mark.parametrize(
    ("spec", "params", "limit", "typed"),
    [
        (FLAT, {}, 10, {}),
        (HNSW, {}, 10, {"ef": 16}),
        (HNSW, {}, 100, {"ef": 100}),
        (HNSW, {"ef": 64}, 10, {"ef": 64}),
        (HNSW, {"ef": "64"}, 64, {"ef": 64}),
        (HNSW, {"ef": 64, "radius": None}, 10, {"ef": 64}),
        (AUTO, {}, 10, {"ef": 48}),
        (AUTO, {}, 100, {"ef": 100}),
        (AUTO, {"level": 3}, 100, {"ef": 300}),
        (AUTO, {"ef": 200}, 10, {"ef": 200}),
        (AUTO, {"nprobe": 10}, 10, {"ef": 48}),
        (AUTO, {"search_list": "500", "level": 2}, 10, {"ef": 500}),
    ],
)
def test_search_params_are_typed(spec: IndexSpec, params: dict[str, Any], limit: int, typed: dict[str, int]) -> None:
    assert check_search_params(spec, params, limit) == typed


BAD_SEARCHES: list[tuple[IndexSpec, dict[str, Any], int, str]] = [
    (HNSW, {"ef": 10}, 1100, "ef(10) should be larger than k(20)" + END),
    (HNSW, {"ef": 0}, 1100, "Out of range in json: param 'ef' (0) should be in range [1, 2147483647]" + END),
    (HNSW, {"ef": 1 << 31}, 1100,
     "Out of range in json: param 'ef' (2147483648) should be in range [1, 2147483647]" + END),
    (HNSW, {"ef": 64.5}, 1100, "Type conflict in json: param 'ef' (64.5) should be integer" + END),
    (HNSW, {"ef": True}, 1100, "Type conflict in json: param 'ef' (True) should be integer" + END),
    (HNSW, {"ef": "x"}, 1100, "Type conflict in json: param 'ef' (x) should be integer" + END),
    (HNSW, {"nprobe": 8}, 1100, "search parameter nprobe is not known for index type HNSW" + END),
    (FLAT, {"ef": 8}, 1100, "search parameter ef is not known for index type FLAT" + END),
    (AUTO, {"reorder_k": 8}, 1100, "search parameter reorder_k is not known for index type AUTOINDEX" + END),
    (AUTO, {"level": 11}, 1100, "Out of range in json: param 'level' (11) should be in range [1, 10]" + END),
    (HNSW, {"radius": 1.0}, 10, "range search: the search parameter radius is not built in this version"),
    (FLAT, {"range_filter": 1.0}, 10, "range search: the search parameter range_filter is not built in this version"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "params", "code", "text"), BAD_SEARCHES)
def test_search_params_that_cannot_be_are_refused(
    spec: IndexSpec, params: dict[str, Any], code: int, text: str
) -> None:
    with pytest.raises(MilvusException) as caught:
        check_search_params(spec, params, 20)
    assert (caught.value.code, caught.value.message) == (code, text)
