"""Names of things. Lengths are bytes of UTF-8; letters and digits are ASCII.

Each check returns the name as it is kept (field and partition names lose surrounding blanks) or raises.
"""

from __future__ import annotations

import re

from redkite.errors import InvalidDatabaseName, InvalidFieldName, InvalidParameter
from redkite.model.limits import LIMITS, Limits
from redkite.model.schema import META_FIELD

_STARTS = re.compile(r"[A-Za-z_]")
_WORD = re.compile(r"\w+", re.ASCII)
_PARTITION_STARTS = re.compile(r"[A-Za-z0-9_]")
_PARTITION_WORD = re.compile(r"[A-Za-z0-9_-]+")

RESERVED_FIELDS = frozenset({META_FIELD, "RowID", "Timestamp", "$namespace_id", "__virtual_pk__"})
_OPERATORS = (
    "like", "exists", "and", "or", "not", "in", "json_contains", "json_contains_all", "json_contains_any",
    "array_contains", "array_contains_all", "array_contains_any", "array_length", "text_match", "phrase_match",
    "random_sample",
)  # fmt: skip
KEYWORDS = frozenset(
    {*_OPERATORS, *(word.upper() for word in _OPERATORS), "true", "True", "TRUE", "false", "False", "FALSE"}
)


def check_collection_name(name: str, limits: Limits = LIMITS) -> str:
    return _check_collection(name, "name", limits)


def check_alias(alias: str, limits: Limits = LIMITS) -> str:
    return _check_collection(alias, "alias", limits)


def _check_collection(name: str, kind: str, limits: Limits) -> str:
    if not name:
        raise InvalidParameter(f"collection {kind} should not be empty")
    start = f"Invalid collection {kind}: {name}. "
    if _too_long(name, limits):
        size = limits.max_name_length
        raise InvalidParameter(f"{start} the length of a collection {kind} must be less than {size} characters")
    if not _STARTS.match(name):
        raise InvalidParameter(f"{start} the first character of a collection {kind} must be an underscore or letter")
    if not _WORD.fullmatch(name):
        raise InvalidParameter(f"{start} collection {kind} can only contain numbers, letters and underscores")
    return name


def check_snapshot_name(name: str, limits: Limits = LIMITS) -> str:
    if not name:
        raise InvalidParameter("snapshot name should not be empty")
    start = f"Invalid snapshot name: {name}. "
    if _too_long(name, limits):
        size = limits.max_name_length
        raise InvalidParameter(f"{start} the length of a snapshot name must be less than {size} characters")
    if not _STARTS.match(name):
        raise InvalidParameter(f"{start} the first character of a snapshot name must be an underscore or letter")
    if not _WORD.fullmatch(name):
        raise InvalidParameter(f"{start} snapshot name can only contain numbers, letters and underscores")
    return name


def check_resource_group_name(name: str, limits: Limits = LIMITS) -> str:
    if not name:
        raise InvalidParameter("resource group name couldn't be empty")
    start = f"Invalid resource group name {name}. "
    if _too_long(name, limits):
        size = limits.max_name_length
        raise InvalidParameter(f"{start}the length of resource group name must be less than {size} characters")
    if not _STARTS.match(name):
        raise InvalidParameter(f"{start}the first character of a resource group name must be an underscore or letter")
    if not _WORD.fullmatch(name):
        raise InvalidParameter(f"{start}resource group name can only contain numbers, letters and underscores")
    return name


def check_field_name(name: str, limits: Limits = LIMITS) -> str:
    name = name.strip()
    if not name:
        raise InvalidFieldName("field name should not be empty", name)
    if name in RESERVED_FIELDS:
        raise InvalidFieldName(
            f'field name "{name}" is reserved for internal use and cannot be used in user schemas', name
        )
    start = f"Invalid field name: {name}. "
    if _too_long(name, limits):
        size = limits.max_name_length
        raise InvalidFieldName(f"{start}The length of a field name must be less than {size} characters.", name)
    if not _STARTS.match(name):
        raise InvalidFieldName(f"{start}The first character of a field name must be an underscore or letter.", name)
    if not _WORD.fullmatch(name):
        raise InvalidFieldName(f"{start}Field name can only contain numbers, letters, and underscores.", name)
    if name in KEYWORDS or name.lower() == "null":
        raise InvalidFieldName(f"{start}{name} is keyword in milvus.", name)
    return name


def check_partition_name(name: str, limits: Limits = LIMITS) -> str:
    name = name.strip()
    start = f"Invalid partition name: {name}. "
    if not name:
        raise InvalidParameter(f"{start}Partition name should not be empty.")
    if _too_long(name, limits):
        size = limits.max_name_length
        raise InvalidParameter(f"{start}The length of a partition name must be less than {size} characters.")
    if not _PARTITION_STARTS.match(name):
        raise InvalidParameter(f"{start}The first character of a partition name must be an underscore or letter.")
    if not _PARTITION_WORD.fullmatch(name):
        raise InvalidParameter(f"{start}Partition name can only contain numbers, letters and underscores.")
    return name


def check_database_name(name: str, limits: Limits = LIMITS) -> str:
    if not name:
        raise _database("database name couldn't be empty", name)
    if _too_long(name, limits):
        size = limits.max_name_length
        raise _database(f"the length of a database name must be less than {size} characters", name)
    if not _STARTS.match(name):
        raise _database("the first character of a database name must be an underscore or letter", name)
    if not _WORD.fullmatch(name):
        raise _database("database name can only contain numbers, letters and underscores", name)
    return name


def _database(text: str, name: str) -> InvalidDatabaseName:
    return InvalidDatabaseName(f"{text}: invalid database name[database={name}]")


def check_index_name(name: str, limits: Limits = LIMITS) -> str:
    """Empty is allowed: the index is then named after its field."""
    if not name:
        return name
    start = f"Invalid index name: {name}. "
    if _too_long(name, limits):
        size = limits.max_name_length
        raise InvalidParameter(f"{start}The length of a index name must be less than {size} characters.")
    if not _STARTS.match(name):
        raise InvalidParameter(f"{start}The first character of an index name must be an underscore or letter.")
    if not _WORD.fullmatch(name):
        raise InvalidParameter(f"{start}Index name can only contain numbers, letters, and underscores.")
    return name


def _too_long(name: str, limits: Limits) -> bool:
    return len(name.encode()) > limits.max_name_length
