"""Endpoints of the protocol that this version does not serve: they exist, and say so."""

from __future__ import annotations

_BY_GROUP = {
    "collections": "add_function drop_function",
    "jobs": (
        "import/create import/describe import/get_progress import/list import/commit import/abort "
        "snapshot/restore_external snapshot/export external_collection/refresh "
        "external_collection/describe external_collection/list"
    ),
    "resource_groups": "create drop describe alter list transfer_replica",
    "segments": "describe",
    "quotacenter": "describe",
}

UNSERVED = frozenset(f"{group}/{name}" for group, names in _BY_GROUP.items() for name in names.split())
"""Paths below `/v2/vectordb/`."""
