"""Spans of the SDK's own calls, for programs that have set a tracer provider of OpenTelemetry.

Nothing is imported for it: a program that traces has loaded OpenTelemetry itself. In process, the engine's spans stand
below those of the calls.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from redkite import spans
from redkite.model.request import Request

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_API: Final = "opentelemetry.trace"


class Untraced:
    """A call that nobody watches."""

    __slots__ = ()

    def asks(self, request: Request) -> None:
        """Note what the call comes to."""

    def __enter__(self) -> Untraced:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class CallSpan(Untraced):
    """A call as a span, from `with` on."""

    __slots__ = ("_manager", "_span", "_told")

    def __init__(self, tracer: Tracer, operation: str) -> None:
        from opentelemetry.trace import SpanKind

        attributes = {"db.system.name": spans.SYSTEM, "db.operation.name": operation}
        self._manager: Any = tracer.start_as_current_span(operation, kind=SpanKind.CLIENT, attributes=attributes)
        self._span: Any = None
        self._told = False

    def asks(self, request: Request) -> None:
        if self._told:
            return
        if request.database:
            self._span.set_attribute("db.namespace", request.database)
        collection = getattr(request, "collection", "")
        if isinstance(collection, str) and collection:
            self._told = True
            self._span.set_attribute("db.collection.name", collection)

    def __enter__(self) -> CallSpan:
        self._span = self._manager.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code = getattr(error, "code", None)
        if isinstance(code, int):
            self._span.set_attribute("db.response.status_code", str(code))
        self._manager.__exit__(kind, error, trace)


UNTRACED: Final = Untraced()


def is_off() -> bool:
    """Whether the program surely traces nothing."""
    return _API not in sys.modules


def call_span(operation: Any) -> Untraced:
    """The span of an operation (a generator, whose name is the method's), where the program traces."""
    api = sys.modules.get(_API)
    if api is None:
        return UNTRACED
    tracer = _tracer(api)
    return UNTRACED if tracer is None else CallSpan(tracer, getattr(operation, "__name__", "call"))


class _Known:
    """The tracer of the provider that was seen last."""

    provider: Any = None
    tracer: Tracer | None = None


def _tracer(api: Any) -> Tracer | None:
    provider = api.get_tracer_provider()
    if provider is not _Known.provider:
        _Known.provider = provider
        set_by_program = not isinstance(provider, api.ProxyTracerProvider)
        _Known.tracer = provider.get_tracer("redkite.client") if set_by_program else None
        if _Known.tracer is not None and not spans.is_on():
            spans.install(provider.get_tracer("redkite"))
    return _Known.tracer
