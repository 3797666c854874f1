"""What a search that aggregates answers: trees of buckets."""

from __future__ import annotations

from typing import Any

import msgspec

KeyValue = int | str | bool | None
Number = int | float | str | bool | None


class KeyPart(msgspec.Struct, frozen=True, kw_only=True):
    """The value of one field of a bucket's key."""

    field: str
    field_id: int
    value: KeyValue


class BucketHit(msgspec.Struct, frozen=True, kw_only=True):
    """One hit that is shown of a bucket. `fields`: the output fields that are not null, by name."""

    key: int | str
    score: float
    fields: dict[str, Any] = {}
    field_ids: dict[str, int] = {}


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    key: tuple[KeyPart, ...]
    count: int
    """Hits in it."""
    measures: dict[str, Number] = {}
    """By alias; None where no hit has a value."""
    hits: tuple[BucketHit, ...] = ()
    groups: tuple[Bucket, ...] = ()
    """The buckets of the level below."""
