"""The HTTP client that asks models: deadlines, repeats, limits, and errors that say what came back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.functions.embedding_server import Answer, EmbeddingServer
from tests.test_spans import Traces

from redkite import spans
from redkite.env import Env
from redkite.errors import FunctionFailed
from redkite.functions.http import Http, HttpRequest
from redkite.model.calling import ModelSettings

SECRET = "sk-a-secret-key"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as running:
        yield running


def request(server: EmbeddingServer, path: str = "/embed") -> HttpRequest:
    return HttpRequest(
        who="embedding provider tei",
        url=server.endpoint + path,
        body=b'{"inputs": ["a"]}',
        headers={"Authorization": f"Bearer {SECRET}"},
        hidden=(SECRET,),
    )


def client(**settings: float) -> Http:
    return Http(Env.real(), ModelSettings(**settings))  # type: ignore[arg-type]


def refused(server: EmbeddingServer, http: Http | None = None) -> str:
    with pytest.raises(FunctionFailed) as caught:
        (http or client()).post(request(server))
    assert caught.value.code == 2400
    assert SECRET not in str(caught.value)
    assert caught.value.message.startswith(f"embedding provider tei at {server.endpoint}/embed ")
    return caught.value.message


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_service_that_is_busy_or_fails_is_asked_again(status: int, server: EmbeddingServer) -> None:
    server.answers = [Answer(status, b"busy"), Answer(status, b"busy")]
    assert client().post(request(server)).startswith(b"[[")
    assert len(server.calls) == 3


def test_a_connection_that_breaks_is_made_again(server: EmbeddingServer) -> None:
    server.answers = [Answer(hang_up=True)]
    assert client().post(request(server)).startswith(b"[[")


def test_an_error_that_stays_is_told_with_what_came_back(server: EmbeddingServer) -> None:
    server.always = Answer(500, b"out of memory")
    text = refused(server)
    assert "answered 500 Internal Server Error: out of memory (asked 3 times)" in text
    assert len(server.calls) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_would_not_change_is_not_asked_again(status: int, server: EmbeddingServer) -> None:
    server.always = Answer(status, b"no")
    assert f"answered {status}" in refused(server)
    assert len(server.calls) == 1


def test_an_answer_that_repeats_the_key_is_shown_without_it(server: EmbeddingServer) -> None:
    server.always = Answer(401, f"Incorrect API key provided: {SECRET}.".encode())
    assert "Incorrect API key provided: ***." in refused(server)


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (f"HTTP/1.1 401 Wrong key {SECRET} given", "answered 401 Wrong key *** given"),
        (f"Wrong key {SECRET} given", "cannot be reached: BadStatusLine Wrong key *** given"),
    ],
)
def test_a_first_line_that_repeats_the_key_is_shown_without_it(reply: str, shown: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(f"{reply}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):  # what is not read would break the connection
                    continue

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/embed"
        asked = HttpRequest(who="w", url=url, body=b"{}", headers={"Authorization": SECRET}, hidden=(SECRET,))
        with pytest.raises(FunctionFailed) as caught:
            client(tries=1).post(asked)
        answering.join(60)
    assert SECRET not in str(caught.value)
    assert shown in caught.value.message


def test_redirects_are_not_followed(server: EmbeddingServer) -> None:
    with EmbeddingServer() as elsewhere:
        server.always = Answer(307, headers={"Location": f"{elsewhere.endpoint}/embed"})
        assert "answered 307 Temporary Redirect (redirects are not followed)" in refused(server)
        assert elsewhere.calls == []


def test_a_service_that_is_not_there_cannot_be_reached() -> None:
    with EmbeddingServer() as gone:
        pass
    gone.__dict__["calls"] = []
    with pytest.raises(FunctionFailed, match=r"cannot be reached: ConnectionRefusedError .*\(asked 2 times\)"):
        client(tries=2).post(request(gone))


@pytest.mark.parametrize(
    "slow", [Answer(body=b"[[1, 2]]", wait=60), Answer(body=b"[" + b" " * 1_000 + b"]", drip=0.05)]
)
def test_a_slow_answer_is_given_up_at_the_deadline(slow: Answer, server: EmbeddingServer) -> None:
    server.always = slow
    began = time.monotonic()
    assert "did not answer within 0.5 s" in refused(server, client(seconds=0.5))
    assert time.monotonic() - began < 30


def test_the_deadline_bounds_the_repeats_too(server: EmbeddingServer) -> None:
    server.always = Answer(503, b"busy")
    began = time.monotonic()
    assert "answered 503" in refused(server, client(seconds=0.5, tries=10_000))
    assert time.monotonic() - began < 30


def test_a_service_may_say_when_it_wants_to_be_asked_again(server: EmbeddingServer) -> None:
    server.answers = [Answer(429, headers={"Retry-After": "1"})]
    began = time.monotonic()
    client().post(request(server))
    assert time.monotonic() - began >= 1
    server.always = Answer(429, headers={"Retry-After": "3600"})
    server.calls.clear()
    assert "answered 429" in refused(server)
    assert len(server.calls) == 1, "an hour is more than there is"


def test_a_reply_beyond_the_limit_is_not_read(server: EmbeddingServer) -> None:
    server.always = Answer(body=b"[" + b" " * 5_000_000 + b"]")
    assert "answered more than 100000 bytes" in refused(server, client(reply_bytes=100_000))


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_the_connection_of_a_reply_that_is_not_read_to_its_end_is_closed(
    server: EmbeddingServer, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []
    connect = HTTPConnection.connect

    def noted(self: HTTPConnection) -> None:
        connect(self)
        made.append(self.sock)

    monkeypatch.setattr(HTTPConnection, "connect", noted)
    server.always = Answer(body=b"[" + b" " * 5_000_000 + b"]", headers=headers)
    with pytest.raises(FunctionFailed) as caught:
        client(reply_bytes=100_000).post(request(server))
    assert caught.value.__traceback__ is not None, "which holds on to everything that was there"
    assert [one.fileno() for one in made] == [-1]


def test_a_request_that_ends_after_the_client_was_closed_leaves_no_connection_behind(
    server: EmbeddingServer,
) -> None:
    http = client()
    http.post(request(server))
    http.close()
    http.post(request(server))
    assert not any(http._idle.values())


def test_connections_are_kept_and_replaced_when_the_server_closed_them(server: EmbeddingServer) -> None:
    http = client()
    for _ in range(5):
        http.post(request(server))
    assert server.connections == 1
    server.answers = [Answer(hang_up=True)]
    http.post(request(server))
    assert server.connections == 2
    http.close()


def test_several_requests_run_side_by_side_and_answer_in_order(server: EmbeddingServer) -> None:
    http = client(requests=4)
    server.always, server.together = Answer(body=b"[]"), threading.Barrier(4, timeout=30)  # each waits for all
    assert http.post_all([request(server) for _ in range(4)]) == [b"[]"] * 4
    server.together = None
    server.always = None
    some = [
        HttpRequest(who="w", url=f"{server.endpoint}/embed", body=b'{"inputs": ["%s"]}' % (b"a" * n)) for n in range(9)
    ]
    assert http.post_all(some) == [b"[[0.0, %d.0, 0.0, 0.0]]" % n for n in range(9)]
    http.close()


def test_of_several_requests_those_after_a_failure_are_not_made(server: EmbeddingServer) -> None:
    server.always = Answer(400, b"no", wait=0.05)
    http = client(requests=2)
    with pytest.raises(FunctionFailed, match="answered 400"):
        http.post_all([request(server) for _ in range(50)])
    time.sleep(0.2)
    assert len(server.calls) < 10
    http.close()


def test_a_certificate_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate = tmp_path / "both.pem"
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(pem))
    certificate.write_bytes(secret + made.public_bytes(pem))
    with EmbeddingServer(certificate=str(certificate)) as server:
        url = server.endpoint.replace("http://127.0.0.1", "https://localhost") + "/embed"
        asked = HttpRequest(who="w", url=url, body=b'{"inputs": ["a"]}')
        with pytest.raises(FunctionFailed, match="SSLCertVerificationError"):
            client(tries=1).post(asked)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        assert client().post(asked).startswith(b"[[")


def test_a_service_is_told_of_the_trace_that_asks(server: EmbeddingServer) -> None:
    traces = Traces()
    client().post(request(server))
    assert "traceparent" not in server.calls[0].headers
    spans.install(traces.tracer)
    try:
        with traces.tracer.start_as_current_span("insert"):
            client().post(request(server))
    finally:
        spans.install(None)
    asked = traces.named("ask model")
    assert server.calls[1].headers["traceparent"].split("-")[1:3] == [
        f"{asked.context.trace_id:032x}",
        f"{asked.context.span_id:016x}",
    ]
    assert traces.parent_of("ask model") == "insert"
    assert SECRET not in asked.to_json()
