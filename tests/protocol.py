"""What the protocol has, beyond what the stubs of Milvus's SDK say by themselves: endpoints of REST, and why some calls
are refused."""

from __future__ import annotations

_REST = {
    "collections": (
        "list has describe get_stats get_load_state create drop truncate load refresh_load release rename "
        "alter_properties drop_properties compact get_compaction_state flush add_function alter_function drop_function "
        "add_function_field drop_function_field fields/alter_properties fields/add fields/drop struct_fields/add"
    ),
    "databases": "create drop list describe alter alter_properties drop_properties",
    "entities": "insert upsert delete get query search hybrid_search advanced_search",
    "partitions": "list has get_stats create drop load release",
    "indexes": "list describe create drop alter_properties drop_properties",
    "aliases": "list describe create alter drop",
    "users": "list describe create update_password drop grant_role revoke_role",
    "roles": (
        "list describe create alter drop grant_privilege revoke_privilege grant_privilege_v2 revoke_privilege_v2"
    ),
    "privilege_groups": "create drop list add_privileges_to_group remove_privileges_from_group",
    "jobs": (
        "import/create import/describe import/get_progress import/list import/commit import/abort "
        "snapshot/restore_external snapshot/export snapshot/describe snapshot/list external_collection/refresh "
        "external_collection/describe external_collection/list"
    ),
    "resource_groups": "create drop describe alter list transfer_replica",
    "segments": "describe",
    "quotacenter": "describe",
    "common": "run_analyzer",
}
ENDPOINTS = tuple(f"{group}/{name}" for group, names in _REST.items() for name in names.split())
"""Below `/v2/vectordb/`."""

_RESERVED = "reserved in the protocol, Milvus answers the same"
_INSIDE = "between parts of Milvus"
_CLUSTERS = "a Milvus sends its own log's messages by it; clusters of Redkite replicate by calls of their own"
UNSERVED: dict[str, str] = {
    **dict.fromkeys(
        (
            "CreateNamespace", "DescribeNamespace", "ListNamespaces", "DropNamespace", "HasNamespace",
            "GetNamespaceStats", "AddUserTags", "DeleteUserTags", "GetUserTags", "ListUsersWithTag", "Prewarm",
            "DescribePrewarmTask",
        ),
        _RESERVED,
    ),
    "BatchUpdateManifest": _INSIDE,
    "DescribeSegmentIndexData": "graphs in a form that only Milvus's own viewer of them knows",
    "CreateReplicateStream": _CLUSTERS,
    **dict.fromkeys(
        ("ClientHeartbeat", "GetClientTelemetry", "PushClientCommand", "DeleteClientCommand"),
        "telemetry of clients: none is gathered, and clients do without",
    ),
}  # fmt: skip
"""RPCs that gRPC's own status UNIMPLEMENTED answers, and why."""

REFUSED: dict[str, str] = {
    "CalcDistance": "Milvus has taken it out; Status 2",
    "ReplicateMessage": "the way clusters were kept alike once; Status 2, as Milvus 3.0",
    "AddCollectionFunction": "Status 1100, as Milvus 3.0: functions come with their fields",
    "DropCollectionFunction": "Status 1100, as Milvus 3.0: functions go with their fields",
    "Dummy": 'always answers `{"status": "fail"}`',
    "RefreshExternalCollection": "Status 1100: no collection lies in files of somebody else",
    "GetRefreshExternalCollectionProgress": "Status 1100: there are no such jobs",
}
"""RPCs that are answered by an error whatever is asked, and why."""

REFUSED_METHODS: dict[str, str] = {
    "add_collection_function": REFUSED["AddCollectionFunction"],
    "drop_collection_function": REFUSED["DropCollectionFunction"],
    "refresh_external_collection": REFUSED["RefreshExternalCollection"],
    "get_refresh_external_collection_progress": REFUSED["GetRefreshExternalCollectionProgress"],
}
REFUSED_ENDPOINTS: dict[str, str] = {
    "collections/add_function": REFUSED["AddCollectionFunction"],
    "collections/drop_function": REFUSED["DropCollectionFunction"],
    "jobs/external_collection/refresh": REFUSED["RefreshExternalCollection"],
    "jobs/external_collection/describe": REFUSED["GetRefreshExternalCollectionProgress"],
}
PARTLY: dict[str, str] = {
    "LoadBalance": "checked; with one node nothing moves",
    "load_balance": "as the RPC LoadBalance",
    "DumpMessages": "payloads are Redkite's own (Arrow); ends at what there is, where Milvus waits for more",
    "dump_messages": "as the RPC DumpMessages",
}
"""What is served in part."""
