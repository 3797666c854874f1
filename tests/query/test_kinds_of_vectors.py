"""Ranges, keys, groups and iterators over every type of vector, over partitions, keys of text and the past."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from redkite import DataType, MilvusClient
from redkite.errors import InvalidParameter

ROWS, DIM = 300, 16
RNG = np.random.default_rng(9)
BITS = RNG.integers(0, 2, (ROWS, DIM), np.uint8)
SMALL = RNG.integers(-9, 10, (ROWS, DIM)).astype(np.int8)
SPARSE = [{int(d): float(w) for d, w in zip(RNG.choice(40, 5, False), RNG.integers(1, 9, 5), strict=True)}
          for _ in range(ROWS)]  # fmt: skip
EMPTY = np.arange(ROWS) % 13 == 4
"""Rows without a vector, where that may be."""


def hamming() -> np.ndarray:
    return (BITS[0] != BITS).sum(axis=1).astype(float)


def squared() -> np.ndarray:
    return ((SMALL.astype(float) - SMALL[0].astype(float)) ** 2).sum(axis=1)


def inner() -> np.ndarray:
    return np.array([sum(w * SPARSE[0].get(d, 0) for d, w in row.items()) for row in SPARSE])


KINDS: dict[str, tuple[Any, str, str, Any, Any]] = {
    "FLOAT_VECTOR": (SMALL.astype(np.float32), "L2", "HNSW", squared, {"radius": 700.0, "range_filter": 200.0}),
    "FLOAT16_VECTOR": (SMALL.astype(np.float16), "L2", "HNSW", squared, {"radius": 700.0}),
    "INT8_VECTOR": (SMALL, "L2", "HNSW", squared, {"radius": 700.0, "range_filter": 200.0}),
    "BINARY_VECTOR": (np.packbits(BITS, axis=1), "HAMMING", "BIN_FLAT", hamming, {"radius": 8, "range_filter": 5}),
    "SPARSE_FLOAT_VECTOR": (SPARSE, "IP", "SPARSE_INVERTED_INDEX", inner, {"radius": 20, "range_filter": 60}),
}


@pytest.fixture(params=list(KINDS))
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[MilvusClient, str]]:
    """Rows with keys of text in two partitions, half of them sealed, some without a vector."""
    kind = request.param
    values, metric, index_type, _, _ = KINDS[kind]
    client = MilvusClient(str(tmp_path / "kinds.db"))
    schema = client.create_schema()
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=9)
    more = {} if kind == "SPARSE_FLOAT_VECTOR" else {"dim": DIM}
    schema.add_field("vector", DataType[kind], nullable=True, **more)
    schema.add_field("n", DataType.INT16, nullable=True)
    index = client.prepare_index_params()
    index.add_index("vector", index_type=index_type, metric_type=metric)
    client.create_collection("c", schema=schema, index_params=index)
    client.create_partition("c", "odd")
    for half in (range(ROWS // 2), range(ROWS // 2, ROWS)):
        for odd in (0, 1):
            some = [i for i in half if i % 2 == odd]
            rows = [{"id": key(i), "vector": None if EMPTY[i] else values[i], "n": i % 6 or None} for i in some]
            client.insert("c", rows, partition_name="odd" if odd else "")
        if not half.start:
            client.flush("c")
    yield client, kind
    client.close()


def key(i: int) -> str:
    return f"k{i:03d}"


def in_order(kind: str, rows: np.ndarray) -> list[str]:
    _, metric, _, scores, _ = KINDS[kind]
    rank = -scores() if metric == "IP" else scores()
    kept = rows & ~EMPTY & ((rank < 0) if metric == "IP" else True)
    return [key(i) for i in np.lexsort((np.arange(ROWS), rank)) if kept[i]]


def keys(hits: Any) -> list[str]:
    return [hit["id"] for hit in hits[0]]


def within(kind: str) -> np.ndarray:
    _, metric, _, scores, params = KINDS[kind]
    found, inner_bound = scores(), params.get("range_filter")
    if metric == "IP":
        return (found > params["radius"]) & (found <= (np.inf if inner_bound is None else inner_bound))
    return (found < params["radius"]) & (found >= (-1 if inner_bound is None else inner_bound))


def test_ranges(stored: tuple[MilvusClient, str]) -> None:
    client, kind = stored
    params = KINDS[kind][4]
    data = [KINDS[kind][0][0]]
    found = client.search("c", data, limit=ROWS, search_params=params)
    assert keys(found) == in_order(kind, within(kind))
    assert len(found[0]) > 5
    odd = np.arange(ROWS) % 2 == 1
    found = client.search("c", data, limit=ROWS, search_params=params, partition_names=["odd"], filter="n > 1")
    assert keys(found) == in_order(kind, within(kind) & odd & (np.arange(ROWS) % 6 > 1))


def test_partitions_make_the_whole(stored: tuple[MilvusClient, str]) -> None:
    client, kind = stored
    ask = {"data": [KINDS[kind][0][0]], "limit": ROWS, "search_params": KINDS[kind][4]}
    parts = [keys(client.search("c", partition_names=[name], **ask)) for name in ("_default", "odd")]
    assert sorted(parts[0] + parts[1]) == sorted(keys(client.search("c", **ask)))


def test_keys(stored: tuple[MilvusClient, str]) -> None:
    client, kind = stored
    values = KINDS[kind][0]
    by_keys = client.search("c", ids=[key(8), key(2)], limit=20)
    by_vectors = client.search("c", [values[8], values[2]], limit=20)
    assert list(by_keys) == list(by_vectors)
    with pytest.raises(InvalidParameter, match="field vector is null"):
        client.search("c", ids=[key(4)])


def test_groups(stored: tuple[MilvusClient, str]) -> None:
    client, kind = stored
    ask = {"data": [KINDS[kind][0][0]], "limit": 4, "group_by_field": "n", "group_size": 2, "strict_group_size": True}
    if kind == "BINARY_VECTOR":
        with pytest.raises(InvalidParameter, match="not support search_group_by operation based on binary vector"):
            client.search("c", **ask)
        return
    groups: dict[int, list[str]] = {}
    for name in in_order(kind, np.ones(ROWS, bool)):
        groups.setdefault(int(name[1:]) % 6, []).append(name)
    assert keys(client.search("c", **ask)) == [name for rows in list(groups.values())[:4] for name in rows[:2]]


def test_iterators_and_the_past(stored: tuple[MilvusClient, str]) -> None:
    client, kind = stored
    moment = datetime.now(UTC)
    client.delete("c", filter="n == 3")
    ask = {"data": [KINDS[kind][0][0]], "batch_size": 40}
    now = [hit["id"] for page in client.search_iterator("c", **ask) for hit in page]
    assert now == in_order(kind, np.arange(ROWS) % 6 != 3)
    then = [hit["id"] for page in client.search_iterator("c", **ask, as_of=moment) for hit in page]
    assert then == in_order(kind, np.ones(ROWS, bool))
    counted = client.query("c", output_fields=["count(*)", "count(n)"], as_of=moment)
    assert counted == [{"count(*)": ROWS, "count(n)": ROWS - ROWS // 6}]
    order = "n:desc:nulls_last,id:desc"
    ordered = client.query("c", limit=3, order_by_fields=order, as_of=moment, output_fields=["id"])
    assert [row["id"] for row in ordered] == ["k299", "k293", "k287"]
