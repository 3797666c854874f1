"""A small database with a bit of everything in it, and all that can be asked of it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from redkite import CollectionSchema, DataType, FieldSchema, IndexParams, MilvusClient
from redkite.client.transports import engines
from redkite.cluster.local import open_database
from redkite.model.limits import LIMITS

SEED = 20_26
DIM = 8
SEALED, GROWING = 90, 12


@contextlib.contextmanager
def small_indexes() -> Iterator[None]:
    """Embedded engines that index segments of fifty rows, so that a small database has an index."""
    usual = engines.open_handle
    limits = msgspec.structs.replace(LIMITS, min_rows_to_index=50)
    engines.open_handle = lambda path: open_database(path, limits=limits)
    try:
        yield
    finally:
        engines.open_handle = usual


def _book(number: int, rng: np.random.Generator) -> dict[str, Any]:
    row = {
        "id": number,
        "vector": rng.normal(size=DIM).astype(np.float32),
        "title": f"title {number} " + "äöü€"[: number % 5],
        "year": None if number % 7 == 0 else 1900 + number,
        "price": number / 3,
        "lent": number % 3 == 0,
        "tags": [f"t{number % 4}", "all"],
        "facts": {"pages": number * 10, "parts": [number % 2, 7]},
    }
    if number % 2:
        row["shelf"] = f"s{number % 6}"
    return row


def _book_schema() -> CollectionSchema:
    return CollectionSchema(
        [
            FieldSchema("id", DataType.INT64, is_primary=True),
            FieldSchema("vector", DataType.FLOAT_VECTOR, dim=DIM),
            FieldSchema("title", DataType.VARCHAR, max_length=100),
            FieldSchema("year", DataType.INT32, nullable=True),
            FieldSchema("price", DataType.DOUBLE),
            FieldSchema("lent", DataType.BOOL),
            FieldSchema("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=4, max_length=20),
            FieldSchema("facts", DataType.JSON),
        ],
        enable_dynamic_field=True,
    )


def _word_schema() -> CollectionSchema:
    return CollectionSchema(
        [
            FieldSchema("word", DataType.VARCHAR, is_primary=True, max_length=20),
            FieldSchema("vector", DataType.FLOAT_VECTOR, dim=DIM),
            FieldSchema("count", DataType.INT64, default_value=5),
        ],
    )


def _index(kind: str, metric: str, **params: int) -> IndexParams:
    made = IndexParams()
    made.add_index("vector", index_type=kind, metric_type=metric, params=params)
    return made


def build(path: str) -> MilvusClient:
    """Make the database; the client is still open. `books` has sealed rows in two partitions, an index, deletes and
    rows in the log; `words` has string keys and no index."""
    rng = np.random.default_rng(SEED)
    client = MilvusClient(path)
    client.create_collection(
        "books", schema=_book_schema(), index_params=_index("HNSW", "COSINE", M=4, efConstruction=40)
    )
    client.create_partition("books", "new")
    books = [_book(int(number), rng) for number in rng.permutation(SEALED)]
    client.insert("books", books[:70])
    client.insert("books", books[70:], partition_name="new")
    client.delete("books", ids=[1, 2, 3])
    client.flush("books")
    client.delete("books", filter="id in [10, 11]")
    client.flush("books")
    client.create_collection("words", schema=_word_schema(), index_params=_index("FLAT", "L2"))
    words = [{"word": f"w{n:03}", "vector": rng.normal(size=DIM).astype(np.float32)} for n in rng.permutation(30)]
    client.insert("words", words)
    client.flush("words")
    client.create_alias("books", "library")
    wait_for_index(client)
    for number in range(SEALED, SEALED + GROWING, 4):
        client.insert("books", [_book(n, rng) for n in range(number, number + 4)])
    client.upsert("books", [_book(5, rng), _book(95, rng)])
    client.delete("books", ids=[20, 91])
    client.insert("words", [{"word": "zebra", "vector": rng.normal(size=DIM).astype(np.float32), "count": 9}])
    return client


def make(path: str) -> dict[str, Any]:
    """Make the database and close it, with nothing left to tidy up; returns the right answers."""
    with small_indexes():
        client = build(path)
        right = answers(client)
        client.close()
        MilvusClient(path).close()  # removes what was waiting to be removed
    return right


def last_word() -> dict[str, Any]:
    """A row to add behind all others."""
    return {"word": "zzz", "vector": np.arange(DIM, dtype=np.float32), "count": 1}


def wait_for_index(client: MilvusClient) -> None:
    for _ in range(600):
        if not int(client.describe_index("books", "vector")["pending_index_rows"]):
            return
        time.sleep(0.02)
    raise AssertionError("the index of the sample was not built")


def answers(client: MilvusClient) -> dict[str, Any]:
    """Everything that can be read, as JSON would have it."""
    rng = np.random.default_rng(SEED + 1)
    queries = rng.normal(size=(3, DIM)).astype(np.float32)
    found: dict[str, Any] = {"collections": sorted(client.list_collections())}
    for name in found["collections"]:
        key = "id" if name == "books" else "word"
        about = client.describe_collection(name)
        found[name] = {
            "fields": [[f["name"], int(f["type"])] for f in about["fields"]],
            "aliases": list(about["aliases"]),
            "partitions": client.list_partitions(name),
            "count": client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"],
            "rows": sorted(client.query(name, filter="", output_fields=["*"], limit=1000), key=lambda row: row[key]),
            "near": client.search(name, data=queries, limit=5, output_fields=[key], search_params=_exactly(name)),
        }
    books = found.get("books")
    if books is not None:
        books["got"] = sorted(client.get("books", ids=[4, 5, 20, 95, 101]), key=lambda row: row["id"])
        books["filtered"] = client.search(
            "library", data=queries, limit=4, filter="year > 1930 and lent == true", output_fields=["title", "shelf"]
        )
        books["new"] = client.query(
            "books", filter="price < 20", partition_names=["new"], output_fields=["id"], limit=1000
        )
        books["shelves"] = sorted(r["id"] for r in client.query("books", filter='shelf == "s1"', output_fields=["id"]))
        books["pages"] = sorted(r["id"] for r in client.query("books", filter='facts["pages"] > 800', limit=1000))
        books["tagged"] = client.query("books", filter='array_contains(tags, "t2")', output_fields=["count(*)"])
    if "words" in found:
        found["words"]["got"] = client.get("words", ids=["w007", "zebra", "none"])
    return json.loads(json.dumps(found, default=_plain))


def _exactly(name: str) -> dict[str, Any]:
    return {"params": {"ef": 200}} if name == "books" else {}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if hasattr(value, "items"):
        return dict(value)
    return list(value)
