"""The door of a proxy of a cluster: reads and writes are run here, by metadata that is followed; what changes metadata
is decided by the coordinator.

A proxy may be some milliseconds behind. So an error that newer metadata could mend is not told before the newest is
here: then the request is run once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final

from redkite.cluster.forwarding import Forwarder
from redkite.cluster.paging import Paging
from redkite.cluster.searching import Searching
from redkite.env import Env, Executor
from redkite.errors import AccessError, InvalidParameter, MilvusException, NotFound, NotLoaded, Unavailable
from redkite.logs import get_logger
from redkite.model import analysis as an
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.advice import MeasureRecall
from redkite.model.describing import BatchDescribeCollection
from redkite.model.embeddings import RegisterEmbedding
from redkite.proxy.service import Proxy
from redkite.storage.followed import FollowedCatalog

log = get_logger(__name__)

WRITES: Final = frozenset({rq.Insert, rq.Upsert, rq.Delete})
READS: Final = frozenset({rq.Search, rq.HybridSearch, rq.Query, MeasureRecall})
"""Recall is measured on searches that were answered here, and by asking the shards again."""
KNOWN: Final = frozenset({
    rq.Connect, rq.GetVersion, rq.GetComponentStates, rq.AllocTimestamp, rq.ListDatabases, rq.DescribeDatabase,
    rq.HasCollection, rq.DescribeCollection, BatchDescribeCollection, rq.HasPartition, rq.DescribeAlias,
    rq.ListAliases,
})  # fmt: skip
"""What the metadata here answers: the coordinator acknowledges no change before all proxies know it."""
WORDS: Final = frozenset({an.RunAnalyzer, an.ComputePhraseMatchSlop})
HERE: Final = WRITES | READS | KNOWN | WORDS
_PLANNED_BY: Final = ("root/", "load/", "index/", "access/", "files/")
"""Keys of the catalog that decide what requests mean."""
_WORKERS: Final = 8


class ClusterService:
    """Implements `model.service.Service`."""

    def __init__(
        self,
        env: Env,
        proxy: Proxy,
        forwarder: Forwarder,
        catalog: FollowedCatalog,
        health: Callable[[], tuple[str, ...]],
        searching: Searching,
        paging: Paging,
    ) -> None:
        """`health` tells why this node cannot do its work."""
        self._searching = searching
        self._paging = paging
        self._search = proxy.method(rq.Search)
        proxy.answer_with(rq.Search, self._searched)
        self._tasks = env.tasks
        self._proxy = proxy
        self._forwarder = forwarder
        self._catalog = catalog
        self._health = health
        self._changes = 0
        """How often metadata has changed."""
        self._again: Executor = env.tasks.executor("ask-again", _WORKERS)
        catalog.when_changed(self._changed)

    def call(self, request: rq.Request) -> rs.Result | Future[rs.Result]:
        kind = type(request)
        if isinstance(request, rq.Search) and request.page is not None:
            elsewhere = self._paging.elsewhere(request, self.page)
            if elsewhere is not None:
                return elsewhere
        if kind in HERE:
            return self._here(request)
        if kind is rq.CheckHealth:
            return self._checked(request)
        if kind is RegisterEmbedding:
            raise InvalidParameter(
                "an embedding cannot be registered in a cluster: its nodes run no Python code of their clients; name a "
                "model in a folder or a service that all of them reach"
            )
        return self._forwarder.send(request)

    def page(self, request: rq.Search) -> Future[rs.Result]:
        """One page of an iterator, from here."""
        return self._again.submit(self._run_here, request)

    def _run_here(self, request: rq.Request) -> rs.Result:
        found = self._here(request)
        return found.result() if isinstance(found, Future) else found

    def is_quick(self, request: rq.Request) -> bool:
        """What goes over the network answers a future; reads wait for theirs."""
        kind = type(request)
        if kind is rq.Search:
            return self._searching.fits(request) and not self._proxy.is_bound(request)
        if kind in READS or kind in WORDS:
            return False
        if kind is rq.Insert or kind is rq.Upsert:
            return self._proxy.is_quick(request)
        return True

    def close(self) -> None:
        self._catalog.forget_listener(self._changed)
        self._forwarder.close()
        self._proxy.close()
        self._again.shutdown(wait=False)

    # -- here -------------------------------------------------------------------------------------
    def _here(self, request: rq.Request) -> rs.Result | Future[rs.Result]:
        known = self._changes
        try:
            answer = self._proxy.call(request)
        except MilvusException as error:
            if not _may_be_old(error):
                raise
            if self.is_quick(request):
                return self._soon(request, error, known)
            return self._newer(request, error, known)
        if isinstance(answer, Future):
            return self._followed(request, answer, known)
        return answer

    def _searched(self, request: rq.Search) -> rs.Result | Future[rs.Result]:
        """Begun, where it need not wait in between; else in a thread, unless the caller has brought one."""
        if not self._searching.fits(request):
            return self._search(request)
        found = self._searching.begin(request)
        return self._again.submit(self._waited, request) if found is None else found

    def _waited(self, request: rq.Search) -> rs.Result:
        found = self._search(request)
        return found.result() if isinstance(found, Future) else found

    def _newer(self, request: rq.Request, error: MilvusException, known: int) -> rs.Result | Future[rs.Result]:
        """Run it once more when there is newer metadata than it was run by; raise its error when there is not, and
        Unavailable in place of an error that would deny what there may be by now."""
        try:
            self._catalog.refresh()
        except MilvusException as unknown:
            log.info("it cannot be seen whether there is newer metadata: %s", unknown.message)
            if not isinstance(error, NotFound | NotLoaded):
                raise error from None
            # What others have acknowledged must not be denied by a proxy that has not heard of it.
            raise Unavailable(f"{error.message}, as far as this proxy knows: {unknown.message}") from error
        if self._changes == known:
            raise error
        return self._proxy.call(request)

    def _soon(self, request: rq.Request, error: MilvusException, known: int) -> Future[rs.Result]:
        """`_newer` on another thread."""
        answer: Future[rs.Result] = self._tasks.future()
        self._again.submit(self._run_newer, request, error, known, answer)
        return answer

    def _run_newer(self, request: rq.Request, error: MilvusException, known: int, answer: Future[rs.Result]) -> None:
        try:
            found = self._newer(request, error, known)
        except Exception as failure:  # noqa: BLE001  it is the answer
            answer.set_exception(failure)
            return
        if isinstance(found, Future):
            found.add_done_callback(lambda done: _pass_on(done, answer))
        else:
            answer.set_result(found)

    def _followed(self, request: rq.Request, write: Future[rs.Result], known: int) -> Future[rs.Result]:
        """A write whose owner may know more than this proxy: nothing of it was done then."""
        answer: Future[rs.Result] = self._tasks.future()

        def done(write: Future[rs.Result]) -> None:
            error = write.exception()
            if isinstance(error, MilvusException) and _may_be_old(error):
                try:
                    self._again.submit(self._run_newer, request, error, known, answer)
                except Unavailable:  # closed just now
                    answer.set_exception(error)
            else:
                _pass_on(write, answer)

        write.add_done_callback(done)
        return answer

    def _checked(self, request: rq.Request) -> rs.Result:
        found = self._proxy.call(request)
        assert isinstance(found, rs.Health), "it answers at once"
        reasons = self._health()
        if not reasons:
            return found
        return rs.Health(healthy=False, reasons=(*found.reasons, *reasons), quota_states=found.quota_states)

    def _changed(self, changes: Mapping[str, bytes | None]) -> None:
        if any(key.startswith(_PLANNED_BY) for key in changes):
            self._changes += 1
            self._proxy.forget_plans()


def _may_be_old(error: MilvusException) -> bool:
    """Whether a request might go well by newer metadata."""
    return error.is_input_error or isinstance(error, NotFound | NotLoaded | AccessError)


def _pass_on(done: Future[rs.Result], answer: Future[rs.Result]) -> None:
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)
