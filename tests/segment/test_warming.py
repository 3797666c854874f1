"""Columns and indexes are read when a segment is opened, where something says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import redkite
from redkite.segment import indexes
from redkite.segment.late import LATE_BYTES

Seen = dict[str, list[int]]
ROWS = 1500


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Bytes that were read, and bytes that the system was asked to read."""
    found: Seen = {"read": [], "asked": []}

    def read(data: memoryview) -> None:
        found["read"].append(data.nbytes)

    def ask(data: np.ndarray) -> None:
        found["asked"].append(data.nbytes)

    for module in ("segment.warming", "index.registry"):
        monkeypatch.setattr(f"redkite.{module}.touch", read)
        monkeypatch.setattr(f"redkite.{module}.bring_all", ask)
    return found


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    with redkite.MilvusClient(str(tmp_path / "warm.db")) as opened:
        yield opened


def made(client: Any, properties: dict[str, str] | None = None, **field: Any) -> None:
    """A collection of a vector field of 16 KiB a thousand rows, with a graph, and an indexed number; released."""
    schema = client.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("v", redkite.DataType.FLOAT_VECTOR, dim=4, **field)
    schema.add_field("n", redkite.DataType.INT64)
    index = client.prepare_index_params()
    index.add_index("v", index_type="HNSW", metric_type="L2", M=4, efConstruction=16)
    index.add_index("n", index_type="STL_SORT")
    client.create_collection("c", schema=schema, index_params=index, properties=properties)
    data = np.random.default_rng(0).random((ROWS, 4), dtype=np.float32)
    client.insert("c", {"id": np.arange(ROWS), "v": data, "n": np.arange(ROWS)})
    client.flush("c")
    client.create_index("c", index)
    client.release_collection("c")


def loaded(client: Any, seen: Seen) -> Seen:
    for sizes in seen.values():
        sizes.clear()
    client.load_collection("c")
    assert [hit["id"] for hit in client.search("c", [[0.1] * 4], limit=3)[0]]
    return seen


def test_nothing_is_read_ahead_unless_something_says_so(client: Any, seen: Seen) -> None:
    made(client)
    assert loaded(client, seen) == {"read": [], "asked": []}


@pytest.mark.parametrize(("how", "kind"), [("sync", "read"), ("async", "asked")])
def test_a_field_is_read_as_it_says(client: Any, seen: Seen, how: str, kind: str) -> None:
    made(client, warmup=how)
    told = loaded(client, seen)
    assert [size >= ROWS * 16 for size in told[kind]] == [True]
    assert sum(map(len, told.values())) == 1
    client.release_collection("c")
    client.alter_collection_field("c", "v", {"warmup": "disable"})
    assert loaded(client, seen) == {"read": [], "asked": []}


def test_a_collection_says_it_for_what_says_nothing(client: Any, seen: Seen) -> None:
    made(client, {"warmup.scalarField": "sync", "warmup.vectorIndex": "async", "warmup.scalarIndex": "sync"})
    told = loaded(client, seen)
    assert len(told["asked"]) == 1, "the graph"
    assert len(told["read"]) == 3, "two columns of integers and the index of one"
    client.release_collection("c")
    client.alter_index_properties("c", "v", {"warmup": "disable"})
    client.drop_collection_properties("c", ["warmup.scalarField", "warmup.scalarIndex"])
    assert loaded(client, seen) == {"read": [], "asked": []}


def test_what_diskann_keeps_is_asked_for(client: Any, seen: Seen) -> None:
    made(client)
    client.drop_index("c", "v")
    index = client.prepare_index_params()
    index.add_index("v", index_type="DISKANN", metric_type="L2")
    client.create_index("c", index)
    assert len(loaded(client, seen)["asked"]) == 1


@pytest.mark.parametrize("what", ["vectorField", "scalarField", "vectorIndex", "scalarIndex"])
def test_another_time_than_these_three_is_refused(client: Any, what: str) -> None:
    key = f"warmup.{what}"
    with pytest.raises(redkite.MilvusException, match=f"the value for {key} must be one of sync, async, disable"):
        made(client, {key: "soon"})
    with pytest.raises(redkite.MilvusException, match="the value for warmup of field v must be one of"):
        made(client, warmup="later")


def columns_in_files(client: Any, where: Path) -> dict[str, bool]:
    """Whether the numbers of each stored column lie in a mapped file, by the places of this process's memory."""
    files: list[tuple[int, int]] = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if str(where) in line:
            begin, _, end = line.partition(" ")[0].partition("-")
            files.append((int(begin, 16), int(end, 16)))
    (segment,) = node_of(client)._segments.values()
    return {
        name: any(begin <= segment._rows.column(name).buffers()[-1].address < end for begin, end in files)
        for name in ("id", "v", "n")
    }


def node_of(client: Any) -> Any:
    return client._transport._engine.service._topology.querying[0]


NEAR = [[0.1] * 4]


def hits(client: Any) -> list[Any]:
    found = client.search("c", NEAR, limit=5, output_fields=["n", "v"], filter="n > 100")[0]
    return [(hit["id"], hit["distance"], hit["entity"]["n"], hit["entity"]["v"]) for hit in found]


def test_a_field_that_is_not_to_be_mapped_is_read_into_memory_and_found_the_same(client: Any, tmp_path: Path) -> None:
    made(client)
    client.load_collection("c")
    before, memory = hits(client), node_of(client).private_bytes()
    assert columns_in_files(client, tmp_path) == {"id": True, "v": True, "n": True}
    with pytest.raises(redkite.MilvusException, match="can not alter mmap properties if collection loaded"):
        client.alter_collection_field("c", "v", {"mmap.enabled": False})
    client.release_collection("c")
    client.alter_collection_field("c", "v", {"mmap.enabled": False})
    client.load_collection("c")
    assert columns_in_files(client, tmp_path) == {"id": True, "v": False, "n": True}
    assert hits(client) == before
    assert node_of(client).private_bytes() - memory >= ROWS * 16, "and it is counted"
    (shown,) = (f for f in client.describe_collection("c")["fields"] if f["name"] == "v")
    assert shown["params"]["mmap_enabled"] is False


def test_a_collection_that_is_not_to_be_mapped_holds_all_of_it_but_what_says_otherwise(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bool] = []
    real = indexes.open_index

    def spy(spec: Any, path: str | None, data: memoryview, column: Any) -> Any:
        opened.append(path is not None)
        return real(spec, path, data, column)

    monkeypatch.setattr(indexes, "open_index", spy)
    made(client, {"mmap.enabled": "false"}, mmap_enabled=True)
    opened.clear()
    client.load_collection("c")
    assert columns_in_files(client, tmp_path) == {"id": False, "v": True, "n": False}
    assert opened == [False], "the graph is in memory"
    before = hits(client)
    assert client.query("c", "id == 7", output_fields=["n"])[0]["n"] == 7
    client.delete("c", ids=[7])
    assert client.query("c", "id == 7") == []
    client.release_collection("c")
    client.alter_index_properties("c", "v", {"mmap.enabled": True})
    client.drop_collection_properties("c", ["mmap.enabled"])
    opened.clear()
    client.load_collection("c")
    assert columns_in_files(client, tmp_path) == {"id": True, "v": True, "n": True}
    assert opened == [True] and hits(client) == before


def test_vectors_that_are_copied_are_compared_with_their_checksums_at_once(client: Any, tmp_path: Path) -> None:
    schema = client.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("v", redkite.DataType.FLOAT_VECTOR, dim=1024, mmap_enabled=False)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection("c", schema=schema, index_params=index)
    rows = LATE_BYTES // 4096 + 10
    client.insert("c", {"id": np.arange(rows), "v": np.random.default_rng(0).random((rows, 1024), dtype=np.float32)})
    client.flush("c")
    client.release_collection("c")
    client.close()
    (whole,) = (path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > LATE_BYTES)
    with whole.open("r+b") as file:
        file.seek(whole.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    with (
        redkite.MilvusClient(str(tmp_path / "warm.db")) as again,
        pytest.raises(redkite.MilvusException, match="checksum"),
    ):
        again.load_collection("c")
