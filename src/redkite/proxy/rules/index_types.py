"""Every index type of the protocol: the fields it may stand on, its metrics, its parameters."""

from __future__ import annotations

from dataclasses import dataclass

from redkite.index.sparse_index import ALGORITHMS as SPARSE_ALGORITHMS
from redkite.model.types import DataType, Metric
from redkite.proxy.rules.index_params import Choice, Decimal, Flag, Param, Whole

AUTOINDEX = "AUTOINDEX"

_FLOATS = frozenset({DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR})
_WITH_INT8 = _FLOATS | {DataType.INT8_VECTOR}
_BINARY = frozenset({DataType.BINARY_VECTOR})
_SPARSE = frozenset({DataType.SPARSE_FLOAT_VECTOR})
_INTEGERS = frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64})
_NUMBERS = _INTEGERS | {DataType.FLOAT, DataType.DOUBLE}
_TEXTS = frozenset({DataType.VARCHAR})

FIELD_TYPES: dict[str, frozenset[DataType]] = {
    "FLAT": _FLOATS,
    **dict.fromkeys(("IVF_FLAT", "IVF_SQ8", "IVF_PQ", "IVF_RABITQ", "SCANN", "DISKANN", "AISAQ"), _FLOATS),
    **dict.fromkeys(("GPU_BRUTE_FORCE", "GPU_IVF_FLAT", "GPU_IVF_PQ", "GPU_CAGRA", "ANNOY"), _FLOATS),
    "HNSW": _WITH_INT8 | _BINARY,
    **dict.fromkeys(("HNSW_SQ", "HNSW_PQ", "HNSW_PRQ"), _WITH_INT8),
    **dict.fromkeys(("BIN_FLAT", "BIN_IVF_FLAT", "MINHASH_LSH"), _BINARY),
    **dict.fromkeys(("SPARSE_INVERTED_INDEX", "SPARSE_WAND"), _SPARSE),
    AUTOINDEX: frozenset(DataType),
    "INVERTED": _NUMBERS | _TEXTS | {DataType.BOOL, DataType.ARRAY, DataType.JSON, DataType.TIMESTAMPTZ},
    "BITMAP": _INTEGERS | _TEXTS | {DataType.BOOL, DataType.ARRAY, DataType.JSON},
    **dict.fromkeys(("STL_SORT", "Asceneding"), _NUMBERS | _TEXTS | {DataType.JSON, DataType.TIMESTAMPTZ}),
    **dict.fromkeys(("TRIE", "Trie", "marisa-trie"), _TEXTS),
    "NGRAM": _TEXTS | {DataType.JSON},
    "RTREE": frozenset({DataType.GEOMETRY}),
}

FLOAT_METRICS = (Metric.L2, Metric.IP, Metric.COSINE)
BIT_METRICS = (Metric.HAMMING, Metric.JACCARD)
SET_METRICS = (Metric.SUBSTRUCTURE, Metric.SUPERSTRUCTURE)


@dataclass(frozen=True, slots=True)
class VectorIndexType:
    """What may be said when an index of a type is made, and when it is searched."""

    build: tuple[Param, ...] = ()
    search: tuple[Param, ...] = ()
    binary_metrics: tuple[Metric, ...] = BIT_METRICS


_NLIST = Whole("nlist", 1, 65_536, 128)
_NPROBE = Whole("nprobe", 1, 65_536)
_REFINE: tuple[Param, ...] = (Flag("refine"), Choice("refine_type", ("SQ6", "SQ8", "BF16", "FP16", "FP32")))
_REFINE_K = Decimal("refine_k", 1, 16_384)
_GRAPH: tuple[Param, ...] = (Whole("M", 2, 2048, 30), Whole("efConstruction", 1, default=360))
_EF = Whole("ef", 1)
_SQ_TYPE = Choice("sq_type", ("SQ4U", "SQ6", "SQ8", "BF16", "FP16"), "SQ8")
_SPARSE_SEARCH: tuple[Param, ...] = (
    Decimal("drop_ratio_search", 0, 1, open_end=True),
    Decimal("dim_max_score_ratio", 0.5, 1.3),
    Whole("refine_factor", 1),
)
_DROP_BUILD = Decimal("drop_ratio_build", 0, 1, open_end=True)
_BM25: tuple[Param, ...] = (Decimal("bm25_k1", 0, 3), Decimal("bm25_b", 0, 1))
_GPU_TOP = 65_536

VECTOR_TYPES: dict[str, VectorIndexType] = {
    "FLAT": VectorIndexType(),
    "BIN_FLAT": VectorIndexType(binary_metrics=(*BIT_METRICS, *SET_METRICS)),
    "IVF_FLAT": VectorIndexType((_NLIST,), (_NPROBE,)),
    "IVF_SQ8": VectorIndexType((_NLIST, *_REFINE), (_NPROBE, _REFINE_K)),
    "IVF_PQ": VectorIndexType(
        (_NLIST, Whole("m", 1, 65_536, required=True), Whole("nbits", 1, 24, 8), *_REFINE), (_NPROBE, _REFINE_K)
    ),
    "IVF_RABITQ": VectorIndexType(
        (_NLIST, Whole("rbq_bits", 1, 9, 1), *_REFINE), (_NPROBE, Whole("rbq_query_bits", 0, 8, 0), _REFINE_K)
    ),
    "SCANN": VectorIndexType(
        (_NLIST, Flag("with_raw_data", True), Whole("sub_dim", 1, 65_536, 2)), (_NPROBE, Whole("reorder_k", 1))
    ),
    "HNSW": VectorIndexType(_GRAPH, (_EF,)),
    "HNSW_SQ": VectorIndexType((*_GRAPH, _SQ_TYPE, *_REFINE), (_EF, _REFINE_K)),
    "HNSW_PQ": VectorIndexType(
        (*_GRAPH, Whole("m", 1, 65_536), Whole("nbits", 1, 24, 8), *_REFINE), (_EF, _REFINE_K)
    ),
    "HNSW_PRQ": VectorIndexType(
        (*_GRAPH, Whole("m", 1, 65_536, 2), Whole("nrq", 1, 16, 2), Whole("nbits", 1, 24, 8), *_REFINE),
        (_EF, _REFINE_K),
    ),
    "DISKANN": VectorIndexType((), (Whole("search_list", 1), Whole("search_list_size", 1))),
    "ANNOY": VectorIndexType((Whole("n_trees", 1, 1024, 8),), (Whole("search_k", -1),)),
    "BIN_IVF_FLAT": VectorIndexType((_NLIST,), (_NPROBE,)),
    "SPARSE_INVERTED_INDEX": VectorIndexType(
        (Choice("inverted_index_algo", SPARSE_ALGORITHMS, SPARSE_ALGORITHMS[0]), _DROP_BUILD, *_BM25), _SPARSE_SEARCH
    ),
    "SPARSE_WAND": VectorIndexType((_DROP_BUILD, *_BM25), _SPARSE_SEARCH),
    "MINHASH_LSH": VectorIndexType(
        (
            Whole("mh_element_bit_width", 8, 256, 8),
            Whole("mh_lsh_band", 1, 65_536, 1),
            Flag("mh_lsh_code_in_mem", False),
            Flag("with_raw_data"),
            Decimal("mh_lsh_bloom_false_positive_prob", 0.001, 0.1, 0.01),
        ),
        (Flag("mh_search_with_jaccard", False), Whole("refine_k", 1), Flag("mh_lsh_batch_search", False)),
        binary_metrics=(Metric.MHJACCARD,),
    ),
    "GPU_BRUTE_FORCE": VectorIndexType(),
    "GPU_IVF_FLAT": VectorIndexType((_NLIST,), (_NPROBE,)),
    "GPU_IVF_PQ": VectorIndexType((_NLIST, Whole("m", 0, 65_536, 0), Whole("nbits", 4, 8, 8)), (_NPROBE,)),
    "GPU_CAGRA": VectorIndexType(
        (
            Whole("intermediate_graph_degree", 1, 65_536, 128),
            Whole("graph_degree", 1, 65_536, 64),
            Choice("build_algo", ("IVF_PQ", "NN_DESCENT"), "IVF_PQ"),
        ),
        (
            Whole("itopk_size", 1, _GPU_TOP),
            Whole("search_width", 1, _GPU_TOP, 1),
            Whole("min_iterations", 0, _GPU_TOP, 0),
            Whole("max_iterations", 0, _GPU_TOP, 0),
            Choice("team_size", ("0", "4", "8", "16", "32"), "0"),
        ),
    ),
    AUTOINDEX: VectorIndexType(
        (), (Whole("level", 1, 10, 1), _EF, Whole("nprobe", 1), Whole("search_list", 1)),
        binary_metrics=(*BIT_METRICS, *SET_METRICS, Metric.MHJACCARD),
    ),
}  # fmt: skip
"""The types over vectors that are built here."""
