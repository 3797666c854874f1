"""Nodes of several machines: who is let in, what is said when a connection fails, and how soon."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from redkite import spans
from redkite.cluster import frames, grpc_network
from redkite.cluster.config import TlsFiles
from redkite.cluster.grpc_network import METHOD, GrpcNetwork
from redkite.cluster.network import Message, NotReached, Unanswered, WrongPeer
from redkite.cluster.tls import Certificates
from redkite.env import Env
from redkite.errors import InvalidParameter, MilvusException, ParameterTooLarge, Unavailable

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Ping(Message, frozen=True):
    text: str = ""


def echo(ping: Ping) -> str:
    return ping.text


class Authority:
    """Signs certificates of nodes."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(self._signed(self.name, self.key, days=100, is_ca=True))

    def files(self, name: str, days: float = 100, address: str = "127.0.0.1", ca: Path | None = None) -> TlsFiles:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, own_key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(self._signed(subject, key, days, address))
        own_key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return TlsFiles(ca=str(ca or self.ca), certificate=str(certificate), key=str(own_key))

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: float, address: str = "", is_ca: bool = False
    ) -> bytes:
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(LONG_AGO)
            .not_valid_after(datetime.now(UTC) + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if address:
            made = made.add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
            )
        return made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


Make = Callable[..., GrpcNetwork]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[GrpcNetwork] = []

    def network(node_id: int, tls: TlsFiles | None = None, cluster: str = "redkite") -> GrpcNetwork:
        made.append(GrpcNetwork(Env.real(), cluster, node_id, tls))
        return made[-1]

    yield network
    for one in made:
        one.close()


def failure(network: GrpcNetwork, address: str, timeout: float = 5.0) -> MilvusException:
    with pytest.raises(MilvusException) as caught:
        network.connect(address).ask(Ping(), timeout)
    return caught.value


# -- who is let in ------------------------------------------------------------------------------
def test_nodes_of_one_authority_talk(make: Make, authority: Authority) -> None:
    serving = make(1, authority.files("one")).serve("127.0.0.1:0", {Ping: echo})
    assert make(2, authority.files("two")).connect(serving.address).ask(Ping(text="x")) == "x"


def test_a_stranger_without_a_certificate_is_refused(make: Make, authority: Authority) -> None:
    serving = make(1, authority.files("one")).serve("127.0.0.1:0", {Ping: echo})
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes())
    with grpc.secure_channel(serving.address, credentials) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHOD)(b"x", timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_stranger_who_speaks_plainly_is_refused(make: Make, authority: Authority) -> None:
    serving = make(1, authority.files("one")).serve("127.0.0.1:0", {Ping: echo})
    assert isinstance(failure(make(2), serving.address), Unavailable)


def test_a_node_of_another_authority_is_refused(make: Make, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    serving = make(1, authority.files("one")).serve("127.0.0.1:0", {Ping: echo})
    stranger = make(2, other.files("two"))
    error = failure(stranger, serving.address)
    assert isinstance(error, NotReached)
    assert "the certificates are not of one authority" in error.message
    theirs = stranger.serve("127.0.0.1:0", {Ping: echo})
    assert isinstance(failure(make(3, authority.files("three")), theirs.address), NotReached)


def test_a_node_that_trusts_all_but_shows_a_foreign_certificate_is_refused(
    make: Make, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    both = tmp_path / "both.pem"
    both.write_bytes(authority.ca.read_bytes() + other.ca.read_bytes())
    calls: list[Ping] = []
    serving = make(1, authority.files("one")).serve("127.0.0.1:0", {Ping: calls.append})
    assert isinstance(failure(make(2, other.files("two", ca=both)), serving.address), Unavailable)
    assert calls == []


def test_a_certificate_for_another_address_is_refused(make: Make, authority: Authority) -> None:
    serving = make(1, authority.files("one", address="10.1.2.3")).serve("127.0.0.1:0", {Ping: echo})
    error = failure(make(2, authority.files("two")), serving.address)
    assert isinstance(error, NotReached)
    assert "certificate is for another address" in error.message


def test_a_node_that_does_not_speak_tls_is_told_apart(make: Make, authority: Authority) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: echo})
    error = failure(make(2, authority.files("two")), serving.address)
    assert isinstance(error, NotReached)
    assert "does not speak TLS" in error.message


# -- files that cannot be used ------------------------------------------------------------------
def test_an_expired_certificate_is_refused_at_the_start(make: Make, authority: Authority) -> None:
    with pytest.raises(
        InvalidParameter, match=r"old\.crt is not accepted by .*authority\.pem: certificate has expired"
    ):
        make(1, authority.files("old", days=-1))


def test_an_authority_that_did_not_sign_is_refused_at_the_start(
    make: Make, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    with pytest.raises(InvalidParameter, match=r"one\.crt is not accepted by .*other\.pem: unable to get local issuer"):
        make(1, authority.files("one", ca=other.ca))


def test_a_key_of_another_certificate_is_refused_at_the_start(make: Make, authority: Authority) -> None:
    one, two = authority.files("one"), authority.files("two")
    with pytest.raises(InvalidParameter, match=r"cannot be used: .*KEY_VALUES_MISMATCH"):
        make(1, TlsFiles(ca=one.ca, certificate=one.certificate, key=two.key))


def test_files_that_are_not_there_or_no_pem_are_named(make: Make, authority: Authority, tmp_path: Path) -> None:
    one = authority.files("one")
    with pytest.raises(InvalidParameter, match=r"cannot read .*missing\.pem': No such file"):
        make(1, TlsFiles(ca=str(tmp_path / "missing.pem"), certificate=one.certificate, key=one.key))
    (tmp_path / "noise").write_bytes(os.urandom(100))
    with pytest.raises(InvalidParameter, match="noise holds no certificate"):
        make(1, TlsFiles(ca=str(tmp_path / "noise"), certificate=one.certificate, key=one.key))


def test_a_certificate_that_ends_soon_is_a_reason_of_health(make: Make, authority: Authority) -> None:
    assert make(1, authority.files("fresh")).health() == ()
    assert make(2).health() == ()
    (reason,) = make(3, authority.files("short", days=2)).health()
    assert "short.crt expires in 2.0 days" in reason


def test_a_certificate_that_ended_while_the_node_ran_is_a_reason_of_health(authority: Authority) -> None:
    class Later:
        def now_ms(self) -> int:
            return int((time.time() + 200 * 24 * 3600) * 1000)

    env = Env.real()
    certificates = Certificates(env, authority.files("one"))
    certificates._env = Env(Later(), env.random, env.files, env.tasks)  # type: ignore[arg-type]
    assert "one.crt has expired: other nodes refuse it" in certificates.trouble()


def test_renewed_certificates_are_taken_without_a_restart(make: Make, authority: Authority, tmp_path: Path) -> None:
    """Both nodes get certificates of a new authority while they run."""
    one, two = authority.files("one"), authority.files("two")
    first, second = make(1, one), make(2, two)
    serving = first.serve("127.0.0.1:0", {Ping: echo})
    remote = second.connect(serving.address)
    assert remote.ask(Ping(text="old")) == "old"
    (tmp_path / "new").mkdir()
    new = Authority(tmp_path / "new", "new")
    for name, files in (("one", one), ("two", two)):
        fresh = new.files(name)
        shutil.copy(fresh.certificate, files.certificate)
        shutil.copy(fresh.key, files.key)
    shutil.copy(new.ca, one.ca)
    stranger = make(3, new.files("three"))
    assert stranger.connect(serving.address).ask(Ping(text="new")) == "new"
    second.abandon(serving.address)
    assert remote.ask(Ping(text="again")) == "again"


def test_half_renewed_certificates_change_nothing(make: Make, authority: Authority) -> None:
    files = authority.files("one")
    serving = make(1, files).serve("127.0.0.1:0", {Ping: echo})
    Path(files.certificate).write_bytes(Path(authority.files("other").certificate).read_bytes())
    assert make(2, authority.files("two")).connect(serving.address).ask(Ping(text="x")) == "x"


# -- peers that are not what they should be -----------------------------------------------------
def test_a_node_of_another_cluster_says_so(make: Make) -> None:
    serving = make(1, cluster="blue").serve("127.0.0.1:0", {Ping: echo})
    error = failure(make(2, cluster="green"), serving.address)
    assert isinstance(error, WrongPeer)
    assert error.message == "node 1 is of cluster 'blue', not of 'green'"


def test_a_node_of_another_version_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: echo})
    remote = make(2).connect(serving.address)
    asking = remote._party.asking

    def newer(message: Message, seconds: float) -> bytes:
        frame = asking(message, seconds)
        return frame[:3] + bytes([frames.PROTOCOL + 1]) + frame[4:]

    monkeypatch.setattr(remote._party, "asking", newer)
    with pytest.raises(WrongPeer, match=f"speaks version {frames.PROTOCOL + 1} of .*, this one {frames.PROTOCOL}"):
        remote.ask(Ping())


def test_bytes_of_a_stranger_do_not_hurt_a_node(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: echo})
    network = make(2)
    with grpc.insecure_channel(serving.address) as channel:
        for data in (b"", b"noise", b"RKN" + bytes([frames.PROTOCOL]) + b"\xff" * 100, os.urandom(1000)):
            reply = channel.unary_unary(METHOD)(data, timeout=30)
            with pytest.raises(MilvusException, match="message between nodes"):
                network._party.told(reply)
    assert network.connect(serving.address).ask(Ping(text="x")) == "x"


def test_something_else_that_listens_is_told_apart(make: Make) -> None:
    other = grpc.server(Env.real().tasks.executor("other", 1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    error = failure(make(1), f"127.0.0.1:{port}")
    assert isinstance(error, WrongPeer)
    assert "something else than a node of Redkite listens" in error.message
    other.stop(0)


def test_a_connection_that_is_refused_says_so(make: Make) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        error = failure(make(1), f"127.0.0.1:{held.getsockname()[1]}")
    assert isinstance(error, NotReached)
    assert "connection refused: nobody listens there" in error.message


def test_a_host_that_is_not_known_says_so(make: Make) -> None:
    error = failure(make(1), "nowhere.invalid:1234", 10.0)
    assert isinstance(error, NotReached | Unanswered)


# -- size and time ------------------------------------------------------------------------------
def test_a_message_of_many_megabytes_goes_through(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: echo})
    text = "x" * 50_000_000
    assert make(2).connect(serving.address).ask(Ping(text=text)) == text


def test_a_message_that_is_too_large_is_refused_before_it_is_sent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: echo})
    monkeypatch.setattr(grpc_network, "LARGEST_MESSAGE", 1000)
    with pytest.raises(ParameterTooLarge, match=r"a Ping of \d+ bytes is more than 1000 between nodes"):
        make(2).connect(serving.address).ask(Ping(text="x" * 1000))


def test_running_calls_end_well_when_a_node_closes(make: Make) -> None:
    begun, closing = threading.Event(), threading.Event()

    def slow(ping: Ping) -> str:
        begun.set()
        closing.wait(60)
        time.sleep(0.2)
        return ping.text

    serving = make(1).serve("127.0.0.1:0", {Ping: slow})
    remote = make(2).connect(serving.address)
    asked = remote.ask_soon(Ping(text="x"))
    assert begun.wait(30)
    closing.set()
    serving.close()
    assert asked.result(30) == "x"
    assert isinstance(failure(make(3), serving.address), Unavailable)


SERVER = """
import sys, time
from redkite.cluster.grpc_network import GrpcNetwork
from redkite.env import Env
from tests.cluster.test_grpc_network import Ping

def answer(ping):
    if ping.text:
        print("asked", flush=True)
    time.sleep(float(ping.text or 0))
    return ping.text

print(GrpcNetwork(Env.real(), "redkite", 1).serve("127.0.0.1:0", {Ping: answer}).address, flush=True)
time.sleep(60)
"""


@pytest.fixture
def elsewhere() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A node in another process, and its address."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()


def test_calls_of_a_node_that_is_killed_fail_at_once(make: Make, elsewhere: tuple[subprocess.Popen[str], str]) -> None:
    process, address = elsewhere
    remote = make(2).connect(address)
    assert remote.ask(Ping()) == ""
    asked = remote.ask_soon(Ping(text="30"), timeout=30)
    assert process.stdout is not None and process.stdout.readline() == "asked\n"
    process.kill()
    with pytest.raises(Unanswered, match="went away before it answered Ping"):
        asked.result(20)  # its own time is up later
    assert isinstance(failure(make(3), address), NotReached)


@pytest.mark.slow
def test_calls_of_a_node_that_went_silent_fail_before_their_time(
    make: Make, elsewhere: tuple[subprocess.Popen[str], str]
) -> None:
    """A process that was stopped keeps its connections: only the signs of life are missing."""
    process, address = elsewhere
    remote = make(2).connect(address)
    assert remote.ask(Ping()) == ""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # it goes on for a moment
    begun = time.monotonic()
    with pytest.raises(Unanswered):
        remote.ask(Ping(), timeout=100)
    assert time.monotonic() - begun < 60
    process.send_signal(signal.SIGCONT)


def test_a_call_has_its_deadline_where_a_node_went_silent(
    make: Make, elsewhere: tuple[subprocess.Popen[str], str]
) -> None:
    process, address = elsewhere
    remote = make(2).connect(address)
    assert remote.ask(Ping()) == ""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # it goes on for a moment
    with pytest.raises(Unanswered, match=r"within 0\.5 s"):
        remote.ask(Ping(), timeout=0.5)
    process.send_signal(signal.SIGCONT)


# -- traces -------------------------------------------------------------------------------------
def test_the_span_that_asks_is_the_parent_of_what_the_other_node_does(make: Make) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    class Work:
        @spans.traced("work")
        def do(self, ping: Ping) -> str:
            return ping.text

    serving = make(1).serve("127.0.0.1:0", {Ping: lambda ping: Work().do(ping)})
    spans.install(tracer)
    try:
        with tracer.start_as_current_span("search"):
            make(2).connect(serving.address).ask(Ping(text="x"))
    finally:
        spans.install(None)
    found = {span.name: span for span in exporter.get_finished_spans()}
    assert found["Ping"].parent is not None and found["work"].parent is not None
    assert found["Ping"].parent.span_id == found["search"].context.span_id
    assert found["work"].parent.span_id == found["Ping"].context.span_id
    assert len({span.context.trace_id for span in found.values()}) == 1


def test_more_answers_are_waited_for_than_there_are_threads(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_network, "ASKING_THREADS", 2)
    go = threading.Event()
    serving = make(1).serve("127.0.0.1:0", {Ping: lambda ping: go.wait(60) and ping.text})
    network = make(2)
    remote = network.connect(serving.address)
    asked = [remote.ask_soon(Ping(text=str(at))) for at in range(10)]
    cut = [remote.ask_soon(Ping(text="x"), timeout=0.1) for _ in range(2)]
    for one in cut:
        with pytest.raises(Unanswered):
            one.result(30)
    go.set()
    assert [one.result(30) for one in asked] == [str(at) for at in range(10)]
    assert network.traffic.tallies()["asked", "Ping"].calls == 12


def test_many_threads_ask_at_once(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: echo})
    remote = make(2).connect(serving.address)
    wrong: list[object] = []

    def ask(number: int) -> None:
        for at in range(30):
            text = f"{number}-{at}"
            if remote.ask(Ping(text=text)) != text:
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
