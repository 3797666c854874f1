"""Where the parts of a cluster are, as its config spells it: addresses, the log, the store of objects."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from redkite.errors import InvalidParameter

LogKind = Literal["kafka", "pulsar"]
STORES: Final = ("s3", "s3a", "gs", "az", "abfs", "abfss")
_STORE_SETTINGS: Final = frozenset({"endpoint", "region"})
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.=:-]+/[A-Za-z0-9_.=:-]+")
_PULSAR_NAMESPACE: Final = "public/default"


class LogPlace(NamedTuple):
    """What `log` says."""

    kind: LogKind
    servers: tuple[str, ...]
    """`host:port` of each."""
    namespace: str
    """`tenant/namespace` of Pulsar; empty for Kafka."""
    encrypted: bool
    """`pulsar+ssl://`; Kafka has an option for it."""


def check_address(address: str) -> None:
    """Raises InvalidParameter for anything but `host:port`."""
    host, colon, port = address.rpartition(":")
    if not host or not colon or "/" in host or " " in host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise InvalidParameter(f"'{address}': expected host:port, as 10.0.0.5:2379")


def read_log(text: str) -> LogPlace:
    """`kafka://host:port,…` or `pulsar://host:port/tenant/namespace`. Raises InvalidParameter."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("kafka", "pulsar", "pulsar+ssl"):
        raise InvalidParameter(f"'{text}': expected kafka://host:port,host:port or pulsar://host:port/tenant/namespace")
    servers, _, path = rest.partition("/")
    addresses = tuple(part.strip() for part in servers.split(","))
    for address in addresses:
        check_address(address)
    if scheme == "kafka":
        if path:
            raise InvalidParameter(f"'{text}': Kafka has no path; topics begin with the cluster's `name`")
        return LogPlace("kafka", addresses, "", False)
    namespace = path.strip("/") or _PULSAR_NAMESPACE
    if not _NAMESPACE.fullmatch(namespace):
        raise InvalidParameter(f"'{text}': '{path}' is no tenant/namespace, as in {_PULSAR_NAMESPACE}")
    return LogPlace("pulsar", addresses, namespace, scheme == "pulsar+ssl")


def check_log(text: str) -> None:
    """Raises InvalidParameter."""
    read_log(text)


def is_folder(objects: str) -> bool:
    """Whether `objects` is a folder, rather than a store that is asked over the network."""
    return "://" not in objects


def check_objects(text: str) -> None:
    """Raises InvalidParameter for what is neither a store that is known nor an absolute folder."""
    if is_folder(text):
        if not text.startswith("/"):
            raise InvalidParameter(
                f"'{text}': a folder is written from the root on, as /srv/redkite: every node must find it there"
            )
        return
    parts = urlsplit(text)
    if parts.scheme not in STORES or not parts.netloc:
        known = ", ".join(f"{scheme}://bucket" for scheme in STORES)
        raise InvalidParameter(f"'{text}': expected one of {known}, or a folder")
    unknown = sorted(dict(parse_qsl(parts.query, keep_blank_values=True)).keys() - _STORE_SETTINGS)
    if unknown:
        raise InvalidParameter(f"'{text}': unknown setting {unknown[0]}; known are endpoint and region")
