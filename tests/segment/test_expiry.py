"""What has expired at a moment, and what compaction may drop."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from redkite.model.timestamps import MAX_LOGICAL, compose
from redkite.segment.expiry import Expiry, expired_rows, expiry_at

SECONDS = {"collection.ttl.seconds": "10"}
FIELD = {"ttl_field": "dies"}
WRITTEN = 1_700_000_000_000


def batch(*dies: int | None) -> pa.RecordBatch:
    return pa.record_batch({"dies": pa.array(dies, pa.int64())})


def test_nothing_expires_without_a_property() -> None:
    for properties in ({}, {"collection.ttl.seconds": "0"}, {"collection.ttl.seconds": "-1"}):
        assert expiry_at(properties, compose(WRITTEN)) is None
        assert expired_rows(batch(0), np.array([1], np.uint64), properties, compose(WRITTEN)) is None


def test_a_row_expires_to_the_millisecond() -> None:
    stamps = np.array([compose(WRITTEN, 7)], np.uint64)
    gone_at = WRITTEN + 10_000
    assert expired_rows(batch(None), stamps, SECONDS, compose(gone_at - 1)) is None
    assert expired_rows(batch(None), stamps, SECONDS, compose(gone_at - 1, MAX_LOGICAL - 1)) is None
    assert expired_rows(batch(None), stamps, SECONDS, compose(gone_at)) == [True]


def test_a_read_up_to_the_end_of_a_millisecond_shows_the_next_one() -> None:
    end = compose(WRITTEN, MAX_LOGICAL)
    assert expiry_at(FIELD, end) == Expiry(field="dies", moment=1000 * (WRITTEN + 1))
    assert expiry_at(SECONDS, end) == Expiry(oldest=compose(WRITTEN + 1 - 10_000 + 1), moment=1000 * (WRITTEN + 1))


def test_a_field_says_when_its_row_expires_and_null_is_never() -> None:
    now = compose(WRITTEN)
    stamps = np.zeros(4, np.uint64)
    mask = expired_rows(batch(1000 * WRITTEN, 1000 * WRITTEN + 1, None, 0), stamps, FIELD, now)
    assert mask is not None
    assert mask.tolist() == [True, False, False, True]
    assert expired_rows(batch(None, 1000 * WRITTEN + 1), stamps[:2], FIELD, now) is None


def test_a_time_to_live_longer_than_time_itself_keeps_everything() -> None:
    properties = {"collection.ttl.seconds": "3155760000"}
    assert expired_rows(batch(None), np.array([0], np.uint64), properties, compose(WRITTEN)) is None
