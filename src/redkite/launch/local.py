"""A whole cluster on one machine: which parts it needs that its config does not name, and what is missing for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from redkite.cluster.config import ClusterConfig, items
from redkite.errors import InvalidParameter, Unavailable
from redkite.launch.parts import Part, part_named
from redkite.launch.state import State

_BROKERS: Final = ("kafka", "pulsar")
_STORES: Final = {"folder": "objects", "s3": "s3"}
"""As they are asked for, and the names of the parts."""


def resolve(
    state: State, config: ClusterConfig, given: Collection[str], log: str, objects: str
) -> tuple[ClusterConfig, tuple[str, ...]]:
    """The config with the addresses of the parts that are to run here, and their names. `given` are the keys that the
    person has set: what is set is used, and not started. `log` and `objects`: the kinds of these parts; empty for what
    the cluster has already. Raises Unavailable that names everything that is missing, and how to get it;
    InvalidParameter where data would be left behind."""
    before = state.wanted().parts if state.exists else ()
    names = []
    if "etcd" not in given:
        names.append("etcd")
    if "log" not in given:
        names.append(_as_before("log", log, before, _BROKERS) or _a_broker(state))
    if "objects" not in given:
        names.append(_as_before("objects", _STORES.get(objects, ""), before, tuple(_STORES.values())) or "objects")
    parts = [part_named(name, state.part(name)) for name in names]
    missing = [line for part in parts if not part.is_running for line in part.missing()]
    if missing:
        raise Unavailable("this machine cannot run the parts of a cluster yet:\n  " + "\n  ".join(missing))
    whole = _with(config, parts)
    if state.exists:
        _check_places(state, whole, given)
    return whole, tuple(names)


def _check_places(state: State, config: ClusterConfig, given: Collection[str]) -> None:
    """Raises InvalidParameter where a part of this machine would stand in for what the config has named before: nothing
    is in it."""
    had, wanted = dict(items(state.config())), dict(items(config))
    for key in ("etcd", "log", "objects"):
        if key not in given and had[key] != wanted[key]:
            raise InvalidParameter(
                f"{key} is {had[key]} in the cluster of {state.folder}: say --set {key}={had[key]} again, or name "
                "another --state for a new cluster"
            )


def _as_before(option: str, wanted: str, before: Collection[str], known: Collection[str]) -> str:
    """The part that was asked for, or that there was; empty: either. What is in one is not in another."""
    had = next((name for name in before if name in known), "")
    if wanted and had and wanted != had:
        words = {part: word for word, part in _STORES.items()}
        raise InvalidParameter(
            f"--{option} {words.get(wanted, wanted)}: the {option} of this cluster {'is' if option == 'log' else 'are'}"
            f" in {words.get(had, had)}, and would be left behind; name another --state for a new cluster, or end this"
            " one with `redkite cluster down --delete-data`"
        )
    return wanted or had


def _a_broker(state: State) -> str:
    """Kafka, unless only Pulsar can be had here."""
    kafka, pulsar = (part_named(name, state.part(name)) for name in ("kafka", "pulsar"))
    return "pulsar" if kafka.missing() and not pulsar.missing() else "kafka"


def _with(config: ClusterConfig, parts: Sequence[Part]) -> ClusterConfig:
    for part in parts:
        part.keep_ports()
        for key, value in part.settings.items():
            section, _, name = key.partition(".")
            if name:
                config = msgspec.structs.replace(config, log_options={**config.log_options, name: value})
            elif section == "etcd":
                config = msgspec.structs.replace(config, etcd=(value,))
            else:
                config = msgspec.structs.replace(config, **{section: value})
    return config
