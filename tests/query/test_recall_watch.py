"""No recall is lost when an index takes the place of the comparison of every row: each type, with default parameters,
over vectors that have no clusters, is searched before it is there, while it is built and swapped in, and afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.index.vectors import wilson_low

import redkite

ROWS, QUERIES, K, DIM = 2_000, 100, 10, 24
FLOOR = 0.93
"""Of the lower end of the interval around what was found; the default efforts aim at .98."""
PATIENCE = 120
SHAPELESS = np.random.default_rng(21).normal(size=(ROWS, DIM)).astype(np.float32)
GRAPH = {"M": 12, "efConstruction": 80}
DENSE: list[tuple[str, dict[str, Any]]] = [
    ("IVF_FLAT", {}),
    ("IVF_SQ8", {}),
    ("IVF_SQ8", {"refine": True, "refine_type": "FP16"}),
    ("IVF_PQ", {"m": 8}),
    ("IVF_PQ", {"m": 12, "refine": True, "refine_type": "SQ8"}),
    ("IVF_RABITQ", {}),
    ("IVF_RABITQ", {"rbq_bits": 3, "refine": True, "refine_type": "FP32"}),
    ("SCANN", {}),
    ("HNSW", GRAPH),
    ("HNSW_SQ", GRAPH),
    ("HNSW_SQ", {**GRAPH, "sq_type": "SQ4U"}),
    ("HNSW_PQ", {**GRAPH, "m": 8, "nbits": 6}),
    ("HNSW_PRQ", {**GRAPH, "m": 4, "nbits": 5}),
    ("DISKANN", {}),
    ("ANNOY", {}),
    ("AUTOINDEX", {}),
]
Watched = dict[str, list[float]]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with redkite.MilvusClient(str(tmp_path_factory.mktemp("watch") / "watch.db")) as opened:
        yield opened


def stored(client: Any, name: str, data_type: Any, vectors: list[Any], **params: Any) -> None:
    """One sealed segment of rows without an index."""
    schema = client.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("v", data_type, **params)
    client.create_collection(name, schema=schema)
    client.insert(name, [{"id": i, "v": vector} for i, vector in enumerate(vectors)])
    client.flush(name)


def watched(
    client: Any, name: str, metric: str, kind: str, build: dict[str, Any], queries: list[Any], true: np.ndarray,
    asking: dict[str, Any] | None = None,
) -> Watched:  # fmt: skip
    """What part of the true neighbours, or of others as near, is found in each round of searches. `true` (queries,
    rows) are the scores of all rows."""
    sign = 1.0 if metric in ("L2", "HAMMING", "JACCARD") else -1.0
    bound = np.sort(sign * true, axis=1)[:, K - 1 : K]
    slack = 1e-4 * np.maximum(1.0, np.abs(bound))

    def found() -> float:
        hits = client.search(name, queries, limit=K, search_params={"params": asking or {}})
        assert all(len(some) == K for some in hits), "an answer came short"
        keys = np.array([[hit["id"] for hit in some] for some in hits])
        assert all(len(set(some)) == K for some in keys.tolist()), "a row came twice"
        return float((sign * np.take_along_axis(true, keys, axis=1) <= bound + slack).mean())

    index = client.prepare_index_params()
    index.add_index("v", index_type=kind, metric_type=metric, params=build)
    flat = client.prepare_index_params()
    flat.add_index("v", index_type="BIN_FLAT" if metric in ("HAMMING", "JACCARD") else "FLAT", metric_type=metric)
    shares: Watched = {"before": [], "during": [], "after": []}
    if metric in ("L2", "COSINE", "HAMMING", "JACCARD"):
        client.create_index(name, flat)
        client.load_collection(name)
        shares["before"].append(found())
        client.release_collection(name)
        client.drop_index(name, "v")
    client.create_index(name, index, sync=False)
    client.load_collection(name)

    def takes_part() -> bool:
        told = client.search(name, queries[:1], limit=K, search_params={"params": asking or {}}, explain=True)
        return [segment.index != "" for segment in told.explanation.segments] == [True]

    end = time.monotonic() + PATIENCE
    while not takes_part():
        shares["during"].append(found())
        assert time.monotonic() < end, "the index was not built"
    assert client.describe_index(name, "v")["state"] == "Finished"
    shares["after"] = [found() for _ in range(2)]
    return shares


def check(shares: Watched, queries: int) -> None:
    assert all(share == 1.0 for share in shares["before"])
    lowest = min(shares["during"] + shares["after"])
    assert wilson_low(lowest, queries * K) >= FLOOR, shares


# -- float vectors ------------------------------------------------------------------------------
COSINE = [case for case in DENSE if case[0] in ("IVF_FLAT", "IVF_RABITQ", "SCANN", "HNSW")]
CASES = [*((*case, "L2") for case in DENSE), *((*case, "COSINE") for case in COSINE)]


@pytest.mark.parametrize(("kind", "build", "metric"), CASES, ids=[f"{c[0]}-{c[2]}-{at}" for at, c in enumerate(CASES)])
def test_of_float_vectors(client: Any, rng: np.random.Generator, kind: str, build: dict[str, Any], metric: str) -> None:
    name = f"w_{kind}_{metric}_{abs(hash(str(build)))}"
    stored(client, name, redkite.DataType.FLOAT_VECTOR, list(SHAPELESS), dim=DIM)
    queries = (SHAPELESS[:QUERIES] + 0.3 * rng.normal(size=(QUERIES, DIM))).astype(np.float32)
    if metric == "L2":
        true = ((queries[:, None].astype(np.float64) - SHAPELESS) ** 2).sum(axis=2)
    else:
        lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(SHAPELESS, axis=1)
        true = queries.astype(np.float64) @ SHAPELESS.T / lengths
    check(watched(client, name, metric, kind, build, list(queries), true), QUERIES)
    client.drop_collection(name)


# -- binary vectors -----------------------------------------------------------------------------
@pytest.mark.parametrize("metric", ["HAMMING", "JACCARD"])
@pytest.mark.parametrize("kind", ["BIN_IVF_FLAT", "HNSW", "AUTOINDEX"])
def test_of_bits(client: Any, rng: np.random.Generator, kind: str, metric: str) -> None:
    """Sets of very different sizes: where JACCARD has other neighbours than HAMMING."""
    bits = rng.random((ROWS, 128)) < rng.random((ROWS, 1)) * 0.3 + 0.02
    asked = bits[:QUERIES] ^ (rng.random((QUERIES, 128)) < 0.03)
    both = asked.astype(np.int64) @ bits.T.astype(np.int64)
    either = asked.sum(axis=1)[:, None] + bits.sum(axis=1) - both
    true = (either - both).astype(np.float64)
    if metric == "JACCARD":
        true = np.where(either > 0, 1 - both / np.maximum(either, 1), 0.0)
    name = f"w_{kind}_{metric}"
    packed = [row.tobytes() for row in np.packbits(bits, axis=1)]
    stored(client, name, redkite.DataType.BINARY_VECTOR, packed, dim=128)
    queries = [row.tobytes() for row in np.packbits(asked, axis=1)]
    check(watched(client, name, metric, kind, {}, queries, true), QUERIES)
    client.drop_collection(name)


def test_of_signatures(client: Any, rng: np.random.Generator) -> None:
    """Near-duplicates: each row has some twenty that share most of its hashes, and one band of sixteen surely."""
    families = rng.integers(0, 1 << 32, (ROWS // 20, 32), dtype=np.uint32)
    hashes = np.repeat(families, 20, axis=0)
    changed = rng.random(hashes.shape) < rng.random((ROWS, 1)) * 0.2
    hashes = np.where(changed, rng.integers(0, 1 << 32, hashes.shape, dtype=np.uint32), hashes)
    picked = np.linspace(0, ROWS - 1, QUERIES).astype(int)
    true = (hashes[picked][:, None] == hashes).mean(axis=2)
    name = "w_minhash"
    stored(client, name, redkite.DataType.BINARY_VECTOR, [row.tobytes() for row in hashes], dim=32 * 32)
    shares = watched(
        client, name, "MHJACCARD", "MINHASH_LSH", {"mh_element_bit_width": 32, "mh_lsh_band": 16},
        [hashes[at].tobytes() for at in picked], true, {"mh_search_with_jaccard": True, "refine_k": 200},
    )  # fmt: skip
    check(shares, QUERIES)
    client.drop_collection(name)


# -- sparse vectors -----------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["SPARSE_INVERTED_INDEX", "SPARSE_WAND", "AUTOINDEX"])
def test_of_sparse_vectors(client: Any, rng: np.random.Generator, kind: str) -> None:
    dense = np.where(rng.random((ROWS, 200)) < 0.08, rng.random((ROWS, 200)), 0).astype(np.float32)
    dense[:, 0] = 0.01
    asked = np.where(rng.random((QUERIES, 200)) < 0.05, rng.random((QUERIES, 200)), 0).astype(np.float32)
    asked[:, 0] = 0.01
    rows, queries = (
        [{int(at): float(row[at]) for at in np.flatnonzero(row)} for row in matrix] for matrix in (dense, asked)
    )
    name = f"w_{kind}"
    stored(client, name, redkite.DataType.SPARSE_FLOAT_VECTOR, rows)
    shares = watched(client, name, "IP", kind, {}, queries, asked.astype(np.float64) @ dense.T.astype(np.float64))
    check(shares, QUERIES)
    assert min(shares["after"]) == 1.0
    client.drop_collection(name)
