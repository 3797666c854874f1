"""Which properties of collections and databases are honoured. None is swallowed: what looks like one of Milvus's, and
is none that has an effect here, is refused by name. Others are the user's own: they are kept and shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.limits import Limits
from redkite.model.moments import zone_of
from redkite.model.quotas import COLLECTION_KEYS, DATABASE_KEYS, check_quota_property
from redkite.model.rules.load_rules import COLLECTION_LOAD_KEYS, DATABASE_LOAD_KEYS, check_load_property
from redkite.model.rules.numbers import truth, whole_number
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType, FunctionType

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
OUTPUTS = "collection.function.allowInsertNonBM25FunctionOutputs"
"""`true`: rows may bring what a function would make of them, unless that is BM25's; it is not run then."""
ISOLATION = "partitionkey.isolation"
"""`true`: every search is for one value of the partition key."""
WARMUPS = ("warmup.scalarField", "warmup.scalarIndex", "warmup.vectorField", "warmup.vectorIndex")
"""When the columns and indexes of a collection are read that do not say it themselves."""
_WARMUP_KINDS = ("sync", "async", "disable")
_MMAP = "mmap.enabled"
_BUILT = frozenset({
    ALLOW_INSERT_AUTO_ID, TTL_SECONDS, TTL_FIELD, TIMEZONE, RETENTION_SECONDS, AUTO_COMPACTION,
    NO_FUNCTION_CHECK, OUTPUTS, ISOLATION, _MMAP, *WARMUPS, *COLLECTION_KEYS, *COLLECTION_LOAD_KEYS,
})  # fmt: skip
_ELSEWHERE = "it is changed with alter_collection_properties, and belongs to the schema when a collection is made"
_NOT_BUILT = {
    "dynamicfield.enabled": _ELSEWHERE,
    "collection.description": _ELSEWHERE,
    "consistency_level": _ELSEWHERE,
    "query_mode": "a search gives limits.max_topk hits at most, a search iterator all of them",
    "namespace.mode": "keep rows apart by partitions, or by a partition key",
}
"""And what to do instead."""
_OF_DATABASES = frozenset({TIMEZONE, *DATABASE_KEYS, *DATABASE_LOAD_KEYS})
_RESERVED = (
    "collection.", "database.", "partition.", "partitionkey.", "dynamicfield.", "namespace.", "mmap.", "warmup.",
    "cipher.", "quota", "$", "lazyload.", "replicate.", "field.", "index.", "indexoffsetcache.",
)  # fmt: skip
"""How the names of properties begin that mean something to Milvus: another such name is a slip, or newer than this."""
MAX_OWN_KEY, MAX_OWN_VALUE, MAX_OWN = 255, 65_535, 64
"""Bytes of the name and of the value of a user's own property, and how many there may be."""


def check_properties(properties: Mapping[str, str], limits: Limits, fields: Iterable[FieldSchema]) -> None:
    """Raise unless every property is one that has its effect, in a collection of these fields."""
    for key, value in properties.items():
        if key == TTL_SECONDS:
            _check_ttl_seconds(value, limits)
        elif key == TTL_FIELD:
            _check_ttl_field(value, fields)
        elif key == TIMEZONE:
            zone_of(value)
        elif key in (ALLOW_INSERT_AUTO_ID, AUTO_COMPACTION, NO_FUNCTION_CHECK, OUTPUTS, _MMAP):
            _flag(key, value)
        elif key == ISOLATION:
            _check_isolation(value, fields)
        elif key == RETENTION_SECONDS:
            _check_retention(value, limits)
        elif key in WARMUPS:
            check_warmup(key, value)
        elif key in COLLECTION_KEYS:
            check_quota_property(key, value)
        elif key in COLLECTION_LOAD_KEYS:
            check_load_property(key, value)
        elif key in _NOT_BUILT:
            raise Unimplemented(
                f"the collection property {key} is not built in this version, got {value}: {_NOT_BUILT[key]}"
            )
        else:
            _check_own("collection", key, value, _BUILT | _NOT_BUILT.keys())
    _check_number("collection", properties, _BUILT)
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
            raise Unimplemented(f"the collection property {key} is not built in this version: {_NOT_BUILT[key]}")
        if key not in _BUILT:
            _check_own("collection", key, "", _BUILT | _NOT_BUILT.keys())


def check_database_properties(properties: Mapping[str, str]) -> None:
    """Raise unless every property of a database is one that has its effect."""
    check_database_keys(properties)
    for key, value in properties.items():
        if key in DATABASE_KEYS:
            check_quota_property(key, value)
        elif key in DATABASE_LOAD_KEYS:
            check_load_property(key, value)
        elif key == TIMEZONE:
            zone_of(value)
        else:
            _check_own("database", key, value, _OF_DATABASES)
    _check_number("database", properties, _OF_DATABASES)


def check_database_keys(keys: Iterable[str]) -> None:
    """Raise unless each of these is a property that a database may have, and lose."""
    for key in keys:
        if key in ("cipher.enabled", "cipher.key"):
            raise Unimplemented(f"the database property {key} is not built in this version")
        if key not in _OF_DATABASES:
            _check_own("database", key, "", _OF_DATABASES)


def _check_own(kind: str, key: str, value: str, known: frozenset[str]) -> None:
    """Raise unless this may be a property that means something to the user alone."""
    meant = next((one for one in sorted(known) if _plain(one) == _plain(key)), None)
    if meant is not None:
        raise InvalidParameter(f"unknown {kind} property {key[:MAX_OWN_KEY]}, did you mean {meant}?")
    if key.startswith(_RESERVED):
        raise InvalidParameter(f"unknown {kind} property {key[:MAX_OWN_KEY]}")
    if not 0 < len(key.encode()) <= MAX_OWN_KEY:
        raise InvalidParameter(f"the name of a {kind} property must have 1 to {MAX_OWN_KEY} bytes, got {key[:40]!r}")
    if len(value.encode()) > MAX_OWN_VALUE:
        raise InvalidParameter(f"the value of the {kind} property {key} has more than {MAX_OWN_VALUE} bytes")


def _check_number(kind: str, properties: Iterable[str], known: frozenset[str]) -> None:
    if sum(key not in known for key in properties) > MAX_OWN:
        raise InvalidParameter(f"a {kind} has at most {MAX_OWN} properties of its user's own")


def _plain(key: str) -> str:
    return "".join(filter(str.isalnum, key)).lower()


def insertable_outputs(schema: CollectionSchema) -> frozenset[str]:
    """The fields that functions fill, and rows may bring nevertheless."""
    if not truth(schema.properties.get(OUTPUTS, "false")):
        return frozenset()
    others = (f for f in schema.functions if f.type is not FunctionType.BM25)
    return frozenset(name for function in others for name in function.output_field_names)


def allows_insert_auto_id(properties: Mapping[str, str]) -> bool:
    return truth(properties.get(ALLOW_INSERT_AUTO_ID, "false")) is True


def is_isolated(properties: Mapping[str, str]) -> bool:
    """Whether every search has to name one value of the partition key."""
    return truth(properties.get(ISOLATION, "false")) is True


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


def _check_isolation(value: str, fields: Iterable[FieldSchema]) -> None:
    if _flag(ISOLATION, value) and not any(field.is_partition_key for field in fields):
        raise InvalidParameter(
            "partition key isolation mode is enabled but no partition key field is set. "
            "Please set the partition key first"
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
