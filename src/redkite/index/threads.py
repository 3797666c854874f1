"""How many native threads one call may use.

faiss takes the number from a setting of the calling thread, and its workers spin between calls unless told not to,
which is ruinous when searches run side by side: one thread a call, more only where that pays for the hand-over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss

__all__ = ["CORES", "faiss", "native_threads"]

CORES = os.cpu_count() or 1
LARGE_CALL = 6_000_000
"""Multiply-adds from which a call is split over all cores (some .7 ms of one core)."""


@contextmanager
def native_threads(work: int) -> Iterator[None]:
    """Run faiss calls of about `work` multiply-adds on one thread, or on all cores when that pays."""
    faiss.omp_set_num_threads(CORES if work >= LARGE_CALL else 1)
    yield
