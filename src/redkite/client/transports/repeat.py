"""Calls that are made again when they failed in a way that may pass: once for threads, once for tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from redkite.client.transports import retry
from redkite.client.transports.speech import refusal
from redkite.errors import MilvusException
from redkite.model.requests import Request
from redkite.model.results import Result

Once = Callable[[Request, float | None], Result]
OnceAsync = Callable[[Request, float | None], Awaitable[Result]]


def repeated(once: Once, request: Request, deadline: float | None) -> Result:
    """The first answer of `once`, or the error that ends the attempts."""
    later = retry.delays()
    while True:
        try:
            return once(request, deadline)
        except MilvusException as error:
            delay = next(later, None)
            refusal(request, error, delay, deadline)
        time.sleep(delay or 0)


async def repeated_async(once: OnceAsync, request: Request, deadline: float | None) -> Result:
    """`repeated` for tasks."""
    later = retry.delays()
    while True:
        try:
            return await once(request, deadline)
        except MilvusException as error:
            delay = next(later, None)
            refusal(request, error, delay, deadline)
        await asyncio.sleep(delay or 0)
