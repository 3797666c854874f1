"""Which collection properties are honoured. None is swallowed: the others are refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.limits import Limits
from redkite.model.moments import zone_of
from redkite.model.rules.numbers import truth, whole_number
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType

ALLOW_INSERT_AUTO_ID = "allow_insert_auto_id"
"""`true`: rows may bring their own primary key although the collection would make one."""
TTL_SECONDS = "collection.ttl.seconds"
"""Rows expire so long after their insert; 0 and -1: never."""
TTL_FIELD = "ttl_field"
"""The TIMESTAMPTZ field that says when a row expires."""
TIMEZONE = "timezone"
"""IANA name of the zone of times without an offset, and of times shown."""
RETENTION_SECONDS = "collection.retention.seconds"
"""How long deleted and expired rows can still be read as of a time before they went."""
DEFAULT_RETENTION_SECONDS = 3600
AUTO_COMPACTION = "collection.autocompaction.enabled"
"""`false`: segments are compacted only on request."""
NO_FUNCTION_CHECK = "disable_func_runtime_check"
"""`true`: a new collection's embedding functions are not tried before it is made."""
WARMUPS = ("warmup.scalarField", "warmup.scalarIndex", "warmup.vectorField", "warmup.vectorIndex")
"""When the columns and indexes of a collection are read that do not say it themselves."""
_WARMUP_KINDS = ("sync", "async", "disable")
_MMAP = "mmap.enabled"
_BUILT = frozenset({
    ALLOW_INSERT_AUTO_ID, TTL_SECONDS, TTL_FIELD, TIMEZONE, RETENTION_SECONDS, AUTO_COMPACTION,
    NO_FUNCTION_CHECK, _MMAP, *WARMUPS,
})  # fmt: skip
_NOT_BUILT = frozenset({
    "partitionkey.isolation", "dynamicfield.enabled",
    "collection.insertRate.max.mb", "collection.insertRate.min.mb", "collection.deleteRate.max.mb",
    "collection.deleteRate.min.mb", "collection.bulkLoadRate.max.mb", "collection.bulkLoadRate.min.mb",
    "collection.queryRate.max.qps", "collection.queryRate.min.qps", "collection.searchRate.max.vps",
    "collection.searchRate.min.vps", "collection.diskProtection.diskQuota.mb",
    "partition.diskProtection.diskQuota.mb", "collection.replica.number", "collection.resource_groups",
    "collection.description", "consistency_level", "query_mode", "namespace.mode",
    "collection.function.allowInsertNonBM25FunctionOutputs",
})  # fmt: skip


def check_properties(properties: Mapping[str, str], limits: Limits, fields: Iterable[FieldSchema]) -> None:
    """Raise unless every property is one that has its effect, in a collection of these fields."""
    for key, value in properties.items():
        if key == TTL_SECONDS:
            _check_ttl_seconds(value, limits)
        elif key == TTL_FIELD:
            _check_ttl_field(value, fields)
        elif key == TIMEZONE:
            zone_of(value)
        elif key == _MMAP:
            if not _flag(key, value):
                raise Unimplemented("mmap.enabled=false is not built in this version, sealed data is always mapped")
        elif key in (ALLOW_INSERT_AUTO_ID, AUTO_COMPACTION, NO_FUNCTION_CHECK):
            _flag(key, value)
        elif key == RETENTION_SECONDS:
            _check_retention(value, limits)
        elif key in WARMUPS:
            check_warmup(key, value)
        elif key in _NOT_BUILT:
            raise Unimplemented(f"the collection property {key} is not built in this version")
        else:
            raise InvalidParameter(f"unknown collection property {key}")
    if TTL_FIELD in properties and int(properties.get(TTL_SECONDS, 0)) > 0:
        raise InvalidParameter(f"{TTL_SECONDS} and {TTL_FIELD} exclude each other, set one of them")


def check_warmup(key: str, value: str) -> None:
    """Raise unless it says when something is read."""
    if value not in _WARMUP_KINDS:
        raise InvalidParameter(f"the value for {key} must be one of {', '.join(_WARMUP_KINDS)}, but got {value}")


def check_property_keys(keys: Iterable[str]) -> None:
    """Raise unless each of these is a property that a collection may have, and lose."""
    for key in keys:
        if key in _NOT_BUILT:
            raise Unimplemented(f"the collection property {key} is not built in this version")
        if key not in _BUILT:
            raise InvalidParameter(f"unknown collection property {key}")


def check_database_properties(properties: Mapping[str, str]) -> None:
    """Raise unless every property of a database is one that has its effect."""
    for key, value in properties.items():
        if key != TIMEZONE:
            raise Unimplemented(f"the database property {key} is not built in this version")
        zone_of(value)


def allows_insert_auto_id(properties: Mapping[str, str]) -> bool:
    return truth(properties.get(ALLOW_INSERT_AUTO_ID, "false")) is True


def compacts_by_itself(properties: Mapping[str, str]) -> bool:
    return truth(properties.get(AUTO_COMPACTION, "true")) is True


def retention_seconds(properties: Mapping[str, str]) -> int:
    """How long rows are kept after they were deleted or expired."""
    return int(properties.get(RETENTION_SECONDS, DEFAULT_RETENTION_SECONDS))


def _check_retention(value: str, limits: Limits) -> None:
    seconds = whole_number(value)
    if seconds is None or not 0 <= seconds <= limits.max_ttl_seconds:
        raise InvalidParameter(
            f"{RETENTION_SECONDS} is out of range, expect [0, {limits.max_ttl_seconds}], got {value}"
        )


def _check_ttl_seconds(value: str, limits: Limits) -> None:
    seconds = whole_number(value)
    if seconds is None:
        raise InvalidParameter("collection TTL is not a valid positive integer")
    if not -1 <= seconds <= limits.max_ttl_seconds:
        raise InvalidParameter(f"collection TTL is out of range, expect [-1, {limits.max_ttl_seconds}], got {seconds}")


def _check_ttl_field(name: str, fields: Iterable[FieldSchema]) -> None:
    field = next((f for f in fields if f.name == name), None)
    if field is None:
        raise InvalidParameter(f"ttl field name {name} not found in schema")
    if field.data_type is not DataType.TIMESTAMPTZ:
        raise InvalidParameter(f"ttl field must be of type Timestamptz, field name = {name}")


def _flag(key: str, value: str) -> bool:
    flag = truth(value)
    if flag is None:
        raise InvalidParameter(f"the value for {key} must be true or false, but got {value}")
    return flag
