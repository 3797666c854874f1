"""Where a client connects, read from a URI and its companions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypedDict
from urllib.parse import unquote, urlsplit

import msgspec

from redkite.errors import ConnectionConfigException, ParamError
from redkite.model.sizes import parse_size

DEFAULT_URI = "http://localhost:19530"
DEFAULT_PORT = 19530
DEFAULT_TLS_PORT = 443
_SCHEMES = ("http", "https", "tcp")


class ConnectionOptions(TypedDict, total=False):
    """Further keyword arguments: of a client that opens a file, then of one that talks to a server."""

    read_only: bool
    """Of a file: read what another process writes, or nobody does; the file stays as it is."""

    memory_limit: int | str
    """Of a file: private memory of the database at most, in bytes or as a text such as `1GB`; 0 sets no limit. Writes
    that find no room in it fail with code 3. Clients of one file share one database and its limit."""

    verify: Literal["open", "off"]
    """Of a file: when the checksums of segments and indexes are compared: `open`, before each is used for the first
    time; `off`, only by `redkite verify`, so that opening is quicker and damage may give wrong answers."""

    secure: bool
    """TLS, also without `https://`."""
    server_pem_path: str
    """The server's certificate: one-way TLS."""
    ca_pem_path: str
    client_pem_path: str
    client_key_path: str
    """The three together: mutual TLS."""
    server_name: str
    """The name to expect in the server's certificate."""
    grpc_options: dict[str, Any]
    """gRPC channel arguments, over Redkite's own."""
    option: dict[str, str]
    """Sent to the server when connecting."""
    dedicated: bool
    """Do not share a TCP connection with other clients of this process."""


_FILE_OPTIONS = frozenset({"read_only", "memory_limit", "verify"})
_VERIFY = ("open", "off")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A server, or a database file."""

    address: str
    """A gRPC target, or the absolute path of the file."""
    embedded: bool = False
    read_only: bool = False
    memory_limit: int = 0
    verify: bool = True
    token: str = ""
    """Never shown: see `__repr__`."""
    """`user:password` or an API key."""
    database: str = ""
    secure: bool = False
    server_pem_path: str = ""
    ca_pem_path: str = ""
    client_pem_path: str = ""
    client_key_path: str = ""
    server_name: str = ""
    grpc_options: dict[str, Any] = {}
    option: dict[str, str] = {}
    dedicated: bool = False

    @property
    def server_type(self) -> str:
        return "zilliz" if not self.embedded and "zilliz" in self.address.lower() else "milvus"


def endpoint(uri: str, user: str, password: str, token: str, db_name: str, options: ConnectionOptions) -> Endpoint:
    """Read the arguments of a client.

    Raises:
        ConnectionConfigException: The URI is none, names a folder that does not exist, or has companions that mean
            nothing to it.
        ParamError: An unknown option.
    """
    uri = os.fspath(uri) if isinstance(uri, os.PathLike) else uri
    if not isinstance(uri, str):
        raise ConnectionConfigException(f"uri: {uri} is illegal, it must be a text or a path")
    unknown = set(options) - ConnectionOptions.__annotations__.keys()
    if unknown:
        raise ParamError(f"unknown connection argument `{min(unknown)}`")
    token = token or (f"{user}:{password}" if user and password else "")
    if uri.endswith(".db"):
        return _file(uri, token, db_name, options)
    if uri.startswith("unix:"):
        return _server(uri, token, db_name, False, options)
    parts = urlsplit(uri)
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES:
        raise ConnectionConfigException(_illegal(uri))
    try:
        port = parts.port
    except ValueError as error:
        raise ConnectionConfigException(f"{_illegal(uri)} ({error})") from error
    host = parts.hostname or "localhost"
    host = f"[{host}]" if ":" in host else host
    address = f"{host}:{port or (DEFAULT_TLS_PORT if scheme == 'https' else DEFAULT_PORT)}"
    if not token and parts.username:
        token = unquote(parts.username) + (f":{unquote(parts.password)}" if parts.password else "")
    database = db_name or parts.path.strip("/").split("/")[0]
    return _server(address, token, database, scheme == "https", options)


def _illegal(uri: str) -> str:
    text = f"uri: {uri} is illegal, needs start with [unix, http, https, tcp] or a local file endswith [.db]"
    if uri == ":memory:":
        text += ": there are no databases in memory; give a path in a temporary folder"
    return text


def _file(uri: str, token: str, db_name: str, options: ConnectionOptions) -> Endpoint:
    path = Path(uri).absolute()
    if not path.parent.is_dir():
        raise ConnectionConfigException(f"Open local milvus failed, dir: {Path(uri).parent} not exists")
    if token:
        raise ConnectionConfigException("a local database file takes no user, password or token: it would check none")
    others = set(options) - _FILE_OPTIONS
    if others:
        raise ConnectionConfigException(f"a local database file takes no connection argument `{min(others)}`")
    read_only = options.get("read_only", False)
    if not isinstance(read_only, bool):
        raise ParamError("read_only must be bool type")
    memory_limit = parse_size(options.get("memory_limit", 0))
    if memory_limit and read_only:
        raise ParamError("memory_limit is for a client that writes: reading is never refused")
    verify = options.get("verify", "open")
    if verify not in _VERIFY:
        raise ParamError(f"verify={verify!r} is neither 'open' nor 'off'")
    return Endpoint(
        address=os.path.realpath(path),
        embedded=True,
        database=db_name,
        read_only=read_only,
        memory_limit=memory_limit,
        verify=verify == "open",
    )


def _server(address: str, token: str, database: str, tls: bool, options: ConnectionOptions) -> Endpoint:
    secure = options.get("secure", tls)
    if not isinstance(secure, bool):
        raise ParamError("secure must be bool type")
    for name in _FILE_OPTIONS & set(options):
        raise ConnectionConfigException(f"`{name}` is for a local database file; what a server does is set there")
    settings: dict[str, Any] = {**options, "secure": secure}
    return Endpoint(address=address, token=token, database=database, **settings)
