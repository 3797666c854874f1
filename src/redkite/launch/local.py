"""A whole cluster on one machine: which parts it needs that its config does not name, and what is missing for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from redkite.cluster.config import ClusterConfig
from redkite.errors import Unavailable
from redkite.launch.parts import Part, part_named
from redkite.launch.state import State


def resolve(
    state: State, config: ClusterConfig, given: Collection[str], log: str, objects: str
) -> tuple[ClusterConfig, tuple[str, ...]]:
    """The config with the addresses of the parts that are to run here, and their names. `given` are the keys that the
    person has set: what is set is used, and not started. Raises Unavailable that names everything that is missing, and
    how to get it."""
    before = state.wanted().parts if state.exists else ()
    names = []
    if "etcd" not in given:
        names.append("etcd")
    if "log" not in given:
        names.append(log or next((name for name in before if name in ("kafka", "pulsar")), "") or _a_broker(state))
    if "objects" not in given:
        names.append("s3" if objects == "s3" or (not given and "s3" in before) else "objects")
    parts = [part_named(name, state.part(name)) for name in names]
    missing = [line for part in parts if not part.is_running for line in part.missing()]
    if missing:
        raise Unavailable("this machine cannot run the parts of a cluster yet:\n  " + "\n  ".join(missing))
    return _with(config, parts), tuple(names)


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
