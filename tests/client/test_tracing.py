"""Spans of the SDK's calls, for programs that trace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import opentelemetry.trace
import pytest
from tests.test_spans import Traces

import redkite
from redkite import spans
from redkite.client.tracing import CallSpan, Untraced, call_span


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
    """A program that has set a tracer provider."""
    found = Traces()
    monkeypatch.setattr(opentelemetry.trace, "get_tracer_provider", lambda: found.provider)
    yield found
    spans.install(None)


def test_a_program_that_does_not_trace_makes_no_spans() -> None:
    assert type(call_span(iter(()))) is Untraced
    assert not spans.is_on()


def test_an_embedded_engine_is_traced_below_its_callers_spans(traces: Traces, database_path: str) -> None:
    with redkite.MilvusClient(database_path) as client:
        client.create_collection("books", dimension=4)
        client.insert("books", [{"id": 1, "vector": [1, 2, 3, 4]}])
        with traces.tracer.start_as_current_span("my work"):
            client.search("books", [[1, 2, 3, 4]], limit=1)
    assert traces.parent_of("search") == "my work"
    assert traces.parent_of("segment") == "shard"
    mine = traces.named("search")
    assert mine.attributes is not None
    assert mine.attributes["db.collection.name"] == "books"
    assert mine.attributes["db.operation.name"] == "search"


def test_tasks_have_spans_of_their_own(traces: Traces, database_path: str) -> None:
    async def work() -> None:
        async with redkite.AsyncMilvusClient(database_path) as client:
            await client.create_collection("books", dimension=4)
            await asyncio.gather(*(client.query("books", filter="id > 0", limit=2) for _ in range(3)))

    asyncio.run(work())
    queries = [span for span in traces.all if span.name == "query"]
    assert len(queries) == 3
    assert len({span.context.trace_id for span in queries}) == 3
    below = {span.parent.span_id for span in traces.all if span.name == "proxy" and span.parent is not None}
    assert {span.context.span_id for span in queries} <= below


def test_an_error_marks_the_call(traces: Traces, database_path: str) -> None:
    with redkite.MilvusClient(database_path) as client, pytest.raises(redkite.MilvusException):
        client.query("missing", filter="id > 0")
    mine = traces.named("query")
    assert not mine.status.is_ok
    assert mine.attributes is not None
    assert mine.attributes["db.response.status_code"] == "100"
    assert isinstance(call_span(iter(())), CallSpan)
