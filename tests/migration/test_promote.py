"""A database moves to a server with everything in it, also while it is written, and also when it is cut off."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers import ProcessServer

from redkite import DataType, MilvusClient, errors
from redkite.migration.promote import Promotion, promote

DIM = 4


def row(key: int, word: str = "w") -> dict[str, Any]:
    return {"id": key, "vector": [float(key)] * DIM, "word": word}


def fill(client: Any) -> None:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("word", DataType.VARCHAR, max_length=16)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="COSINE")
    client.create_collection("c", schema=schema, index_params=index, num_shards=2)
    client.create_partition("c", "p")
    client.insert("c", [row(i) for i in range(500)])
    client.flush("c")
    client.insert("c", [row(i, "again") for i in range(400, 600)], partition_name="p")
    client.delete("c", ids=[1, 2, 3])
    client.create_alias("c", "other")
    client.create_database("attic")
    client.create_user("ann", "secret-1")


def rows(client: Any, name: str = "c") -> list[dict[str, Any]]:
    found = client.query(name, filter="id >= 0", output_fields=["*"], consistency_level="Strong")
    return sorted((dict(r) for r in found), key=lambda r: r["id"])


@pytest.fixture
def target(tmp_path: Path) -> Iterator[ProcessServer]:
    with ProcessServer(tmp_path / "target") as server:
        yield server


def test_a_file_moves_to_a_server_with_everything_in_it(tmp_path: Path, target: ProcessServer) -> None:
    path = str(tmp_path / "one.db")
    with MilvusClient(path) as source:
        fill(source)
        before = rows(source)
    out = io.StringIO()
    assert promote(path, target.uri, "", "", out) == 0
    assert "1 collections, 597 rows" in out.getvalue()
    there = MilvusClient(target.uri)
    assert rows(there, "other") == before and there.list_users() == ["ann", "root"]
    assert there.list_partitions("c") == ["_default", "p"] and "attic" in there.list_databases()
    assert there.describe_index("c", "vector")["metric_type"] == "COSINE"
    there.insert("c", [row(10_000)])
    with (
        MilvusClient(path) as source,
        pytest.raises(errors.StandbyMode, match=f"this database is at {target.uri} now"),
    ):
        source.insert("c", [row(10_000)])


def test_a_database_moves_while_it_is_written(tmp_path: Path, target: ProcessServer) -> None:
    source, there = MilvusClient(str(tmp_path / "one.db")), MilvusClient(target.uri)
    fill(source)
    acknowledged: list[int] = []

    def write() -> None:
        for key in range(10_000, 1_000_000):
            try:
                source.insert("c", [row(key)])
            except errors.StandbyMode:
                return
            acknowledged.append(key)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        moved = Promotion(source, there, "one", target.uri, lambda _: None).run()
    finally:
        writer.join(60)
    assert moved.differences == () and moved.stopped_seconds < 10
    found = {r["id"] for r in rows(there)}
    assert acknowledged and found == set(acknowledged) | (set(range(600)) - {1, 2, 3})
    source.close()


def test_a_move_that_was_cut_off_goes_on(tmp_path: Path, target: ProcessServer, monkeypatch: Any) -> None:
    source, there = MilvusClient(str(tmp_path / "one.db")), MilvusClient(target.uri)
    fill(source)
    said: list[str] = []
    pages = 0
    real = Promotion._apply

    def cut(self: Promotion, *arguments: Any, **more: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages == 3:
            raise ConnectionError("the line is dead")
        return real(self, *arguments, **more)

    monkeypatch.setattr(Promotion, "_apply", cut)
    with pytest.raises(ConnectionError):
        Promotion(source, there, "one", target.uri, said.append).run()
    source.insert("c", [row(7_000)])
    source.delete("c", ids=[4])
    with pytest.raises(errors.StandbyMode):
        there.insert("c", [row(1)])
    moved = Promotion(source, there, "one", target.uri, said.append).run()
    assert moved.differences == () and "going on where an earlier run stopped" in said
    assert [r["id"] for r in rows(there)] == [0, *range(5, 600), 7_000]
    source.close()


@pytest.mark.parametrize("lost", [1, 100])
def test_a_lost_answer_to_the_hand_over_does_not_leave_two_that_take_writes(
    tmp_path: Path, monkeypatch: Any, lost: int
) -> None:
    source, there = MilvusClient(str(tmp_path / "one.db")), MilvusClient(str(tmp_path / "two.db"))
    fill(source)
    real = Promotion._apply
    left = lost

    def lose(self: Promotion, *arguments: Any, hand_over: bool = False, **more: Any) -> Any:
        nonlocal left
        done = real(self, *arguments, hand_over=hand_over, **more)
        if hand_over and left:
            left -= 1
            raise errors.ConnectError("the line is dead")
        return done

    monkeypatch.setattr(Promotion, "_apply", lose)
    monkeypatch.setattr("redkite.migration.promote._HAND_OVER_PAUSE", 0.0)
    promotion = Promotion(source, there, "one", "two", lambda _: None)
    if lost == 1:
        assert promotion.run().differences == ()
    else:
        with pytest.raises(errors.UnknownOutcome, match="run promote again"):
            promotion.run()
        with pytest.raises(errors.InvalidParameter, match="has taken over from"):
            promotion.run()
    there.insert("c", [row(7_000)])
    with pytest.raises(errors.StandbyMode):
        source.insert("c", [row(7_000)])
    source.close()
    there.close()


def test_what_is_not_empty_is_no_target(tmp_path: Path, target: ProcessServer) -> None:
    there = MilvusClient(target.uri)
    fill(there)
    with MilvusClient(str(tmp_path / "one.db")) as source:
        fill(source)
        with pytest.raises(errors.InvalidParameter, match="must be empty"):
            Promotion(source, there, "one", target.uri, lambda _: None).run()
        source.insert("c", [row(9_000)])
