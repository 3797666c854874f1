"""Endpoints of the protocol that this version does not serve: they exist, and say so."""

from __future__ import annotations

_BY_GROUP = {
    "collections": (
        "add_function alter_function drop_function add_function_field drop_function_field struct_fields/add"
    ),
    "users": "list describe create update_password drop grant_role revoke_role",
    "roles": (
        "list describe create alter drop grant_privilege revoke_privilege grant_privilege_v2 revoke_privilege_v2"
    ),
    "privilege_groups": "create drop list add_privileges_to_group remove_privileges_from_group",
    "jobs": (
        "import/create import/describe import/get_progress import/list import/commit import/abort "
        "snapshot/restore_external snapshot/export external_collection/refresh "
        "external_collection/describe external_collection/list"
    ),
    "resource_groups": "create drop describe alter list transfer_replica",
    "segments": "describe",
    "quotacenter": "describe",
    "common": "run_analyzer",
}

UNSERVED = frozenset(f"{group}/{name}" for group, names in _BY_GROUP.items() for name in names.split())
"""Paths below `/v2/vectordb/`."""
