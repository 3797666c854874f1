"""Waiting for what comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from redkite import errors


def until(check: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition; one that raises what a client is told does not hold yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except errors.MilvusException:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.05)
