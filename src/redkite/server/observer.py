"""What is noted of each call: counters, the audit log, the slow-query log, and the fields of log lines.

Both doors make a `Call` when a request has come and give it back when it is answered. What is noted costs about a
microsecond; whatever takes longer (texts, files, explanations) is done elsewhere, later.
"""

from __future__ import annotations

import itertools
import math
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Final

from redkite import spans
from redkite.errors import MilvusException, QuotaExceeded, RateLimited
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.schema import DEFAULT_DATABASE
from redkite.server.audit import AuditLog, Entry
from redkite.server.metrics import CANCEL, OK, SYSTEM, USER, Metrics
from redkite.server.slow import READS, SlowLog
from redkite.spans import CallSpan
from redkite.wire.headers import Header
from redkite.wire.methods import METHODS

RPC_OF: Final = {request: method for method, (_, _, request) in METHODS.items()}
"""The RPC that stands for each class of request."""
CLIENT_ID: Final = b"client-request-id"
_TRACE: Final = frozenset({b"traceparent", b"tracestate"})
"""Headers that say which span asks (W3C trace context)."""
_CANCELED: Final = 10_000
_MISSING: Final = frozenset({100, 800})
"""Codes of errors about names that nothing has."""
_REFUSED: Final = frozenset({RateLimited.default_code, QuotaExceeded.default_code})
_FIRST: Final = secrets.token_hex(8)
_NUMBERS: Final = itertools.count(1)
WRITES: Final = frozenset({rq.Insert, rq.Upsert, rq.Delete})
_WAYS: Final = frozenset({rq.DescribeCollection, rq.HasCollection, rq.ShowPartitions})
"""What REST asks on the way to what it was asked."""


class Call:
    """One request of a client, while it is answered."""

    __slots__ = (
        "_number", "address", "deadline", "done", "gone", "headers", "method", "protocol", "received", "request",
        "span", "started", "user",
    )  # fmt: skip

    def __init__(self, protocol: str, method: str, received: int = 0, address: str = "") -> None:
        self.protocol = protocol
        self.method = method
        self.received = received
        self.address = address
        self.started = time.monotonic()
        self.user = ""
        self.request: rq.Request | None = None
        """None until it is read."""
        self.done = 0
        """Rows it wrote or deleted."""
        self.headers: Sequence[Header] = ()
        """What the client said around the request."""
        self.span: CallSpan | None = None
        """Where calls are traced."""
        self.deadline = math.inf
        """When nobody waits for the answer any more, by the monotonic clock."""
        self.gone = False
        """The client has taken it back."""
        self._number = next(_NUMBERS)

    @property
    def request_id(self) -> str:
        """32 hexadecimal digits, as ids of traces have them."""
        return f"{_FIRST}{self._number:016x}"

    @property
    def trace_id(self) -> str:
        """That of the call's trace; where it has none, the request's."""
        return self.request_id if self.span is None else self.span.trace_id

    @property
    def database(self) -> str:
        return "" if self.request is None else self.request.database or DEFAULT_DATABASE

    @property
    def collection(self) -> str:
        if isinstance(self.request, rq.CreateCollection):
            return self.request.schema.name
        name = getattr(self.request, "collection", "")
        return name if isinstance(name, str) else ""

    @property
    def target(self) -> str:
        """What else it names: a user, a role, a snapshot."""
        name = getattr(self.request, "name", "")
        return name if isinstance(name, str) else ""

    def _client_id(self) -> str:
        return next((value.decode(errors="replace") for name, value in self.headers if name == CLIENT_ID), "")

    def asks(self, request: rq.Request) -> None:
        """Note what it comes to; of several requests the first that is not just a look at the schema."""
        if self.request is None or type(self.request) in _WAYS:
            self.request = request

    def answered(self, result: rs.Result) -> None:
        """Note what a write has done."""
        if isinstance(result, rs.Written):
            self.done = result.count

    def log_fields(self) -> Mapping[str, object]:
        fields = {"request_id": self.request_id, "method": self.method}
        named = (
            ("client_request_id", self._client_id()), ("user", self.user),
            ("database", self.database), ("collection", self.collection),
        )  # fmt: skip
        if self.span is not None:
            fields |= {"trace_id": self.span.trace_id, "span_id": self.span.span_id}
        return fields | {key: value for key, value in named if value}


class Observer:
    """Takes calls that are answered. Belongs to the event loop's thread."""

    def __init__(self, metrics: Metrics, slow: SlowLog | None = None, audit: AuditLog | None = None) -> None:
        self.metrics = metrics
        self.slow = slow
        self.audit = audit

    def begun(self, call: Call) -> None:
        """A call has come: begin its span, where calls are traced."""
        if not spans.is_on():
            return
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers if name in _TRACE}
        attributes = {"rpc.system": call.protocol, "rpc.method": call.method, "client.address": call.address}
        call.span = spans.begin_call(call.method, sent, attributes)

    def end_span(self, call: Call, error: MilvusException | None) -> None:
        """The call's span is over; `finished` says so of its calls."""
        if call.span is None:
            return
        told = {"db.system.name": spans.SYSTEM, "db.namespace": call.database, "db.collection.name": call.collection,
                "enduser.id": call.user, "redkite.request_id": call.request_id}  # fmt: skip
        call.span.end(error, {key: value for key, value in told.items() if value})

    def finished(self, call: Call, error: MilvusException | None, sent: int) -> None:
        """Note how a call ended, with an answer of so many bytes."""
        seconds = time.monotonic() - call.started
        request = call.request
        end, code = (OK, 0) if error is None else (_end(error), error.code)
        kind = type(request)
        database = collection = rpc = ""
        if request is not None:
            rpc = RPC_OF.get(type(request), "")
            if code not in _MISSING:
                database, collection = request.database or DEFAULT_DATABASE, call.collection
        counts = self.metrics.of(call.protocol, call.method, rpc, database, collection)
        counts.observe(seconds, end, call.received, sent)
        if code in _REFUSED:
            counts.refused += 1
        if call.user:
            self.metrics.called_by(call.user)
        if kind in READS:
            queries = 0
            if isinstance(request, rq.Search):
                queries = request.queries.nq
                counts.observe_search(queries, request.limit)
            elif isinstance(request, rq.HybridSearch):
                queries = sum(search.queries.nq for search in request.searches)
                counts.observe_search(queries, request.limit)
            counts.queries += queries
            counts.done += queries if error is None else 0
            if self.slow is not None and seconds >= self.slow.seconds and end != USER:
                counts.slow += 1
                self.slow.note(call, seconds)
        elif kind in WRITES:
            counts.done += call.done
            if isinstance(request, rq.Insert | rq.Upsert):
                counts.rows += request.rows.num_rows
        self.end_span(call, error)
        if self.audit is not None:
            self.audit.put(
                Entry(
                    time.time(), call.request_id, call.user, call.address, call.protocol, call.method, call.database,
                    call.collection, call.target, code, seconds,
                )
            )  # fmt: skip


def shown_address(peer: object) -> str:
    """A peer as sockets and ASGI name it; empty where it has no address."""
    if not isinstance(peer, tuple) or len(peer) < 2:
        return ""
    return f"[{peer[0]}]:{peer[1]}" if ":" in str(peer[0]) else f"{peer[0]}:{peer[1]}"


def _end(error: MilvusException) -> int:
    if error.code == _CANCELED:
        return CANCEL
    return USER if error.is_input_error else SYSTEM
