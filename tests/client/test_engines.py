"""Clients of one file share one engine; the last to leave closes it."""

from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.client.fake import FakeService

from redkite import AsyncMilvusClient, MilvusClient, errors
from redkite.client.transports import engines
from redkite.model import requests


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[FakeService]:
    """Every engine that was opened."""
    made: list[FakeService] = []

    def open_handle(path: str) -> FakeService:
        made.append(FakeService())
        return made[-1]

    monkeypatch.setattr(engines, "open_handle", open_handle)
    return made


async def test_clients_of_one_file_share_its_engine(opened: list[FakeService], tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    first, second, third = MilvusClient(path), MilvusClient(f"{tmp_path}/./x.db"), AsyncMilvusClient(path)
    first.create_collection("c", dimension=2)
    assert second.has_collection("c")
    assert await third.has_collection("c")
    assert len(opened) == 1
    first.close()
    first.close()
    await third.close()
    assert not opened[0].closed
    second.close()
    assert opened[0].closed
    MilvusClient(path).close()
    assert len(opened) == 2


def test_another_file_has_another_engine(opened: list[FakeService], tmp_path: Path) -> None:
    with MilvusClient(str(tmp_path / "a.db")) as a, MilvusClient(str(tmp_path / "b.db")) as b:
        a.create_collection("c", dimension=2)
        assert not b.has_collection("c")


def test_a_client_that_is_forgotten_leaves_its_engine(opened: list[FakeService], tmp_path: Path) -> None:
    client = MilvusClient(str(tmp_path / "x.db"))
    del client
    gc.collect()
    assert opened[0].closed


async def test_an_asynchronous_client_opens_nothing_before_its_first_call(
    opened: list[FakeService], tmp_path: Path
) -> None:
    client = AsyncMilvusClient(str(tmp_path / "x.db"))
    assert opened == []
    await client.close()
    assert opened == []


async def test_a_database_that_cannot_be_opened_may_open_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake: FakeService
) -> None:
    answers: list[object] = [errors.PathLocked("opened by process 1"), fake]

    def open_handle(path: str) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(engines, "open_handle", open_handle)
    client = AsyncMilvusClient(str(tmp_path / "x.db"))
    with pytest.raises(errors.PathLocked):
        await client.list_collections()
    assert await client.list_collections() == []
    await client.close()


def test_a_missing_database_is_known_when_opening(opened: list[FakeService], tmp_path: Path) -> None:
    with pytest.raises(errors.DatabaseNotFound):
        MilvusClient(str(tmp_path / "x.db"), db_name="nowhere")


def test_a_forked_child_is_told_to_open_its_own(opened: list[FakeService], tmp_path: Path) -> None:
    client = MilvusClient(str(tmp_path / "x.db"))
    child = os.fork()
    if child == 0:
        try:
            client.list_collections()
        except errors.ConnectError as error:
            told = str(os.getppid()) in error.message and "fork" in error.message
            os._exit(7 if told else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert client.list_collections() == []
    client.close()


def test_a_write_that_takes_too_long_is_a_timeout(opened: list[FakeService], tmp_path: Path) -> None:
    with MilvusClient(str(tmp_path / "x.db")) as client:
        client.create_collection("c", dimension=2)
        opened[0]._commit = lambda result: Future()  # type: ignore[method-assign]
        with pytest.raises(errors.Timeout, match="may still become durable"):
            client.insert("c", {"id": 1, "vector": [1.0, 2.0]}, timeout=0.05)


def test_a_client_serves_many_threads(opened: list[FakeService], tmp_path: Path) -> None:
    with MilvusClient(str(tmp_path / "x.db")) as client:
        client.create_collection("c", dimension=2)

        def work(number: int) -> None:
            for i in range(20):
                client.insert("c", {"id": 100 * number + i, "vector": [1.0, 2.0]})

        threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.get_collection_stats("c") == {"row_count": 100}
        assert len(opened[0].sent(requests.DescribeCollection)) <= 5


def test_a_client_that_is_collected_while_another_opens_leaves_its_engine_then(
    opened: list[FakeService], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[object] = [MilvusClient(str(tmp_path / "old.db"))]
    forgotten.append(forgotten)  # a cycle, which only the collector takes apart
    open_fake = engines.open_handle

    def collect(path: str) -> engines.Handle:
        gc.collect()
        return open_fake(path)

    monkeypatch.setattr(engines, "open_handle", collect)
    gc.disable()
    del forgotten
    done = threading.Event()

    def work() -> None:
        MilvusClient(str(tmp_path / "new.db")).close()
        done.set()

    threading.Thread(target=work, daemon=True).start()
    ended = done.wait(10)
    gc.enable()
    assert ended, "the collector's finalizer waits for the thread that it interrupts"
    assert [service.closed for service in opened] == [True, True]
