"""Searches that arrive together and differ only in their vectors."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.server.fakes import FakeService

from redkite.errors import InvalidParameter
from redkite.logs import CURRENT
from redkite.model.reading import Grouping, Queries, Search
from redkite.model.results import Hits
from redkite.model.types import DataType
from redkite.server.calls import Calls
from redkite.server.gather import MOST_QUERIES, likeness
from redkite.server.grpc import Rpcs
from redkite.server.grpc_connection import GrpcConnection
from redkite.server.metrics import Metrics
from redkite.server.observer import Observer
from redkite.wire import http2
from redkite.wire.headers import literal
from redkite.wire.http2 import FRAME, PREFACE, SETTINGS_ACK
from redkite.wire.methods import encode_request


def search(*values: float, **more: Any) -> Search:
    vectors = np.array([[value, 0] for value in values], np.float32)
    return Search(
        collection="c", queries=Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors), limit=3, params={"ef": 9},
        **more,
    )  # fmt: skip


def hits(asked: Search) -> Hits:
    """Query of value v: v hits, of the ids 100·v, 100·v + 1 …"""
    vectors = asked.queries.vectors
    assert vectors is not None
    topks = vectors[:, 0].astype(np.int64)
    ids = [int(100 * value + place) for value in topks for place in range(value)]
    return Hits(
        topks=topks, keys=pa.array(ids, pa.int64()), scores=np.array(ids, np.float32),
        rows=pa.RecordBatch.from_pydict({"word": [str(number) for number in ids]}),
        output_fields=("word",), primary_field="id", collection="c", session_timestamp=5,
        element_indices=np.array(ids, np.int64) % 7,
    )  # fmt: skip


HEADERS = (
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/milvus.proto.milvus.MilvusService/Search"),
    (b"content-type", b"application/grpc"), (b"te", b"trailers"),
)  # fmt: skip


class Kept(asyncio.Transport):
    """Counts the answers that are written to it."""

    answers = 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.answers += bytes(data).count(b"grpc-status")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_write_buffer_size(self) -> int:
        return 0


def run(service: FakeService, searches: list[Search]) -> list[Any]:
    """The outcomes of searches that are begun in one turn of the loop."""

    async def work() -> list[Any]:
        calls = Calls(service, asyncio.get_running_loop())
        found = await asyncio.gather(*(calls.call(s, lambda hits: hits) for s in searches), return_exceptions=True)
        assert calls.running == 0
        calls.close()
        return list(found)

    return asyncio.run(work())


@pytest.fixture
def service() -> FakeService:
    service = FakeService()
    service.answers[Search] = hits
    return service


def test_searches_that_are_alike_are_one_call_and_each_gets_its_own_hits(service: FakeService) -> None:
    asked = [search(2), search(0), search(3, 1), search(1)]
    for one, found in zip(asked, run(service, asked), strict=True):
        alone = hits(one)
        assert found.topks.tolist() == alone.topks.tolist()
        assert found.ids.to_pylist() == alone.ids.to_pylist()
        assert found.scores.tolist() == alone.scores.tolist()
        assert found.rows.to_pydict() == alone.rows.to_pydict()
        assert found.element_indices.tolist() == alone.element_indices.tolist()
    assert len(service.asked) == 1


def test_searches_that_differ_in_anything_else_are_called_apart(service: FakeService) -> None:
    others = [
        search(1, filter="id > 1"), search(1, guarantee_timestamp=9), search(1, as_of=7), search(1, database="d"),
        search(1, output_fields=("word",)), search(1, round_decimal=2), search(1, partitions=("p",)),
    ]  # fmt: skip
    run(service, [search(1), *others, search(2)])
    assert [s.queries.nq for s in service.asked] == [2] + [1] * len(others)


def test_a_search_whose_answer_is_no_plain_list_of_hits_is_called_alone(service: FakeService) -> None:
    for one in (search(1, grouping=Grouping(fields=("color",))), search(1, filter_params={"x": [1]})):
        assert likeness(one) is None
        service.asked.clear()
        run(service, [one, one])
        assert len(service.asked) == 2


def test_what_is_wrong_with_one_search_is_told_to_it_alone(service: FakeService) -> None:
    def picky(asked: Search) -> Hits:
        vectors = asked.queries.vectors
        assert vectors is not None
        if (vectors[:, 0] == 2).any():
            raise InvalidParameter("no twos")
        return hits(asked)

    service.answers[Search] = picky
    found = run(service, [search(1), search(2), search(3)])
    told = [len(f.ids) if isinstance(f, Hits) else f.message for f in found]
    assert told == [1, "no twos: invalid parameter", 3]


@pytest.mark.parametrize("bad", [False, True])
def test_a_service_that_answers_later_is_asked_once_as_well(service: FakeService, bad: bool) -> None:
    def later(asked: Search) -> Future[Hits]:
        vectors = asked.queries.vectors
        assert vectors is not None
        found: Future[Hits] = Future()
        if bad and (vectors[:, 0] == 2).any():
            found.set_exception(InvalidParameter("no twos"))
        else:
            threading.Timer(0.01, found.set_result, [hits(asked)]).start()
        return found

    service.answers[Search] = later
    found = run(service, [search(1), search(2), search(3)])
    told = [len(f.ids) if isinstance(f, Hits) else f.message for f in found]
    assert told == [1, "no twos: invalid parameter" if bad else 2, 3]
    assert len(service.asked) == (4 if bad else 1)


def connected(service: FakeService, connections: int, searches: int = 3) -> list[int]:
    """How many searches the service was asked at once, after one of several clients' connections has brought some in
    one piece, and no turn of the loop was over."""

    async def work() -> list[int]:
        calls = Calls(service, asyncio.get_running_loop())
        open_connections: set[GrpcConnection] = set()
        opened = [GrpcConnection(Rpcs(calls, Observer(Metrics())), open_connections) for _ in range(connections)]
        transport = Kept()
        opened[0].connection_made(transport)
        head = b"".join(literal(*header) for header in HEADERS)
        _, message = encode_request(search(1))
        body = b"\0" + len(message).to_bytes(4, "big") + message
        opened[0].data_received(PREFACE + SETTINGS_ACK + b"".join(
            FRAME.pack(len(head) << 8 | http2.HEADERS, http2.END_HEADERS, stream) + head
            + FRAME.pack(len(body) << 8 | http2.DATA, http2.END_STREAM, stream) + body
            for stream in range(1, 2 * searches, 2)
        ))  # fmt: skip
        asked = [one.queries.nq for one in service.asked]
        assert CURRENT.get() is None
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [one.queries.nq for one in service.asked] == [searches]
        assert transport.answers == searches
        assert calls.running == 0
        calls.close()
        return asked

    return asyncio.run(work())


def test_searches_of_the_only_client_are_answered_in_the_turn_they_came_in(service: FakeService) -> None:
    assert connected(service, 1) == [3]


def test_what_is_logged_after_a_search_is_not_said_to_be_of_it(service: FakeService) -> None:
    assert connected(service, 1, searches=1) == [1]  # `connected` looks whose the log is


def test_searches_wait_for_those_of_other_clients_until_the_turn_is_over(service: FakeService) -> None:
    assert connected(service, 2) == []


def test_no_call_gets_more_queries_than_share_their_costs_well(service: FakeService) -> None:
    run(service, [search(1)] * (MOST_QUERIES + 5))
    assert [s.queries.nq for s in service.asked] == [MOST_QUERIES, 5]
