"""Every limit has a name here. Defaults are Milvus's."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The most that is accepted of each."""

    max_name_length: int = 255
    """Characters of a collection, field, partition, index or alias name."""
    max_fields: int = 64
    """Fields of a collection."""
    max_vector_fields: int = 10
    """Vector fields of a collection."""
    max_shards: int = 16
    """Shards of a collection."""
    max_dimension: int = 32_768
    """Dimension of a vector."""
    max_varchar_length: int = 65_535
    """Bytes of UTF-8 in a VARCHAR."""
    max_text_length: int = 2_097_152
    """Bytes of UTF-8 in a TEXT."""
    max_array_capacity: int = 4_096
    """Elements of an ARRAY."""
    max_json_bytes: int = 65_536
    """Bytes of one JSON value, and of one row's dynamic values."""
    max_index_params_bytes: int = 102_400
    """Bytes of an index's parameters."""
    max_partitions: int = 1_024
    """Partitions of a collection."""
    default_key_partitions: int = 16
    """Partitions made for a partition key when none are asked for."""
    max_collections: int = 65_536
    """Collections of a database."""
    max_general_capacity: int = 65_536
    """Partitions times shards, summed over all collections."""
    max_databases: int = 64
    """Databases."""
    max_topk: int = 16_384
    """Results of one query vector."""
    max_nq: int = 16_384
    """Query vectors of one search."""
    max_result_window: int = 16_384
    """Offset + limit of one search or query."""
    max_group_size: int = 10
    """Hits of one group of a search."""
    max_groups: int = 100_000
    """Groups of one query."""
    max_aggregation_entries: int = 10_000
    """Hits that the buckets of one search are made of."""
    max_aggregation_depth: int = 4
    """Levels of buckets."""
    max_aggregation_fields: int = 10
    """Fields of one level of buckets."""
    max_output_bytes: int = 104_857_600
    """Bytes of one answer."""
    max_description_bytes: int = 1_024
    """Bytes of a description."""
    max_receive_bytes: int = 67_108_864
    """Bytes of one request, over gRPC or REST."""
    max_send_bytes: int = 268_435_456
    """Bytes of one gRPC reply."""
    max_unfinished_bytes: int = 1_073_741_824
    """Bytes of requests that have come in part, over all connections."""
    max_expression_depth: int = 256
    """Nesting of a filter."""
    max_expression_tokens: int = 1_000_000
    """Words, numbers and signs of a filter; a list of plain integers or strings counts as one."""
    min_rows_to_index: int = 1_024
    """Rows below which a sealed segment is scanned exactly rather than indexed."""
    max_users: int = 100
    """Users, `root` included."""
    max_roles: int = 10
    """Roles besides `admin` and `public`."""
    max_user_name: int = 32
    """Bytes of a user's name."""
    min_password: int = 6
    """Bytes of a password, at least."""
    max_password: int = 72
    """Bytes of a password."""
    max_role_description: int = 1_024
    """Bytes of the description of a role or a user."""
    max_ttl_seconds: int = 3_155_760_000
    """Seconds of a collection's time to live."""
    max_compaction_protection_seconds: int = 604_800
    """Seconds for which a snapshot keeps compaction away."""
    max_import_files: int = 1_024
    """Files of one import."""
    max_import_file_bytes: int = 17_179_869_184
    """Bytes of one file of an import."""
    max_import_jobs: int = 1_024
    """Imports that are not over."""
    max_feed_bytes: int = 8_589_934_592
    """Bytes of the log that are kept for one named change feed which does not acknowledge them."""
    max_feed_seconds: int = 604_800
    """Seconds that a change is kept for a named change feed which does not acknowledge it."""


LIMITS = Limits()
"""The defaults; a configured server passes its own."""
