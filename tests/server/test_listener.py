"""What arrives on the main port, and what is done with it."""

from __future__ import annotations

import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from tests.server.fakes import FakeService
from tests.servers import ThreadServer

from redkite.wire.http2 import PREFACE


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as opened:
        yield opened


def everything(peer: socket.socket) -> bytes:
    """All bytes until the server closes."""
    received = b""
    while chunk := peer.recv(65_536):
        received += chunk
    return received


def is_well(server: ThreadServer) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        channel.unary_unary("/milvus.proto.milvus.MilvusService/GetVersion")(b"", timeout=60)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/healthz", timeout=30) as answer:
        return answer.read() == b"OK"


def test_http_and_grpc_share_one_port(fake_server: ThreadServer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{fake_server.port}") as channel:
        assert channel.unary_unary("/milvus.proto.milvus.MilvusService/GetVersion")(b"", timeout=60)
        request = urllib.request.Request(f"{fake_server.uri}/v2/vectordb/databases/list", data=b"{}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.read() == b'{"code":0,"data":["default"]}'
        assert channel.unary_unary("/milvus.proto.milvus.MilvusService/GetVersion")(b"", timeout=60)


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 100, b"SSH-2.0-OpenSSH_9\r\n", b"PRI * HTTP/1.1\r\n\r\n", b"get / HTTP/1.1\r\n"]
)
def test_garbage_gets_a_short_answer_and_is_closed(fake_server: ThreadServer, garbage: bytes) -> None:
    with connected(fake_server.port) as peer:
        peer.sendall(garbage)
        answer = everything(peer)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"this port speaks gRPC (HTTP/2 without TLS) and HTTP/1.1\n")
    assert is_well(fake_server)


def test_a_tls_client_is_refused_in_its_own_language(fake_server: ThreadServer) -> None:
    context = ssl.create_default_context()
    with connected(fake_server.port) as peer, pytest.raises(ssl.SSLError, match=r"(?i)handshake"):
        context.wrap_socket(peer, server_hostname="localhost")
    assert is_well(fake_server)


def test_a_silent_connection_is_closed_after_a_while(service: FakeService) -> None:
    with ThreadServer(service) as server:
        listener = server.server._listener
        assert listener is not None
        listener.first_bytes_seconds = 0.2
        for start in (b"", b"PRI * HT", b"PO"):
            with connected(server.port) as peer:
                peer.sendall(start)
                began = time.monotonic()
                with pytest.raises(ConnectionResetError):
                    if everything(peer) == b"":
                        raise ConnectionResetError
                assert time.monotonic() - began < 20
        assert not listener.undecided


def test_a_preface_that_comes_byte_by_byte_is_understood(fake_server: ThreadServer) -> None:
    with connected(fake_server.port) as peer:
        for index in range(len(PREFACE)):
            peer.sendall(PREFACE[index : index + 1])
            time.sleep(0.002)
        peer.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        answer = peer.recv(9, socket.MSG_WAITALL)
    assert answer[3] == 4  # SETTINGS


def test_connections_that_end_at_any_moment_leave_nothing_behind(fake_server: ThreadServer) -> None:
    for first in (b"", b"P", PREFACE[:10], PREFACE, PREFACE + b"\x00\x00", b"POST / HT", b"POST / HTTP/1.1\r\n"):
        with connected(fake_server.port) as peer:
            peer.sendall(first)
    assert is_well(fake_server)
    deadline = time.monotonic() + 120
    listener = fake_server.server._listener
    assert listener is not None
    while (listener.undecided or listener._others()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not listener.undecided
    assert listener._others() == 0


def test_a_server_with_too_many_connections_says_so(fake_server: ThreadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.server.listener.MAX_CONNECTIONS", 1)
    with connected(fake_server.port) as first:
        first.sendall(PREFACE)
        assert first.recv(9, socket.MSG_WAITALL)
        with connected(fake_server.port) as second:
            assert everything(second).startswith(b"HTTP/1.1 503 ")
