"""How a server is closed to strangers: who has to say who they are, and what a connection is encrypted with."""

from __future__ import annotations

import os
import secrets
import ssl

from redkite.config import Settings
from redkite.coordinator.access import AccessRules
from redkite.errors import InvalidParameter
from redkite.logs import get_logger
from redkite.model.hosts import is_loopback

_log = get_logger(__name__)
_DEFAULT_PASSWORD = "Milvus"
_PASSWORD_FILE = "root-password"
_PASSWORD_BYTES = 18


def access_rules(settings: Settings) -> AccessRules:
    """What the settings say about users. Where other machines can reach the server, root's first password is made up
    and kept in a file that only the owner of the data can read, unless the settings name one."""
    password = settings.root_password
    if not password:
        open_to_others = settings.needs_users and not is_loopback(settings.host)
        password = _made_up(settings.data) if open_to_others else _DEFAULT_PASSWORD
    names = (name.strip() for name in settings.super_users.split(","))
    return AccessRules(
        root_password=password,
        super_users=frozenset(name for name in names if name),
        public=settings.public_privileges,
        root_is_bound=settings.root_needs_roles,
    )


def _made_up(folder: str) -> str:
    path = f"{folder}/{_PASSWORD_FILE}"
    os.makedirs(folder, exist_ok=True)
    if os.path.exists(path):
        with open(path) as handle:
            kept = handle.read().strip()
        if not kept:
            raise InvalidParameter(f"{path} is empty: delete it, and a new password is made up")
        return kept
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    unfinished = f"{path}.{os.getpid()}"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(password + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(unfinished, path)  # whole, or not there
    _log.warning("the password of root was made up; it is in %s", path)
    return password


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What connections are encrypted with; None when they are not. Raises InvalidParameter for files that do not do."""
    if not settings.tls_cert and not settings.tls_key:
        if settings.tls_client_ca:
            raise InvalidParameter("tls_client_ca goes with tls_cert and tls_key")
        return None
    if not settings.tls_cert or not settings.tls_key:
        raise InvalidParameter("tls_cert and tls_key go together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidParameter(
            f"the TLS certificate {settings.tls_cert} with the key {settings.tls_key} cannot be used: {_said(error)}"
        ) from error
    if settings.tls_client_ca:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except (OSError, ssl.SSLError) as error:
            raise InvalidParameter(
                f"the certificates {settings.tls_client_ca} cannot be used: {_said(error)}"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def metrics_context(settings: Settings) -> ssl.SSLContext | None:
    """What the metrics port is encrypted with; None when it is not. Raises InvalidParameter without a certificate."""
    if not settings.metrics_tls:
        return None
    context = tls_context(settings)
    if context is None:
        raise InvalidParameter("metrics_tls goes with tls_cert and tls_key")
    context.set_alpn_protocols(["http/1.1"])  # it speaks nothing else
    return context


def warn_if_open(settings: Settings, port: int) -> None:
    """Say what strangers may do, where they can reach the server."""
    if is_loopback(settings.host):
        return
    if not settings.needs_users:
        _log.warning("no password is asked for: whoever reaches %s:%d may read and write", settings.host, port)
    elif not settings.tls_cert:
        _log.warning(
            "connections are not encrypted: whoever listens on the way to %s:%d reads along", settings.host, port
        )


def _said(error: OSError) -> str:
    return error.strerror or str(error)
