"""A whole server process: how it starts, what stops it from starting, how it ends."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymilvus import MilvusClient
from tests.server.fakes import FakeService
from tests.servers import ProcessServer, ThreadServer, processor_seconds

from redkite.config import Settings
from redkite.errors import Unavailable
from redkite.model.requests import HasCollection
from redkite.model.results import Flag, Result
from redkite.server.main import Server


def start_in_vain(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a server that should not start."""
    command = [sys.executable, "-m", "redkite", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def test_rows_written_before_sigterm_are_there_after_the_next_start(tmp_path: Path) -> None:
    with ProcessServer(tmp_path / "data") as server:
        client = MilvusClient(server.uri)
        client.create_collection("kept", dimension=4)
        client.insert("kept", [{"id": number, "vector": [number, 1, 1, 1]} for number in range(10)])
        assert server.stop(signal.SIGTERM) == 0
    with ProcessServer(tmp_path / "data") as server:
        client = MilvusClient(server.uri)
        assert client.query("kept", filter="id >= 0", output_fields=["count(*)"]) == [{"count(*)": 10}]
        client.close()
        assert server.stop(signal.SIGINT) == 0


def test_the_greeting_is_one_line_with_both_addresses(server: ProcessServer) -> None:
    assert re.fullmatch(
        r"Redkite \S+ is ready after [\d.]+ s: gRPC and REST on 127\.0\.0\.1:\d+, "
        r"health on http://127\.0\.0\.1:\d+/healthz, data in \S+\n",
        server.greeting,
    )


@pytest.mark.parametrize("option", ["--port", "--metrics-port"])
def test_a_taken_port_is_named_and_nothing_is_opened(tmp_path: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ports = {"--port": "0", "--metrics-port": "0"} | {option: port}
        failed = start_in_vain("--data", str(tmp_path / "data"), *(text for pair in ports.items() for text in pair))
    assert failed.returncode == 1
    reason = f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another port with {option}"
    assert reason in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "data").exists()


def test_a_second_server_on_the_same_data_names_the_first(server: ProcessServer) -> None:
    failed = start_in_vain("--data", str(server.data), "--port", "0", "--metrics-port", "0")
    assert failed.returncode == 1
    path = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    pids = [str(server.process.pid), *path.read_text().split()]  # inside Envoy it is a child that has the data
    assert any(f"in use by process {pid} " in failed.stderr for pid in pids)
    assert "Traceback" not in failed.stderr
    assert MilvusClient(server.uri).get_server_version()


def test_a_host_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    for host in ("203.0.113.1", "no-such-host.invalid"):
        failed = start_in_vain("--data", str(tmp_path / "data"), "--host", host, "--port", "0", "--metrics-port", "0")
        assert failed.returncode == 1
        assert host in failed.stderr
        assert "Traceback" not in failed.stderr


def test_listening_for_everybody_without_a_password_is_warned_about(tmp_path: Path) -> None:
    config = tmp_path / "redkite.toml"
    config.write_text('authorization = "off"\n')
    with ProcessServer(tmp_path / "data", "--host", "0.0.0.0", "--config", str(config)) as server:
        server.stop()
    assert "no password is asked for: whoever reaches 0.0.0.0:" in server.errors


def test_a_stopping_server_answers_what_runs_and_takes_nothing_new(service: FakeService) -> None:
    pending: Future[Result] = Future()
    service.answers[HasCollection] = lambda _: pending
    server = ThreadServer(service)
    answers: list[Any] = []
    url = f"{server.uri}/v2/vectordb/collections/has"
    client = threading.Thread(target=lambda: answers.append(httpx.post(url, json={"collectionName": "c"}).json()))
    client.start()
    while not any(isinstance(request, HasCollection) for request in service.asked):
        time.sleep(0.01)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=30).close()
        except OSError:
            break
        time.sleep(0.01)
    assert not server.closed
    pending.set_result(Flag(value=True))
    stopping.join(60)
    client.join(60)
    assert answers == [{"code": 0, "data": {"has": True}}]
    assert server.closed


def test_a_call_that_never_ends_does_not_hold_up_the_end(service: FakeService) -> None:
    service.answers[HasCollection] = lambda _: Future()
    server = ThreadServer(service, shutdown_seconds=0.2)
    ended: list[Exception] = []

    def ask() -> None:
        try:
            httpx.post(f"{server.uri}/v2/vectordb/collections/has", json={"collectionName": "c"}, timeout=100)
        except httpx.HTTPError as error:
            ended.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not service.asked:
        time.sleep(0.01)
    server.stop()  # which gives up after READY_SECONDS
    assert server.closed
    asking.join(60)
    assert isinstance(ended[0], httpx.RemoteProtocolError)


def test_health_says_no_while_the_database_is_being_opened(service: FakeService) -> None:
    opened = threading.Event()

    class Slow:
        def __init__(self) -> None:
            self.service = service

        def close(self) -> None:
            pass

    def open_database(_: Settings) -> Slow:
        assert opened.wait(30)
        return Slow()

    async def story() -> None:
        server = Server(Settings(port=0, metrics_port=0), open_database)
        starting = asyncio.create_task(server.start())
        while not server.metrics_port:
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.metrics_port}") as client:
            assert (await client.get("/livez")).status_code == 200
            early = await client.get("/healthz")
            assert early.status_code == 500
            assert early.text.endswith("the database is being opened")
            opened.set()
            await starting
            assert (await client.get("/healthz")).status_code == 200
        await server.stop()

    asyncio.run(story())


def test_a_database_that_does_not_open_leaves_no_port_behind() -> None:
    def open_database(_: Settings) -> Any:
        raise Unavailable("not today")

    async def story() -> int:
        server = Server(Settings(port=0, metrics_port=0), open_database)
        with pytest.raises(Unavailable, match="not today") as caught:
            await server.start()
        with socket.socket() as next_one:
            next_one.bind(("127.0.0.1", server.port))
        del caught
        await server.stop()
        return server.metrics_port

    port = asyncio.run(story())
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=30)


def test_a_server_is_ready_after_less_than_three_seconds_of_work(tmp_path: Path) -> None:
    with ProcessServer(tmp_path / "data") as server:
        assert processor_seconds(server.process.pid) < 3.0
