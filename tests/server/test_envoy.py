"""Redkite inside Envoy: `redkite serve --front envoy`. `make envoy` runs every test over the wire this way."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pymilvus
import pytest
from tests.launch.authority import Authority
from tests.patience import until
from tests.servers import ProcessServer

from redkite import MilvusClient
from redkite.errors import ConnectError, MilvusException, Unauthenticated
from redkite.server.buffered import Buffered
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
        self.deadline = math.inf

    def begin(self, method: str, message: bytes, headers: Any, done: Any, address: str, deadline: float) -> None:
        self.begun += 1
        self.deadline = deadline
        if self.error is not None:
            raise self.error
        done(method.encode() + message)


def ask(
    rpcs: Any,
    events: list[dict[str, Any]],
    path: str = PATH,
    *more: tuple[bytes, bytes],
    gone: bool = False,
    most_held: int = 10_000,
) -> list[dict[str, Any]]:
    """What the application sends when Envoy tells it these events, with `more` headers. `gone`: nobody takes it."""
    app = EnvoyApp()
    app._doors = Doors(rpcs, None, Buffered(most_held))  # type: ignore[arg-type]
    app._max_receive = app._max_send = 1000
    sent: list[dict[str, Any]] = []
    left = iter(events)

    async def receive() -> dict[str, Any]:
        return next(left)

    async def send(message: Any) -> None:
        if gone:
            raise OSError("disconnected")
        sent.append(dict(message))

    scope = {"type": "http", "path": path, "headers": [(b"content-type", b"application/grpc"), *more]}
    asyncio.run(app(scope, receive, send))
    assert app._doors.buffered.held == 0
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


def test_a_client_that_does_not_wait_for_its_reply_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    rpcs = FakeRpcs()
    assert ask(rpcs, [piece(b"\0\0\0\0\0")], gone=True) == []
    assert (rpcs.begun, caplog.text) == (1, "")


def test_rest_is_told_that_its_client_has_gone_by_an_error_that_is_no_bug() -> None:
    seen: list[int] = []

    async def rest(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start"})
        except MilvusException as error:
            seen.append(error.code)
            raise

    async def nobody(*_: Any) -> None:
        raise OSError("disconnected")

    app = EnvoyApp()
    app._doors = Doors(None, rest, None)  # type: ignore[arg-type]
    asyncio.run(app({"type": "http", "headers": []}, nobody, nobody))
    assert seen == [10_000]


def test_a_call_is_begun_with_the_time_it_has() -> None:
    rpcs = FakeRpcs()
    ask(rpcs, [piece(b"\0\0\0\0\0")], PATH, (b"grpc-timeout", b"2H"))
    assert 0 < rpcs.deadline - time.monotonic() <= 7200
    ask(rpcs, [piece(b"\0\0\0\0\0")])
    assert rpcs.deadline == math.inf


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

    def __init__(self, told: bytes | Unauthenticated) -> None:
        super().__init__()
        self.told = told

    def look(self, _method: str, _headers: Any, _address: str, _let_in: Any, done: Any) -> None:
        done(self.told)


def test_a_stranger_is_refused_before_the_message_is_there() -> None:
    rpcs = Strange(Unauthenticated("caf\u00e9: 100 %"))
    assert status(ask(rpcs, [])) == (16, "caf%C3%A9: 100 %25")
    assert rpcs.begun == 0


def test_a_stranger_who_is_not_looked_at_is_told_so_by_the_call_s_own_reply() -> None:
    sent = ask(Strange(b"try again"), [])
    assert (sent[1]["body"], status(sent)) == (b"\0\0\0\0\x09try again", (0, ""))


def test_a_request_that_is_too_large_is_refused_without_being_kept() -> None:
    events = [piece(b"\0\0\0\x80\0" + bytes(500), more=True)] + [piece(bytes(500), more=True)] * 20 + [piece(b"")]
    number, said = status(ask(FakeRpcs(), events))
    assert (number, "larger than max" in said) == (8, True)


def test_more_than_the_server_may_hold_is_refused_by_the_call_s_own_reply() -> None:
    rpcs = FakeRpcs()
    sent = ask(rpcs, [piece(b"\0\0\0\3\0", more=True), piece(bytes(500), more=True), piece(bytes(268))], most_held=700)
    assert (rpcs.begun, status(sent)) == (0, (0, ""))
    assert b"holds as many unfinished requests as it may" in sent[1]["body"]


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


def test_tls_is_asked_of_clients_and_by_them_as_without_envoy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyvoy")
    monkeypatch.setenv("FRONT", "envoy")
    authority = Authority(tmp_path)
    own, other = authority.issue("server"), authority.issue("client")
    config = tmp_path / "redkite.toml"
    lines = [f"tls_cert = '{own.certificate}'", f"tls_key = '{own.key}'", f"tls_client_ca = '{own.ca}'"]
    config.write_text("\n".join([*lines, "metrics_tls = false"]))
    with ProcessServer(tmp_path / "data", "--config", str(config)) as server:
        uri = f"https://localhost:{server.port}"
        shown: Any = {"client_pem_path": other.certificate, "client_key_path": other.key}
        with MilvusClient(uri, server_name="localhost", ca_pem_path=own.ca, **shown) as client:
            assert client.list_collections() == []
        with pytest.raises(MilvusException):
            MilvusClient(uri, server_name="localhost", server_pem_path=own.ca, timeout=0.5)
        with pytest.raises(ConnectError):
            MilvusClient(server.uri, timeout=0.5)
    config.write_text("\n".join([f"tls_cert = '{other.certificate}'", *lines[1:]]))
    failed = serve("--config", str(config), "--data", str(tmp_path / "data"), "--port", "0")
    assert failed.returncode == 1
    assert f"the TLS certificate {other.certificate} with the key {own.key} cannot be used" in failed.stderr


def test_what_runs_when_the_server_is_asked_to_stop_is_answered(in_envoy: ProcessServer) -> None:
    address = ("127.0.0.1", in_envoy.port)
    with socket.create_connection(address, timeout=60) as connection:
        path = b"POST /v2/vectordb/collections/list HTTP/1.1\r\n"
        connection.sendall(path + b"Host: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # it runs
        in_envoy.process.send_signal(signal.SIGTERM)
        until(lambda: not is_accepting(address))
        connection.sendall(b"{}")
        answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert in_envoy.stop() == 0
    assert "Traceback" not in in_envoy.errors


def is_accepting(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=60).close()
    except ConnectionError:
        return False
    return True


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
