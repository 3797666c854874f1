"""The door of transports: every call gets an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from redkite.errors import CollectionNotFound, InvalidParameter, MilvusException
from redkite.model import requests, results
from redkite.wire import Handler, MethodUnimplemented

Answer = Callable[[requests.Request], results.Result | Future[results.Result]]


class OneAnswer:
    """A service that answers every request in one way."""

    def __init__(self, answer: Answer) -> None:
        self.call = answer

    def is_quick(self, request: requests.Request) -> bool:
        return isinstance(request, requests.GetVersion)


def version_of(reply: bytes | Future[bytes]) -> milvus_pb2.GetVersionResponse:
    return milvus_pb2.GetVersionResponse.FromString(reply.result(30) if isinstance(reply, Future) else reply)


def failing(error: BaseException) -> Answer:
    def answer(request: requests.Request) -> results.Result:
        raise error

    return answer


def later(finish: Callable[[Future[results.Result]], object]) -> Answer:
    def answer(request: requests.Request) -> Future[results.Result]:
        future: Future[results.Result] = Future()
        finish(future)
        return future

    return answer


VERSION = results.Version(version="v2.6.0")


def test_a_result_is_answered_at_once() -> None:
    reply = Handler(OneAnswer(lambda _: VERSION)).handle("GetVersion", b"", {})
    assert isinstance(reply, bytes)
    assert version_of(reply).version == "v2.6.0"


def test_a_future_is_answered_with_a_future() -> None:
    pending: Future[results.Result] = Future()
    reply = Handler(OneAnswer(lambda _: pending)).handle("GetVersion", b"", {})
    assert isinstance(reply, Future) and not reply.done()
    pending.set_result(VERSION)
    assert version_of(reply).version == "v2.6.0"


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (
            failing(CollectionNotFound.named("default", "c")),
            100,
            "collection not found[database=default][collection=c]",
        ),
        (failing(RuntimeError("secret")), 65535, "unexpected error: RuntimeError"),
        (lambda _: results.Flag(value=True), 65535, "unexpected error: AttributeError"),
        (later(lambda f: f.set_exception(InvalidParameter("x"))), 1100, "x: invalid parameter"),
        (later(lambda f: f.set_exception(ValueError("secret"))), 65535, "unexpected error: ValueError"),
        (later(lambda f: f.cancel() and f.set_running_or_notify_cancel()), 10000, "canceled"),
        (later(lambda f: f.set_result(results.Done())), 65535, "unexpected error: AttributeError"),
    ],
)
def test_a_failure_is_answered_in_the_status(answer: Answer, code: int, text: str) -> None:
    status = version_of(Handler(OneAnswer(answer)).handle("GetVersion", b"", {})).status
    assert (status.code, status.reason) == (code, text)


def test_an_unexpected_failure_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "redkite.wire"):
        Handler(OneAnswer(failing(RuntimeError("secret")))).handle("GetVersion", b"", {})
    assert "GetVersion failed: secret" in caplog.text and "RuntimeError" in caplog.text


def test_bytes_that_are_no_message_are_answered_in_the_status() -> None:
    reply = Handler(OneAnswer(lambda _: results.Done())).handle("DropCollection", b"\xff", {})
    assert isinstance(reply, bytes)
    status = common_pb2.Status.FromString(reply)
    assert status.code == 1004 and status.reason.startswith("cannot parse DropCollectionRequest")


def test_a_call_that_is_not_built_is_left_to_the_transport() -> None:
    with pytest.raises(MethodUnimplemented, match="method AddUserTags not implemented"):
        Handler(OneAnswer(lambda _: results.Done())).handle("AddUserTags", b"", {})


def test_a_transport_may_take_the_two_steps_itself() -> None:
    handler = Handler(OneAnswer(lambda _: VERSION))
    request = handler.decode("GetVersion", b"", {})
    assert handler.is_quick(request)
    assert version_of(handler.reply("GetVersion", request)).version == "v2.6.0"
    with pytest.raises(MilvusException) as caught:
        handler.decode("Insert", b"", {})
    assert milvus_pb2.MutationResult.FromString(handler.error("Insert", caught.value)).status.code == 1100
