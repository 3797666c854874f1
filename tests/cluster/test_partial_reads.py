"""Where reads may leave rows out, each answer says that it did, and how many; who decides by a read has all rows."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pymilvus
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME
from tests.servers import ThreadServer

import redkite
from redkite.cluster.in_process import SMALL
from redkite.cluster.roles.query import QueryRole
from redkite.config import Settings
from redkite.errors import Unavailable
from redkite.model import requests as rq
from redkite.model.reach import Reach
from redkite.model.types import DataType

SEGMENTS, ROWS = 4, 50
GONE = Reach(SEGMENTS * ROWS, SEGMENTS * ROWS // 2, SEGMENTS // 2)
"""Of a read when one of two query nodes is gone, and the other takes nothing more."""
VECTORS = np.random.default_rng(3).normal(size=(SEGMENTS * ROWS, DIM)).astype(np.float32)
QUERY = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=VECTORS[:1])


def asked(engine: ClusterEngine, filter: str = "", limit: int | None = None, fields: tuple[str, ...] = ("*",)) -> Any:
    return engine.call(rq.Query(collection=NAME, filter=filter, limit=limit, output_fields=fields))


@pytest.fixture(scope="module")
def lame(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterEngine]:
    """Half of the rows are on a node that is gone, and the other one opens no more segments."""
    config = msgspec.structs.replace(
        SMALL, required_data_ratio=0.1, read_seconds=0.5, streaming=1, settings=Settings(compaction="manual")
    )
    engine = ClusterEngine(str(tmp_path_factory.mktemp("lame") / "objects"), config)
    engine.create(index="FLAT")
    for at in range(0, len(VECTORS), ROWS):
        engine.insert(range(at, at + ROWS), VECTORS[at : at + ROWS], range(at, at + ROWS))
        engine.flush()
    assert engine.search(VECTORS[:1], 5).reach is None, "all nodes are there"
    there, gone = engine.cluster.nodes("query")
    assert isinstance(there.node, QueryRole)
    assert len(there.node.held) == SEGMENTS // 2
    there.node._service.refuse("this node is full")
    engine.cluster.kill(gone)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def server(lame: ClusterEngine) -> Iterator[ThreadServer]:
    with ThreadServer(lame.cluster.service()) as made:
        yield made


def test_every_kind_of_read_says_what_it_left_out(lame: ClusterEngine) -> None:
    assert lame.search(VECTORS[:3], 5).reach == GONE
    assert lame.search(VECTORS[:1], 5, filter="number >= 0").reach == GONE
    assert lame.search(VECTORS[:1], 5, grouping=rq.Grouping(fields=("number",))).reach == GONE
    rows = asked(lame, limit=1000)
    assert (rows.rows.num_rows, rows.reach) == (100, GONE)
    counted = asked(lame, fields=("count(*)",))
    assert (counted.rows.column(0).to_pylist(), counted.reach) == ([100], GONE)
    added = asked(lame, fields=("sum(number)",))
    assert added.reach == GONE
    searches = tuple(rq.Search(collection=NAME, queries=QUERY, limit=3, anns_field="vector") for _ in "ab")
    assert lame.call(rq.HybridSearch(collection=NAME, searches=searches, limit=3)).reach == GONE


def test_a_read_of_what_is_reached_says_nothing(lame: ClusterEngine) -> None:
    ids = asked(lame, limit=1000).rows.column("id").to_pylist()
    found = asked(lame, f"number in [{ids[0]}]")
    assert found.rows.num_rows == 1
    assert found.reach is None, "its segment alone was asked for: the ranges of the others rule them out"


@pytest.mark.parametrize("package", [redkite, pymilvus], ids=["redkite", "pymilvus"])
def test_clients_are_told_over_the_wire(server: ThreadServer, package: Any) -> None:
    client = package.MilvusClient(uri=server.uri)
    found = client.search(NAME, data=VECTORS[:2].tolist(), limit=3)
    rows = client.query(NAME, filter="number >= 0", limit=1000)
    assert len(rows) == 100
    if package is redkite:
        for answer in (found, rows, found[0]):
            assert answer.reach == GONE
            assert answer.reach.data_ratio == 0.5
        for answer in (found, rows):
            assert answer.extra == {"data_ratio": 0.5, "data_rows": 200, "left_out_rows": 100, "left_out_segments": 2}
        assert "'left_out_rows': 100" in repr(found)
        pages = client.search_iterator(NAME, data=VECTORS[:1].tolist(), batch_size=9)
        assert pages.next().reach == GONE
    client.close()


def test_the_status_of_a_reply_tells_whoever_looks(server: ThreadServer) -> None:
    """What pymilvus gets, and shows of it only keys that it knows."""
    import grpc
    from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        wanted = milvus_pb2.QueryRequest(collection_name=NAME, expr="number >= 0", output_fields=["count(*)"])
        told = dict(stub.Query(wanted).status.extra_info)
    assert told == {"data_ratio": "0.5", "data_rows": "200", "left_out_rows": "100", "left_out_segments": "2"}


def test_the_async_client_is_told(server: ThreadServer) -> None:
    async def ask() -> list[Any]:
        async with redkite.AsyncMilvusClient(uri=server.uri) as client:
            found = await client.search(NAME, data=VECTORS[:1].tolist(), limit=3)
            return [found.reach, (await client.query(NAME, filter="number >= 0", limit=3)).reach]

    assert asyncio.run(ask()) == [GONE, GONE]


def test_rest_says_it_beside_the_data(server: ThreadServer) -> None:
    def post(path: str, **body: Any) -> Any:
        asked = urllib.request.Request(
            f"{server.uri}/v2/vectordb/entities/{path}", json.dumps({"collectionName": NAME, **body}).encode()
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.load(answer)

    told = {"dataRatio": 0.5, "dataRows": 200, "leftOutRows": 100, "leftOutSegments": 2}
    one = {"data": VECTORS[:1].tolist(), "annsField": "vector", "limit": 3}
    for answer in (
        post("search", **one), post("query", filter="number >= 0", limit=3), post("hybrid_search", limit=3, rerank={
            "strategy": "rrf", "params": {}}, search=[one, one]),
    ):  # fmt: skip
        assert {key: answer.get(key) for key in told} == told
        assert len(answer["data"]) == 3


def test_a_delete_by_a_filter_never_leaves_rows_behind(lame: ClusterEngine) -> None:
    with pytest.raises(Unavailable, match="served by no node"):
        lame.delete("number % 2 == 0")
    assert lame.count("number % 2 == 0") == 50


def test_a_partial_upsert_never_takes_a_row_for_a_new_one(lame: ClusterEngine) -> None:
    there = set(asked(lame, limit=1000).rows.column("id").to_pylist())
    hidden = min(set(range(len(VECTORS))) - there)
    batch = lame.batch([hidden], VECTORS[:1], [-1]).select(["id", "number"])
    with pytest.raises(Unavailable, match="served by no node"):
        lame.call(rq.Upsert(collection=NAME, rows=batch, partial=True))


def test_a_search_by_a_key_that_is_not_reached_does_not_say_that_it_is_gone(lame: ClusterEngine) -> None:
    there = set(asked(lame, limit=1000).rows.column("id").to_pylist())
    hidden = min(set(range(len(VECTORS))) - there)
    wanted = rq.Search(collection=NAME, queries=rq.Queries(data_type=DataType.NONE, ids=pa.array([hidden])), limit=3)
    with pytest.raises(Unavailable, match="served by no node"):
        lame.call(wanted)
