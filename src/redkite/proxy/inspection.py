"""What a server tells of itself to tools: its nodes, its version and the machine it runs on."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from redkite.errors import InvalidParameter, NotFound
from redkite.model.inspection import QUOTA_METRICS, GetMetrics, SystemMetrics
from redkite.model.schema import DEFAULT_PARTITION
from redkite.model.usage import MEMORY_METRICS, STORAGE_METRICS
from redkite.model.version import PROTOCOL_VERSION
from redkite.node.topology import Topology
from redkite.proxy.usage import Usage

_SYSTEM_INFO: Final = "system_info"
_UNKNOWN_METRIC: Final = 1200
_COMPONENT: Final = "proxy1"
_CONNECTED: Final = {
    "proxy": ("rootcoord", "querycoord", "datacoord", "streamingnode"),
    "rootcoord": ("datacoord", "querycoord"),
    "querycoord": ("querynode", "datacoord"),
    "datacoord": ("datanode",),
    "streamingnode": ("querynode", "datanode"),
    "querynode": (),
    "datanode": (),
}
"""Who calls whom."""


class _Question(msgspec.Struct):
    metric_type: str = ""


class Inspection:
    """Answers GetMetrics. Every node of Redkite is an object of one process, and shows that process's machine."""

    def __init__(self, topology: Topology, quotas: Callable[[str], dict[str, Any]]) -> None:
        """`quotas` describes to a user what is limited."""
        self._topology = topology
        usage = Usage(topology)
        self._kinds: dict[str, Callable[[str], object]] = {
            _SYSTEM_INFO: self._system,
            QUOTA_METRICS: quotas,
            MEMORY_METRICS: usage.memory,
            STORAGE_METRICS: usage.storage,
        }
        """What is asked for -> what tells it to a user."""
        self._clock = topology.env.clock
        self._since = _shown(self._clock.now_ms())
        self._last = (self._clock.monotonic(), _cpu_seconds())

    def metrics(self, request: GetMetrics) -> SystemMetrics:
        try:
            asked = msgspec.json.decode(request.question, type=_Question).metric_type
        except msgspec.DecodeError as error:
            raise InvalidParameter(f"the request is not JSON with a metric_type: {error}") from None
        tell = self._kinds.get(asked)
        if tell is None:
            raise NotFound(f"metric not found[metric={asked}]", code=_UNKNOWN_METRIC)
        return SystemMetrics(answer=msgspec.json.encode(tell(request.user)).decode(), component=_COMPONENT)

    def _system(self, _user: str) -> dict[str, Any]:
        hardware = self._hardware()
        nodes = [self._node(number, role, index, hardware) for number, (role, index) in enumerate(self._nodes(), 1)]
        return {"nodes_info": nodes}

    def _nodes(self) -> Iterator[tuple[str, int]]:
        """Role and number of each node, as they are numbered."""
        topology = self._topology
        several = {
            "querynode": len(topology.querying), "datanode": len(topology.data_nodes),
            "streamingnode": len(topology.streaming),
        }  # fmt: skip
        for role in _CONNECTED:
            for index in range(1, several.get(role, 1) + 1):
                yield role, index

    def _node(self, number: int, role: str, index: int, hardware: dict[str, Any]) -> dict[str, Any]:
        numbers: dict[str, list[int]] = {}
        for other, (name, _) in enumerate(self._nodes(), 1):
            numbers.setdefault(name, []).append(other)
        return {
            "identifier": number,
            "connected": [
                {"connected_identifier": other, "target_type": name}
                for name in _CONNECTED[role]
                for other in numbers.get(name, ())
            ],
            "infos": {
                "has_error": False,
                "error_reason": "",
                "name": f"{role}{index}",
                "hardware_infos": hardware,
                "system_info": {
                    "system_version": "",
                    "deploy_mode": "STANDALONE",
                    "build_version": PROTOCOL_VERSION,
                    "build_time": "",
                    "used_go_version": "",
                    "used_python_version": platform.python_version(),
                },
                "created_time": self._since,
                "updated_time": self._since,
                "type": role,
                "id": number,
                "system_configurations": self._configuration(role),
            },
        }

    def _configuration(self, role: str) -> dict[str, Any]:
        topology = self._topology
        if role == "proxy":
            return {"default_partition_name": DEFAULT_PARTITION, "limits": msgspec.to_builtins(topology.limits)}
        if role == "datacoord":
            policy = topology.compactor.policy
            return {
                "segment_max_size": policy.bytes,
                "segment_max_rows": policy.rows,
                "enable_compaction": policy.enabled,
                "enable_auto_compaction": policy.automatic,
            }
        return {}

    def _hardware(self) -> dict[str, Any]:
        """Of the machine, and what of it this process uses; sizes in bytes, processors in percent of all of them since
        the last question. Memory is the most that was held so far."""
        cores = os.cpu_count() or 1
        (then, spent), self._last = self._last, (self._clock.monotonic(), _cpu_seconds())
        passed = (self._last[0] - then) * cores
        used = 100 * (self._last[1] - spent) / passed if passed > 0 else 0.0
        path = self._topology.store.local_path("segments")
        disk = (0, 0)
        if path is not None:
            found = os.statvfs(os.path.dirname(path))
            disk = (found.f_frsize * found.f_blocks, found.f_frsize * (found.f_blocks - found.f_bfree))
        return {
            "ip": "",
            "cpu_core_count": cores,
            "cpu_core_usage": round(min(used, 100.0), 2),
            "memory": os.sysconf("SC_PHYS_PAGES") * resource.getpagesize(),
            "memory_usage": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "disk": disk[0],
            "disk_usage": disk[1],
        }


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _shown(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
