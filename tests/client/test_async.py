"""The asynchronous client: made anywhere, awaited anywhere, a thousand at once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable

import numpy as np
import pytest
from tests.client.conftest import WireServer
from tests.client.fake import FakeService
from tests.client.test_signatures import OF_BOTH_KINDS

from redkite import AsyncMilvusClient, MilvusClient, errors
from redkite.client import aio, sync
from redkite.client.base import ClientBase
from redkite.client.sync_iterators import SyncIterators
from redkite.model import requests

Make = Callable[[], AsyncMilvusClient]


def public(kind: type) -> dict[str, object]:
    return {name: value for name, value in inspect.getmembers(kind) if not name.startswith("_") and callable(value)}


def test_both_clients_have_the_same_methods_with_the_same_signatures() -> None:
    blocking, awaited = public(MilvusClient), public(AsyncMilvusClient)
    assert blocking.keys() == awaited.keys()
    for name, method in blocking.items():
        ours, theirs = inspect.signature(method), inspect.signature(awaited[name])  # type: ignore[arg-type]
        assert ours.parameters == theirs.parameters or name in OF_BOTH_KINDS, name
        returned = str(theirs.return_annotation).removeprefix("Async")
        assert name in vars(SyncIterators) or str(ours.return_annotation) == returned, name
        does_io = name not in {*vars(ClientBase), *vars(SyncIterators), "session", "changes", "dump_messages"}
        assert inspect.iscoroutinefunction(awaited[name]) == does_io, name
        assert awaited[name].__doc__ == method.__doc__ or name == "close", name
    assert inspect.signature(sync.MilvusClient.__init__) == inspect.signature(aio.AsyncMilvusClient.__init__)


def test_every_public_method_is_documented_and_takes_a_timeout() -> None:
    for name, method in public(MilvusClient).items():
        assert method.__doc__, name
        if name in vars(sync.MilvusClient) or name in vars(sync.SyncAdmin):
            assert name == "close" or "timeout" in inspect.signature(method).parameters, name  # type: ignore[arg-type]


async def test_rows_written_are_found_again(make_async: Make) -> None:
    async with make_async() as client:
        await client.create_collection("docs", dimension=4)
        assert await client.insert("docs", [{"id": 1, "vector": [1.0] * 4, "text": "one"}]) == {
            "insert_count": 1, "ids": [1],
        }  # fmt: skip
        hits = await client.search("docs", [[1.0] * 4], output_fields=["text"])
        assert hits[0][0]["text"] == "one"
        assert (await client.query("docs", limit=1))[0]["text"] == "one"
        assert await client.delete("docs", ids=1) == {"delete_count": 1}
    with pytest.raises(errors.MilvusException, match="should create connection first"):
        await client.list_collections()


async def test_a_thousand_inserts_gathered_are_made_durable_together(make_async: Make, fake: FakeService) -> None:
    client = make_async()
    await client.create_collection("docs", dimension=4)
    rows = [{"id": i, "vector": [float(i)] * 4} for i in range(1000)]
    results = await asyncio.gather(*(client.insert("docs", row) for row in rows))
    assert sum(result["insert_count"] for result in results) == 1000
    assert sum(fake.commits) == 1000
    assert len(fake.commits) < 200
    await client.close()


async def test_a_thousand_searches_gathered_all_answer(make_async: Make) -> None:
    client = make_async()
    await client.create_collection("docs", dimension=4)
    await client.insert("docs", [np.arange(50), np.eye(50, 4, dtype=np.float32)])
    answers = await asyncio.gather(*(client.search("docs", [[float(i)] * 4], limit=3) for i in range(1000)))
    assert {len(answer[0]) for answer in answers} == {3}
    await client.close()


def test_a_client_made_outside_a_loop_serves_one_loop_after_another(make_async: Make) -> None:
    client = make_async()

    async def work(name: str) -> bool:
        await client.create_collection(name, dimension=4)
        return await client.has_collection(name)

    assert asyncio.run(work("first"))
    assert asyncio.run(work("second"))

    async def finish() -> None:
        await client.close()

    asyncio.run(finish())


async def test_cancelling_a_wait_does_not_cancel_the_write(path: str, fake: FakeService) -> None:
    client = AsyncMilvusClient(path)
    await client.create_collection("docs", dimension=4)
    await client.insert("docs", {"id": 0, "vector": [0.0] * 4})
    fake.commit_seconds = 0.5  # a machine that stands still a little must not be slower
    task = asyncio.create_task(client.insert("docs", {"id": 1, "vector": [1.0] * 4}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while sum(fake.commits) < 2:
        await asyncio.sleep(0.01)
    await client.close()


async def test_a_wait_ends_at_its_timeout(make_async: Make, fake: FakeService) -> None:
    async with make_async() as client:
        await client.create_collection("docs", dimension=4)
        fake.polls = 10**9
        with pytest.raises(errors.Timeout):
            await client.load_collection("docs", timeout=0.1)


async def test_the_loop_goes_on_while_a_read_is_slow(path: str, fake: FakeService) -> None:
    client = AsyncMilvusClient(path)
    await client.create_collection("docs", dimension=4)
    await client.insert("docs", {"id": 0, "vector": [0.0] * 4})
    answer = fake._Search
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(request: requests.Search) -> object:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(30)
        return answer(request)

    fake._Search = slow  # type: ignore[method-assign, assignment]
    fake.quick = False
    search = asyncio.create_task(client.search("docs", [[0.0] * 4]))
    await asyncio.sleep(0.02)
    assert not search.done()
    gate.set()
    assert (await search)[0].ids == [0]
    await client.close()


async def test_a_server_that_is_not_there_fails_every_waiter() -> None:
    client = AsyncMilvusClient("http://127.0.0.1:9", timeout=0.3)
    answers = await asyncio.gather(*(client.list_collections() for _ in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} <= {errors.ConnectError, errors.Timeout}
    assert any(isinstance(answer, errors.ConnectError) for answer in answers)


async def test_one_greeting_serves_all_tasks(server: WireServer) -> None:
    client = AsyncMilvusClient(server.uri)
    await asyncio.gather(*(client.list_collections() for _ in range(50)))
    assert [method for method, _ in server.seen].count("Connect") == 1
    await client.close()
