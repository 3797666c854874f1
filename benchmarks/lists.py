"""Searches with lists of vectors: MAX_SIM by comparing all rows and by an index, beside plain numpy, in this process.

python benchmarks/lists.py --rows 1000 --searches 5    # a smoke test of seconds
python benchmarks/lists.py                             # 20,000 rows of 16 vectors
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from redkite import DataType, EmbeddingList, MilvusClient

Matrix = np.ndarray[Any, np.dtype[np.float32]]
NAME, TOPICS, LIMIT = "passages", 400, 10
BATCH = 2_000


def passages(rows: int, each: int, dim: int, seed: int) -> Matrix:
    """(rows, each, dim): what a passage says is about a few topics, and its vectors lie around these."""
    random = np.random.default_rng(seed)
    topics = np.random.default_rng(7).standard_normal((TOPICS, dim), np.float32)
    own = random.integers(0, TOPICS, (rows, 4))
    chosen = np.take_along_axis(own, random.integers(0, 4, (rows, each)), axis=1)
    made: Matrix = topics[chosen] + 0.5 * random.standard_normal((rows, each, dim), np.float32)
    made /= np.linalg.norm(made, axis=2, keepdims=True)
    return made


def fill(client: MilvusClient, vectors: Matrix, index: str) -> float:
    """A sealed, indexed collection; seconds of CPU for the index."""
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("n", DataType.INT64)
    shape = client.create_struct_field_schema()
    shape.add_field("v", DataType.FLOAT_VECTOR, dim=vectors.shape[2])
    schema.add_field(
        "parts", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=shape, max_capacity=vectors.shape[1]
    )
    params = client.prepare_index_params()
    params.add_index("parts[v]", index_type="FLAT", metric_type="MAX_SIM_COSINE")
    client.create_collection(NAME, schema=schema, index_params=params, consistency_level="Strong")
    for at in range(0, len(vectors), BATCH):
        some = vectors[at : at + BATCH]
        rows = [
            {"id": at + i, "n": (at + i) % 100, "parts": [{"v": vector} for vector in row]}
            for i, row in enumerate(some)
        ]
        client.insert(NAME, rows)
    client.flush(NAME)
    if index == "FLAT":
        return 0.0
    client.release_collection(NAME)
    client.drop_index(NAME, "parts[v]")
    began = time.process_time()
    params = client.prepare_index_params()
    params.add_index("parts[v]", index_type=index, metric_type="MAX_SIM_COSINE", params=BUILD.get(index, {}))
    client.create_index(NAME, params)
    client.load_collection(NAME)
    return time.process_time() - began


BUILD: dict[str, dict[str, int]] = {"HNSW": {"M": 16, "efConstruction": 120}, "IVF_FLAT": {"nlist": 512}}
PARAMS: dict[str, list[dict[str, int]]] = {
    "HNSW": [{"ef": 64}, {"ef": 128}],
    "IVF_FLAT": [{"nprobe": 8}, {"nprobe": 16}],
    "FLAT": [{}],
}


def timed(search: Callable[[Matrix], list[int]], queries: Matrix) -> tuple[float, float, list[list[int]]]:
    """Median milliseconds and CPU milliseconds of a search, and what was found."""
    search(queries[0])
    taken, found = [], []
    cpu = time.process_time()
    for query in queries:
        began = time.perf_counter()
        found.append(search(query))
        taken.append(time.perf_counter() - began)
    return 1e3 * float(np.median(taken)), 1e3 * (time.process_time() - cpu) / len(queries), found


def plain(vectors: Matrix) -> Callable[[Matrix], list[int]]:
    """One matrix product, the largest of each row, a sum; what numpy does by itself."""
    rows, each, dim = vectors.shape
    flat = vectors.reshape(-1, dim)

    def search(query: Matrix) -> list[int]:
        products = flat @ query.T
        scores = products.reshape(rows, each, len(query)).max(axis=1).sum(axis=1)
        near = np.argpartition(-scores, LIMIT)[:LIMIT]
        best: list[int] = near[np.argsort(-scores[near])].tolist()
        return best

    return search


def recall(found: list[list[int]], true: list[list[int]]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, true, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--each", type=int, default=16, help="vectors of a row")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=16, help="vectors of a query")
    parser.add_argument("--searches", type=int, default=40)
    parser.add_argument("--indexes", nargs="*", default=["FLAT", "HNSW", "IVF_FLAT"])
    given = parser.parse_args()
    vectors = passages(given.rows, given.each, given.dim, 1)
    queries = passages(given.searches, given.tokens, given.dim, 2)
    out = sys.stdout
    out.write(f"{given.rows:,} rows of {given.each} × {given.dim}, {given.tokens} vectors a query, limit {LIMIT}\n\n")
    out.write("| what | recall | p50 ms | CPU ms | build CPU s |\n|---|---|---|---|---|\n")
    p50, cpu, true = timed(plain(vectors), queries)
    few = np.flatnonzero(np.arange(len(vectors)) % 100 < 10)
    true_few = timed(plain(vectors[few]), queries)[2]
    out.write(f"| numpy | 1.000 | {p50:.2f} | {cpu:.2f} | |\n")
    for index in given.indexes:
        with tempfile.TemporaryDirectory() as folder:
            client = MilvusClient(str(Path(folder) / "lists.db"))
            built = fill(client, vectors, index)
            for params in PARAMS[index]:
                shown = " ".join([index, *(f"{name}={value}" for name, value in params.items())])
                p50, cpu, found = timed(partial(asked, client, "", params), queries)
                out.write(f"| {shown} | {recall(found, true):.3f} | {p50:.2f} | {cpu:.2f} | {built:.1f} |\n")
                p50, cpu, found = timed(partial(asked, client, "n < 10", params), queries)
                share = recall(found, [few[row].tolist() for row in true_few])
                out.write(f"| {shown}, 10 % allowed | {share:.3f} | {p50:.2f} | {cpu:.2f} | |\n")
            client.close()


def asked(client: MilvusClient, text: str, params: dict[str, int], query: Matrix) -> list[int]:
    """The keys of the best rows that pass a filter."""
    hits = client.search(
        NAME, data=[EmbeddingList(query)], anns_field="parts[v]", limit=LIMIT, filter=text, search_params=params
    )
    return [hit["id"] for hit in hits[0]]


if __name__ == "__main__":
    main()
