"""Sessions: reads that the cluster of one name answers, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymilvus
import pytest
from tests.servers import ProcessServer, alone

import redkite
from redkite.errors import CrossCluster, MilvusException, ParamError

pytestmark = alone
ROWS = [{"id": number, "vector": [float(number), 1.0, 2.0, 3.0]} for number in range(10)]
QUERY = [[1.0, 2.0, 3.0, 4.0]]
NAME = "birds"
REFUSED = r"cross cluster routing\[expectedCluster=south\]\[actualCluster=north\]"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    folder = tmp_path_factory.mktemp("north")
    (folder / "redkite.toml").write_text('cluster_id = "north"\n')
    with ProcessServer(folder / "data", "--config", str(folder / "redkite.toml")) as started:
        fill(started.uri)
        yield started


def fill(uri: str) -> None:
    with redkite.MilvusClient(uri) as client:
        client.create_collection(NAME, dimension=4)
        client.insert(NAME, ROWS)


def read_all(client: Any, session: Any) -> list[int]:
    """How many rows each kind of read gives."""
    hybrid = [client.AnnSearchRequest(QUERY, "vector", {}, 2)]
    return [
        len(session.search(NAME, data=QUERY, limit=2)[0]),
        len(session.query(NAME, filter="id < 3")),
        len(session.get(NAME, [1])),
        len(session.hybrid_search(NAME, hybrid, client.RRFRanker(), 2)[0]),
        len(session.query_iterator(NAME, batch_size=3).next()),
        len(session.search_iterator(NAME, data=QUERY, batch_size=4).next()),
    ]


def kinds_of_read(client: Any, session: Any) -> list[Any]:
    hybrid = [client.AnnSearchRequest(QUERY, "vector", {}, 2)]
    return [
        lambda: session.search(NAME, data=QUERY, limit=2),
        lambda: session.query(NAME, filter="id < 3"),
        lambda: session.get(NAME, [1]),
        lambda: session.hybrid_search(NAME, hybrid, client.RRFRanker(), 2),
        lambda: session.query_iterator(NAME, batch_size=3).next(),
        lambda: session.search_iterator(NAME, data=QUERY, batch_size=4).next(),
    ]


@pytest.mark.parametrize("library", [redkite, pymilvus])
def test_the_cluster_that_is_meant_answers_and_another_refuses(library: Any, server: ProcessServer) -> None:
    client = library.MilvusClient(server.uri)
    assert read_all(library, client.session("north")) == [2, 3, 1, 2, 3, 4]
    for read in kinds_of_read(library, client.session("south")):
        with pytest.raises(library.MilvusException, match=REFUSED) as caught:
            read()
        assert caught.value.code == 6
    assert len(client.query(NAME, filter="id < 3")) == 3, "the client itself asks whoever is there"
    client.close()


def test_in_process_a_session_is_the_same(tmp_path: Path) -> None:
    path = str(tmp_path / "birds.db")
    fill(path)
    with redkite.MilvusClient(path) as client:
        assert read_all(redkite, client.session("by-dev")) == [2, 3, 1, 2, 3, 4]
        with pytest.raises(CrossCluster, match=r"expectedCluster=south\]\[actualCluster=by-dev"):
            client.session("south").get(NAME, [1])


def test_a_session_awaits_too(server: ProcessServer) -> None:
    async def main() -> tuple[int, int, list[int]]:
        async with redkite.AsyncMilvusClient(server.uri) as client:
            async with client.session("north") as session:
                rows, hits = await session.query(NAME, "id < 3"), await session.search(NAME, QUERY, limit=2)
                pages = [len(page) async for page in session.query_iterator(NAME, batch_size=4)]
            with pytest.raises(MilvusException, match="session is closed"):
                await session.get(NAME, [1])
            with pytest.raises(CrossCluster):
                await client.session("south").get(NAME, [1])
        return len(rows), len(hits[0]), pages

    assert asyncio.run(main()) == (3, 2, [4, 4, 2])


def test_searches_for_different_clusters_that_come_together_are_not_answered_together(server: ProcessServer) -> None:
    async def main() -> list[Any]:
        async with redkite.AsyncMilvusClient(server.uri) as client:
            asked = [client.session(("north", "south")[n % 2]).search(NAME, QUERY, limit=1) for n in range(20)]
            return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(main())
    assert all(isinstance(one, CrossCluster) for one in found[1::2])
    assert all(len(one[0]) == 1 for one in found[::2])


def test_a_closed_session_answers_nothing_and_its_client_goes_on(server: ProcessServer) -> None:
    with redkite.MilvusClient(server.uri) as client:
        with client.session("north") as session:
            assert len(session.get(NAME, [1])) == 1
        with pytest.raises(MilvusException, match="session is closed"):
            session.get(NAME, [1])
        assert len(client.get(NAME, [1])) == 1
        with pytest.raises(ParamError):
            client.session("")
        loose: Any = client.session("north")
        with pytest.raises(ParamError, match="outputfields"):
            loose.query(NAME, outputfields=["id"])
