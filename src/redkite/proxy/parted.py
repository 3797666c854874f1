"""What is said of a write that some shards have and others do not."""

from __future__ import annotations

from collections.abc import Set

import numpy as np
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import MilvusException, PartlyWritten
from redkite.proxy.routing import shard_numbers

_SHOWN = 10


def partly_written(
    meta: CollectionMeta, keys: pa.Array, failed_channels: Set[str], error: BaseException
) -> PartlyWritten:
    """`keys`: of the rows in the order the caller gave them."""
    has_failed = np.array([channel in failed_channels for channel in meta.channels])[shard_numbers(meta, keys)]
    failed, written = np.flatnonzero(has_failed), np.flatnonzero(~has_failed)
    named = ", ".join(repr(key) for key in keys.take(pa.array(failed[:_SHOWN])).to_pylist())
    more = f" and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
    why, code = repr(error), PartlyWritten.default_code
    if isinstance(error, MilvusException):
        why, code = error.message, error.code
    return PartlyWritten(
        f"partly written: {len(written)} of {len(keys)} rows of collection {meta.name} are in; not known to be in: "
        f"{meta.schema.primary.name} {named}{more}: {why}",
        code,
        tuple(written.tolist()),
        tuple(failed.tolist()),
    )
