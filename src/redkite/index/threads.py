"""How many native threads one call may use.

faiss takes the number from a setting of the calling thread, and its workers spin between calls unless told not to,
which is ruinous when searches run side by side: one thread a call, more only where that pays for the hand-over.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import faiss

from redkite.env import Executor

__all__ = ["CORES", "LARGE_CALL", "faiss", "native", "native_method", "native_object", "shared_out", "use_threads"]

A = TypeVar("A")
T = TypeVar("T")

CORES = os.cpu_count() or 1
LARGE_CALL = 6_000_000
"""Multiply-adds from which a call is split over all cores (some .7 ms of one core)."""


def native(name: str) -> Any:
    """A function of faiss without the Python function that only passes its arguments on: for what is called many times
    in a small search."""
    wrapped = getattr(faiss, name)
    library = getattr(sys.modules[wrapped.__module__], "_swigfaiss", None)
    return getattr(library, name, wrapped)


def native_object(wrapped: Any) -> Any:
    """What a Python object of faiss stands for. Handing it on instead saves a native function a microsecond of looking
    for it; whoever does keeps the Python object, and with it whatever that refers to."""
    return getattr(wrapped, "this", wrapped)


def native_method(owner: Any, name: str) -> Callable[..., Any]:
    """A method of an object of faiss as `native` has functions. Whoever calls it keeps `owner`."""
    bound = getattr(owner, name)
    library = getattr(sys.modules[bound.__func__.__module__], "_swigfaiss", None)
    function = getattr(library, bound.__func__.__qualname__.replace(".", "_"), None)
    return bound if function is None else partial(function, native_object(owner))


_set_threads = native("omp_set_num_threads")


def use_threads(work: int) -> None:
    """Let this thread's next faiss call, of about `work` multiply-adds, use one core, or all when that pays."""
    _set_threads(CORES if work >= LARGE_CALL else 1)


def shared_out(pool: Executor, work: Callable[[A], T], pieces: Sequence[A]) -> list[T]:
    """`work` done on each piece, by this thread and those of the pool: the results, in order. A piece that no thread
    has begun yet, because all are busy, is not waited for. Raises what a piece raised."""
    others: list[Future[T]] = [pool.submit(work, piece) for piece in pieces[1:]]
    own: dict[int, T] = {}
    try:
        own[0] = work(pieces[0])
        for at in range(len(others), 0, -1):  # the pool begins at the other end
            if others[at - 1].cancel():
                own[at] = work(pieces[at])
        return [own[at] if at in own else others[at - 1].result() for at in range(len(pieces))]
    finally:
        for other in others:
            other.cancel()
