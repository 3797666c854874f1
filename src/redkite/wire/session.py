"""Connecting, versions, health, timestamps."""

from __future__ import annotations

from typing import Any

from redkite.model import requests, results
from redkite.wire.codec import Codec, codec, question
from redkite.wire.messages import common

_HEALTHY, _ABNORMAL = 1, 2
_ROLE = "proxy"
_PROXY_NODE = 1
_RESERVED = "reserved."
"""How the client's own connection options are told apart from what every client says of itself."""
_CLIENT_FIELDS = ("sdk_type", "sdk_version", "local_time", "user", "host")


def write_flag(message: Any, result: results.Flag) -> None:
    """Flag -> BoolResponse."""
    message.value = result.value


def read_flag(message: Any) -> results.Flag:
    """BoolResponse -> Flag."""
    return results.Flag(value=message.value)


def _decode_connect(message: Any, database: str) -> requests.Connect:
    info = message.client_info
    client = {name: getattr(info, name) for name in _CLIENT_FIELDS if getattr(info, name)}
    client.update((_RESERVED + key, value) for key, value in info.reserved.items())
    return requests.Connect(database=database, client=client)


def _pack_connect(message: Any, request: requests.Connect) -> None:
    info = message.client_info
    for key, value in request.client.items():
        if key in _CLIENT_FIELDS:
            setattr(info, key, value)
        else:
            info.reserved[key.removeprefix(_RESERVED)] = value


def _encode_connect(message: Any, result: results.ServerInfo) -> None:
    message.identifier = result.identifier
    info = message.server_info
    info.build_tags = result.version
    info.build_time = result.build_time
    info.git_commit = result.git_commit
    info.deploy_mode = result.deploy_mode


def _unpack_connect(message: Any) -> results.ServerInfo:
    info = message.server_info
    return results.ServerInfo(
        version=info.build_tags, identifier=message.identifier, build_time=info.build_time,
        git_commit=info.git_commit, deploy_mode=info.deploy_mode,
    )  # fmt: skip


def _encode_version(message: Any, result: results.Version) -> None:
    message.version = result.version


def _unpack_version(message: Any) -> results.Version:
    return results.Version(version=message.version)


def _encode_health(message: Any, result: results.Health) -> None:
    message.isHealthy = result.healthy
    message.reasons.extend(result.reasons)
    message.quota_states.extend(result.quota_states)


def _unpack_health(message: Any) -> results.Health:
    return results.Health(
        healthy=message.isHealthy, reasons=tuple(message.reasons), quota_states=tuple(message.quota_states)
    )


def _encode_states(message: Any, result: results.Health) -> None:
    message.state.nodeID = _PROXY_NODE
    message.state.role = _ROLE
    message.state.state_code = _HEALTHY if result.healthy else _ABNORMAL
    message.state.extra_info.extend(common.KeyValuePair(key="reason", value=reason) for reason in result.reasons)


def _unpack_states(message: Any) -> results.Health:
    reasons = tuple(pair.value for pair in message.state.extra_info if pair.key == "reason")
    return results.Health(healthy=message.state.state_code == _HEALTHY, reasons=reasons)


def write_timestamp(message: Any, result: results.Timestamp) -> None:
    message.timestamp = result.timestamp


def read_timestamp(message: Any) -> results.Timestamp:
    return results.Timestamp(timestamp=message.timestamp)


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "Connect", requests.Connect, results.ServerInfo, decode=_decode_connect, pack=_pack_connect,
        encode=_encode_connect, unpack=_unpack_connect,
    ),
    question("GetVersion", requests.GetVersion, results.Version, encode=_encode_version, unpack=_unpack_version),
    question("CheckHealth", requests.CheckHealth, results.Health, encode=_encode_health, unpack=_unpack_health),
    question(
        "GetComponentStates", requests.GetComponentStates, results.Health,
        encode=_encode_states, unpack=_unpack_states,
    ),
    question(
        "AllocTimestamp", requests.AllocTimestamp, results.Timestamp, encode=write_timestamp, unpack=read_timestamp
    ),
)  # fmt: skip
