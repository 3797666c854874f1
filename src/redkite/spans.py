"""What is done for a request, as spans of OpenTelemetry. Off, and nothing loaded, until somebody installs a tracer.

    @traced("query node")
    def search(self, …): ...

A span that is begun while another one is open here is its child; on a server the first one of a request is that of the
call (`CURRENT`). Work that goes to another thread takes the open span along (`carried`). Requests that were not sampled
have no spans below them either.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from redkite.logs import CURRENT

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

P = ParamSpec("P")
T = TypeVar("T")
Attributes = Mapping[str, str | bool | int | float]
SYSTEM: Final = "redkite"


class _State:
    """Of this process. `tracer` is looked at before everything else."""

    __slots__ = ("swaps", "tracer")

    def __init__(self) -> None:
        self.tracer: Tracer | None = None
        self.swaps: list[_Swap] = []


class _Swap:
    """A function as it was written, and the one in its place while there is a tracer. What is not traced costs
    nothing: it is the very function."""

    __slots__ = ("_name", "_owner", "_traced", "_written")

    def __init__(self, written: Callable[..., Any], traced: Callable[..., Any]) -> None:
        self._written = written
        self._traced = traced
        self._owner: object = None
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.belongs(owner, name)

    def belongs(self, owner: object, name: str) -> None:
        """To a class or module."""
        self._owner, self._name = owner, name
        self.choose(_STATE.tracer is not None)
        _STATE.swaps.append(self)

    def choose(self, traced: bool) -> None:
        setattr(self._owner, self._name, self._traced if traced else self._written)


_STATE: Final = _State()


def install(tracer: Tracer | None) -> None:
    """Make spans with this tracer from now on; None: no more."""
    _STATE.tracer = tracer
    for swap in _STATE.swaps:
        swap.choose(tracer is not None)


def is_on() -> bool:
    return _STATE.tracer is not None


def traced(name: str, about: Callable[..., Attributes] | None = None) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A method that is a span. `about` is given its arguments, and tells what to note, when a span is made. Not for
    dataclasses with slots, which are made twice."""
    return _swapped(name, about, alone=False)


def job(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """The same of work in the background, which nobody waits for: the first span of a trace where there is none."""
    return _swapped(name, None, alone=True)


def traced_function(module: str, function: Callable[..., Any], name: str, about: Callable[..., Attributes]) -> None:
    """The same of a function of a module, which calls it by its name."""
    _Swap(function, _spanning(function, name, about, alone=False)).belongs(sys.modules[module], function.__name__)


def _swapped(
    name: str, about: Callable[..., Attributes] | None, *, alone: bool
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        # The class puts one of the two in its place when it is made.
        return cast("Callable[P, T]", _Swap(function, _spanning(function, name, about, alone=alone)))

    return decorated


def _spanning(
    function: Callable[P, T], name: str, about: Callable[..., Attributes] | None, *, alone: bool
) -> Callable[P, T]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        tracer, parent = _STATE.tracer, _parent()
        if tracer is None or (parent is None and (not alone or _is_unsampled())):
            return function(*args, **kwargs)
        attributes = None if about is None else dict(about(*args, **kwargs))
        with tracer.start_as_current_span(name, context=parent, attributes=attributes):
            return function(*args, **kwargs)

    return call


def followed(name: str, future: Future[T]) -> Future[T]:
    """The future, a span from now until it is done."""
    tracer = _STATE.tracer
    if tracer is not None and (parent := _parent()) is not None:
        span = tracer.start_span(name, context=parent)

        def done(finished: Future[T]) -> None:
            error = None if finished.cancelled() else finished.exception()
            _failed(span, error)
            span.end()

        future.add_done_callback(done)
    return future


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """A function that another thread is going to call, below the span that is open here."""
    if _STATE.tracer is None:
        return function
    parent = _parent()
    if parent is None:
        return function

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with _attached(parent):
            return function(*args, **kwargs)

    return call


def is_open() -> bool:
    """Whether a sampled span is open here."""
    return _STATE.tracer is not None and _parent() is not None


def headers() -> dict[str, str]:
    """What tells the next service which span asks it (W3C trace context), also that it is not sampled; empty where none
    is open."""
    if _STATE.tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    found: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(found, context=_open())
    return found


# -- the span of a call -------------------------------------------------------------------------
class CallSpan:
    """The span of one request that a server answers. Its ids are told as text, as logs and headers have them."""

    __slots__ = ("_span", "is_sampled", "span_id", "trace_id")

    def __init__(self, span: Span) -> None:
        about = span.get_span_context()
        self._span = span
        self.trace_id = f"{about.trace_id:032x}"
        self.span_id = f"{about.span_id:016x}"
        self.is_sampled = about.trace_flags.sampled

    def end(self, error: BaseException | None, attributes: Attributes) -> None:
        if self.is_sampled:
            self._span.set_attributes(dict(attributes))
            _failed(self._span, error)
        self._span.end()

    def context(self) -> Context:
        from opentelemetry.trace import set_span_in_context

        return set_span_in_context(self._span)


def begin_call(name: str, sent: Mapping[str, str], attributes: Attributes) -> CallSpan | None:
    """The span of a request whose metadata may name the span that asks; None where nothing is traced."""
    tracer = _STATE.tracer
    if tracer is None:
        return None
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    asking = TraceContextTextMapPropagator().extract(sent, Context())
    return CallSpan(tracer.start_span(name, context=asking, kind=SpanKind.SERVER, attributes=dict(attributes)))


def _open() -> Context | None:
    """The open span of this thread, or of the call that is answered here; None where none is."""
    from opentelemetry.context import get_current
    from opentelemetry.trace import get_current_span

    current = get_current()
    if get_current_span(current).get_span_context().is_valid:
        return current
    span = getattr(CURRENT.get(), "span", None)
    return span.context() if isinstance(span, CallSpan) else None


def _parent() -> Context | None:
    """The same; None also where it was not sampled."""
    from opentelemetry.trace import get_current_span

    found = _open()
    if found is None:
        return None
    return found if get_current_span(found).get_span_context().trace_flags.sampled else None


def _is_unsampled() -> bool:
    """Whether a span is open here that was not sampled, asked where there is no parent: nothing below it begins a trace
    of its own."""
    return _open() is not None


@contextmanager
def _attached(parent: Context) -> Iterator[None]:
    from opentelemetry.context import attach, detach

    token = attach(parent)
    try:
        yield
    finally:
        detach(token)


def _failed(span: Span, error: BaseException | None) -> None:
    if error is None:
        return
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, str(getattr(error, "message", error))))
    code: Any = getattr(error, "code", None)
    if isinstance(code, int):
        span.set_attribute("redkite.code", code)
