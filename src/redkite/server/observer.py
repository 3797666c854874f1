"""What is noted of each call: counters, the audit log, the slow-query log, and the fields of log lines.

Both doors make a `Call` when a request has come and give it back when it is answered. What is noted costs about a
microsecond; whatever takes longer (texts, files, explanations) is done elsewhere, later.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Final

from redkite.errors import MilvusException
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.schema import DEFAULT_DATABASE
from redkite.server.audit import AuditLog, Entry
from redkite.server.metrics import CANCEL, OK, SYSTEM, USER, Metrics
from redkite.server.slow import READS, SlowLog
from redkite.wire.headers import Header
from redkite.wire.methods import METHODS

RPC_OF: Final = {request: method for method, (_, _, request) in METHODS.items()}
"""The RPC that stands for each class of request."""
_CLIENT_ID: Final = b"client-request-id"
_CANCELED: Final = 10_000
_MISSING: Final = frozenset({100, 800})
"""Codes of errors about names that nothing has."""
_FIRST: Final = secrets.token_hex(8)
_NUMBERS: Final = itertools.count(1)
WRITES: Final = frozenset({rq.Insert, rq.Upsert, rq.Delete})
_WAYS: Final = frozenset({rq.DescribeCollection, rq.HasCollection, rq.ShowPartitions})
"""What REST asks on the way to what it was asked."""


class Call:
    """One request of a client, while it is answered."""

    __slots__ = (
        "_number", "address", "done", "headers", "method", "protocol", "received", "request", "started", "user",
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
        """Of gRPC."""
        self._number = next(_NUMBERS)

    @property
    def request_id(self) -> str:
        """32 hexadecimal digits, as ids of traces have them."""
        return f"{_FIRST}{self._number:016x}"

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
        return next((value.decode(errors="replace") for name, value in self.headers if name == _CLIENT_ID), "")

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
        return fields | {key: value for key, value in named if value}


class Observer:
    """Takes calls that are answered. Belongs to the event loop's thread."""

    def __init__(self, metrics: Metrics, slow: SlowLog | None = None, audit: AuditLog | None = None) -> None:
        self.metrics = metrics
        self.slow = slow
        self.audit = audit

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
        if kind in READS:
            queries = 0
            if isinstance(request, rq.Search):
                queries = request.queries.nq
            elif isinstance(request, rq.HybridSearch):
                queries = sum(search.queries.nq for search in request.searches)
            counts.queries += queries
            counts.done += queries if error is None else 0
            if self.slow is not None and seconds >= self.slow.seconds and end != USER:
                counts.slow += 1
                self.slow.note(call, seconds)
        elif kind in WRITES:
            counts.done += call.done
            if isinstance(request, rq.Insert | rq.Upsert):
                counts.rows += request.rows.num_rows
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
