"""What `redkite cluster …` does. `options.py` says what may be written."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

import msgspec

from redkite.cluster.backends import faults_of
from redkite.cluster.config import (
    FILE_VARIABLE,
    ClusterConfig,
    ClusterConfiguration,
    Role,
    decode,
    load,
    mistakes,
    over,
)
from redkite.cluster.tls import Certificates
from redkite.env import Env
from redkite.errors import InvalidParameter, StorageError, Unavailable
from redkite.launch import node as nodes
from redkite.launch import show
from redkite.launch.control import RESTART_ORDER, Control, read_counts
from redkite.launch.local import resolve
from redkite.launch.local_runtime import LocalRuntime
from redkite.launch.parts import RayHead
from redkite.launch.runtime import Placed, Runtime
from redkite.launch.signals import Signals
from redkite.launch.state import Runs, RuntimeKind, State
from redkite.launch.status import Watcher, watching
from redkite.launch.supervisor import supervise as look_after

WELL_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2
_WRONG: Final = 3
"""Exit status: the config has mistakes, or the cluster is not well."""


def say(text: str) -> None:
    """Tell the person how it goes."""
    print(text, flush=True)


# -- bringing up --------------------------------------------------------------------------------
def up(parsed: argparse.Namespace) -> int:
    kind: RuntimeKind = parsed.runtime or ("processes" if parsed.local and not parsed.ray_address else "ray")
    if kind == "processes" and parsed.ray_address:
        raise InvalidParameter("--ray-address goes with --runtime ray")
    if parsed.log and not parsed.local:
        raise InvalidParameter("--log goes with --local; elsewhere the config says where the log is")
    if parsed.objects and not parsed.local:
        raise InvalidParameter("--objects goes with --local; elsewhere the config says where the objects are")
    state, config, parts = _resolved(parsed, ray_head=kind == "ray" and not parsed.ray_address)
    if not parsed.local and not _reaches(config):
        return 1
    state.make()
    state.write_config(config)
    local = LocalRuntime(state)
    if parts or kind == "processes":
        for part in parts:
            say(f"{part} runs on this machine")
        local.supervise(parts)
    address = parsed.ray_address or (_ray_head(local) if kind == "ray" else "")
    state.write_runs(Runs(kind=kind, ray_address=address))
    runtime = _runtime(state, config, parsed.ray_address)
    placed = Control(runtime, say, faults=local.faults).up(config)
    runtime.close()
    problems = _wait_well(config)
    if problems:
        print(f"redkite: the nodes are there, but {'; '.join(problems)}", file=sys.stderr)
        return _WRONG
    say(_greeting(config, placed))
    if parsed.foreground:
        _wait_for_signal()
        _end(state, config, "")
    return 0


def _wait_well(config: ClusterConfig) -> tuple[str, ...]:
    """Until every node answers, somebody leads and every channel has an owner; what is wrong after a while."""
    deadline = time.monotonic() + WELL_SECONDS
    with watching(config) as watcher:
        while True:
            status = watcher.status()
            # Nodes that died with the machine are taken for alive, and for owners, until their leases end.
            gone = (f"node {node.node_id} ({node.role}) does not answer" for node in status.nodes if not node.pid)
            problems = (*status.problems, *gone)
            if not problems or time.monotonic() > deadline:
                return problems
            time.sleep(_LOOK_SECONDS)


def _resolved(parsed: argparse.Namespace, *, ray_head: bool) -> tuple[State, ClusterConfig, tuple[str, ...]]:
    """The folder, the whole config, and the parts that are to run here."""
    arguments = _changes(parsed.changes)
    if parsed.state:
        arguments["state"] = parsed.state
    configuration = load(file=parsed.config or None, arguments=arguments)
    config = _as_before(parsed, configuration)
    if parsed.port is not None:
        if not 0 < parsed.port < 1 << 16:
            raise InvalidParameter(f"--port {parsed.port}: expected 1 to 65535")
        config = msgspec.structs.replace(
            config, settings=msgspec.structs.replace(config.settings, port=parsed.port)
        )  # fmt: skip
    config = msgspec.structs.replace(config, state=str(Path(config.state).absolute()))
    state = State(config.state)
    parts: tuple[str, ...] = ()
    if parsed.local:
        given = frozenset(configuration.sources)
        config, parts = resolve(state, config, given, parsed.log, parsed.objects)
    if ray_head:
        RayHead(state.part("ray")).keep_ports()
        parts = (*parts, "ray")
    return state, config, parts


def _as_before(parsed: argparse.Namespace, configuration: ClusterConfiguration) -> ClusterConfig:
    """Without a config file a cluster that there is stays as it is, but for what is said."""
    state = State(configuration.config.state)
    if parsed.config or os.environ.get(FILE_VARIABLE) or not state.exists:
        return configuration.config
    return over(state.config(), configuration, str(state.config_path)).config


def _changes(words: Sequence[str]) -> dict[str, object]:
    changes: dict[str, object] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidParameter(f"--set {word}: expected KEY=VALUE")
        changes[key] = value
    return changes


def _ray_head(local: LocalRuntime) -> str:
    head = RayHead(local.state.part("ray"))
    head.wait_ready()
    return head.address


def _greeting(config: ClusterConfig, placed: dict[str, Placed]) -> str:
    ports = sorted({one.port for one in placed.values() if one.role == "proxy" and one.port})
    host = config.settings.host
    where = ", ".join(f"{host}:{port}" for port in ports) or f"port {config.settings.port} of each proxy"
    return (
        f"Cluster '{config.name}' is ready: gRPC and REST on {where}. `redkite cluster status` shows it, "
        "`redkite cluster down` ends it."
    )


def _wait_for_signal() -> None:
    told = Signals(signal.SIGTERM, signal.SIGINT)
    while told.next(1.0) is None:
        continue


# -- looking ------------------------------------------------------------------------------------
def status(parsed: argparse.Namespace) -> int:
    state, config = _known(parsed)
    try:
        with _asking(state, config) as watcher:
            found = watcher.status()
    except Unavailable as error:
        print(f"redkite: {error.message}", file=sys.stderr)
        if state.is_supervised:
            local = LocalRuntime(state)
            print(show.places(local.placed(), local.faults()), file=sys.stderr)
        return 1
    if parsed.json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        print(show.table(found, channels=parsed.channels))
    return 0 if found.is_well else _WRONG


def drain(parsed: argparse.Namespace) -> int:
    if not 0 < parsed.seconds < math.inf:
        raise InvalidParameter(f"--seconds {parsed.seconds:g}: expected a positive number")
    state, config = _known(parsed)
    with _asking(state, config) as watcher:
        facts = watcher.drain(parsed.node, parsed.seconds, say)
    say(f"node {facts.node_id} has nothing left and is asked nothing: it can be ended")
    return 0


# -- changing -----------------------------------------------------------------------------------
def scale(parsed: argparse.Namespace) -> int:
    counts = read_counts(parsed.counts)
    state, config = _known(parsed)
    runtime = _runtime(state, config, parsed.ray_address)
    with _asking(state, config) as watcher:
        drained = {record.node_id for record in watcher.records() if record.draining}
    Control(runtime, say, faults=LocalRuntime(state).faults).scale(counts, drained)
    runtime.close()
    if state.exists:
        state.write_config(_counted(config, counts))
    say("; ".join(f"{count} of role {role}" for role, count in counts.items()))
    return 0


def _counted(config: ClusterConfig, counts: dict[Role, int]) -> ClusterConfig:
    from redkite.cluster.config import COUNT_KEYS

    return msgspec.structs.replace(config, **{COUNT_KEYS[role]: count for role, count in counts.items()})


def restart(parsed: argparse.Namespace) -> int:
    state, config = _known(parsed)
    runtime = _runtime(state, config, parsed.ray_address)
    control = Control(runtime, say, faults=LocalRuntime(state).faults)
    roles = tuple(role for role in RESTART_ORDER if not parsed.role or role in parsed.role)
    if parsed.rolling:
        with _asking(state, config) as watcher:
            control.restart(roles, watcher.leader)
    else:
        control.restart_at_once(roles)
    runtime.close()
    say("all nodes are new")
    return 0


def down(parsed: argparse.Namespace) -> int:
    state, config = _known(parsed)
    _end(state, config, parsed.ray_address)
    say(f"cluster '{config.name}' has ended")
    if parsed.delete_data:
        if not state.exists:
            raise InvalidParameter(f"{state.folder} is no state folder of a cluster: nothing is deleted")
        shutil.rmtree(state.folder, ignore_errors=True)  # somebody else may be deleting it as well
        if state.folder.exists():
            raise StorageError(
                f"{state.folder} could not be deleted as a whole: see what is left, and who may delete it"
            )
        say(f"{state.folder} is deleted")
    return 0


def _end(state: State, config: ClusterConfig, ray_address: str) -> None:
    runs = state.runs()
    if ray_address or (runs is not None and runs.kind == "ray"):
        try:
            runtime = _runtime(state, config, ray_address)
        except Unavailable as error:
            if "ray" not in state.wanted().parts:
                raise
            say(f"{error.message}; its nodes end with what is left of it")
        else:
            runtime.end()
            runtime.close()
    if state.exists and (state.is_supervised or state.wanted().parts or state.wanted().nodes):
        LocalRuntime(state).end()


# -- one process --------------------------------------------------------------------------------
def node(parsed: argparse.Namespace) -> int:
    return nodes.run(_read(parsed.config), cast(Role, parsed.role), parsed.address, parsed.report)


def _read(path: str) -> ClusterConfig:
    """A config for people (TOML, YAML), or one that `redkite cluster up` has written for its nodes."""
    if path.endswith(".json"):
        try:
            return decode(Path(path).read_bytes())
        except OSError as error:
            raise InvalidParameter(f"cannot read {path}: {error.strerror}") from None
    return load(file=path or None).config


def supervise(parsed: argparse.Namespace) -> int:
    state = State(parsed.state)
    if not state.exists:
        raise InvalidParameter(f"{state.folder} is no state folder of a cluster: `redkite cluster up` makes one")
    return look_after(state)


def show_config(parsed: argparse.Namespace) -> int:
    if parsed.check:
        if not parsed.config:
            raise InvalidParameter("--check goes with --config FILE")
        found = mistakes(parsed.config)
        for mistake in found:
            print(mistake)
        if found:
            return _WRONG
    configuration = load(file=parsed.config or None)
    if parsed.reach:
        if not _reaches(configuration.config):
            return 1
        print("etcd, the log and the store of objects answer")
    elif parsed.check:
        print(f"{parsed.config} is right")
    else:
        print(configuration.explain())
    return 0


def _reaches(config: ClusterConfig) -> bool:
    """Whether nodes could start, as far as it can be seen from here. Says which part does not answer, one a line."""
    if config.tls is not None:
        Certificates(Env.real(), config.tls)
    faults = faults_of(config, Env.real())
    for fault in faults:
        print(f"redkite: {fault}", file=sys.stderr)
    return not faults


# -- what is known of a cluster -----------------------------------------------------------------
def _known(parsed: argparse.Namespace) -> tuple[State, ClusterConfig]:
    """The cluster that is meant: that of a config file, or that of the state folder."""
    if parsed.config:
        config = load(file=parsed.config).config
        return State(parsed.state or config.state), config
    state = State(parsed.state or load().config.state)
    if state.exists:
        return state, state.config()
    raise InvalidParameter(
        f"no cluster was brought up from {state.folder}: name its config with --config, or its folder with --state"
    )


@contextmanager
def _asking(state: State, config: ClusterConfig) -> Iterator[Watcher]:
    """See `watching`. Where the parts that do not answer were begun here, and ended here, that is said."""
    try:
        with watching(config) as watcher:
            yield watcher
    except Unavailable as error:
        runs = state.runs() if state.exists else None
        if runs is None or runs.kind != "processes" or state.is_supervised:
            raise
        again = "`redkite cluster up --local` brings them up again"
        raise Unavailable(f"{error.message}; the processes of {state.folder} have ended: {again}") from None


def _runtime(state: State, config: ClusterConfig, ray_address: str) -> Runtime:
    """Whatever runs the nodes of this cluster. Raises Unavailable."""
    runs = state.runs()
    if ray_address or (runs is not None and runs.kind == "ray"):
        from redkite.launch.ray_runtime import RayRuntime

        return RayRuntime(config, ray_address or (runs.ray_address if runs is not None else "auto"))
    if runs is None:
        raise InvalidParameter(
            f"nodes of {state.folder} are not run from here: name Ray with --ray-address, or begin and end them where "
            "they are (systemctl start redkite@query)"
        )
    return LocalRuntime(state)
