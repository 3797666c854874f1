"""How many native threads one call may use.

faiss takes the number from a setting of the calling thread, and its workers spin between calls unless told not to,
which is ruinous when searches run side by side: one thread a call, more only where that pays for the hand-over.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss

__all__ = ["CORES", "LARGE_CALL", "faiss", "use_threads"]

CORES = os.cpu_count() or 1
LARGE_CALL = 6_000_000
"""Multiply-adds from which a call is split over all cores (some .7 ms of one core)."""


def use_threads(work: int) -> None:
    """Let this thread's next faiss call, of about `work` multiply-adds, use one core, or all when that pays."""
    faiss.omp_set_num_threads(CORES if work >= LARGE_CALL else 1)
