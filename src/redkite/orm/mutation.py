"""What a write answers, and calls that go on in the background."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, Generic, TypeVar

T = TypeVar("T")

THREADS = 8


class MutationResult:
    """How many rows a write touched, and the keys of those it wrote."""

    def __init__(self, answer: dict[str, Any], timestamp: int) -> None:
        self._answer = answer
        self._timestamp = timestamp

    @property
    def primary_keys(self) -> list[Any]:
        return list(self._answer.get("ids", ()))

    @property
    def insert_count(self) -> int:
        return int(self._answer.get("insert_count", 0))

    @property
    def upsert_count(self) -> int:
        return int(self._answer.get("upsert_count", 0))

    @property
    def delete_count(self) -> int:
        return int(self._answer.get("delete_count", 0))

    @property
    def timestamp(self) -> int:
        """Hybrid timestamp of the write."""
        return self._timestamp

    @property
    def succ_count(self) -> int:
        return self.insert_count + self.upsert_count + self.delete_count

    @property
    def err_count(self) -> int:
        """A write succeeds as a whole, or raises."""
        return 0

    @property
    def succ_index(self) -> list[int]:
        return list(range(self.succ_count))

    @property
    def err_index(self) -> list[int]:
        return []

    @property
    def cost(self) -> int:
        return int(self._answer.get("cost", 0))

    def __repr__(self) -> str:
        return (
            f"(insert count: {self.insert_count}, delete count: {self.delete_count}, upsert count: "
            f"{self.upsert_count}, timestamp: {self.timestamp}, success count: {self.succ_count}, err count: 0)"
        )


class Pending(Generic[T]):
    """A call that goes on in a thread (`_async=True`)."""

    def __init__(self, future: Future[T]) -> None:
        self._future = future

    def result(self, timeout: float | None = None) -> T:
        """Wait for the answer, or for the error, which is raised."""
        return self._future.result(timeout)

    def done(self) -> bool:
        """Whether there is an answer; waits for it, as Milvus's SDK does."""
        self._future.exception()
        return True

    def cancel(self) -> None:
        """Give the call up, if it has not begun."""
        self._future.cancel()

    def is_done(self) -> bool:
        return self._future.done()

    def add_callback(self, function: Callable[[T], None]) -> None:
        """Called with the answer when it is there, in another thread; not when there is an error."""
        self._future.add_done_callback(lambda done: None if done.exception() else function(done.result()))


MutationFuture = SearchFuture = Pending
"""The names that Milvus's SDK has for it."""


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="redkite-orm")


def run(call: Callable[[], T], options: dict[str, Any]) -> T | Pending[T]:
    """The answer, or with `_async=True` among the options what will have it; `_callback` is called with it then."""
    in_background, callback = options.pop("_async", False), options.pop("_callback", None)
    if not in_background:
        return call()
    pending = Pending(_threads().submit(call))
    if callback is not None:
        pending.add_callback(callback)
    return pending
