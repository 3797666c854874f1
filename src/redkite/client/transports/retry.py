"""Which failed calls are tried again, and when."""

from __future__ import annotations

from collections.abc import Iterator

from redkite.errors import MilvusException, NotReady, RateLimited, Unavailable
from redkite.model.imports import ImportFiles
from redkite.model.requests import Delete, Insert, RenameCollection, Request, Upsert
from redkite.model.types import FieldOp

MAX_RETRIES = 75
FIRST_DELAY = 0.01
GROWTH = 3
LONGEST_DELAY = 3.0

_ONCE = (Insert, RenameCollection, ImportFiles)


class NeverSent(Unavailable):
    """No connection was made: the server has not seen the call."""


def delays() -> Iterator[float]:
    """Seconds to wait before each retry; ends when there is to be no further one."""
    delay = FIRST_DELAY
    for _ in range(MAX_RETRIES):
        yield delay
        delay = min(delay * GROWTH, LONGEST_DELAY)


def may_repeat(request: Request, error: MilvusException) -> bool:
    """Whether the same call may succeed later and cannot do harm: what the server refused outright or never saw may
    be repeated; a lost connection leaves open what happened, so then only what can be done twice."""
    if isinstance(error, NotReady | RateLimited | NeverSent):
        return True
    return isinstance(error, Unavailable) and _may_come_twice(request)


def _may_come_twice(request: Request) -> bool:
    """Whether doing it twice is doing it once. Elements would be appended again; and a condition that held the first
    time holds no more, so that the answer would deny what was done."""
    if isinstance(request, Upsert):
        return request.condition is None and FieldOp.ARRAY_APPEND not in request.field_ops.values()
    if isinstance(request, Delete):
        return request.condition is None
    return not isinstance(request, _ONCE)


def out_of_retries(request: Request, error: MilvusException) -> MilvusException:
    text = f"[{type(request).__name__}] Retry run out of {MAX_RETRIES} retry times, message={error.message}"
    return type(error)(text, error.code)


def out_of_time(request: Request, error: MilvusException) -> MilvusException:
    return type(error)(f"[{type(request).__name__}] Retry timeout, message={error.message}", error.code)
