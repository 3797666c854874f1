"""What ranking costs: a hybrid search beside its searches alone, and functions beside a plain search, in this process.

python benchmarks/hybrid.py --rows 2000 --seconds 0.3    # a smoke test
python benchmarks/hybrid.py                              # 100,000 rows
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from redkite import (
    AnnSearchRequest,
    DataType,
    Function,
    FunctionScore,
    FunctionType,
    MilvusClient,
    RRFRanker,
    WeightedRanker,
)

sys.path.insert(0, str(Path(__file__).parent))
from measure import Call, repeat

NAME, DIMS = "hybrid", {"a": 128, "b": 64}


def collection(client: MilvusClient, rows: int, index: str) -> dict[str, np.ndarray[Any, Any]]:
    """Two dense fields, a number and a word; sealed and indexed."""
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    for field, dim in DIMS.items():
        schema.add_field(field, DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("n", DataType.INT64)
    schema.add_field("word", DataType.VARCHAR, max_length=20)
    indexes = client.prepare_index_params()
    for field in DIMS:
        indexes.add_index(field, index_type=index, metric_type="COSINE")
    client.create_collection(NAME, schema=schema, index_params=indexes)
    random = np.random.default_rng(1)
    vectors = {field: random.standard_normal((rows, dim), np.float32) for field, dim in DIMS.items()}
    for start in range(0, rows, 10_000):
        keys = np.arange(start, min(rows, start + 10_000))
        columns = {field: matrix[keys] for field, matrix in vectors.items()}
        client.insert(NAME, {"id": keys, **columns, "n": keys, "word": [f"w{key % 100}" for key in keys]})
    client.flush(NAME)
    for field in DIMS:
        client.create_index(NAME, client.prepare_index_params(field, index_type=index, metric_type="COSINE"))
    return vectors


def calls(client: MilvusClient, queries: dict[str, np.ndarray[Any, Any]], nq: int) -> dict[str, Call]:
    """What is timed, by name."""
    count = len(queries["a"]) - nq

    def some(field: str, at: int) -> np.ndarray[Any, Any]:
        return queries[field][at % count : at % count + nq]

    def hybrid(ranker: Any, limit: int = 10, wide: int = 20, **more: Any) -> Call:
        def call(at: int) -> object:
            parts = [AnnSearchRequest(some(field, at), field, {}, wide) for field in DIMS]
            return client.hybrid_search(NAME, parts, ranker, limit=limit, **more)

        return call

    def plain(field: str, limit: int = 20, **more: Any) -> Call:
        return lambda at: client.search(NAME, some(field, at), anns_field=field, limit=limit, **more)

    def function(*inputs: str, **params: Any) -> Function:
        return Function("f", FunctionType.RERANK, list(inputs), params=params)

    decay = function("n", reranker="decay", function="gauss", origin=0, scale=1000)
    boost = FunctionScore(function(reranker="boost", filter="word == 'w7'", weight=1.5))
    return {
        "search a, 20 hits": plain("a"),
        "search b, 20 hits": plain("b"),
        "search a, 20 hits, word": plain("a", output_fields=["word"]),
        "hybrid, rrf": hybrid(RRFRanker()),
        "hybrid, weighted": hybrid(WeightedRanker(0.5, 0.5)),
        "hybrid, rrf, word": hybrid(RRFRanker(), output_fields=["word"]),
        "hybrid, rrf, 1000 of 1000": hybrid(RRFRanker(), 1000, 1000),
        "search a, 1000 hits": plain("a", 1000),
        "search a, decay": plain("a", ranker=decay),
        "search a, boost": plain("a", 10, ranker=boost),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--index", default="HNSW")
    parser.add_argument("--nq", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, MilvusClient(f"{folder}/hybrid.db") as client:
        vectors = collection(client, options.rows, options.index)
        random = np.random.default_rng(2)
        queries = {
            field: matrix[:1000] + 0.3 * random.standard_normal(matrix[:1000].shape, np.float32)
            for field, matrix in vectors.items()
        }
        print(f"{options.rows:,} rows, {options.index}, nq {options.nq}, in process")
        print(f"{'':28}{'calls/s':>10}{'p50 ms':>10}{'p99 ms':>10}")
        for name, call in calls(client, queries, options.nq).items():
            took = repeat(call, options.seconds)
            print(f"{name:28}{took['per_s']:>10.0f}{took['p50_ms']:>10.3f}{took['p99_ms']:>10.3f}")


if __name__ == "__main__":
    main()
