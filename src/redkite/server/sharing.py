"""How the counters of all processes of one server come together: each worker listens on a socket of its own, and says
what it has counted to whoever connects.

What a process had counted when it was last asked stays in the sums after its end, so that no counter goes back.
"""

from __future__ import annotations

import asyncio
import os
import time

import msgspec

from redkite.logs import get_logger
from redkite.model.decoding import from_msgpack
from redkite.server.exposition import Sample
from redkite.server.gauges import resident_bytes
from redkite.server.metrics import Counted
from redkite.server.slow import KEPT, SlowQuery

_ANSWER_SECONDS = 2.0
"""How long a worker is waited for."""
_log = get_logger(__name__)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a process says of itself."""

    pid: int
    counted: Counted
    slow: list[SlowQuery]
    cpu_seconds: float
    resident_bytes: int


def told(counted: Counted, slow: list[SlowQuery]) -> Told:
    """Of this process."""
    return Told(
        pid=os.getpid(), counted=counted, slow=slow, cpu_seconds=time.process_time(), resident_bytes=resident_bytes()
    )


def worker_socket(folder: str, number: int) -> str:
    """Where a worker says it."""
    return f"{folder}/worker-{number}.sock"


async def _ask(path: str) -> Told | None:
    """None when the worker does not answer: it has just ended, or is busy."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return from_msgpack(await reader.read(-1), Told)
            finally:
                writer.close()
    except (OSError, TimeoutError, msgspec.DecodeError) as error:
        _log.debug("no counters from %s: %s", path, error)
        return None


class Gathered:
    """The counters of all workers. Belongs to the first process's event loop."""

    def __init__(self, folder: str, workers: int) -> None:
        """`workers`: beside the first process."""
        self._folder = folder
        self._numbers = range(1, workers + 1)
        self._ended = Counted()
        self._last: dict[int, Told] = {}

    async def ask(self) -> None:
        """Have every worker say what it has counted by now."""
        found = await asyncio.gather(*(_ask(worker_socket(self._folder, number)) for number in self._numbers))
        for number, new in zip(self._numbers, found, strict=True):
            if new is None:
                continue
            old = self._last.get(number)
            if old is not None and old.pid != new.pid:
                self._ended.add(old.counted)
            self._last[number] = new

    def add_to(self, counted: Counted) -> None:
        """What they said last."""
        counted.add(self._ended)
        for one in self._last.values():
            counted.add(one.counted)

    def slow(self, mine: list[SlowQuery]) -> list[SlowQuery]:
        """Those of all processes, the newest first."""
        every = [*mine, *(slow for one in self._last.values() for slow in one.slow)]
        return sorted(every, key=lambda slow: slow.time, reverse=True)[:KEPT]

    def samples(self) -> list[Sample]:
        """What each of them takes."""
        samples = []
        for number, one in self._last.items():
            labels = (("worker", str(number)),)
            text = "CPU time of a worker process, in seconds."
            samples.append(Sample("redkite_worker_cpu_seconds_total", text, one.cpu_seconds, labels, "counter"))
            text = "Memory of a worker process, mapped files included."
            samples.append(Sample("redkite_worker_resident_memory_bytes", text, one.resident_bytes, labels))
        return samples
