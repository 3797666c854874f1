"""Every limit has a name here. Defaults are Milvus's."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    max_name_length: int = 255
    max_fields: int = 64
    max_vector_fields: int = 10
    max_shards: int = 16
    max_dimension: int = 32_768
    max_varchar_length: int = 65_535
    """Bytes of UTF-8."""
    max_text_length: int = 2_097_152
    max_array_capacity: int = 4_096
    max_json_bytes: int = 65_536
    max_index_params_bytes: int = 102_400
    max_partitions: int = 1_024
    default_key_partitions: int = 16
    max_collections: int = 65_536
    max_general_capacity: int = 65_536
    """Partitions times shards, summed over all collections."""
    max_databases: int = 64
    max_topk: int = 16_384
    max_nq: int = 16_384
    max_result_window: int = 16_384
    """offset + limit of one search or query."""
    max_group_size: int = 10
    """Hits of one group of a search."""
    max_groups: int = 100_000
    """Groups of one query."""
    max_aggregation_entries: int = 10_000
    """Hits, at most, that the buckets of one search are made of."""
    max_aggregation_depth: int = 4
    max_aggregation_fields: int = 10
    max_output_bytes: int = 104_857_600
    max_description_bytes: int = 1_024
    max_receive_bytes: int = 67_108_864
    """One gRPC request, and one REST body."""
    max_send_bytes: int = 268_435_456
    max_expression_depth: int = 256
    """Nesting of a filter."""
    max_expression_tokens: int = 1_000_000
    """Words, numbers and signs of a filter; a list of plain integers or plain strings counts as one."""
    min_rows_to_index: int = 1_024
    """A sealed segment below this is scanned exactly."""
    max_users: int = 100
    max_roles: int = 10
    """Besides `admin` and `public`."""
    max_user_name: int = 32
    min_password: int = 6
    """Bytes of UTF-8."""
    max_password: int = 72
    max_role_description: int = 1_024
    max_ttl_seconds: int = 3_155_760_000
    max_compaction_protection_seconds: int = 604_800


LIMITS = Limits()
"""The defaults; a configured server passes its own."""
