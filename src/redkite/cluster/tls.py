"""Certificates of nodes: read, looked at before they are used, and read anew when they are renewed."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import NamedTuple

from redkite.cluster.config import TlsFiles
from redkite.env import Env
from redkite.errors import InvalidParameter, StorageError
from redkite.logs import get_logger

_log = get_logger(__name__)

SOON_SECONDS = 7 * 24 * 3600
"""A certificate that ends within so long is worth a word."""

_ALPN = ["h2"]
"""gRPC's own library insists on it."""


class Pems(NamedTuple):
    """What is in the files."""

    ca: bytes
    certificate: bytes
    key: bytes


class Certificates:
    """Those of one node. Safe from any thread."""

    def __init__(self, env: Env, files: TlsFiles) -> None:
        """Raises InvalidParameter for files that no connection can be made with."""
        self._env = env
        self._files = files
        self._pems = self._read()
        self._ends, self._contexts = self._look()

    def latest(self) -> Pems:
        """What is in the files now, as far as it can be used: the same object as long as it is the same."""
        try:
            found = self._read()
            if found != self._pems:
                (self._ends, self._contexts), self._pems = self._look(), found
        except InvalidParameter as error:  # perhaps half of the files are new: the next look finds the other half
            _log.warning("certificates stay as they were read before: %s", error.message)
        return self._pems

    def contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """Of a node that is asked, and of one that asks, by the files as they are now: each wants the other's
        certificate."""
        self.latest()
        return self._contexts

    def trouble(self) -> str:
        """Why nodes will soon, or now, refuse to talk to this one; empty: nothing."""
        self.latest()
        left = self._ends - self._env.clock.now_ms() / 1000
        if left <= 0:
            return f"the certificate {self._files.certificate} has expired: other nodes refuse it"
        if left < SOON_SECONDS:
            return f"the certificate {self._files.certificate} expires in {left / 86400:.1f} days"
        return ""

    def _read(self) -> Pems:
        files = self._files

        def text(path: str) -> bytes:
            try:
                return self._env.files.read(path)
            except StorageError as error:
                raise InvalidParameter(f"tls: {error.message}") from None

        return Pems(text(files.ca), text(files.certificate), text(files.key))

    def _look(self) -> tuple[float, tuple[ssl.SSLContext, ssl.SSLContext]]:
        """When the certificate ends, in Unix seconds, and what connections are made with. A connection of the node with
        itself says whether the files go together, before another node has to."""
        files = self._files
        if b"-----BEGIN" not in self._env.files.read(files.ca):
            raise InvalidParameter(f"tls: {files.ca} holds no certificate in PEM")
        try:
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.check_hostname = False
            server.verify_mode = ssl.CERT_REQUIRED
            for context in (server, client):
                context.load_verify_locations(files.ca)
                context.load_cert_chain(files.certificate, files.key, password=_no_password)
                context.set_alpn_protocols(_ALPN)
        except (OSError, ssl.SSLError) as error:
            raise InvalidParameter(
                f"tls: {files.certificate}, {files.key} and {files.ca} cannot be used: {_said(error)}"
            ) from None
        try:
            ends = _shaken(server, client)
        except ssl.SSLCertVerificationError as error:
            raise InvalidParameter(
                f"tls: {files.certificate} is not accepted by {files.ca}: {error.verify_message}"
            ) from None
        except ssl.SSLError as error:
            raise InvalidParameter(f"tls: {files.certificate} cannot be used: {_said(error)}") from None
        client.check_hostname = True
        return ends, (server, client)


def _no_password() -> str:
    raise InvalidParameter("tls: the key has a password, and nobody is there to type it: keep it without one")


def _shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> float:
    """Shake hands in memory; when the server's certificate ends."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    waiting: list[Callable[[], None]] = [end.do_handshake for end in ends]
    for _ in range(10):
        still = []
        for shake in waiting:
            try:
                shake()
            except ssl.SSLWantReadError:
                still.append(shake)
        waiting = still
        if not waiting:
            break
    told = ends[0].getpeercert() or {}
    until = told.get("notAfter")
    if waiting or not isinstance(until, str):
        raise InvalidParameter("tls: the node cannot talk to itself by these files")
    return float(ssl.cert_time_to_seconds(until))


def _said(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error.strerror or error)
