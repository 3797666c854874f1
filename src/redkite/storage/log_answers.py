"""What the logs have in common: the names of topics, and telling those who wait."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from redkite.errors import InvalidParameter

MAX_NAME_BYTES = 200


def check_name(name: str, what: str) -> None:
    """Raises InvalidParameter for a name that could not be a file's."""
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidParameter(f"{name!r} is no name for a log {what}")


def finish(future: Future[Any], answer: Callable[[], Any] | None, position: int) -> None:
    """Tell the waiter of an append that is durable and applied."""
    if answer is None:
        future.set_result(position)
        return
    try:
        told = answer()
    except Exception as error:  # noqa: BLE001  whatever it was, it is what the waiter hears
        future.set_exception(error)
    else:
        future.set_result(told)
