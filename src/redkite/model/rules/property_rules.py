"""Which collection properties are honoured. None is swallowed: the others are refused by name."""

from __future__ import annotations

from collections.abc import Mapping

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.limits import Limits
from redkite.model.rules.numbers import truth, whole_number

ALLOW_INSERT_AUTO_ID = "allow_insert_auto_id"
"""`true`: rows may bring their own primary key although the collection would make one."""
_MMAP = "mmap.enabled"
_TTL = "collection.ttl.seconds"
_NOT_BUILT = frozenset({
    "ttl_field", "collection.autocompaction.enabled", "partitionkey.isolation", "dynamicfield.enabled", "timezone",
    "collection.insertRate.max.mb", "collection.insertRate.min.mb", "collection.deleteRate.max.mb",
    "collection.deleteRate.min.mb", "collection.bulkLoadRate.max.mb", "collection.bulkLoadRate.min.mb",
    "collection.queryRate.max.qps", "collection.queryRate.min.qps", "collection.searchRate.max.vps",
    "collection.searchRate.min.vps", "collection.diskProtection.diskQuota.mb",
    "partition.diskProtection.diskQuota.mb", "collection.replica.number", "collection.resource_groups",
    "collection.description", "consistency_level", "warmup.scalarField", "warmup.scalarIndex", "warmup.vectorField",
    "warmup.vectorIndex", "query_mode", "namespace.mode", "collection.function.allowInsertNonBM25FunctionOutputs",
    "disable_func_runtime_check",
})  # fmt: skip


def check_properties(properties: Mapping[str, str], limits: Limits) -> None:
    """Raise unless every property is one that has its effect."""
    for key, value in properties.items():
        if key == _TTL:
            _check_ttl(value, limits)
        elif key == _MMAP:
            if not _flag(key, value):
                raise Unimplemented("mmap.enabled=false is not built in this version, sealed data is always mapped")
        elif key == ALLOW_INSERT_AUTO_ID:
            _flag(key, value)
        elif key in _NOT_BUILT:
            raise Unimplemented(f"the collection property {key} is not built in this version")
        else:
            raise InvalidParameter(f"unknown collection property {key}")


def allows_insert_auto_id(properties: Mapping[str, str]) -> bool:
    return truth(properties.get(ALLOW_INSERT_AUTO_ID, "false")) is True


def _check_ttl(value: str, limits: Limits) -> None:
    seconds = whole_number(value)
    if seconds is None:
        raise InvalidParameter("collection TTL is not a valid positive integer")
    if not -1 <= seconds <= limits.max_ttl_seconds:
        raise InvalidParameter(f"collection TTL is out of range, expect [-1, {limits.max_ttl_seconds}], got {seconds}")
    if seconds > 0:
        raise Unimplemented(f"the collection property {_TTL} is not built in this version")


def _flag(key: str, value: str) -> bool:
    flag = truth(value)
    if flag is None:
        raise InvalidParameter(f"the value for {key} must be true or false, but got {value}")
    return flag
