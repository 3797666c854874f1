"""What a coordinator does when it begins to lead, beside answering: it tidies up behind the one before, and goes on
with what that one was asked to do and did not finish. Later it lets the store forget what nobody will ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from redkite.env import Env, Executor, Timer
from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.node.topology import Topology
from redkite.proxy.definitions import drop_data
from redkite.proxy.service import Proxy
from redkite.storage.coordination import Fenced
from redkite.storage.followed import FollowedCatalog

log = get_logger(__name__)

RETRY_SECONDS: Final = 1.0
FORGET_SECONDS: Final = 300.0
"""Revisions of the catalog older than once or twice this are forgotten. Who was away for longer reads it all again."""


class TakingOver:
    """Safe from any thread. Every step may be done again by the next leader."""

    def __init__(self, env: Env, catalog: FollowedCatalog, topology: Topology, proxy: Proxy) -> None:
        self._catalog, self._topology = catalog, topology
        existing = {meta.collection_id for meta in topology.root.all_collections()}
        # Only what is there now: from here on collections are made by this process.
        self._left_over = [
            number
            for number in sorted({*topology.data.collections(), *topology.snapshots.collections()})
            if number not in existing
        ]
        self._steps: list[Callable[[], None]] = [catalog.tidy, self._drop_left_over, self._once(proxy.resume)]
        self._worker: Executor = env.tasks.executor("take over", 1)
        self._lock = threading.Lock()
        self._closed = False
        self._mark = 0
        """The revision when revisions were last forgotten."""
        self._timers: list[Timer] = [
            env.tasks.every(RETRY_SECONDS, self._begin, "take over"),
            env.tasks.every(FORGET_SECONDS, lambda: self._submit(self._forget), "revisions"),
        ]
        self._begin()

    @property
    def is_done(self) -> bool:
        return not self._steps

    def _begin(self) -> None:
        if self._steps:
            self._submit(self._go_on)
        else:
            self._timers[0].cancel()

    def _submit(self, work: Callable[[], None]) -> None:
        with self._lock:
            if not self._closed:
                self._worker.submit(work)

    def _go_on(self) -> None:
        while self._steps and not self._closed:
            try:
                self._steps[0]()
            except Fenced:
                return  # another leads by now, and does it
            except MilvusException as error:
                log.warning("taking over goes on later: %s", error.message)
                return
            self._steps.pop(0)

    @staticmethod
    def _once(step: Callable[[], None]) -> Callable[[], None]:
        """What was begun is not begun again; what it could not say is told as cut off by the next leader."""

        def do() -> None:
            try:
                step()
            except MilvusException as error:
                log.warning("not everything could be taken over: %s", error.message)

        return do

    def _drop_left_over(self) -> None:
        """Segments of collections that were dropped, or that never came to be."""
        while self._left_over:
            number = self._left_over[0]
            log.info("removing what is left of collection %d, which is not there", number)
            drop_data(self._topology, number, self._topology.data.channels_of(number))
            self._left_over.pop(0)

    def _forget(self) -> None:
        revision = self._catalog.revision
        try:
            if self._mark:
                self._catalog.forget_before(self._mark)
        except MilvusException as error:
            log.warning("old revisions of the catalog could not be forgotten: %s", error.message)
        self._mark = revision

    def close(self) -> None:
        with self._lock:
            self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._worker.shutdown(wait=False)
