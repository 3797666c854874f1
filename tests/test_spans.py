"""Spans below spans, over threads and futures; and what is left of them where nobody traces."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler

from redkite import spans
from redkite.errors import InvalidParameter
from redkite.logs import CURRENT
from redkite.realenv import real_env

T = TypeVar("T")
AS_THE_PARENT = ParentBased(ALWAYS_ON)


class Traces:
    """What was traced."""

    def __init__(self, sampler: Sampler = AS_THE_PARENT) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        (found,) = (span for span in self.all if span.name == name)
        return found

    def parent_of(self, name: str) -> str:
        parent = self.named(name).parent
        return "" if parent is None else next(s.name for s in self.all if s.context.span_id == parent.span_id)


@pytest.fixture
def traces() -> Iterator[Traces]:
    found = Traces()
    spans.install(found.tracer)
    yield found
    spans.install(None)


class Worker:
    @spans.traced("inner", lambda _, number: {"number": number})
    def inner(self, number: int) -> int:
        return number + 1

    @spans.traced("outer")
    def outer(self, number: int) -> int:
        return self.inner(number)

    @spans.job("job")
    def job(self, number: int) -> int:
        return self.outer(number)

    @spans.job("request")
    def request(self, work: Callable[[], T]) -> T:
        return work()


WORKER = Worker()


def test_spans_stand_below_the_one_that_is_open(traces: Traces) -> None:
    assert WORKER.job(1) == 2
    assert (traces.parent_of("job"), traces.parent_of("outer"), traces.parent_of("inner")) == ("", "job", "outer")
    assert traces.named("inner").attributes == {"number": 1}
    assert len({span.context.trace_id for span in traces.all}) == 1


def test_without_a_request_only_work_in_the_background_is_traced(traces: Traces) -> None:
    assert WORKER.outer(1) == 2
    assert traces.all == ()


def test_where_nobody_traces_nothing_is_made() -> None:
    def work() -> None:
        """Nothing."""

    assert WORKER.job(1) == 2
    assert spans.headers() == {}
    assert spans.begin_call("Search", {}, {}) is None
    assert spans.carried(work) is work
    future: Future[int] = Future()
    assert spans.followed("x", future) is future
    future.set_result(1)


def test_importing_redkite_loads_no_opentelemetry() -> None:
    code = "import redkite, redkite.spans, redkite.cluster.local, sys; print('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_request_that_is_not_sampled_has_no_spans_below_it() -> None:
    found = Traces(ALWAYS_OFF)
    spans.install(found.tracer)
    try:
        call = spans.begin_call("Search", {}, {})
        assert call is not None
        assert not call.is_sampled
        assert WORKER.job(1) == 2
    finally:
        spans.install(None)
    assert found.all == ()


def test_work_in_a_thread_of_an_executor_stays_below_its_span(traces: Traces) -> None:
    pool = real_env().tasks.executor("test", 1)

    assert WORKER.request(lambda: pool.submit(WORKER.inner, 4).result()) == 5
    pool.shutdown()
    assert traces.parent_of("inner") == "request"


def test_a_plain_thread_does_not_carry_a_span_along(traces: Traces) -> None:
    def work() -> None:
        thread = Thread(target=WORKER.inner, args=(1,))
        thread.start()
        thread.join()

    WORKER.request(work)
    assert [span.name for span in traces.all] == ["request"]


def test_a_future_is_a_span_until_it_is_done(traces: Traces) -> None:
    future: Future[int] = Future()

    WORKER.request(lambda: spans.followed("log append", future))
    assert [span.name for span in traces.all] == ["request"]
    future.set_exception(InvalidParameter("no room"))
    span = traces.named("log append")
    assert traces.parent_of("log append") == "request"
    assert span.attributes == {"redkite.code": 1100}
    assert not span.status.is_ok


def test_an_error_marks_the_spans_that_it_passed(traces: Traces) -> None:
    def work() -> None:
        raise InvalidParameter("wrong")

    with pytest.raises(InvalidParameter):
        WORKER.request(work)
    assert not traces.named("request").status.is_ok


def test_a_trace_that_comes_in_is_gone_on_with_and_told_on(traces: Traces) -> None:
    sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    call = spans.begin_call("Search", {"traceparent": sent}, {})
    assert call is not None
    assert call.trace_id == "0af7651916cd43dd8448eb211c80319c"

    told = WORKER.request(spans.headers)["traceparent"].split("-")
    assert told[2] == f"{traces.named('request').context.span_id:016x}"
    call.end(None, {"db.collection.name": "books"})
    span = traces.named("Search")
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"


@pytest.mark.parametrize("sent", ["", "00-0-0-0", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "nonsense", "ff-x"])
def test_a_trace_that_does_not_parse_begins_a_new_one(traces: Traces, sent: str) -> None:
    call = spans.begin_call("Search", {"traceparent": sent}, {})
    assert call is not None
    call.end(None, {})
    assert traces.named("Search").parent is None


def test_functions_that_are_not_traced_are_those_that_were_written(traces: Traces) -> None:
    from redkite.node.shard import Shard
    from redkite.proxy.service import Proxy
    from redkite.query import execute

    every = [Shard.search, Shard.insert, Proxy.call, execute._search_segment, Worker.inner]
    assert all(hasattr(function, "__wrapped__") for function in every)
    spans.install(None)
    every = [Shard.search, Shard.insert, Proxy.call, execute._search_segment, Worker.inner]
    assert not any(hasattr(function, "__wrapped__") for function in every)


def test_background_work_of_a_request_that_is_not_sampled_begins_no_trace() -> None:
    found = Traces()
    spans.install(found.tracer)
    try:
        call = spans.begin_call("Flush", {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}, {})

        class Request:
            span = call

            def log_fields(self) -> dict[str, object]:
                return {}

        before = CURRENT.set(Request())
        try:
            assert WORKER.job(1) == 2
            told = spans.headers()["traceparent"]
        finally:
            CURRENT.reset(before)
    finally:
        spans.install(None)
    assert found.all == ()
    assert told.split("-")[1::2] == ["0af7651916cd43dd8448eb211c80319c", "00"], "whoever is asked for it begins none"
