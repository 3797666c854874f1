"""How a search may tune the index it asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redkite.errors import InvalidParameter, Unimplemented
from redkite.index.effort import MEASURED
from redkite.index.ivf import BOTH, REORDERED
from redkite.model.segments import IndexSpec
from redkite.proxy.rules.index_params import Value, out_of_range, read_search_params
from redkite.proxy.rules.index_types import AUTOINDEX, VECTOR_TYPES

GRAPH_LEAST_EF = 16
DEFAULT_NPROBE = 8
AUTOINDEX_LEAST_EF = 48
SCANN_REORDER = 4
SCANN_LEAST_REORDER = REORDERED
CAGRA_LEAST_TOPK = 64
GPU_MAX_TOPK = {"GPU_BRUTE_FORCE": 2048, "GPU_IVF_FLAT": 1024, "GPU_IVF_PQ": 2048, "GPU_CAGRA": 1024}
_AUTOINDEX_EFFORT = ("ef", "nprobe", "search_list")
_OWN_SEARCH = ("SPARSE_INVERTED_INDEX", "MINHASH_LSH")
"""Types that AUTOINDEX may stand for whose own search parameters it takes, too."""
_SIGNATURE: tuple[tuple[str, int], ...] = (("mh_element_bit_width", 8), ("mh_lsh_band", 1))
_RANGE = ("radius", "range_filter")


def check_search_params(spec: IndexSpec, params: Mapping[str, Any], limit: int) -> dict[str, Value]:
    """The typed parameters of a search that needs `limit` rows per query (skipped ones included).

    | index | takes |
    |---|---|
    | FLAT, BIN_FLAT | nothing |
    | HNSW, HNSW_* | `ef`: candidates kept, at least `limit`; by default the larger of `limit` and 16 |
    | IVF_*, SCANN, BIN_IVF_FLAT | `nprobe`: lists that are looked through, 8 by default |
    | IVF_*, HNSW_* over codes | `refine_k`: that many times `limit` candidates are compared once more |
    | IVF_RABITQ | `rbq_query_bits`: bits of each number of the query, 0 for all |
    | SCANN | `reorder_k`: candidates that are compared once more |
    | DISKANN | `search_list` or `search_list_size`: candidates whose vectors are read |
    | ANNOY | `search_k`: candidates, -1 for as many as the trees would give |
    | SPARSE_* | `drop_ratio_search`: part of the query's weights, the smallest, that is left out; `refine_factor`: that
      many times `limit` candidates are then compared by all of them; `dim_max_score_ratio`: upper bounds times this |
    | MINHASH_LSH | `mh_search_with_jaccard`: of the rows that share a band, `refine_k` that share most are compared,
      rather than the first `limit` taken; `mh_lsh_batch_search`: queries are looked up together |
    | all | `measured` beside a default effort: the index raises it where building it has shown that more is needed |
    | AUTOINDEX | `level` 1 to 10: that many times the larger of `limit` and 48 candidates, or for signatures that many
      times `limit`; `ef`, `nprobe` and `search_list`, the efforts of other index types, each ask for at least so many
      candidates. Over sparse vectors and under SUBSTRUCTURE and SUPERSTRUCTURE it finds everything at any level |
    """
    for key in _RANGE:
        if params.get(key) is not None:
            raise Unimplemented(f"range search: the search parameter {key} is not built in this version")
    given = {key: value for key, value in params.items() if key not in _RANGE}
    known = VECTOR_TYPES.get(spec.index_type)
    if known is None:
        raise Unimplemented(f"index type {spec.index_type} is not searched in this version")
    search = known.search
    if spec.kind in _OWN_SEARCH:
        search = (*search, *VECTOR_TYPES[spec.kind].search)
    values = read_search_params(spec.index_type, search, given)
    resolve = _RESOLVE.get(spec.index_type)
    if resolve is not None:
        values = resolve(spec, values, limit)
    _check_codes(spec, given)
    return values


def _check_codes(spec: IndexSpec, given: Mapping[str, Any]) -> None:
    if given.get("refine_k") is not None and spec.build.get("refine") is False:
        raise InvalidParameter("search parameter refine_k wants an index that was not built with refine=false")
    if given.get("reorder_k") is not None and spec.build.get("with_raw_data") is False:
        raise InvalidParameter("search parameter reorder_k wants an index that was not built with with_raw_data=false")


def _graph(_: IndexSpec, values: dict[str, Value], limit: int) -> dict[str, Value]:
    if "ef" not in values:
        return {**values, "ef": max(limit, GRAPH_LEAST_EF), MEASURED: "ef"}
    ef = values["ef"]
    assert isinstance(ef, int)
    if ef < limit:
        raise InvalidParameter(f"ef({ef}) should be larger than k({limit})")
    return values


def _lists(spec: IndexSpec, values: dict[str, Value], limit: int) -> dict[str, Value]:
    del limit
    lists = spec.build["nlist"]
    assert isinstance(lists, int)
    if "nprobe" not in values:
        return {**values, "nprobe": min(DEFAULT_NPROBE, lists), MEASURED: "nprobe"}
    probed = values["nprobe"]
    assert isinstance(probed, int)
    if probed > lists:
        raise out_of_range("nprobe", probed, 1, lists)
    return values


def _scann(spec: IndexSpec, values: dict[str, Value], limit: int) -> dict[str, Value]:
    values = _lists(spec, values, limit)
    if spec.build.get("with_raw_data") is False:
        return values
    if "reorder_k" not in values:
        measured: dict[str, Value] = {MEASURED: BOTH} if MEASURED in values else {}
        return {**values, "reorder_k": max(SCANN_REORDER * limit, SCANN_LEAST_REORDER), **measured}
    reordered = values["reorder_k"]
    assert isinstance(reordered, int)
    if reordered < limit:
        raise InvalidParameter(f"reorder_k({reordered}) should be larger than k({limit})")
    return values


def _diskann(_: IndexSpec, values: dict[str, Value], limit: int) -> dict[str, Value]:
    name = "search_list" if "search_list" in values else "search_list_size"
    if name not in values:
        return {"search_list": max(limit, GRAPH_LEAST_EF), MEASURED: "search_list"}
    wanted = values[name]
    assert isinstance(wanted, int)
    if wanted < limit:
        raise InvalidParameter(f"{name}({wanted}) should be larger than k({limit})")
    return {"search_list": wanted}


def _annoy(spec: IndexSpec, values: dict[str, Value], limit: int) -> dict[str, Value]:
    trees, asked = spec.build["n_trees"], values.get("search_k", -1)
    assert isinstance(trees, int) and isinstance(asked, int)
    if asked == 0 or 0 < asked < limit:
        raise InvalidParameter(f"search_k({asked}) should be -1 or larger than k({limit})")
    if asked < 0:
        return {"ef": max(limit, GRAPH_LEAST_EF, trees * limit), MEASURED: "ef"}
    return {"ef": max(limit, GRAPH_LEAST_EF, asked)}


def _autoindex(spec: IndexSpec, values: dict[str, Value], limit: int) -> dict[str, Value]:
    if spec.kind == "MINHASH_LSH":
        values = {"refine_k": int(values["level"]) * limit, **_signatures(spec, values, limit)}
    if spec.kind in _OWN_SEARCH:
        return {key: value for key, value in values.items() if key not in ("level", *_AUTOINDEX_EFFORT)}
    if spec.kind == "BIN_FLAT":
        return {}
    level = values["level"]
    assert isinstance(level, int)
    efforts = [value for key in _AUTOINDEX_EFFORT if isinstance(value := values.get(key), int)]
    return {"ef": max(level * max(limit, AUTOINDEX_LEAST_EF), *efforts, 1), MEASURED: "ef"}


def _on_gpu(spec: IndexSpec, values: dict[str, Value], limit: int) -> dict[str, Value]:
    most = GPU_MAX_TOPK[spec.index_type]
    if limit > most:
        raise InvalidParameter(f"topk [{limit}] is invalid for {spec.index_type}, it should be in range [1, {most}]")
    if spec.index_type != "GPU_CAGRA":
        probed = _lists(spec, values, limit) if "nlist" in spec.build else values
        return {key: value for key, value in probed.items() if key != MEASURED}
    wanted = values.setdefault("itopk_size", max(limit, CAGRA_LEAST_TOPK))
    assert isinstance(wanted, int)
    if wanted < limit:
        raise InvalidParameter(f"itopk_size({wanted}) should be larger than k({limit})")
    return values


def _signatures(spec: IndexSpec, values: dict[str, Value], limit: int) -> dict[str, Value]:
    """What signatures consist of is wanted wherever they are compared."""
    del limit
    if values.get("mh_search_with_jaccard") and spec.build.get("with_raw_data") is False:
        raise InvalidParameter("mh_search_with_jaccard wants an index that was not built with with_raw_data=false")
    shape = {key: spec.build.get(key, default) for key, default in _SIGNATURE}
    return {**values, **shape}


_RESOLVE = {
    **dict.fromkeys(("HNSW", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ"), _graph),
    **dict.fromkeys(("IVF_FLAT", "IVF_SQ8", "IVF_PQ", "IVF_RABITQ", "BIN_IVF_FLAT"), _lists),
    **dict.fromkeys(("GPU_BRUTE_FORCE", "GPU_IVF_FLAT", "GPU_IVF_PQ", "GPU_CAGRA"), _on_gpu),
    "SCANN": _scann,
    "DISKANN": _diskann,
    "ANNOY": _annoy,
    "MINHASH_LSH": _signatures,
    AUTOINDEX: _autoindex,
}
