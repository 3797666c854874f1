from __future__ import annotations

from typing import Any

import msgspec
import pytest

from redkite.errors import MilvusException
from redkite.index.registry import kind_of
from redkite.model.limits import LIMITS
from redkite.model.schema import FieldSchema
from redkite.model.segments import IndexSpec
from redkite.model.types import DataType, Metric
from redkite.proxy.rules.index_rules import check_index, check_properties_of
from redkite.proxy.rules.index_types import FIELD_TYPES, VECTOR_TYPES
from redkite.proxy.rules.search_rules import check_search_params

END = ": invalid parameter"
ONE_OF_TWO = "an alteration either sets properties of an index or deletes some, and not none"
BAD_PARAMS = "[expected=valid index params][actual=invalid index params]"
VECTOR = FieldSchema(name="v", data_type=DataType.FLOAT_VECTOR, params={"dim": "8"})
TITLE = FieldSchema(name="title", data_type=DataType.VARCHAR, params={"max_length": "8"})
BYTES = FieldSchema(name="bytes", data_type=DataType.INT8_VECTOR, params={"dim": "8"})
BITS = FieldSchema(name="bits", data_type=DataType.BINARY_VECTOR, params={"dim": "8"})

FLAT = IndexSpec(index_type="FLAT", metric=Metric.L2)
HNSW = IndexSpec(index_type="HNSW", metric=Metric.L2, build={"M": 16, "efConstruction": 200})
AUTO = IndexSpec(index_type="AUTOINDEX", metric=Metric.COSINE)
AUTO_BITS = IndexSpec(index_type="AUTOINDEX", metric=Metric.HAMMING, kind="HNSW")
IVF = IndexSpec(index_type="IVF_FLAT", metric=Metric.L2, build={"nlist": 64})
CODES = IndexSpec(index_type="IVF_SQ8", metric=Metric.L2, build={"nlist": 4})
BARE = IndexSpec(index_type="IVF_SQ8", metric=Metric.L2, build={"nlist": 64, "refine": False})
RABITQ = IndexSpec(index_type="IVF_RABITQ", metric=Metric.L2, build={"nlist": 64, "rbq_bits": 1})
SCANN = IndexSpec(index_type="SCANN", metric=Metric.L2, build={"nlist": 64, "with_raw_data": True, "sub_dim": 2})
RAWLESS = IndexSpec(index_type="SCANN", metric=Metric.L2, build={"nlist": 64, "with_raw_data": False, "sub_dim": 2})
DISK = IndexSpec(index_type="DISKANN", metric=Metric.L2)
TREES = IndexSpec(index_type="ANNOY", metric=Metric.L2, build={"n_trees": 8})
CAGRA = IndexSpec(
    index_type="GPU_CAGRA",
    metric=Metric.L2,
    build={"intermediate_graph_degree": 128, "graph_degree": 64, "build_algo": "IVF_PQ"},
)


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
        (
            {"index_type": "HNSW", "metric_type": "COSINE", "mmap.enabled": "false", "warmup": "sync"},
            IndexSpec(index_type="HNSW", metric=Metric.COSINE, build={"M": 30, "efConstruction": 360}),
        ),
        (
            {"index_type": "IVF_FLAT", "metric_type": "IP"},
            IndexSpec(index_type="IVF_FLAT", metric=Metric.IP, build={"nlist": 128}),
        ),
        (
            {"index_type": "IVF_SQ8", "metric_type": "L2", "refine": "True", "refine_type": "fp16"},
            IndexSpec(
                index_type="IVF_SQ8", metric=Metric.L2, build={"nlist": 128, "refine": True, "refine_type": "FP16"}
            ),
        ),
        (
            {"index_type": "IVF_PQ", "metric_type": "L2", "params": '{"m": 4, "refine": false}'},
            IndexSpec(index_type="IVF_PQ", metric=Metric.L2, build={"nlist": 128, "m": 4, "nbits": 8, "refine": False}),
        ),
        (
            {"index_type": "IVF_RABITQ", "metric_type": "L2"},
            IndexSpec(index_type="IVF_RABITQ", metric=Metric.L2, build={"nlist": 128, "rbq_bits": 1}),
        ),
        (
            {"index_type": "SCANN", "metric_type": "L2"},
            IndexSpec(index_type="SCANN", metric=Metric.L2, build={"nlist": 128, "with_raw_data": True, "sub_dim": 2}),
        ),
        (
            {"index_type": "HNSW_PRQ", "metric_type": "L2"},
            IndexSpec(
                index_type="HNSW_PRQ",
                metric=Metric.L2,
                build={"M": 30, "efConstruction": 360, "m": 2, "nrq": 2, "nbits": 8},
            ),
        ),
        ({"index_type": "DISKANN", "metric_type": "L2"}, IndexSpec(index_type="DISKANN", metric=Metric.L2)),
    ],
)
def test_index_params_are_resolved(params: dict[str, str], spec: IndexSpec) -> None:
    assert check_index(VECTOR, params) == spec


@pytest.mark.parametrize(
    ("field", "params", "spec"),
    [
        (BITS, {}, IndexSpec(index_type="AUTOINDEX", metric=Metric.HAMMING, kind="HNSW")),
        (
            BITS, {"index_type": "AUTOINDEX", "metric_type": "SUPERSTRUCTURE"},
            IndexSpec(index_type="AUTOINDEX", metric=Metric.SUPERSTRUCTURE, kind="BIN_FLAT"),
        ),
        (
            BITS, {"index_type": "BIN_FLAT", "metric_type": "jaccard"},
            IndexSpec(index_type="BIN_FLAT", metric=Metric.JACCARD),
        ),
        (
            BITS, {"index_type": "BIN_IVF_FLAT", "metric_type": "HAMMING", "nlist": "64"},
            IndexSpec(index_type="BIN_IVF_FLAT", metric=Metric.HAMMING, build={"nlist": 64}),
        ),
        (BYTES, {}, IndexSpec(index_type="AUTOINDEX", metric=Metric.COSINE)),
        (BYTES, {"index_type": "HNSW", "metric_type": "IP", "M": "8"},
         IndexSpec(index_type="HNSW", metric=Metric.IP, build={"M": 8, "efConstruction": 360})),
    ],
)  # fmt: skip
def test_index_params_are_resolved_for_each_type_of_vector(
    field: FieldSchema, params: dict[str, str], spec: IndexSpec
) -> None:
    assert check_index(field, params) == spec


HNSW_L2 = {"index_type": "HNSW", "metric_type": "L2"}
BAD_INDEXES: list[tuple[FieldSchema, dict[str, str], int, str]] = [
    (VECTOR, {"index_type": "hnsw"}, 1100,
     "invalid index type: hnsw: invalid parameter[expected=valid index][actual=invalid index type: hnsw]"),
    (TITLE, {"index_type": "HNSW"}, 1100, "data type VarChar can't build with this index HNSW" + END),
    (VECTOR, {"index_type": "INVERTED"}, 1100, "data type FloatVector can't build with this index INVERTED" + END),
    (VECTOR, {"index_type": "AISAQ", "metric_type": "L2"}, 10,
     "index type AISAQ is not built in this version, its graph would lie on disk with the codes in it: DISKANN is for "
     "vectors larger than memory; field name = v"),
    (VECTOR, {"index_type": "SVS_VAMANA", "metric_type": "L2"}, 10,
     "index type SVS_VAMANA is not built in this version, it is built by Intel's SVS library: HNSW_SQ is nearest to "
     "it; field name = v"),
    (BITS, {"index_type": "IVF_FLAT", "metric_type": "HAMMING"}, 1100,
     "data type BinaryVector can't build with this index IVF_FLAT" + END),
    (VECTOR, {"index_type": "BIN_FLAT", "metric_type": "L2"}, 1100,
     "data type FloatVector can't build with this index BIN_FLAT" + END),
    (BYTES, {"index_type": "FLAT", "metric_type": "L2"}, 1100,
     "data type Int8Vector can't build with this index FLAT" + END),
    (BITS, {"index_type": "BIN_FLAT", "metric_type": "L2"}, 1100,
     "binary vector index does not support metric type: L2" + END + BAD_PARAMS),
    (BITS, {"index_type": "BIN_IVF_FLAT", "metric_type": "SUBSTRUCTURE"}, 1100,
     "binary vector index does not support metric type: SUBSTRUCTURE" + END + BAD_PARAMS),
    (BYTES, {"index_type": "HNSW", "metric_type": "HAMMING"}, 1100,
     "int vector index does not support metric type: HAMMING" + END + BAD_PARAMS),
    (VECTOR, {"index_type": "IVF_FLAT", "metric_type": "L2", "nlist": "0"}, 1100,
     "Out of range in json: param 'nlist' (0) should be in range [1, 65536]" + END),
    (VECTOR, {"index_type": "IVF_FLAT", "metric_type": "L2", "nlist": "abc"}, 1100,
     "invalid integer value, key: 'nlist', value: 'abc'" + END),
    (VECTOR, {"index_type": "IVF_PQ", "metric_type": "L2"}, 1100, "param 'm' not exist in json" + END),
    (VECTOR, {"index_type": "IVF_PQ", "metric_type": "L2", "m": "3"}, 1100,
     "The dimension of a vector (dim) should be a multiple of the number of subquantizers (m). Dimension: 8, m: 3"
     + END),
    (VECTOR, {"index_type": "IVF_PQ", "metric_type": "L2", "m": "4", "nbits": "25"}, 1100,
     "Out of range in json: param 'nbits' (25) should be in range [1, 24]" + END),
    (VECTOR, {"index_type": "IVF_SQ8", "metric_type": "L2", "refine": "maybe"}, 1100,
     "Type conflict in json: param 'refine' (maybe) should be a boolean" + END),
    (VECTOR, {"index_type": "IVF_SQ8", "metric_type": "L2", "refine": "true", "refine_type": "FP64"}, 1100,
     "invalid value of param 'refine_type' (FP64), it should be one of [SQ6, SQ8, BF16, FP16, FP32]" + END),
    (VECTOR, {"index_type": "IVF_SQ8", "metric_type": "L2", "refine_type": "FP16"}, 1100,
     "param 'refine_type' wants param 'refine' to be true" + END),
    (VECTOR, {"index_type": "IVF_RABITQ", "metric_type": "L2", "rbq_bits": "10"}, 1100,
     "Out of range in json: param 'rbq_bits' (10) should be in range [1, 9]" + END),
    (VECTOR, {"index_type": "SCANN", "metric_type": "L2", "sub_dim": "3"}, 1100,
     "The dimension of a vector (dim) should be a multiple of sub_dim: 8, 3" + END),
    (VECTOR, {"index_type": "HNSW_SQ", "metric_type": "L2", "sq_type": "SQ5"}, 1100,
     "invalid value of param 'sq_type' (SQ5), it should be one of [SQ4U, SQ6, SQ8, BF16, FP16]" + END),
    (VECTOR, {"index_type": "HNSW_PRQ", "metric_type": "L2", "nrq": "17"}, 1100,
     "Out of range in json: param 'nrq' (17) should be in range [1, 16]" + END),
    (VECTOR, {"index_type": "DISKANN", "metric_type": "L2", "max_degree": "56"}, 1100,
     "index param max_degree is not known for index type DISKANN" + END),
    (VECTOR, {"index_type": "ANNOY", "metric_type": "L2", "n_trees": "1025"}, 1100,
     "Out of range in json: param 'n_trees' (1025) should be in range [1, 1024]" + END),
    (VECTOR, {"index_type": "GPU_CAGRA", "metric_type": "L2", "graph_degree": "256"}, 1100,
     "param 'graph_degree' (256) should not be larger than 'intermediate_graph_degree' (128)" + END),
    (VECTOR, {"index_type": "GPU_IVF_PQ", "metric_type": "L2", "m": "4", "nbits": "5"}, 1100,
     "'m' (4) times 'nbits' (5) should be a multiple of 8 for GPU_IVF_PQ" + END),
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
    (VECTOR, {**HNSW_L2, "warmup": "soon"}, 1100,
     "the value for warmup must be one of sync, async, disable, but got soon" + END),
    (VECTOR, {**HNSW_L2, "indexoffsetcache.enabled": "true"}, 1100,
     "the index property indexoffsetcache.enabled has no meaning for this index" + END),
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
        (HNSW, {}, 10, {"ef": 16, "measured": "ef"}),
        (HNSW, {}, 100, {"ef": 100, "measured": "ef"}),
        (HNSW, {"ef": 64}, 10, {"ef": 64}),
        (HNSW, {"ef": "64"}, 64, {"ef": 64}),
        (HNSW, {"ef": 64, "radius": None}, 10, {"ef": 64}),
        (AUTO, {}, 10, {"ef": 48, "measured": "ef"}),
        (AUTO, {}, 100, {"ef": 100, "measured": "ef"}),
        (AUTO, {"level": 3}, 100, {"ef": 300, "measured": "ef"}),
        (AUTO, {"ef": 200}, 10, {"ef": 200, "measured": "ef"}),
        (AUTO, {"nprobe": 10}, 10, {"ef": 48, "measured": "ef"}),
        (AUTO, {"search_list": "500", "level": 2}, 10, {"ef": 500, "measured": "ef"}),
        (AUTO_BITS, {"level": 2}, 10, {"ef": 96, "measured": "ef"}),
        (IVF, {}, 10, {"nprobe": 8, "measured": "nprobe"}),
        (IVF, {"nprobe": "64"}, 10, {"nprobe": 64}),
        (CODES, {}, 10, {"nprobe": 4, "measured": "nprobe"}),
        (CODES, {"refine_k": "2.5"}, 10, {"nprobe": 4, "refine_k": 2.5, "measured": "nprobe"}),
        (RABITQ, {"rbq_query_bits": 6}, 10, {"nprobe": 8, "rbq_query_bits": 6, "measured": "nprobe"}),
        (SCANN, {}, 10, {"nprobe": 8, "reorder_k": 64, "measured": "nprobe,reorder_k"}),
        (SCANN, {}, 100, {"nprobe": 8, "reorder_k": 400, "measured": "nprobe,reorder_k"}),
        (SCANN, {"reorder_k": 10}, 10, {"nprobe": 8, "reorder_k": 10, "measured": "nprobe"}),
        (RAWLESS, {}, 10, {"nprobe": 8, "measured": "nprobe"}),
        (DISK, {}, 10, {"search_list": 16, "measured": "search_list"}),
        (DISK, {"search_list": 30}, 10, {"search_list": 30}),
        (DISK, {"search_list_size": "40"}, 10, {"search_list": 40}),
        (TREES, {}, 10, {"ef": 80, "measured": "ef"}),
        (TREES, {"search_k": 500}, 10, {"ef": 500}),
        (
            CAGRA,
            {},
            100,
            {"itopk_size": 100, "search_width": 1, "min_iterations": 0, "max_iterations": 0, "team_size": "0"},
        ),
    ],
)
def test_search_params_are_typed(spec: IndexSpec, params: dict[str, Any], limit: int, typed: dict[str, Any]) -> None:
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
    (IVF, {"nprobe": 65}, 1100, "Out of range in json: param 'nprobe' (65) should be in range [1, 64]" + END),
    (IVF, {"nprobe": 0}, 1100, "Out of range in json: param 'nprobe' (0) should be in range [1, 65536]" + END),
    (IVF, {"ef": 10}, 1100, "search parameter ef is not known for index type IVF_FLAT" + END),
    (CODES, {"refine_k": 0.5}, 1100,
     "Out of range in json: param 'refine_k' (0.5) should be in range [1, 16384]" + END),
    (CODES, {"refine_k": "x"}, 1100, "Type conflict in json: param 'refine_k' (x) should be a number" + END),
    (BARE, {"refine_k": 2}, 1100,
     "search parameter refine_k wants an index that was not built with refine=false" + END),
    (RABITQ, {"rbq_query_bits": 9}, 1100,
     "Out of range in json: param 'rbq_query_bits' (9) should be in range [0, 8]" + END),
    (SCANN, {"reorder_k": 10}, 1100, "reorder_k(10) should be larger than k(20)" + END),
    (RAWLESS, {"reorder_k": 100}, 1100,
     "search parameter reorder_k wants an index that was not built with with_raw_data=false" + END),
    (DISK, {"search_list": 10}, 1100, "search_list(10) should be larger than k(20)" + END),
    (DISK, {"search_list_size": 10}, 1100, "search_list_size(10) should be larger than k(20)" + END),
    (TREES, {"search_k": 10}, 1100, "search_k(10) should be -1 or larger than k(20)" + END),
    (CAGRA, {"itopk_size": 10}, 1100, "itopk_size(10) should be larger than k(20)" + END),
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


@pytest.mark.parametrize(
    ("properties", "keys", "text"),
    [
        ({}, (), ONE_OF_TWO),
        ({"warmup": "sync"}, ("mmap.enabled",), ONE_OF_TWO),
        ({"M": "32"}, (), "M is not allowed to be altered, only properties of an index are"),
        ({}, ("nlist",), "nlist is not allowed to be altered, only properties of an index are"),
        ({"mmap.enabled": "perhaps"}, (), "the value for mmap.enabled must be true or false, but got perhaps"),
    ],
)
def test_only_properties_of_an_index_are_altered(properties: dict[str, str], keys: tuple[str, ...], text: str) -> None:
    with pytest.raises(MilvusException) as caught:
        check_properties_of(HNSW, properties, keys)
    assert caught.value.message == text + END
    check_properties_of(HNSW, {"mmap.enabled": "false", "warmup": "disable"}, ())
    check_properties_of(HNSW, {}, ("mmap.enabled",))


@pytest.mark.parametrize("index_type", sorted(VECTOR_TYPES))
def test_every_type_that_may_be_asked_for_can_be_built(index_type: str) -> None:
    metric = Metric.HAMMING if index_type.startswith("BIN") else Metric.L2
    kind = kind_of(IndexSpec(index_type=index_type, metric=metric))
    assert (kind.build is None) == (kind.open is None) == (index_type in ("FLAT", "BIN_FLAT"))
    assert index_type in FIELD_TYPES
