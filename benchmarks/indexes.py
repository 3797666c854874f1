"""Measure every type of index over float vectors: build, bytes, recall and speed, beside faiss with the same index.

    python benchmarks/indexes.py
    python benchmarks/indexes.py --short                                                       # HNSW alone, seconds
    python benchmarks/indexes.py --rows 5000 --dim 32 --types IVF_FLAT SCANN --queries 50      # a smoke test

For each type one collection is made, written, flushed and indexed in this process. Beside it stands `faiss`: HNSW and
IVF_FLAT as it makes them of the same vectors and parameters, float32 as they came. Of types whose codes are trained it
has the stored index itself, rows in the order in which they came; where the engine compares candidates once more with
the vectors, so does faiss (IndexRefineFlat). HNSW and IVF_FLAT are searched in the stored index as well, `stored`: the
engine keeps copies of half the size in those. All are measured in turns, one and 100 queries a call, with the `engine`
(a request handed to the proxy, hits as columns handed back) and the `sdk` (`MilvusClient.search` on a path). Each round
counts CPU and wall time of each, and overheads are what one takes more than faiss did in that very round, so that a
busy machine favours none: the mean of two medians, of the rounds that go forwards and of those that go backwards. In
each way another one finds its memory in the caches, and one median of all would be now that of one, now of the other.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

import redkite
from redkite.client.transports.engines import Engine, acquire, release
from redkite.index.threads import CORES
from redkite.model.requests import Queries, Search

K = 10
Call = Callable[[np.ndarray], Any]
"""Queries -> what was found."""
GRAPH = {"M": 16, "efConstruction": 200}
TYPES: dict[str, tuple[dict[str, Any], str, tuple[int, ...]]] = {
    "HNSW": (GRAPH, "ef", (16, 32, 64, 128)),
    "HNSW_SQ": ({**GRAPH, "sq_type": "SQ8"}, "ef", (16, 32, 64, 128)),
    "HNSW_PQ": ({**GRAPH, "m": 16}, "ef", (64, 128)),
    "HNSW_PRQ": ({**GRAPH, "m": 4, "nrq": 2}, "ef", (128, 256)),
    "IVF_FLAT": ({"nlist": 256}, "nprobe", (4, 8, 16, 32)),
    "IVF_SQ8": ({"nlist": 256}, "nprobe", (4, 8, 16, 32)),
    "IVF_PQ": ({"nlist": 256, "m": 16}, "nprobe", (4, 8, 16, 32)),
    "IVF_RABITQ": ({"nlist": 256}, "nprobe", (4, 8, 16, 32)),
    "SCANN": ({"nlist": 256}, "nprobe", (4, 8, 16, 32)),
    "DISKANN": ({}, "search_list", (16, 32, 64, 128)),
    "AUTOINDEX": ({}, "level", (1, 2)),
}
"""Index type -> how it is built, the parameter that is varied, its values."""
FACTORS = {"HNSW_SQ": 2, "HNSW_PQ": 8, "HNSW_PRQ": 16, "IVF_SQ8": 2, "IVF_PQ": 8, "IVF_RABITQ": 10, "SCANN": 6.4}
"""Candidates that the engine compares once more for each row asked, by default."""
SHARES = (0.5, 0.1, 0.01, 0.001)
DISKANN_SPARE = 48


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each; three times as many of 100")
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    parser.add_argument("--short", action="store_true", help="HNSW over 20,000 rows, more rounds: for a busy machine")
    parser.add_argument("--filters", action="store_true", help="also search under filters of several widths")
    parser.add_argument("--out", type=Path, help="also write every number as JSON")
    options = parser.parse_args()
    if options.short:
        options.rows, options.types, options.rounds = 20_000, ["HNSW"], 15
    return options


def clustered(rows: int, dim: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """64 clusters in a space of 20 dimensions, projected up, and questions that are not in the data."""
    rng = np.random.default_rng(7)
    centres, up = rng.normal(size=(64, 20)) * 2, rng.normal(size=(20, dim))
    latent = centres[rng.integers(0, 64, rows + queries)] + rng.normal(size=(rows + queries, 20))
    data = (latent @ up + 0.2 * rng.normal(size=(rows + queries, dim))).astype(np.float32)
    return data[:rows], data[rows:]


def made(folder: str, kind: str, data: np.ndarray) -> tuple[Any, float]:
    """A client with a loaded and indexed collection `c`, and the seconds that the index took."""
    client = redkite.MilvusClient(os.path.join(folder, f"{kind}.db"))
    schema = client.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("number", redkite.DataType.INT64)
    schema.add_field("v", redkite.DataType.FLOAT_VECTOR, dim=data.shape[1])
    client.create_collection("c", schema=schema)
    for at in range(0, len(data), 20_000):
        some = data[at : at + 20_000]
        client.insert("c", [{"id": at + i, "number": (at + i) % 1000, "v": v} for i, v in enumerate(some)])
    client.flush("c")
    client.compact("c")
    wanted = client.prepare_index_params()
    wanted.add_index("v", index_type=kind, metric_type="L2", params=TYPES[kind][0])
    started = time.perf_counter()
    client.create_index("c", wanted)
    spent = time.perf_counter() - started
    client.load_collection("c")
    return client, spent


def settings(kind: str, value: int) -> Any:
    """What faiss is told so that it looks as far as the engine does."""
    if kind.startswith("HNSW"):
        return faiss.SearchParametersHNSW(efSearch=value)
    if kind == "AUTOINDEX":
        return faiss.SearchParametersHNSW(efSearch=48 * value)
    if kind in ("IVF_RABITQ", "DISKANN"):
        lists = (DISKANN_SPARE + value) // 2 if kind == "DISKANN" else value
        return faiss.SearchParametersPreTransform(index_params=faiss.IVFRaBitQSearchParameters(nprobe=lists, qb=0))
    return faiss.SearchParametersIVF(nprobe=value)


def as_built(path: Path) -> Any:
    """A stored index as faiss builds it: its rows stand in the order in which they came."""
    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    if not isinstance(index, faiss.IndexIDMap):
        return index
    stored = faiss.read_index(str(path))  # what is mapped cannot be changed
    undone = np.argsort(faiss.vector_to_array(stored.id_map))
    whole = faiss.downcast_index(stored.index)
    whole.referenced_objects = [stored]
    for part in (whole.base_index, whole.refine_index) if isinstance(whole, faiss.IndexRefine) else (whole,):
        faiss.downcast_index(part).permute_entries(undone)
    return whole


def own(kind: str, data: np.ndarray) -> tuple[Callable[[int], Call], float]:
    """The varied value -> a search with faiss alone over an index that it made itself, and the seconds that took."""
    dim, built = data.shape[1], TYPES[kind][0]
    index: Any
    if kind == "HNSW":
        index = faiss.IndexHNSWFlat(dim, built["M"])
        index.hnsw.efConstruction = built["efConstruction"]
    else:
        index = faiss.index_factory(dim, f"IVF{built['nlist']},Flat")
    faiss.omp_set_num_threads(CORES)
    started = time.perf_counter()
    index.train(data)
    index.add(data)
    return lambda value: partial(_found_rows, index, settings(kind, value)), time.perf_counter() - started


def bare(path: Path, kind: str, data: np.ndarray) -> Callable[[int], Call]:
    """The varied value -> a search with faiss alone over a stored index."""
    index = as_built(path)
    if kind not in FACTORS and kind != "DISKANN":
        return lambda value: partial(_found_rows, index, settings(kind, value))
    flat = faiss.IndexFlatL2(data.shape[1])
    flat.add(data)
    both = faiss.IndexRefine(index, flat)

    def with_refinement(value: int) -> Call:
        factor = (DISKANN_SPARE + value) / K if kind == "DISKANN" else FACTORS[kind]
        params = faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=settings(kind, value))
        return partial(_found_rows, both, params)

    return with_refinement


def _found_rows(index: Any, params: Any, queries: np.ndarray) -> np.ndarray:
    rows: np.ndarray = index.search(queries, K, params=params)[1]
    return rows


def spent(call: Call, blocks: list[np.ndarray]) -> tuple[float, float]:
    """CPU and wall seconds that this process takes for all blocks of queries."""
    cpu, wall = time.process_time(), time.perf_counter()
    for block in blocks:
        call(block)
    return time.process_time() - cpu, time.perf_counter() - wall


def recall(found: Any, truth: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, truth.tolist(), strict=True)]))


def asking(client: Any, params: dict[str, Any], text: str = "") -> Call:
    """A search by the SDK."""
    given = {"params": params}
    return lambda queries: client.search("c", queries, limit=K, filter=text, search_params=given)


def asking_engine(engine: Engine, params: dict[str, Any]) -> Call:
    """A search by the engine itself."""
    service = engine.service

    def search(queries: np.ndarray) -> Any:
        asked = Queries(data_type=redkite.DataType.FLOAT_VECTOR, vectors=queries)
        return service.call(Search(collection="c", queries=asked, limit=K, params=params))

    return search


def in_turns(calls: dict[str, Call], blocks: list[np.ndarray], rounds: int) -> dict[str, float]:
    """Best CPU microseconds a query of each, and how much more than the first one the others take, in percent."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[:: 1 if turn % 2 else -1]:  # each leaves its own memory in the caches for the next
            faiss.omp_set_num_threads(1 if len(blocks[0]) == 1 else CORES)
            seen[name].append(spent(calls[name], blocks))
    queries = sum(map(len, blocks))
    first, *others = calls
    found = {f"{name} us": round(min(cpu for cpu, _ in seen[name]) / queries * 1e6, 1) for name in calls}
    for name in others:
        for clock, label in enumerate(("cpu", "wall")):
            ratios = [mine[clock] / bare[clock] for mine, bare in zip(seen[name], seen[first], strict=True)]
            ways = [float(np.median(ratios[way::2])) for way in range(min(2, rounds))]  # forwards and backwards
            found[f"{name} {label} +%"] = round(100 * (float(np.mean(ways)) - 1), 1)
    return found


def curve(
    path: str, client: Any, peers: dict[str, Callable[[int], Call]], kind: str, queries: np.ndarray, truth: np.ndarray,
    rounds: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Two lines for each value of the parameter, one query a call and 100: recall, and what a query costs."""
    _, name, values = TYPES[kind]
    lines = []
    opened = acquire(path)  # the SDK has it open: it is the same one
    for value in values:
        params = {name: value}
        calls: dict[str, Call] = {peer: alone(value) for peer, alone in peers.items()}
        calls |= {"engine": asking_engine(opened, params), "sdk": asking(client, params)}
        found = [list(each.ids) for each in calls["sdk"](queries)]
        faiss_recall = recall(calls["faiss"](queries), truth)
        for step in (1, 100):
            blocks = [queries[at : at + step] for at in range(0, len(queries), step)]
            told = {"type": kind, name: value, "recall": round(recall(found, truth), 4)}
            told |= {"faiss recall": round(faiss_recall, 4), "nq": step}
            # By the clock two cores are at work, and whatever else wants one is felt.
            lines.append(told | in_turns(calls, blocks, rounds if step == 1 else 3 * rounds))
    release(opened)
    return lines


def filtered(client: Any, kind: str, data: np.ndarray, queries: np.ndarray) -> list[dict[str, Any]]:
    """Recall and CPU µs a query where only part of the rows is allowed."""
    _, name, values = TYPES[kind]
    blocks, lines = [query[None] for query in queries], []
    for share in SHARES:
        allowed = np.flatnonzero(np.arange(len(data)) % 1000 < share * 1000)
        truth = allowed[faiss.knn(queries, data[allowed], min(K, len(allowed)))[1]]
        engine = asking(client, {name: values[len(values) // 2]}, f"number < {int(share * 1000)}")
        found = [list(engine(block)[0].ids) for block in blocks]
        cpu = spent(engine, blocks)[0] / len(blocks)
        lines.append(
            {"type": kind, "share": share, "recall": round(recall(found, truth), 4), "us": round(cpu * 1e6, 1)}
        )
    return lines


def table(lines: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for line in lines for name in line))
    rows = [names, ["---"] * len(names), *([str(line.get(name, "")) for name in names] for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    options = arguments()
    data, queries = clustered(options.rows, options.dim, options.queries)
    truth = faiss.knn(queries, data, K)[1]
    results: dict[str, Any] = {"builds": [], "curves": [], "filters": []}
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.types:
            client, seconds = made(folder, kind, data)
            (path, *more) = sorted(Path(folder, f"{kind}.db").rglob("index-*"))
            size = sum(file.stat().st_size for file in (path, *more))
            line = {"type": kind, "seconds": round(seconds, 2), "bytes_per_row": round(size / len(data), 1)}
            if not more:
                peers = {"faiss": bare(path, kind, data)}
                if kind in ("HNSW", "IVF_FLAT"):
                    alone, took = own(kind, data)
                    peers = {"faiss": alone, "stored": peers["faiss"]}
                    line["faiss seconds"] = round(took, 2)
                where = os.path.join(folder, f"{kind}.db")
                results["curves"] += curve(where, client, peers, kind, queries, truth, options.rounds)
            results["builds"].append(line)
            if options.filters:
                results["filters"] += filtered(client, kind, data, queries)
            client.close()
            print(table([r for part in results.values() for r in part if r["type"] == kind]), flush=True)
    for part, lines in results.items():
        if lines:
            print(f"\n## {part}\n\n{table(lines)}")
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
