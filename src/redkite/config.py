"""How is a Redkite set up? One frozen `Settings`, and where each of its values came from.

A value comes from the last of these that names it: the default, a TOML file, the environment
(`REDKITE_PORT=19531`), the arguments of a command. `docs/configuration.md` lists every key.

    configuration = load(file="redkite.toml", arguments={"port": 19531})
    configuration.settings.port         # 19531
    print(configuration.explain())      # every key, its value and its source
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from redkite.errors import InvalidInput, InvalidParameter
from redkite.model.calling import CREDENTIAL_VARIABLE, Credential, Deployment, ModelSettings, ProviderSettings
from redkite.model.hosts import is_loopback
from redkite.model.limits import Limits
from redkite.model.quotas import Quotas, Rates, read_rates
from redkite.model.sizes import parse_size
from redkite.model.tracing import TraceSettings

ENVIRONMENT_PREFIX: Final = "REDKITE_"
FILE_VARIABLE: Final = "REDKITE_CONFIG"
"""The one variable that is no key: the path of the file, where a command names none."""
CLUSTER_PREFIX: Final = "REDKITE_CLUSTER_"
"""Variables of `cluster/config.py`."""
BROKERS_VARIABLE: Final = "REDKITE_BROKERS"
"""No key, either: the folder with the jars of brokers that `redkite cluster up --local` starts."""
LIMITS: Final = "limits"
QUOTAS: Final = "quotas"
CREDENTIALS: Final = "credential"
PROVIDERS: Final = "providers"
DEPLOYMENTS: Final = "deployments"
TRACE: Final = "trace"
_SECRETS: Final = frozenset({"root_password", "trace.otlp_headers"})
"""Never shown."""
_SECTIONS: Final = frozenset({LIMITS, QUOTAS, TRACE, CREDENTIALS, PROVIDERS, DEPLOYMENTS})
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]
CompactionMode = Literal["auto", "manual", "off"]
Verify = Literal["open", "off"]
Front = Literal["own", "envoy"]
Authorization = Literal["auto", "on", "off"]
MIB: Final = 1024 * 1024


class ConfigError(InvalidInput):
    """A key that does not exist, or a value that does not fit it. The message names the key and its source."""

    default_code = 1100


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set about one Redkite. Sizes are in bytes, or texts such as `512MB`; times in seconds."""

    data: str = "redkite-data"
    """Folder of the database. Created when missing; one process may write it at a time."""
    host: str = "127.0.0.1"
    """Address the server listens on. `0.0.0.0` means every address of the machine."""
    port: int = 19530
    """Port of gRPC and REST, told apart by the first bytes of a connection. 0 picks a free one."""
    metrics_port: int = 9091
    """Port of `/healthz`, `/metrics` and the page `/webui`. 0 picks a free one."""
    web_ui: bool = True
    """Whether there is a page `/webui` on the metrics port. Milvus: `proxy.http.enableWebUI`."""
    front: Front = "own"
    """What accepts connections: `own`, Redkite itself; `envoy`, Envoy with Redkite inside (the extra `envoy`)."""
    authorization: Authorization = "auto"
    """Whether callers have to say who they are, and may do only what they were granted: `on`, `off`, or `auto`: on
    unless `host` is this machine alone."""
    root_password: str = ""
    """The password of `root` until it is changed. By default `Milvus`; where other machines can reach the server, one
    that is made up at the first start and kept in the file `root-password` beside the data."""
    cluster_id: str = "by-dev"
    """What this server is called where one follows another: each needs a name of its own. Milvus:
    `common.chanNamePrefix.cluster`."""
    super_users: str = ""
    """Users, separated by commas, who may set anybody's password without knowing the old one."""
    public_privileges: bool = True
    """Every user may describe collections and their indexes."""
    root_needs_roles: bool = False
    """`root` may do what its roles say, and nothing else."""
    tls_cert: str = ""
    """File with the certificate (PEM) that connections to the main port are encrypted with, and those above it."""
    tls_key: str = ""
    """File with the key of `tls_cert` (PEM)."""
    tls_client_ca: str = ""
    """File with certificates (PEM). Clients must show one that these have signed."""
    metrics_tls: bool = False
    """The metrics port is encrypted, too, in the same way."""
    rest_origins: str = "auto"
    """Whose web pages may call REST from a browser (CORS): origins separated by commas, `*` for all, `none`, or `auto`:
    all where callers have to say who they are, otherwise those of this machine."""
    rest_int64_as_numbers: bool = True
    """REST answers 64-bit integers as numbers, otherwise as texts, unless a request says which. Milvus:
    `proxy.http.acceptTypeAllowInt64`."""
    rest_seconds: float = 30.0
    """How long a REST request may take that does not say it. Milvus: `proxy.http.requestTimeoutMs`."""
    workers: int = 1
    """Processes that serve, the one that writes included. More than one read on more cores than one interpreter uses;
    each keeps its own copy of rows that are not sealed yet."""
    threads: int = 0
    """Threads that build indexes. 0 means one for each core."""
    seal_bytes: int = 256 * MIB
    """A growing segment is sealed (written to its final files and indexed) at this size, …"""
    seal_rows: int = 262_144
    """… or at this number of rows, …"""
    seal_idle_seconds: float = 600.0
    """… or when nothing was written to it for this long, …"""
    seal_age_seconds: float = 86_400.0
    """… or when its oldest row was written this long ago."""
    memory_limit: int = 0
    """Private memory of the database at most, such as `1GB`. Segments are sealed early to stay within it. 0 sets no
    limit."""
    memory_wait_seconds: float = 10.0
    """How long a write waits for room in the memory limit, before it fails with code 3 (memory limit exceeded)."""
    log_page_bytes: int = 64 * MIB
    """The log of a channel is kept in files, and a new one is begun at this size. Whole files are forgotten."""
    log_retention_bytes: int = -1
    """Of log files that nothing needs any more, at most so many bytes are kept for each channel. -1 sets no limit."""
    log_retention_seconds: float = -1.0
    """A log file is kept at most this long after nothing needs it any more. With both at -1 it is removed at once."""
    log_queue_bytes: int = 256 * MIB
    """Bytes of writes that may wait to be written to the log. Further writes wait, …"""
    log_queue_seconds: float = 10.0
    """… and after this long fail with code 8 (rate limit exceeded)."""
    verify: Verify = "open"
    """When the checksums of segments and indexes are compared: `open`, before each is used for the first time; `off`,
    only by `redkite verify`."""
    compaction: CompactionMode = "auto"
    """Small segments are merged and deleted rows dropped: `auto`, by itself and on request; `manual`, on request;
    `off`, never."""
    garbage_seconds: float = 60.0
    """Files that nothing needs any more are deleted after this long, so that readers finish with them."""
    backups: str = ""
    """The folder or URL (`s3://bucket/prefix`) below which clients may have backups made. By default a folder beside
    the database, called like it with `-backups` behind."""
    imports: str = ""
    """The folders and URLs (`s3://bucket/prefix`), separated by commas, below which clients may name files to import.
    By default a folder beside the database, called like it with `-imports` behind."""
    analyzer_files: str = ""
    """The folder below which clients may name files for analyzers. By default a folder beside the database, called like
    it with `-files` behind."""
    shutdown_seconds: float = 10.0
    """How long a stopping server waits for requests in flight."""
    models: str = ""
    """The folder of local models. Functions of clients may name those in it; without it, none."""
    model_endpoints: str = "localhost"
    """Where functions may have models asked, besides their providers' own addresses: `localhost`, `host`, `host:port`,
    `https://host`, `*.domain`, separated by commas; `*` is anywhere, `none` nowhere else."""
    model_seconds: float = 30.0
    """How long one request to a model may take, repeats included."""
    model_tries: int = 3
    """How often a request to a model is made at most, when the service is busy or fails."""
    model_requests: int = 4
    """Requests to models at a time."""
    model_reply_bytes: int = 64 * MIB
    """The largest reply of a model that is read."""
    model_local_threads: int = 2
    """Threads that run local models. Other requests go on, however long a model takes."""
    model_local_seconds: float = 120.0
    """How long a batch of 256 texts may wait for a local model and take in it."""
    log_level: LogLevel = "info"
    """How much the server writes to standard error: debug, info, warning or error."""
    log_format: LogFormat = "text"
    """How it is written: `text`, or `json`, one object a line."""
    slow_query_seconds: float = 1.0
    """A search or query that takes at least so long is logged with how it was answered. 0 logs none."""
    audit_log: str = ""
    """A file that gets one line of JSON for each request of a client. Empty: none."""
    audit_log_bytes: int = 64 * MIB
    """When the audit log is this large it becomes `.1` and a new one is begun, …"""
    audit_log_files: int = 5
    """… and so many files are kept, the current one included."""
    limits: Limits = Limits()
    """The section `[limits]`: the largest name, dimension, request … that is accepted."""
    quotas: Quotas = Quotas()
    """The section `[quotas]`: how much a second, and how much disk, is accepted. Milvus: `quotaAndLimits`."""
    trace: TraceSettings = TraceSettings()
    """The section `[trace]`: where the spans of requests go."""
    credential: dict[str, Credential] = {}
    """The sections `[credential.name]`: keys of services that models are behind. None is ever shown."""
    providers: dict[str, ProviderSettings] = {}
    """The sections `[providers.openai]` and the like: another address, or the credential, of all their functions."""
    deployments: dict[str, Deployment] = {}
    """The sections `[deployments.name]`: models that rank, for semantic highlighters that name them."""

    @property
    def needs_users(self) -> bool:
        """Whether callers have to say who they are. By default only those of other machines could be strangers."""
        if self.authorization == "auto":
            return not is_loopback(self.host)
        return self.authorization == "on"


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings and, for each key, the source of its value: `default`, `file …`, `environment …` or `argument`."""

    settings: Settings
    sources: Mapping[str, str]

    def explain(self) -> str:
        """A table of every key, its value and its source, one line each."""
        rows = [(key, str(value), self.sources.get(key, "default")) for key, value in items(self.settings)]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {source}" for key, value, source in rows)


def load(
    *,
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Mapping[str, object] | None = None,
) -> Configuration:
    """Settings from defaults, a TOML file, the environment and arguments, the later winning.

    `environment` is the process's own when not given. An argument that is None counts as not given.
    Raises ConfigError for an unknown key, a value of the wrong type or out of range, or an unreadable file.
    """
    variables = os.environ if environment is None else environment
    path = file if file is not None else variables.get(FILE_VARIABLE)
    layers = [
        *(_from_file(path) if path else ()),
        *_from_environment(variables),
        *((key, value, "argument") for key, value in (arguments or {}).items() if value is not None),
    ]
    return _configured(layers)


def _raise(error: ConfigError) -> None:
    raise error


def load_section(
    content: Mapping[str, object],
    source: str,
    environment: Mapping[str, str],
    wrong: Callable[[ConfigError], None] = _raise,
) -> Configuration:
    """Settings from what a section of another file holds and from the environment, the later winning. `source` is how
    errors call the section. Raises ConfigError; with `wrong`, that is told of everything that does not fit, which is
    then left out."""
    return _configured([*_from_content(content, source, wrong), *_from_environment(environment)], wrong)


def _configured(layers: Iterable[_Layer], wrong: Callable[[ConfigError], None] = _raise) -> Configuration:
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for key, raw, source in layers:
        try:
            values[key] = _convert(key, raw, source)
        except ConfigError as error:
            wrong(error)
        else:
            sources[key] = source
    try:
        return Configuration(_build(values), sources)
    except ConfigError as error:
        wrong(error)
        return Configuration(Settings(), sources)


def mistakes(file: str) -> list[str]:
    """What is wrong in a configuration file, one line for each mistake: unknown keys, values that do not fit. Raises
    ConfigError for a file that cannot be read at all."""
    found: list[str] = []
    values: dict[str, object] = {}
    for key, raw, source in _from_file(file):
        try:
            values[key] = _convert(key, raw, source)
        except ConfigError as error:
            found.append(error.message)
    try:
        _build(values)
    except ConfigError as error:
        found.append(error.message)
    return found


def items(settings: Settings) -> Iterator[tuple[str, object]]:
    """(key, value) of every setting, the limits as `limits.name`."""
    for field in msgspec.structs.fields(Settings):
        if field.name not in _SECTIONS:
            value = getattr(settings, field.name)
            yield field.name, "(hidden)" if field.name in _SECRETS and value else value
    for field in msgspec.structs.fields(Limits):
        yield f"{LIMITS}.{field.name}", getattr(settings.limits, field.name)
    for field in msgspec.structs.fields(Quotas):
        yield f"{QUOTAS}.{field.name}", getattr(settings.quotas, field.name)
    for field in msgspec.structs.fields(TraceSettings):
        key, value = f"{TRACE}.{field.name}", getattr(settings.trace, field.name)
        yield key, "(hidden)" if key in _SECRETS and value else value
    for name in settings.credential:
        yield f"{CREDENTIALS}.{name}", "(hidden)"
    for name, provider in settings.providers.items():
        yield f"{PROVIDERS}.{name}", provider
    for name, deployment in settings.deployments.items():
        yield f"{DEPLOYMENTS}.{name}", deployment


def analyzer_folder(settings: Settings) -> str:
    """Where clients of a server may name files for analyzers."""
    return settings.analyzer_files or f"{settings.data.rstrip('/')}-files"


def import_places(settings: Settings) -> tuple[str, ...]:
    """Where clients of a server may name files to import."""
    given = tuple(place for place in map(str.strip, settings.imports.split(",")) if place)
    return given or (f"{settings.data.rstrip('/')}-imports",)


def model_settings(settings: Settings) -> ModelSettings:
    """What a server with these settings lets functions ask, and how."""
    return ModelSettings(
        endpoints=tuple(rule for rule in map(str.strip, settings.model_endpoints.split(",")) if rule),
        seconds=settings.model_seconds,
        tries=settings.model_tries,
        reply_bytes=settings.model_reply_bytes,
        requests=settings.model_requests,
        local_threads=max(1, settings.model_local_threads),
        local_seconds=settings.model_local_seconds,
        folder=settings.models,
        any_folder=False,
        credentials=settings.credential,
        providers=settings.providers,
        deployments=settings.deployments,
    )


def environment_name(key: str) -> str:
    """The environment variable of a key: `limits.max_topk` is `REDKITE_LIMITS_MAX_TOPK`."""
    return ENVIRONMENT_PREFIX + key.replace(".", "_").upper()


# -- where values come from ---------------------------------------------------------------------
_Layer = tuple[str, object, str]
_NAMED: Final = {CREDENTIALS: Credential, PROVIDERS: ProviderSettings, DEPLOYMENTS: Deployment}
"""Sections of sections that have names."""


def _from_file(path: str) -> Iterator[_Layer]:
    try:
        with open(path, "rb") as handle:
            content = tomllib.load(handle)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    yield from _from_content(content, f"file {path}")


def _from_content(
    content: Mapping[str, object], source: str, wrong: Callable[[ConfigError], None] = _raise
) -> Iterator[_Layer]:
    for key, value in content.items():
        if key in _NAMED:
            yield from _named(key, value, source, wrong)
        elif key not in (LIMITS, QUOTAS, TRACE):
            yield key, value, source
        elif isinstance(value, dict):
            yield from ((f"{key}.{name}", limit, source) for name, limit in value.items())
        else:
            wrong(ConfigError(f"[{key}] in {source.removeprefix('file ')} must be a section"))


def _named(section: str, value: object, source: str, wrong: Callable[[ConfigError], None] = _raise) -> Iterator[_Layer]:
    """Sections that have names: `[credential.mine]`. An error quotes nothing of a credential."""
    kind = _NAMED[section]
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        wrong(ConfigError(f"[{section}] in {source} must hold sections, such as [{section}.name]"))
        return
    for name, fields in value.items():
        try:
            yield f"{section}.{name}", msgspec.convert(fields, kind), source
        except msgspec.ValidationError as error:
            mistake = ConfigError(f"[{section}.{name}] ({source}): {error}")
        else:
            continue
        wrong(mistake)


def _from_environment(variables: Mapping[str, str]) -> Iterator[_Layer]:
    keys = {environment_name(key): key for key in _TYPES}
    for name in sorted(variables):
        if name.startswith(CREDENTIAL_VARIABLE):
            continue  # looked up when a function names it
        if name.startswith(CLUSTER_PREFIX) or name == BROKERS_VARIABLE:
            continue  # of a cluster
        if name.startswith(ENVIRONMENT_PREFIX) and name != FILE_VARIABLE:
            if name not in keys:
                raise ConfigError(f"unknown environment variable {name}{_nearest(name, keys)}")
            yield keys[name], variables[name], f"environment {name}"


# -- what a value must be -----------------------------------------------------------------------
_TYPES: Final[dict[str, object]] = {
    **{field.name: field.type for field in msgspec.structs.fields(Settings) if field.name not in _SECTIONS},
    **{f"{LIMITS}.{field.name}": field.type for field in msgspec.structs.fields(Limits)},
    **{f"{QUOTAS}.{field.name}": field.type for field in msgspec.structs.fields(Quotas)},
    **{f"{TRACE}.{field.name}": field.type for field in msgspec.structs.fields(TraceSettings)},
}
_SHARE: Final = f"{TRACE}.sample_fraction"
_PORTS: Final = frozenset({"port", "metrics_port"})
_MAY_BE_ZERO: Final = frozenset(
    {"threads", "shutdown_seconds", "log_queue_seconds", "memory_limit", "memory_wait_seconds", "slow_query_seconds"}
)
_MAY_BE_OFF: Final = frozenset({"log_retention_bytes", "log_retention_seconds"})
"""-1 switches these off."""


def _convert(key: str, raw: object, source: str) -> object:
    if isinstance(raw, tuple(_NAMED.values())):
        return raw
    if key not in _TYPES:
        raise ConfigError(f"unknown setting '{key}' ({source}){_nearest(key, _TYPES)}")
    if isinstance(raw, str) and not is_text(raw):
        raise ConfigError(f"{key} ({source}): it is no text in UTF-8")
    if isinstance(raw, str) and _is_size(key) and raw.strip() != "-1":
        try:
            raw = parse_size(raw)
        except InvalidParameter as error:
            raise ConfigError(f"{key} ({source}): {error.message}") from None
    if isinstance(raw, str) and _TYPES[key] is Rates:
        try:
            return read_rates(raw)
        except InvalidParameter as error:
            raise ConfigError(f"{key} ({source}): {error.message}") from None
    try:
        value: object = msgspec.convert(raw, _TYPES[key], strict=not isinstance(raw, str))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{key} = {raw!r} ({source}): {error}") from error
    if isinstance(value, bool | Rates):
        return value
    if isinstance(value, int | float):
        _check_range(key, value, source)
    elif not value:
        raise ConfigError(f"{key} must not be empty ({source})")
    return value


def is_text(value: str) -> bool:
    """Whether it is one in UTF-8: of a variable that holds other bytes there are halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_size(key: str) -> bool:
    """Bytes, which may be written with a unit."""
    return key == "memory_limit" or key.endswith("_bytes")


def _check_range(key: str, value: float, source: str) -> None:
    if key in _PORTS:
        allowed = 0 <= value <= 65_535
    elif key == _SHARE:
        allowed = 0 <= value <= 1
    elif key in _MAY_BE_ZERO:
        allowed = 0 <= value < float("inf")
    elif key in _MAY_BE_OFF or key.startswith(f"{QUOTAS}."):
        allowed = value == -1 or 0 <= value < float("inf")
    else:
        allowed = 0 < value < float("inf")
    if not allowed:
        raise ConfigError(f"{key} = {value} ({source}): must be {_range_of(key)}")


def _range_of(key: str) -> str:
    if key in _PORTS:
        return "0 to 65535"
    if key == _SHARE:
        return "0 to 1"
    if key in _MAY_BE_OFF or key.startswith(f"{QUOTAS}."):
        return "-1 (off), 0 or more"
    return "0 or more" if key in _MAY_BE_ZERO else "more than 0"


def _build(values: Mapping[str, object]) -> Settings:
    sections: dict[str, dict[str, object]] = {section: {} for section in _SECTIONS}
    plain: dict[str, object] = {}
    for key, value in values.items():
        section, dot, name = key.partition(".")
        (sections[section] if dot else plain)[name if dot else key] = value
    settings = msgspec.convert({**plain, **sections}, Settings)
    if settings.front == "envoy" and settings.workers > 1:
        raise ConfigError(f"workers = {settings.workers} goes with front = own: Envoy serves from one process")
    return settings


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
