"""The environments of the suite: which interpreter carries scenarios out, by which way, against which server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.congruence.records import Record, read
from tests.servers import ProcessServer

DRIVER = Path(__file__).with_name("driver.py")
ROOT = DRIVER.parent.parent.parent
MILVUS = "CONGRUENCE_MILVUS"
"""The variable that names a virtual environment with the package `milvus`, which is Milvus 2.3.5."""
CACHE = "CONGRUENCE_CACHE"
"""The variable that names the folder where virtual environments are kept."""
DRIVER_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Environment:
    """`packages` make a virtual environment; without any, this interpreter is it. `against`: `server`, `file` or
    `milvus`. The record of `reference` is what this one is compared to."""

    name: str
    way: str
    against: str = "server"
    packages: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    reference: str = "pymilvus 3.0.2"
    unshown: frozenset[str] = frozenset()
    """Keys of answers that this client does not show, or not in this form."""


_OLD = ("setuptools<70", "marshmallow<4")
"""What pymilvus needed and did not name before 2.6."""
_FATAL = ("times", "shapes", "filters_that_divide_by_nothing")
"""A collection with one of the types in these makes Milvus 2.3.5 fall over."""

_NEW_KEYS = frozenset({"consistency_level_name", "enable_namespace", "schema_version"})
"""Of descriptions, since pymilvus 2.6."""
_NEWER_KEYS = _NEW_KEYS | {"description"}

REFERENCE = Environment("pymilvus 3.0.2", "sdk")
OURS = (
    Environment("redkite, over the wire", "redkite"),
    Environment("redkite, embedded", "redkite", "file"),
    Environment("REST v2", "rest", unshown=_NEW_KEYS | {"functions", "default_value", "is_function_output"}),
)
MESSAGES = Environment("gRPC", "raw")
FIRST_REST = Environment("REST v1", "http")
OLDER = (
    Environment("pymilvus 2.6", "sdk", packages=("pymilvus==2.6.17",), unshown=frozenset({"schema_version"})),
    Environment("pymilvus 2.5", "sdk", packages=("pymilvus==2.5.18", *_OLD), unshown=_NEWER_KEYS),
    Environment("pymilvus 2.4", "sdk", packages=("pymilvus==2.4.15", *_OLD), unshown=_NEWER_KEYS | {"functions"}),
)
_LATER_FIELDS = frozenset({
    "extra_info", "detail", "retriable", "db_ids", "session_ts", "primary_field_name", "dbName", "shards_num",
    "inMemory_percentages", "query_service_available", "server_info", "version", "physical_channel_names",
    "virtual_channel_names", "start_positions", "properties", "update_timestamp_str", "update_timestamp", "nodeID",
    "subcomponent_states", "field_id", "coll_seal_times", "err_index", "delete_cnt", "insert_cnt", "timestamp",
})  # fmt: skip
"""Of messages: what 2.3.5 does not fill, or each server fills with what is its own."""
MILVUS_235 = (
    Environment("Milvus 2.3.5", "sdk", "milvus", leave_out=_FATAL),
    Environment("Milvus 2.3.5, gRPC", "raw", "milvus", reference="gRPC", unshown=_LATER_FIELDS),
    Environment("Milvus 2.3.5, REST v1", "http", "milvus", reference="REST v1"),
    Environment("Milvus 2.3.5, pymilvus 2.4", "sdk", "milvus", ("pymilvus==2.4.15", *_OLD), _FATAL, "pymilvus 2.4"),
)


class NotHere(Exception):
    """An environment that this machine does not have; says why."""


def record(environment: Environment, scenarios: str = "*") -> Record:
    """Carry the scenarios out. Raises NotHere, or RuntimeError when the driver itself failed."""
    interpreter = _interpreter(environment)
    with tempfile.TemporaryDirectory(prefix="redkite-congruence-") as folder:
        if environment.against == "file":
            return _drive(interpreter, environment, f"{folder}/test.db", scenarios)
        if environment.against == "milvus":
            with _milvus(Path(folder)) as uri:
                return _drive(interpreter, environment, uri, scenarios)
        with ProcessServer(Path(folder) / "data") as server:
            return _drive(interpreter, environment, server.uri, scenarios)


def _drive(interpreter: str, environment: Environment, uri: str, scenarios: str) -> Record:
    command = [interpreter, str(DRIVER), environment.way, uri, "--only", scenarios]
    if environment.leave_out:
        command += ["--leave-out", ",".join(environment.leave_out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DRIVER_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{environment.name}: the driver failed\n{done.stderr[-3000:]}")
    return read(done.stdout.splitlines())


# -- interpreters -------------------------------------------------------------------------------
def _interpreter(environment: Environment) -> str:
    if not environment.packages:
        return sys.executable
    place = _cache() / environment.packages[0].replace("==", "-")
    python, ready = place / "bin" / "python", place / "ready"
    if not ready.exists():
        _run(environment.name, sys.executable, "-m", "venv", "--clear", str(place))
        _run(environment.name, str(python), "-m", "pip", "install", "--quiet", *environment.packages)
        ready.touch()
    return str(python)


def _cache() -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "redkite" / "congruence"
    return Path(os.environ.get(CACHE, default))


def _run(name: str, *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"{name} could not be installed: {(done.stderr.strip() or done.stdout).splitlines()[-1]}")


# -- Milvus -------------------------------------------------------------------------------------
@contextmanager
def _milvus(folder: Path) -> Iterator[str]:
    """Milvus 2.3.5 on a port of its own. Its etcd wants ports 2379 and 2380, so there is one at a time."""
    environment = os.environ.get(MILVUS)
    if not environment:
        raise NotHere(f"{MILVUS} names no virtual environment with the package milvus")
    port = 27_530
    launcher = ROOT / "benchmarks" / "milvus_launcher.py"
    log = (folder / "log").open("w")
    command = [f"{environment}/bin/python", str(launcher), str(folder / "home"), str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait_until_healthy(process, f"http://127.0.0.1:{port + 100}/healthz")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.5)
    raise NotHere("Milvus did not start")
