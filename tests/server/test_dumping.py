"""The messages of a log, one by one: over the wire by Milvus's SDK and ours, and in process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pymilvus
import pytest
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc
from tests.servers import ProcessServer, ThreadServer, alone, engine_here

import redkite
from redkite.errors import InvalidParameter, ParamError
from redkite.server import dumping

pytestmark = alone
CHANNEL = "by-dev-rootcoord-dml_0"
EARLIEST = {"id": "earliest", "wal_name": "Unknown"}
NAME = "birds"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with ProcessServer(tmp_path_factory.mktemp("dumping") / "data") as started:
        yield started


def fill(client: Any) -> None:
    if client.has_collection(NAME):
        client.drop_collection(NAME)
    client.create_collection(NAME, dimension=4)
    client.insert(NAME, [{"id": n, "vector": [float(n), 1.0, 2.0, 3.0]} for n in range(3)])


def table(message: dict[str, Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pa.ipc.open_stream(message["payload"]).read_all().to_pydict()
    return found


def end_of(client: Any) -> dict[str, str]:
    """The place behind everything."""
    last: dict[str, str] = list(client.dump_messages(CHANNEL, EARLIEST))[-1]["message_id"]
    return last


def written(client: Any, start: dict[str, str]) -> list[dict[str, Any]]:
    """What one insert and one delete leave behind a place."""
    client.insert(NAME, [{"id": 77, "vector": [7.0, 1.0, 2.0, 3.0]}])
    client.delete(NAME, ids=[77])
    return list(client.dump_messages(CHANNEL, start))


def check_messages(messages: list[dict[str, Any]]) -> None:
    inserted, deleted = messages
    assert [m["properties"]["type"] for m in messages] == ["insert", "delete"]
    assert table(inserted)["100"] == [77] and table(inserted)["101"] == [[7.0, 1.0, 2.0, 3.0]]
    assert table(deleted) == {"key": [77]}
    assert inserted["properties"]["vchannel"].startswith(f"{CHANNEL}_{inserted['properties']['collection_id']}v")
    assert int(inserted["properties"]["timetick"]) < int(deleted["properties"]["timetick"])


@pytest.mark.parametrize("library", [redkite, pymilvus])
def test_what_was_written_behind_a_place_is_dumped_in_order(library: Any, server: ProcessServer) -> None:
    client = library.MilvusClient(server.uri)
    fill(client)
    start = end_of(client)
    messages = written(client, start)
    check_messages(messages)
    first, second = (int(m["properties"]["timetick"]) for m in messages)

    def between(begin: int, end: int) -> list[str]:
        found = client.dump_messages(CHANNEL, start, start_timetick=begin, end_timetick=end)
        return [m["properties"]["type"] for m in found]

    assert between(second, 0) == ["delete"]
    assert between(0, first) == ["insert"]
    assert between(first + 1, second - 1) == []
    assert list(client.dump_messages("by-dev-rootcoord-dml_9", start)) == [], "of another channel"
    behind = messages[-1]["message_id"]
    assert list(client.dump_messages(CHANNEL, behind)) == []
    client.create_partition(NAME, "north")
    (defined,) = client.dump_messages(CHANNEL, behind)
    assert defined["properties"]["type"] == "definition" and b"north" in defined["payload"]
    client.close()


def test_in_process_it_is_the_same(tmp_path: Path) -> None:
    with redkite.MilvusClient(str(tmp_path / "birds.db")) as client:
        fill(client)
        check_messages(written(client, end_of(client)))


@pytest.mark.parametrize("library", [redkite, pymilvus])
def test_both_awaited_clients_dump(library: Any, server: ProcessServer) -> None:
    with redkite.MilvusClient(server.uri) as plain:
        fill(plain)
        start = end_of(plain)
        written(plain, start)

    async def main() -> list[dict[str, Any]]:
        client = library.AsyncMilvusClient(server.uri)
        found = [message async for message in client.dump_messages(CHANNEL, start)]
        await client.close()
        return found

    check_messages(asyncio.run(main()))


def test_a_place_that_is_none_is_refused_in_the_stream(server: ProcessServer) -> None:
    client = pymilvus.MilvusClient(server.uri)
    with pytest.raises(pymilvus.MilvusException, match="not the position of a change feed"):
        list(client.dump_messages(CHANNEL, {"id": "nowhere", "wal_name": "Unknown"}))
    with pytest.raises(pymilvus.MilvusException, match="there is no time from start_timetick=9 to end_timetick=3"):
        list(client.dump_messages(CHANNEL, EARLIEST, start_timetick=9, end_timetick=3))
    client.close()
    with grpc.insecure_channel(server.uri.removeprefix("http://")) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        (reply,) = stub.DumpMessages(milvus_pb2.DumpMessagesRequest())
        assert reply.status.code == 1100 and "pchannel" in reply.status.reason


def test_our_client_looks_at_its_arguments_before_anything_is_sent(tmp_path: Path) -> None:
    with redkite.MilvusClient(str(tmp_path / "birds.db")) as opened:
        client: Any = opened
        for bad in ({}, {"id": ""}, {"id": 7}, None):
            with pytest.raises(ParamError, match="start_message_id"):
                client.dump_messages(CHANNEL, bad)
        with pytest.raises(ParamError, match="pchannel"):
            client.dump_messages("", EARLIEST)
        with pytest.raises(InvalidParameter, match="there is no time"):
            client.dump_messages(CHANNEL, EARLIEST, 9, 3)
        with pytest.raises(ParamError, match="until"):
            client.dump_messages(CHANNEL, EARLIEST, until=3)


def test_more_than_one_answer_holds_ends_with_the_place_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumping, "MOST_BYTES", 400_000)
    monkeypatch.setattr("redkite.client.dumping._BYTES", 65_536)
    database = engine_here(str(tmp_path / "data"))
    server = ThreadServer(database.service)
    try:
        client = pymilvus.MilvusClient(server.uri)
        client.create_collection(NAME, dimension=64)
        start = end_of(redkite.MilvusClient(server.uri))
        vectors = np.random.default_rng(7).standard_normal((1_000, 64)).tolist()
        for number in range(5):
            client.insert(NAME, [{"id": number * 1_000 + n, "vector": v} for n, v in enumerate(vectors)])
        found, breaks = [], 0
        place = start["id"]
        while True:
            try:
                found += client.dump_messages(CHANNEL, {"id": place, "wal_name": "Unknown"})
                break
            except pymilvus.MilvusException as error:
                assert "go on from" in error.message
                place, breaks = error.message.rpartition(" ")[2], breaks + 1
        assert breaks > 1
        assert [key for message in found for key in table(message)["100"]] == list(range(5_000))
        client.close()
    finally:
        server.stop()
        database.close()
