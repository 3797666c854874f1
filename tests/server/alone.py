"""What is not run against a cluster, and why: `make cluster-acceptance` leaves these files out, docs/testing.md lists
them. Single tests of other files are marked `tests.servers.alone`."""

from __future__ import annotations

_CONNECTIONS = "bytes on connections before a service that is made up: the same code in front of a proxy"
_PROCESSES = "the processes of one server, and what they share"

FILES = {
    "test_board.py": _PROCESSES,
    "test_compression.py": _CONNECTIONS,
    "test_envoy.py": "Redkite inside Envoy, started by `redkite serve`",
    "test_feed_kills.py": "a server that is killed and opens its folder again",
    "test_fleet.py": _PROCESSES,
    "test_gather.py": _CONNECTIONS,
    "test_grpc.py": _CONNECTIONS,
    "test_hardness.py": _CONNECTIONS,
    "test_health.py": _CONNECTIONS,
    "test_http1.py": _CONNECTIONS,
    "test_http2.py": _CONNECTIONS,
    "test_listener.py": _CONNECTIONS,
    "test_local.py": "a file that pymilvus opens in its own process",
    "test_main.py": "the flags of `redkite serve`, its start and its end",
    "test_origins.py": _CONNECTIONS,
    "test_process.py": "what is loaded in the process of `redkite serve`",
    "test_rest_conventions.py": _CONNECTIONS,
    "test_workers.py": "the threads of one server",
}

WORKERS = "several processes behind one port: Envoy serves from one, and `workers` is refused with it"
WITHOUT_ENVOY = {
    "test_access.py::test_every_process_of_a_fleet_asks_who_calls": WORKERS,
    "test_fleet.py": WORKERS,
    "test_import_access.py::test_any_process_of_a_server_takes_imports_and_shows_their_rows": WORKERS,
    "test_observation.py::test_counters_of_all_processes_are_summed_and_none_goes_back_when_one_ends": WORKERS,
    "test_tracing.py::test_spans_can_be_written_to_standard_output_also_by_several_processes": WORKERS,
}
"""What `make envoy` skips, and why: files, and tests of files."""
