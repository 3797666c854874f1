"""Reads that took too long: logged with how they were answered, the last of them kept."""

from __future__ import annotations

import functools
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from redkite.errors import MilvusException
from redkite.logs import CURRENT, get_logger
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.service import Service
from redkite.model.tuning import Tuning
from redkite.model.types import DataType, FunctionType
from redkite.server.calls import Calls

if TYPE_CHECKING:
    from redkite.server.observer import Call

READS: Final = frozenset({rq.Search, rq.Query, rq.HybridSearch})
KEPT: Final = 100
LONGEST_FILTER: Final = 1000
"""Characters of a filter that are shown."""
_AT_ONCE: Final = 1
"""Explanations that run at a time: a server that is slow has better things to do."""
_BUSY: Final = "not explained: another one was being explained"
_MODELS: Final = "not explained: a model would have to be asked"
_KINDS: Final = {rq.Search: "search", rq.Query: "query", rq.HybridSearch: "hybrid search"}
_log = get_logger(__name__)


class SlowQuery(msgspec.Struct, frozen=True, kw_only=True):
    """One read that took long. No vectors, and no values that its filter was given apart from its text."""

    time: float
    """Seconds since 1970, when it was answered."""
    request_id: str
    kind: str
    user: str
    database: str
    collection: str
    filter: str
    """Of a hybrid search, those of its searches, one a line."""
    nq: int
    """Query vectors; 0 of a query."""
    limit: int | None
    seconds: float
    plan: str = ""
    """How it is answered, or why that is not told."""


class SlowLog:
    """Belongs to the event loop's thread."""

    def __init__(self, seconds: float) -> None:
        """Reads that take at least so long are slow."""
        self.seconds = seconds
        self._kept: deque[SlowQuery] = deque(maxlen=KEPT)
        self._calls: Calls | None = None
        self._service: Service | None = None
        self._explaining = 0

    def explain_with(self, calls: Calls, service: Service) -> None:
        """Where reads are explained: on a thread of these calls."""
        self._calls, self._service = calls, service

    def last(self) -> list[SlowQuery]:
        """The newest first."""
        return list(reversed(self._kept))

    def note(self, call: Call, seconds: float) -> None:
        """A read was slow. It is logged when it has been explained."""
        request = call.request
        assert isinstance(request, rq.Search | rq.Query | rq.HybridSearch)
        slow = _described(call, request, seconds)
        if self._calls is None or self._service is None:
            self._keep(call, slow)
        elif self._explaining >= _AT_ONCE:
            self._keep(call, msgspec.structs.replace(slow, plan=_BUSY))
        else:
            self._explaining += 1
            work = functools.partial(_explained, self._service, request)
            self._calls.start(work, functools.partial(self._explained, call, slow))

    def _explained(self, call: Call, slow: SlowQuery, plan: str | MilvusException) -> None:
        self._explaining -= 1
        if isinstance(plan, MilvusException):
            plan = f"not explained: {plan.message}"
        self._keep(call, msgspec.structs.replace(slow, plan=plan))

    def _keep(self, call: Call, slow: SlowQuery) -> None:
        self._kept.append(slow)
        about = CURRENT.set(call)
        try:
            _log.warning(
                "slow %s: %.3f s, nq %d, limit %s, filter %s\n%s",
                slow.kind, slow.seconds, slow.nq, slow.limit, slow.filter or "none", slow.plan,
                extra={"seconds": round(slow.seconds, 6), "nq": slow.nq, "limit": slow.limit, "filter": slow.filter},
            )  # fmt: skip
        finally:
            CURRENT.reset(about)


def _described(call: Call, request: rq.Search | rq.Query | rq.HybridSearch, seconds: float) -> SlowQuery:
    parts = request.searches if isinstance(request, rq.HybridSearch) else (request,)
    filters = "\n".join(part.filter for part in parts if part.filter)
    return SlowQuery(
        time=time.time(),
        request_id=call.request_id,
        kind=_KINDS[type(request)],
        user=call.user,
        database=call.database,
        collection=call.collection,
        filter=filters if len(filters) <= LONGEST_FILTER else filters[:LONGEST_FILTER] + " …",
        nq=sum(part.queries.nq for part in parts if isinstance(part, rq.Search)),
        limit=request.limit,
        seconds=seconds,
    )


def _explained(service: Service, request: rq.Search | rq.Query | rq.HybridSearch) -> str:
    """How a read is answered, without answering it. Takes as long as its plan and its filter."""
    if _asks_models(service, request):
        return _MODELS
    told = service.call(_as_question(request))
    assert isinstance(told, rs.Hits | rs.Rows)
    return str(told.explanation)


def _as_question(request: rq.Search | rq.Query | rq.HybridSearch) -> rq.Request:
    replace = msgspec.structs.replace
    if isinstance(request, rq.Query):
        return replace(request, explain="plan")
    # What comes behind the hits has no place in the plan, and may ask models.
    request = replace(request, function_score=None, function_chains=(), highlighter=None)
    if isinstance(request, rq.HybridSearch):
        return replace(request, explain="plan", strategy=request.strategy or "rrf")
    return replace(request, tuning=replace(request.tuning or Tuning(), explain="plan", recall=0.0))


def _asks_models(service: Service, request: rq.Search | rq.Query | rq.HybridSearch) -> bool:
    """Whether a text would have to be made a vector of by a model, once more."""
    searches = request.searches if isinstance(request, rq.HybridSearch) else (request,)
    if not any(isinstance(s, rq.Search) and s.queries.data_type is DataType.VARCHAR for s in searches):
        return False
    info = service.call(rq.DescribeCollection(database=request.database, collection=request.collection))
    assert isinstance(info, rs.CollectionInfo)
    return any(function.type is FunctionType.TEXTEMBEDDING for function in info.schema.functions)
