"""Rows that expire: so long after they were written, or when a field of theirs says.

A row whose time is E milliseconds is there for reads before E and gone for reads at E and later, whether or not anybody
has cleared it away: a read carries the `Expiry` of its moment. So a row may be cleared away for good once no read goes
back to before E, which is what compaction's horizon says.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter.columns import number_values
from redkite.model.rules.property_rules import TTL_FIELD, TTL_SECONDS
from redkite.model.timestamps import compose, physical_ms
from redkite.segment.deletes import Mask

Stamps = npt.NDArray[np.uint64]


class Expiry(msgspec.Struct, frozen=True, kw_only=True):
    """What has expired at one moment."""

    oldest: int = 0
    """Hybrid timestamp: rows written before it are gone."""
    field: str = ""
    """A TIMESTAMPTZ field; rows where it is null never expire by it."""
    moment: int = 0
    """UTC microseconds: rows whose `field` is not after it are gone."""


def expires(properties: Mapping[str, str]) -> bool:
    """Whether rows of a collection with these properties ever expire."""
    return TTL_FIELD in properties or int(properties.get(TTL_SECONDS, 0)) > 0


def expiry_at(properties: Mapping[str, str], timestamp: int) -> Expiry | None:
    """What is gone for a read at a hybrid timestamp, by the properties of its collection; None when nothing expires."""
    if not expires(properties):
        return None
    seconds = int(properties.get(TTL_SECONDS, 0))
    field = properties.get(TTL_FIELD, "")
    # A read at T sees all that happened up to T: the moment it shows is the one after.
    now = physical_ms(timestamp + 1)
    oldest = compose(max(0, now - 1000 * seconds + 1)) if seconds > 0 else 0
    return Expiry(oldest=oldest, field=field, moment=1000 * now)


def expired_by_field(values: npt.NDArray[np.int64], valid: Mask | None, expiry: Expiry) -> Mask:
    """Where a row's own time has come."""
    gone: Mask = values <= expiry.moment
    return gone if valid is None else gone & valid


def expired_rows(batch: pa.RecordBatch, stamps: Stamps, properties: Mapping[str, str], horizon: int) -> Mask | None:
    """Which rows no read at `horizon` or later sees any more, because they had expired by then; None when none.

    `batch` has the ttl field, if there is one, by its name; `stamps` are the rows' hybrid timestamps.
    """
    expiry = expiry_at(properties, horizon)
    if expiry is None:
        return None
    gone: Mask = stamps < np.uint64(expiry.oldest)
    if expiry.field:
        column = batch.column(expiry.field)
        valid = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
        gone = gone | expired_by_field(number_values(column), valid, expiry)
    return gone if gone.any() else None
