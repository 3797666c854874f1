"""Searches over fields in which many rows have no vector, once an index is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import NAME, Engine
from tests.vectors import KINDS, VectorKind, nearest, scores

import redkite
from redkite import DataType, MilvusClient
from redkite.index.partial import PartialIndex

ROWS = 2400
INDEXES = {"float": "HNSW", "float16": "IVF_FLAT", "bfloat16": "HNSW", "int8": "HNSW", "binary": "BIN_IVF_FLAT"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MilvusClient]:
    with MilvusClient(str(tmp_path / "a.db")) as opened:
        yield opened


def make(client: MilvusClient, kind: VectorKind, index_type: str) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType[kind.data_type], nullable=True, **kind.settings)
    index = client.prepare_index_params()
    index.add_index("v", index_type=index_type, metric_type=kind.metrics[0])
    client.create_collection(NAME, schema=schema, index_params=index)


def wait(client: MilvusClient) -> None:
    end = time.monotonic() + 120
    while client.describe_index(NAME, "v")["pending_index_rows"]:
        assert time.monotonic() < end, "the index was not built"
        time.sleep(0.02)


def indexes(engine: Any) -> list[Any]:
    node = engine.topology.querying[0]
    return [segment.index("v") for segment in node._segments.values()]


def recall(client: MilvusClient, vectors: list[Any], kind: VectorKind, allowed: np.ndarray, condition: str) -> float:
    queries = kind.draw(np.random.default_rng(9), 20)
    found = wanted = 0
    for query in queries:
        all_scores = scores(query, vectors, kind.metrics[0])
        all_scores[~allowed] = np.nan
        best = nearest(all_scores, kind.metrics[0])[:10]
        (hits,) = client.search(NAME, [query], filter=condition, limit=10)
        assert allowed[hits.ids].all()
        assert all(vectors[key] is not None for key in hits.ids)
        assert len(hits) == len(best)
        sign = -1 if kind.metrics[0] == "IP" else 1
        worst = sign * all_scores[best[-1]]
        found += int((sign * np.array(hits.distances) <= worst + 1e-4 * max(1.0, abs(worst))).sum())
        wanted += len(best)
    return found / wanted


@pytest.mark.parametrize("case", INDEXES)
def test_an_index_over_a_field_with_gaps_finds_neighbours(
    case: str, client: MilvusClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redkite.query.execute.EXACT_FLOATS", 0)
    kind = KINDS[case]
    make(client, kind, INDEXES[case])
    rng = np.random.default_rng(3)
    present = rng.random(ROWS) < 0.4
    vectors = [vector if there else None for vector, there in zip(kind.draw(rng, ROWS), present, strict=True)]
    client.insert(NAME, [{"id": i, "v": vector} for i, vector in enumerate(vectors)])
    client.flush(NAME)
    wait(client)
    everything = np.ones(ROWS, np.bool_)
    assert recall(client, vectors, kind, everything, "") > 0.8
    assert recall(client, vectors, kind, np.arange(ROWS) % 2 == 0, "id % 2 == 0") > 0.8
    assert recall(client, vectors, kind, np.arange(ROWS) < 30, "id < 30") > 0.9
    client.delete(NAME, filter="id >= 1200")
    assert recall(client, vectors, kind, np.arange(ROWS) < 1200, "") > 0.8
    client.compact(NAME)
    wait(client)
    assert recall(client, vectors, kind, np.arange(ROWS) < 1200, "") > 0.8


@pytest.mark.parametrize("case", KINDS)
def test_vectors_that_were_never_flushed_are_there_after_reopening(case: str, tmp_path: Path) -> None:
    kind, path = KINDS[case], str(tmp_path / "a.db")
    vectors = [None if i % 3 == 1 else vector for i, vector in enumerate(kind.draw(np.random.default_rng(1), 20))]
    with MilvusClient(path) as client:
        make(client, kind, kind.index_type)
        client.insert(NAME, [{"id": i, "v": vector} for i, vector in enumerate(vectors[:15])])
        for i in range(15, 20):
            client.insert(NAME, {"id": i, "v": vectors[i]})
    with MilvusClient(path) as client:
        found = client.query(NAME, filter="id >= 0", output_fields=["id", "v"])
        shown = [None if vector is None else kind.shown(vector) for vector in vectors]
        assert repr([row["v"] for row in found]) == repr(shown)
        everything = np.array([vector is not None for vector in vectors])
        assert recall(client, vectors, kind, everything, "") == 1


def test_an_index_holds_only_rows_with_a_vector_and_is_sound_after_reopening(tmp_path: Path) -> None:
    kind = KINDS["float"]
    path = tmp_path / "a.db"
    vectors = [None if i % 4 else vector for i, vector in enumerate(kind.draw(np.random.default_rng(1), ROWS))]
    with MilvusClient(str(path)) as client:
        make(client, kind, "HNSW")
        client.insert(NAME, [{"id": i, "v": vector} for i, vector in enumerate(vectors)])
        client.flush(NAME)
        client.insert(NAME, [{"id": i} for i in range(ROWS, 2 * ROWS)])
        client.flush(NAME)
        wait(client)
    assert redkite.verify(str(path)).findings == ()
    engine = Engine(str(path))
    try:
        assert engine.count() == 2 * ROWS
        held = indexes(engine.database)
        assert {type(index) for index in held} == {PartialIndex}
        assert sorted(len(index._held) for index in held) == [0, ROWS // 4]
    finally:
        engine.close()
