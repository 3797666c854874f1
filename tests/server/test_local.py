"""A database file served to this process's own gRPC clients."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from pathlib import Path

import grpc
import pytest

from redkite import MilvusClient
from redkite.errors import MilvusException, Unavailable
from redkite.server.local import LocalServer
from redkite.wire.messages import message_class, service


def version_of(uri: str) -> str:
    """What the server says its version is."""
    method = service.methods_by_name["GetVersion"]
    with grpc.insecure_channel(uri) as channel:
        call = channel.unary_unary(
            f"/{service.full_name}/GetVersion",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_class(method.output_type).FromString,
        )
        return str(call(message_class(method.input_type)(), timeout=60).version)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "local.db")


def test_a_file_is_served_on_a_socket_that_only_its_user_can_reach(path: str) -> None:
    server = LocalServer(path)
    address = server.uri.removeprefix("unix:")
    assert os.stat(os.path.dirname(address)).st_mode & 0o077 == 0
    assert version_of(server.uri)
    assert server.is_there
    server.close()
    assert not server.is_there
    assert not os.path.exists(os.path.dirname(address))
    with socket.socket(socket.AF_UNIX) as trial, pytest.raises(OSError):
        trial.connect(address)


def test_the_file_stays_open_for_clients_that_use_it_without_the_server(path: str) -> None:
    server = LocalServer(path)
    client = MilvusClient(path)
    client.create_collection("birds", dimension=4)
    server.close()
    client.insert("birds", [{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}])
    assert client.query("birds", filter="id == 1")[0]["id"] == 1
    client.close()
    with LocalServerOf(path) as again:
        assert version_of(again.uri)


class LocalServerOf:
    """A LocalServer that is closed at the end of a block."""

    def __init__(self, path: str) -> None:
        self.server = LocalServer(path)

    def __enter__(self) -> LocalServer:
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.close()


def test_closing_twice_is_no_error(path: str) -> None:
    server = LocalServer(path)
    server.close()
    server.close()


def test_a_path_that_cannot_be_opened_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "sockets"))
    (tmp_path / "sockets").mkdir()
    (tmp_path / "file.db").write_text("no database")
    with pytest.raises(MilvusException):
        LocalServer(str(tmp_path / "file.db"))
    assert list((tmp_path / "sockets").iterdir()) == []


def test_a_folder_for_sockets_with_too_long_a_name_is_told(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(Unavailable, match="TMPDIR"):
        LocalServer(path)
    monkeypatch.undo()
    with LocalServerOf(path) as server:  # the file was closed
        assert version_of(server.uri)
    assert list(long.iterdir()) == []


def test_nothing_of_a_closed_server_stays_in_the_process(path: str) -> None:
    before = set(threading.enumerate())
    server = LocalServer(path)
    assert version_of(server.uri)
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    server.close()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith(("redkite-local", "asyncio", "redkite-call"))}
    if files:
        again = LocalServer(path)
        assert len(os.listdir("/proc/self/fd")) <= files
        again.close()


def test_a_fork_never_closes_what_comes_to_have_the_number_of_the_socket(path: str) -> None:
    server = LocalServer(path)
    child = os.fork()
    if not child:
        os._exit(0 if server._socket.fileno() < 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert version_of(server.uri)
    server.close()
