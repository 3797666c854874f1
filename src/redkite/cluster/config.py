"""How is a cluster set up? One frozen `ClusterConfig`, which every node of it reads, and where each value came from.

A value comes from the last of these that names it: the default, a TOML or YAML file, the environment
(`REDKITE_CLUSTER_LEASE_SECONDS=5`), the arguments of a command. The section `[settings]` of the file holds what any
Redkite can be set to (`config.Settings`), with its own variables.

    configuration = load(file="cluster.toml", arguments={"query": 4})
    configuration.config.query          # 4
    print(configuration.explain())      # every key, its value and its source
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from redkite import config as engine
from redkite.cluster.places import check_address, check_log, check_objects
from redkite.config import ConfigError, Settings
from redkite.errors import InvalidParameter
from redkite.model.hosts import is_loopback
from redkite.model.sizes import parse_size

ENVIRONMENT_PREFIX: Final = engine.CLUSTER_PREFIX
FILE_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}CONFIG"
"""The one variable that is no key: the path of the file, where a command names none."""
GIB: Final = 1 << 30
Role = Literal["coordinator", "streaming", "query", "data", "proxy"]
ROLES: Final[tuple[Role, ...]] = ("coordinator", "streaming", "query", "data", "proxy")
"""In the order in which they are started."""


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Files in PEM, the same on every host or one set for each: nodes show each other the certificate and accept those
    that the authority has signed, and nobody else."""

    ca: str
    """Who has signed the certificates of all nodes."""
    certificate: str
    """The node's own, with every address and name it is asked at."""
    key: str
    """The key of `certificate`."""


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What Ray sets aside for one node of a role."""

    cpus: float = 1.0
    """Cores; parts are allowed."""
    memory: int = 0
    """Bytes, or a text such as `16GB`. 0 sets none aside."""
    labels: dict[str, float] = {}
    """Resources of other names, as `{ ssd = 1 }`: only hosts that have them are chosen."""


class ClusterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that all nodes of one cluster have to agree on, and how many there are of each role."""

    name: str = "redkite"
    """Keys in etcd and topics of the log begin so: several clusters may share them."""
    etcd: tuple[str, ...] = ("127.0.0.1:2379",)
    """`host:port` of the members of etcd, or of some of them; in a variable separated by commas."""
    etcd_user: str = ""
    """Who asks etcd, where it wants to know."""
    etcd_password: str = ""
    """The password of `etcd_user`."""
    etcd_ca: str = ""
    """PEM file of who signed etcd's certificate. Setting it, or `etcd_certificate`, means to speak TLS with etcd."""
    etcd_certificate: str = ""
    """PEM file that is shown to etcd."""
    etcd_key: str = ""
    """The key of `etcd_certificate`."""
    log: str = "kafka://127.0.0.1:9092"
    """Where writes are logged: `kafka://host:port,host:port`, or `pulsar://host:port/tenant/namespace`
    (`pulsar+ssl://…`; by default `public/default`)."""
    log_replicas: int = 1
    """Brokers of Kafka that keep each topic. Three are usual in earnest; in Pulsar the namespace says it."""
    log_options: dict[str, str] = {}
    """The section `[log_options]`: of Kafka, options of librdkafka, as `security.protocol` and `sasl.username`; of
    Pulsar `admin_url`, `token` and `tls_ca`. None is ever shown."""
    objects: str = "s3://redkite"
    """Where segments and indexes are: `s3://bucket/prefix?endpoint=http://host:9000&region=…`, `gs://…`, `az://…`, or a
    folder that every node sees under this path. Credentials of stores come from the environment."""
    pchannels: int = 16
    """Topics of the log, over which the shards of all collections are spread. A cluster keeps those it was begun with.
    """
    lease_seconds: float = 3.0
    """A node that was not heard of for so long is taken for dead, and what it had is given to others."""
    tls: TlsFiles | None = None
    """The section `[tls]`: nodes ask each other over TLS, and each proves who it is. Without it, in plain text."""
    host: str = "127.0.0.1"
    """The address at which the nodes of this host are asked by others. `auto`: the one it reaches others from."""
    metrics_port: int = 0
    """Where nodes other than proxies tell, over HTTP, whether they are well (`/healthz`) and their numbers
    (`/metrics`). 0 picks a free port, as where another node of the host has it; `redkite cluster status` shows it.
    Proxies have `settings.metrics_port`."""
    state: str = "redkite-cluster"
    """Folder of this host for what `redkite cluster` notes: process ids, logs, and the data of parts it starts
    itself."""
    cache_path: str = ""
    """Folder of this host in which query and streaming nodes keep copies of objects, where `objects` is no folder
    itself. By default, a folder in `state`."""
    cache_bytes: int = 10 * GIB
    """How much each of these nodes keeps there at most."""
    read_seconds: float = 10.0
    """How long a read looks for a query node that answers for its segments, before it is an error."""
    hedged_reads: bool = True
    """Ask a second replica when the first is slower than most answers of late."""
    required_data_ratio: float = 1.0
    """The part of the sealed rows that a read has to reach. At 1 a read that cannot reach some is an error; below, it
    leaves them out where no query node serves them, and its answer says how many; the metric
    `redkite_reads_partial_total` of the node that owns the shard counts such reads, and its log names each."""
    coordinators: int = 2
    """Nodes that may lead: one does, the others stand by."""
    streaming: int = 2
    """Nodes that own channels, and take writes."""
    query: int = 2
    """Nodes that hold sealed segments, and search them."""
    data: int = 1
    """Nodes that build indexes and compact. With 0, streaming nodes do it beside their other work."""
    proxies: int = 1
    """Nodes that clients connect to."""
    resources: dict[Role, Resources] = {}
    """The sections `[resources.query]` and the like: what Ray sets aside for one node of a role."""
    settings: Settings = Settings()
    """The section `[settings]`: what any Redkite can be set to, as `port`, `seal_rows`, `tls_cert`, and its sections
    `[settings.limits]`, `[settings.quotas]` …"""

    def count(self, role: Role) -> int:
        """How many nodes of a role are wanted."""
        counts: dict[Role, int] = {
            "coordinator": self.coordinators, "streaming": self.streaming, "query": self.query, "data": self.data,
            "proxy": self.proxies,
        }  # fmt: skip
        return counts[role]


COUNT_KEYS: Final[dict[Role, str]] = {
    "coordinator": "coordinators", "streaming": "streaming", "query": "query", "data": "data", "proxy": "proxies",
}  # fmt: skip
"""Role -> the key that says how many there are."""


@dataclass(frozen=True, slots=True)
class ClusterConfiguration:
    """A cluster's config and, for each key, the source of its value."""

    config: ClusterConfig
    sources: Mapping[str, str]

    def explain(self) -> str:
        """A table of every key of the cluster, its value and its source, and of the engine's settings that are not as
        they are by default."""
        rows = [(key, str(value), self.sources.get(key, "default")) for key, value in items(self.config)]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {source}" for key, value, source in rows)


def load(
    *,
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Mapping[str, object] | None = None,
) -> ClusterConfiguration:
    """The config from defaults, a file, the environment and arguments, the later winning.

    An argument that is None counts as not given. Raises ConfigError, which names the key and where it stands, for an
    unknown key, a value of the wrong type or out of range, values that exclude each other, or an unreadable file.
    """
    variables = os.environ if environment is None else environment
    path = file if file is not None else variables.get(FILE_VARIABLE)
    return _configured(path, variables, arguments or {}, _raise)


def over(before: ClusterConfig, given: ClusterConfiguration, origin: str) -> ClusterConfiguration:
    """The config of a cluster that there is, with what variables and arguments say now. `origin`: where `before` is
    from. Raises ConfigError for values that exclude each other."""
    settings = {key.split(".")[1] for key in given.sources if key.startswith(f"{_SETTINGS}.")}
    changed = {key: getattr(given.config, key) for key in given.sources if key in _TYPES}
    below = {name: getattr(given.config.settings, name) for name in settings}
    whole = msgspec.structs.replace(before, **changed, settings=msgspec.structs.replace(before.settings, **below))
    known = dict.fromkeys([*_TYPES, *(f"{_SETTINGS}.{name}" for name in Settings.__struct_fields__)], origin)
    sources = known | dict(given.sources)
    _check_whole(whole, sources)
    return ClusterConfiguration(whole, sources)


def mistakes(file: str) -> list[str]:
    """What is wrong in a config file, one line for each mistake. Raises ConfigError for a file that cannot be read."""
    found: list[str] = []
    try:
        _configured(file, {}, {}, lambda error: found.append(error.message))
    except ConfigError as error:
        if not found and error.message.startswith(_UNREADABLE):
            raise
        found.append(error.message)
    return found


def _raise(error: ConfigError) -> None:
    raise error


def _configured(
    path: str | None,
    variables: Mapping[str, str],
    arguments: Mapping[str, object],
    wrong: Callable[[ConfigError], None],
) -> ClusterConfiguration:
    content = _content(path) if path else {}
    source = f"file {path}"
    section = content.pop(_SETTINGS, {})
    if not isinstance(section, dict):
        wrong(ConfigError(f"[{_SETTINGS}] in {path} must be a section"))
        section = {}
    for key in [key for key in section if not isinstance(key, str)]:
        wrong(ConfigError(f"[{_SETTINGS}] in {path} has the key {key!r}, which is no name"))
        del section[key]
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    layers = [
        *((key, value, source) for key, value in content.items()),
        *_from_environment(variables),
        *((key, value, "argument") for key, value in arguments.items() if value is not None),
    ]
    for key, raw, origin in layers:
        try:
            values[key] = _convert(key, raw, origin)
            sources[key] = origin
        except ConfigError as error:
            wrong(error)
    below = engine.load_section(section, f"{source}, [{_SETTINGS}]", variables, wrong)
    sources |= {f"{_SETTINGS}.{key}": origin for key, origin in below.sources.items()}
    built = msgspec.structs.replace(ClusterConfig(settings=below.settings), **values)
    _check_whole(built, sources)
    return ClusterConfiguration(built, sources)


def items(config: ClusterConfig) -> Iterator[tuple[str, object]]:
    """(key, value) of every key, then of the engine's settings that differ from their defaults; secrets hidden."""
    for field in msgspec.structs.fields(ClusterConfig):
        value = getattr(config, field.name)
        if field.name in _SECRETS:
            yield field.name, "(hidden)" if value else value
        elif field.name != _SETTINGS:
            yield field.name, ",".join(value) if isinstance(value, tuple) else value
    usual = dict(engine.items(Settings()))
    yield from ((f"{_SETTINGS}.{k}", v) for k, v in engine.items(config.settings) if usual.get(k) != v)


def environment_name(key: str) -> str:
    """The environment variable of a key: `lease_seconds` is `REDKITE_CLUSTER_LEASE_SECONDS`."""
    return ENVIRONMENT_PREFIX + key.upper()


def encode(config: ClusterConfig) -> bytes:
    """The config as it is handed to a node that reads no file. With its secrets."""
    return msgspec.json.encode(config)


def decode(content: bytes) -> ClusterConfig:
    """What `encode` has written. Raises ConfigError for anything else, as from another version."""
    try:
        return msgspec.json.decode(content, type=ClusterConfig)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"the config that was handed to this node cannot be read: {error}") from error


# -- where values come from ---------------------------------------------------------------------
_SETTINGS: Final = "settings"
_UNREADABLE: Final = "cannot read the cluster's config file"
_SECRETS: Final = frozenset({"etcd_password", "log_options"})
_TYPES: Final[dict[str, Any]] = {
    field.name: field.type for field in msgspec.structs.fields(ClusterConfig) if field.name != _SETTINGS
}


def _content(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as handle:
            text = handle.read()
    except OSError as error:
        raise ConfigError(f"{_UNREADABLE} {path}: {error.strerror}; name another with --config") from error
    found = _yaml(path, text) if path.endswith((".yaml", ".yml")) else _toml(path, text)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ConfigError(f"{path}: expected keys and their values, as in name: redkite")
    return found


def _toml(path: str, text: bytes) -> Any:
    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _yaml(path: str, text: bytes) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path} needs PyYAML, which is not installed: pip install 'redkite[cluster]', or write it as TOML"
        ) from error
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def _from_environment(variables: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    keys = {environment_name(key): key for key in _TYPES if key not in _SECTIONS}
    for name in sorted(variables):
        if name.startswith(ENVIRONMENT_PREFIX) and name != FILE_VARIABLE:
            if name not in keys:
                raise ConfigError(f"unknown environment variable {name}{_nearest(name, keys)}")
            yield keys[name], variables[name], f"environment {name}"


# -- what a value must be -----------------------------------------------------------------------
_SECTIONS: Final = frozenset({"tls", "resources", "log_options"})
_SIZES: Final = frozenset({"cache_bytes"})
_MAY_BE_EMPTY: Final = frozenset(
    {"etcd_user", "etcd_password", "etcd_ca", "etcd_certificate", "etcd_key", "cache_path", *_SECTIONS}
)
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "log_replicas": (1, 100),
    "metrics_port": (0, 65_535),
    "pchannels": (1, 4096),
    "lease_seconds": (1, 60),
    "read_seconds": (0.1, 600),
    "required_data_ratio": (0, 1),
    "cache_bytes": (64 << 20, 1 << 60),
    "coordinators": (1, 16),
    "streaming": (1, 4096),
    "query": (1, 4096),
    "data": (0, 4096),
    "proxies": (1, 4096),
}


def _convert(key: str, raw: object, source: str) -> object:
    if key not in _TYPES:
        raise ConfigError(f"unknown setting '{key}' ({source}){_unknown_hint(key)}")
    if isinstance(raw, str) and not engine.is_text(raw):
        raise ConfigError(f"{key} ({source}): it is no text in UTF-8")
    if isinstance(raw, str) and key == "etcd":
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    try:
        if isinstance(raw, str) and key in _SIZES:
            raw = parse_size(raw)
        if key == "resources":
            raw = _sized(raw)
        value: object = msgspec.convert(raw, _TYPES[key], strict=not isinstance(raw, str))
        _check(key, value)
    except msgspec.ValidationError as error:
        shown = "" if key in _SECRETS else f" = {raw!r}"
        raise ConfigError(f"{key}{shown} ({source}): {error}") from None
    except InvalidParameter as error:
        raise ConfigError(f"{key} ({source}): {error.message}") from None
    return value


def _sized(raw: object) -> object:
    """`[resources.query] memory = "16GB"` as bytes; whatever else is wrong is seen later."""
    if not isinstance(raw, dict):
        return raw
    read = {
        role: {**one, "memory": parse_size(one["memory"])} if isinstance(one, dict) and "memory" in one else one
        for role, one in raw.items()
    }
    for role, one in read.items():
        unknown = sorted(one.keys() - set(Resources.__struct_fields__)) if isinstance(one, dict) else []
        if unknown:
            raise InvalidParameter(f"[resources.{role}] knows no '{unknown[0]}'; known are cpus, memory, labels")
    return read


def _check(key: str, value: object) -> None:
    """Raises InvalidParameter that says what is expected instead."""
    if not value and not isinstance(value, int | float) and key not in _MAY_BE_EMPTY:
        raise InvalidParameter("must not be empty")
    if key in _RANGES and isinstance(value, int | float):
        least, most = _RANGES[key]
        if not least <= value <= most:
            raise InvalidParameter(f"{value} must be {least:g} to {most:g}")
    if key == "name" and not _is_name(str(value)):
        raise InvalidParameter(
            f"'{value}': expected at most 64 lower-case letters, digits and '-', a letter first, as keys begin so"
        )
    if key == "etcd" and isinstance(value, tuple):
        for address in value:
            check_address(address)
    elif key == "log":
        check_log(str(value))
    elif key == "objects":
        check_objects(str(value))
    elif key == "resources" and isinstance(value, dict):
        _check_resources(value)


def _is_name(name: str) -> bool:
    return 0 < len(name) <= 64 and name[0].isalpha() and name.isascii() and all(
        each.islower() or each.isdigit() or each == "-" for each in name
    )  # fmt: skip


def _check_resources(wanted: Mapping[str, Resources]) -> None:
    for role, one in wanted.items():
        if not 0 <= one.cpus <= 1024:
            raise InvalidParameter(f"[resources.{role}] cpus = {one.cpus:g} must be 0 to 1024")
        for label, amount in one.labels.items():
            if not label or not 0 < amount < 1e9:
                raise InvalidParameter(f"[resources.{role}] labels: '{label}' = {amount:g} must be more than 0")


_HINTS: Final = {
    "data": "segments and indexes are in `objects`",
    "workers": "further proxies take its place: `proxies`",
    "front": "a proxy of a cluster accepts connections itself; put what balances load before it",
    "log_page_bytes": "the broker that `log` names keeps the log",
    "log_retention_bytes": "the broker that `log` names keeps the log",
    "log_retention_seconds": "the broker that `log` names keeps the log",
}
"""Settings of one server that mean nothing in a cluster, and what does instead."""


def _check_whole(config: ClusterConfig, sources: Mapping[str, str]) -> None:
    """What no single key tells."""
    usual = Settings()
    for key, hint in _HINTS.items():
        if getattr(config.settings, key) != getattr(usual, key):
            raise ConfigError(f"{_SETTINGS}.{key} ({sources[f'{_SETTINGS}.{key}']}) is of no use in a cluster: {hint}")
    settings = config.settings
    if settings.needs_users and not settings.root_password and not is_loopback(settings.host):
        raise ConfigError(
            f"{_SETTINGS}.root_password is not set, and other machines can reach the proxies at {settings.host}: set "
            'the first password of root, or `authorization = "off"` where everybody may do everything'
        )
    if config.etcd_password and not config.etcd_user:
        raise ConfigError(f"etcd_password ({sources['etcd_password']}) is set without etcd_user: set both")
    if bool(config.etcd_certificate) != bool(config.etcd_key):
        given, other = ("certificate", "key") if config.etcd_certificate else ("key", "certificate")
        raise ConfigError(f"etcd_{given} ({sources[f'etcd_{given}']}) is set without etcd_{other}: set both or none")
    if config.log_options and config.log.startswith("pulsar"):
        unknown = sorted(config.log_options.keys() - {"admin_url", "token", "tls_ca"})
        if unknown:
            raise ConfigError(
                f"[log_options] ({sources['log_options']}): Pulsar has no option '{unknown[0]}'; known are admin_url, "
                "tls_ca, token"
            )
    if config.log_replicas > 1 and config.log.startswith("pulsar"):
        raise ConfigError(
            f"log_replicas ({sources['log_replicas']}) goes with Kafka; in Pulsar set the persistence of the namespace"
        )


def _unknown_hint(key: str) -> str:
    if key in {name for name, _ in engine.items(Settings())}:
        return f"; it is one of the engine: write it in the section [{_SETTINGS}]"
    return _nearest(key, _TYPES)


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
