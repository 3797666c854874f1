"""`optimize(wait=False)`: what goes on beside its caller."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.patience import until

import redkite
from redkite.client.optimizing import AsyncOptimizeTask, OptimizeTask
from redkite.errors import CollectionNotFound, MilvusException, ParamError, Timeout

NAME = "birds"
STAGES = [
    "initializing", "waiting for indexes", "compacting", "waiting for compaction", "waiting for index rebuild",
    "refreshing load",
]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    found = str(tmp_path / "birds.db")
    with redkite.MilvusClient(found) as client:
        client.create_collection(NAME, dimension=4)
        for start in (0, 100):
            client.insert(NAME, [{"id": start + n, "vector": [n, 1.0, 2.0, 3.0]} for n in range(100)])
            client.flush(NAME)
    yield found


def test_a_task_tells_how_far_it_is_and_has_the_result(path: str) -> None:
    with redkite.MilvusClient(path) as client:
        task = client.optimize(NAME, target_size="512MB", wait=False)
        assert isinstance(task, OptimizeTask)
        result = task.result(60)
        assert (result.status, result.collection_name, result.target_size) == ("success", NAME, "512MB")
        assert task.done() and not task.cancelled() and not task.cancel()
        assert task.progress_history() == result.progress == STAGES
        assert task.progress() == "refreshing load"
        assert len(client.list_persistent_segments(NAME)) == 1, "the two segments have become one"


def test_what_cannot_be_optimized_is_told_by_the_result_and_wrong_arguments_at_once(path: str) -> None:
    with redkite.MilvusClient(path) as opened:
        client: Any = opened
        task = client.optimize("nobody", wait=False)
        with pytest.raises(CollectionNotFound):
            task.result(60)
        assert task.done()
        with pytest.raises(ParamError, match="target_size"):
            client.optimize(NAME, target_size="much", wait=False)
        with pytest.raises(ParamError, match="wayt"):
            client.optimize(NAME, wait=False, wayt=1)


class Held:
    """An operation's driver that stands still until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, operation: Any) -> Any:
        self.go.wait(30)
        try:
            operation.send(None)
            operation.send(None)
        except StopIteration as finished:
            return finished.value


def operation(stages: list[str]) -> Any:
    stages.append("compacting")
    yield "a request"
    return "done"


def test_a_task_that_is_given_up_ends_before_its_next_request() -> None:
    held = Held()
    task = OptimizeTask(operation, held)
    with pytest.raises(Timeout):
        task.result(0.01)
    assert task.cancel() and task.cancel() and task.cancelled() and task.done()
    assert task.progress() == "cancelled"
    with pytest.raises(MilvusException, match="was cancelled"):
        task.result()
    held.go.set()
    until(task._finished.is_set)
    assert isinstance(task._error, MilvusException), "it did not go on"


def test_a_task_of_the_event_loop_is_awaited(path: str) -> None:
    async def main() -> None:
        async with redkite.AsyncMilvusClient(path) as client:
            task = await client.optimize(NAME, wait=False)
            assert isinstance(task, AsyncOptimizeTask)
            assert (await task.result(60)).progress == task.progress_history() == STAGES
            assert task.done() and not task.cancel()
            other: Any = await client.optimize(NAME, wait=False)
            assert other.cancel() and other.cancelled() and other.done()
            with pytest.raises(MilvusException, match="was cancelled"):
                await other.result()
            lost: Any = await client.optimize("nobody", wait=False)
            with pytest.raises(CollectionNotFound):
                await lost.result(60)

    asyncio.run(main())
