"""Redkite inside Envoy: `redkite serve --front envoy`. `make envoy` runs every test over the wire this way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pymilvus
import pytest
from tests.servers import ProcessServer

from redkite import MilvusClient
from redkite.errors import Unauthenticated
from redkite.server.envoy_app import EnvoyApp
from redkite.server.grpc import INTERNAL, UNIMPLEMENTED
from redkite.server.main import Doors

PATH = "/milvus.proto.milvus.MilvusService/GetVersion"


# -- the application ----------------------------------------------------------------------------
class FakeRpcs:
    """Answers each call with its message, or raises."""

    def is_unknown(self, _headers: Any) -> bool:
        return False

    def __init__(self, error: Exception | None = None) -> None:
        self.methods = {PATH.encode(): "GetVersion"}
        self.error = error
        self.begun = 0

    def begin(self, method: str, message: bytes, headers: Any, done: Any, address: str) -> None:
        self.begun += 1
        if self.error is not None:
            raise self.error
        done(method.encode() + message)


def ask(rpcs: Any, events: list[dict[str, Any]], path: str = PATH) -> list[dict[str, Any]]:
    """What the application sends when Envoy tells it these events."""
    app = EnvoyApp()
    app._doors = Doors(rpcs, None)  # type: ignore[arg-type]
    app._max_receive = app._max_send = 1000
    sent: list[dict[str, Any]] = []
    left = iter(events)

    async def receive() -> dict[str, Any]:
        return next(left)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {"type": "http", "path": path, "headers": [(b"content-type", b"application/grpc")]}
    asyncio.run(app(scope, receive, send))
    return sent


def status(sent: list[dict[str, Any]]) -> tuple[int, str]:
    """gRPC's status of an answer, and its text."""
    headers = dict(pair for message in sent for pair in message.get("headers", ()))
    return int(headers[b"grpc-status"]), headers.get(b"grpc-message", b"").decode()


def piece(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_call_is_answered_with_one_message_and_a_status_behind_it() -> None:
    sent = ask(FakeRpcs(), [piece(b"\0\0\0", more=True), piece(b"\0\2h", more=True), piece(b"i")])
    assert [message["type"] for message in sent] == [
        "http.response.start", "http.response.body", "http.response.trailers",
    ]  # fmt: skip
    assert sent[1]["body"] == b"\0\0\0\0\x0cGetVersionhi"
    assert status(sent) == (0, "")


def test_an_error_that_nobody_expected_is_no_success() -> None:
    assert status(ask(FakeRpcs(ZeroDivisionError()), [piece(b"\0\0\0\0\0")])) == (
        INTERNAL, "unexpected error: ZeroDivisionError",
    )  # fmt: skip


def test_a_client_that_goes_away_within_its_request_calls_nothing() -> None:
    rpcs = FakeRpcs()
    ask(rpcs, [piece(b"\0\0\0\0\5he", more=True), piece(b"", more=True), {"type": "http.disconnect"}])
    assert rpcs.begun == 0


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"", "no message"), (b"\0\0\0\0\7abc", "one message of 7 bytes, but has 3"), (b"\1\0\0\0\1a", "compressed")],
)
def test_a_request_that_is_not_one_message_is_refused(body: bytes, text: str) -> None:
    number, said = status(ask(FakeRpcs(), [piece(body)]))
    assert number in (INTERNAL, UNIMPLEMENTED)
    assert text in said


class Strange(FakeRpcs):
    """Does not know who calls, and finds that nobody does."""

    def is_unknown(self, _headers: Any) -> bool:
        return True

    def look(self, _method: str, _headers: Any, _address: str, _let_in: Any, done: Any) -> None:
        done(Unauthenticated("auth check failure"))


def test_a_stranger_is_refused_and_nothing_is_kept_of_the_message() -> None:
    rpcs = Strange()
    events = [piece(b"\0\0\0\0\x0a" + bytes(5), more=True), piece(bytes(5))]
    assert status(ask(rpcs, events)) == (16, "auth check failure")
    assert rpcs.begun == 0


def test_a_request_that_is_too_large_is_refused_without_being_kept() -> None:
    events = [piece(b"\0\0\0\x80\0" + bytes(500), more=True)] + [piece(bytes(500), more=True)] * 20 + [piece(b"")]
    number, said = status(ask(FakeRpcs(), events))
    assert (number, "larger than max" in said) == (8, True)


def test_an_unknown_method_is_unimplemented() -> None:
    assert status(ask(FakeRpcs(), [piece(b"\0\0\0\0\0")], path="/x/Nothing")) == (
        UNIMPLEMENTED, "method Nothing not implemented",
    )  # fmt: skip


# -- the process --------------------------------------------------------------------------------
def serve(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "redkite", "serve", "--front", "envoy", "--metrics-port", "0", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


@pytest.fixture
def in_envoy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("pyvoy")
    monkeypatch.setenv("FRONT", "envoy")
    with ProcessServer(tmp_path / "data.db") as server:
        yield server


def test_grpc_and_rest_are_served_on_one_port_and_rows_outlive_the_server(in_envoy: ProcessServer) -> None:
    import httpx

    client = pymilvus.MilvusClient(in_envoy.uri)
    client.create_collection("c", dimension=4)
    client.insert("c", [{"id": number, "vector": [number, 1, 1, 1]} for number in range(5)])
    ours = MilvusClient(in_envoy.uri)
    assert len(ours.query("c", "id >= 0")) == 5
    told = httpx.post(f"{in_envoy.uri}/v2/vectordb/entities/query", json={"collectionName": "c", "filter": "id == 3"})
    assert told.json()["data"][0]["id"] == 3
    failed = serve("--data", str(in_envoy.data), "--port", "0")
    assert failed.returncode == 1
    assert "is in use by process" in failed.stderr
    assert in_envoy.stop(signal.SIGTERM) == 0
    with MilvusClient(str(in_envoy.data)) as embedded:
        assert len(embedded.query("c", "id >= 0")) == 5


def test_envoy_ends_when_the_command_that_started_it_is_killed(in_envoy: ProcessServer) -> None:
    pid = in_envoy.process.pid
    (envoy,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    in_envoy.process.kill()
    in_envoy.process.wait()
    limit = time.monotonic() + 120
    while Path(f"/proc/{envoy}/exe").exists():
        assert time.monotonic() < limit, "Envoy outlived its launcher"
        time.sleep(0.05)


def test_without_the_extra_the_own_front_serves_after_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "pyvoy.py").write_text("raise ImportError('No module named pyvoy', name='pyvoy')\n")
    command = [sys.executable, "-m", "redkite", "serve", "--front", "envoy", "--data", str(tmp_path / "data")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "hidden")}
    with subprocess.Popen(
        [*command, "--port", "0", "--metrics-port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert "is ready after" in process.stdout.readline()
        process.terminate()
        _, said = process.communicate(timeout=60)
    lines = [line for line in said.splitlines() if "envoy" in line]
    assert len(lines) == 1
    assert "pip install 'redkite[envoy]'" in lines[0]
