"""A real Milvus, carried over: `make migrate-milvus MILVUS_PYTHON=…`.

Wants an interpreter whose environment has the package `milvus` (2.3.5), or `--uri` of a server that runs. Collections
are made with pymilvus, carried to a file, and compared there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pymilvus

from redkite import MilvusClient
from redkite.migration.show import run

LAUNCHER = Path(__file__).resolve().parents[2] / "benchmarks" / "milvus_launcher.py"
PORT = 21_530
READY_SECONDS = 120.0
ROWS = 12_000


def fill(uri: str) -> None:
    """Two collections: one with partitions, an alias and dynamic keys, one with a partition key."""
    client = pymilvus.MilvusClient(uri)
    types = pymilvus.DataType
    for name in ("migrated_docs", "migrated_shared"):
        if client.has_collection(name):
            for alias in client.list_aliases(name)["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(name)
    schema = client.create_schema(enable_dynamic_field=True, description="documents")
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("title", types.VARCHAR, max_length=100)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=16)
    schema.add_field("about", types.JSON)
    schema.add_field("tags", types.ARRAY, element_type=types.INT32, max_capacity=10)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 8, "efConstruction": 64})
    client.create_collection("migrated_docs", schema=schema, index_params=index)
    client.create_partition("migrated_docs", "old")
    client.create_alias("migrated_docs", "migrated_alias")
    numbers = np.random.default_rng(1)
    for start in range(0, ROWS, 2_000):
        vectors = numbers.random((2_000, 16), np.float32)
        client.insert("migrated_docs", [
            {"id": n, "title": f"t{n}", "vector": vectors[n - start].tolist(), "about": {"n": n}, "tags": [n % 7],
             "loose": n, "text": f"x{n}"}
            for n in range(start, start + 2_000)
        ], partition_name="old" if start % 4_000 else "_default")  # fmt: skip
    shared = client.create_schema(partition_key_field="tenant")
    shared.add_field("key", types.VARCHAR, is_primary=True, max_length=20)
    shared.add_field("tenant", types.VARCHAR, max_length=10)
    shared.add_field("bits", types.BINARY_VECTOR, dim=32)
    index = client.prepare_index_params("bits", index_type="BIN_FLAT", metric_type="HAMMING")
    client.create_collection("migrated_shared", schema=shared, index_params=index, num_partitions=4)
    client.insert("migrated_shared", [
        {"key": f"k{n:04}", "tenant": f"t{n % 5}", "bits": n.to_bytes(4, "big")} for n in range(500)
    ])  # fmt: skip
    client.delete("migrated_docs", ids=[0, 1, 2])
    client.close()


def compared(uri: str, path: str) -> None:
    """Counts, a search and a description, by the source's own client and by ours."""
    old, new = pymilvus.MilvusClient(uri), MilvusClient(path)
    for name, rows in (("migrated_docs", ROWS - 3), ("migrated_shared", 500)):
        assert new.query(name, output_fields=["count(*)"])[0]["count(*)"] == rows, name
    assert new.describe_collection("migrated_alias")["description"] == "documents"
    assert new.list_partitions("migrated_docs") == ["_default", "old"]
    query: list[Any] = [np.random.default_rng(2).random(16, np.float32).tolist()]
    mine, theirs = (
        [hit["id"] for hit in client.search("migrated_docs", query, limit=10, search_params={"ef": 512})[0]]
        for client in (new, old)
    )
    assert len(set(mine) & set(theirs)) >= 9, (mine, theirs)
    index = new.describe_index("migrated_docs", "vector")
    assert index is not None
    assert (index["index_type"], index["metric_type"], str(index["M"])) == ("HNSW", "COSINE", "8")
    assert new.describe_collection("migrated_shared")["num_partitions"] == 4
    old.close()
    new.close()


def wait_for(uri: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            pymilvus.MilvusClient(uri, timeout=30).list_collections()
        except pymilvus.MilvusException:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def end(child: subprocess.Popen[bytes]) -> None:
    """Milvus takes its time to stop, and what it would still write is thrown away with its folder."""
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="interpreter whose environment has the package milvus")
    parser.add_argument("--uri", help="a server that runs, instead")
    given = parser.parse_args()
    if not (given.python or given.uri):
        parser.error("give --python or --uri")
    with tempfile.TemporaryDirectory() as folder:
        uri = given.uri or f"http://127.0.0.1:{PORT}"
        child = None
        if not given.uri:
            command = [given.python, str(LAUNCHER), f"{folder}/milvus", str(PORT)]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(uri)
            fill(uri)
            target = f"{folder}/target.db"
            wishes = {"collections": ["migrated_docs", "migrated_shared"], "state": f"{folder}/state.json"}
            status = run(uri, target, wishes, sys.stdout, sys.stderr, dry_run=False)
            compared(uri, target)
            print("the same, by both clients")
            return status
        finally:
            if child is not None:
                end(child)


if __name__ == "__main__":
    sys.exit(main())
