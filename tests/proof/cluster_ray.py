"""A cluster of real processes whose nodes Ray runs: its head and some machines, each in a network namespace of its own.

A machine has room for one node of each role, so that two of a role are never on one; one machine more than nodes of a
role leaves Ray a place to start a node again.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.proof.cluster_rig import CLIENT_PORT, HURT_ORDER, READY_SECONDS, REPOSITORY, ROLES, Rig, inside

from redkite.cluster.config import COUNT_KEYS, load
from redkite.launch.parts import RAY_PATIENCE_SECONDS
from redkite.launch.status import ClusterStatus, NodeStatus, watching

HEAD_PORT = 6379
STORE_BYTES = 80 << 20
"""Of a machine, for what tasks of Ray give each other."""
SHORT = Path("/tmp/rkray")
"""Ray's folder, which is the same on every machine of a cluster; names of sockets in it must be short."""


def no_ray() -> str:
    """What keeps Ray from being run here; empty when nothing does."""
    return "" if _ray().exists() else "Ray is not installed: pip install 'redkite[ray]'"


def _ray() -> Path:
    return Path(sys.executable).parent / "ray"


@dataclass
class RayRig(Rig):
    """`machines` beside the head, which runs no node."""

    machines: int = 3
    addresses: dict[str, str] = field(default_factory=dict)
    """Of head and machines."""

    def _start_nodes(self) -> None:
        shutil.rmtree(SHORT, ignore_errors=True)
        for name in ("head", *(f"machine-{n}" for n in range(1, self.machines + 1))):
            self.addresses[name] = self.cables.plug(f"rk-{name}")
            self._start_machine(name)
        folder = self.folder / "up"
        folder.mkdir()
        resources = "".join(f"[resources.{role}]\ncpus = 0\nlabels = {{ {role} = 1 }}\n" for role in ROLES)
        counts = "".join(f"{key} = {self.counts[role]}\n" for role, key in COUNT_KEYS.items())
        self._file = folder / "cluster.toml"
        self._file.write_text(counts + self._config("auto", folder) + resources)
        command = [*inside("rk-head"), sys.executable, "-m", "redkite", "cluster", "up", "--config", str(self._file),
                   "--ray-address", f"{self.addresses['head']}:{HEAD_PORT}"]  # fmt: skip
        done = subprocess.run(
            command, env=self._environment(), cwd=folder, capture_output=True, text=True, timeout=READY_SECONDS,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"the cluster did not come up: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ, **self.credentials, "PYTHONPATH": str(REPOSITORY / "src"),
            "RAY_gcs_rpc_server_reconnect_timeout_s": str(RAY_PATIENCE_SECONDS), "RAY_AUTH_MODE": "disabled",
        }  # fmt: skip

    def _start_machine(self, name: str) -> None:
        """Ray of one machine."""
        address, head = self.addresses[name], f"{self.addresses['head']}:{HEAD_PORT}"
        words = ["--node-ip-address", address, "--disable-usage-stats", "--object-store-memory", str(STORE_BYTES)]
        if name == "head":
            words += ["--head", "--port", str(HEAD_PORT), "--num-cpus", "0", "--include-dashboard", "false",
                      "--temp-dir", str(SHORT)]  # fmt: skip
        else:
            words += ["--address", head, "--num-cpus", "4", "--resources", json.dumps(dict.fromkeys(ROLES, 1))]
        with (self.folder / f"{name}.log").open("ab") as output:
            subprocess.run(
                [*inside(f"rk-{name}"), str(_ray()), "start", *words], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, env=self._environment(), timeout=READY_SECONDS, check=True,
            )  # fmt: skip

    # -- looking at it --------------------------------------------------------------------------
    @property
    def uris(self) -> list[str]:
        """Proxies may be on each of the machines, one after another."""
        return [f"http://{address}:{CLIENT_PORT}" for name, address in self.addresses.items() if name != "head"]

    @contextmanager
    def _status(self) -> Iterator[ClusterStatus]:
        with watching(load(file=str(self._file), environment={}).config) as watcher:
            yield watcher.status()

    def _nodes_of(self, role: str) -> list[NodeStatus]:
        """Those that live and answer."""
        with self._status() as status:
            return [node for node in status.nodes if node.role == role and node.pid]

    def victims(self) -> tuple[tuple[str, str], ...]:
        """Ray's head is not there any more when it was hurt, so it comes last."""
        single = tuple((role, action) for role in HURT_ORDER for action in ("kill", "stop"))
        machines = tuple(("machine", action) for action in ("kill", "cut"))
        return (*single, *machines, ("head", "cut"), ("head", "kill"))

    def victim_of(self, role: str, rng: random.Random) -> str:
        if role == "machine":
            return f"machine-{rng.randint(1, self.machines)}"
        if role in self.addresses:
            return role
        nodes = self._nodes_of(role)
        leading = [node for node in nodes if node.leads]
        return f"{role}:{rng.choice(leading or nodes).pid}"

    # -- hurting it -----------------------------------------------------------------------------
    def _tell(self, name: str, number: int) -> None:
        role, _, pid = name.partition(":")
        if pid:
            os.kill(int(pid), number)
        elif role in self.addresses:
            for each in self._pids(role):
                _tell(each, number)
        else:
            super()._tell(name, number)

    def _pids(self, name: str) -> list[int]:
        listed = subprocess.run(["ip", "netns", "pids", f"rk-{name}"], capture_output=True, text=True, check=False)
        return [int(word) for word in listed.stdout.split()]

    def kill(self, name: str) -> None:
        if ":" in name or name in self.addresses:
            self._tell(name, signal.SIGKILL)
        else:
            super().kill(name)

    def restart(self, name: str) -> None:
        """Nodes are started again by Ray, and a head has nothing that it could go on with."""
        if name.startswith("machine"):
            self._start_machine(name)
        elif name in self.parts:
            super().restart(name)

    def _address(self, name: str) -> str:
        return self.addresses.get(name) or super()._address(name)

    def close(self) -> None:
        for name in self.addresses:
            for _ in range(5):
                for pid in self._pids(name):
                    _tell(pid, signal.SIGKILL)
                time.sleep(0.2)
        super().close()
        shutil.rmtree(SHORT, ignore_errors=True)


def _tell(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended by itself
