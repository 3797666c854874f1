"""Vectors as data has them: clusters of different sizes in a space of fewer dimensions than they have numbers."""

from __future__ import annotations

import numpy as np

DIM = 32


def clustered(rows: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    inner = dim // 4
    centres = rng.normal(size=(64, inner)) * 2
    latent = centres[rng.integers(0, 64, rows)] + rng.normal(size=(rows, inner))
    return (latent @ rng.normal(size=(inner, dim)) + 0.1 * rng.normal(size=(rows, dim))).astype(np.float32)


def near(vectors: np.ndarray, queries: int, seed: int = 1) -> np.ndarray:
    """Questions about places where there are rows."""
    rng = np.random.default_rng(seed)
    some = vectors[rng.choice(len(vectors), queries, replace=False)]
    return (some + 0.1 * rng.normal(size=some.shape)).astype(np.float32)


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, wanted, strict=True)]))


def wilson_low(share: float, trials: int) -> float:
    """The lower end of Wilson's interval, one sided at 99 %: what the true share is not below."""
    z = 2.326
    centre = share + z * z / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return float((centre - spread) / (1 + z * z / trials))
