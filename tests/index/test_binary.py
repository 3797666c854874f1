"""Binary vectors compared one by one, against the same in plain numpy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.index import binary
from redkite.index.binary import BinaryColumn, Signature
from redkite.model.types import Metric

METRICS = [Metric.HAMMING, Metric.JACCARD, Metric.SUBSTRUCTURE, Metric.SUPERSTRUCTURE]


def sets(rows: int, width: int, seed: int) -> np.ndarray:
    """Few bits set, many rows alike, some empty."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 256, (rows, width), dtype=np.uint8)
    for _ in range(3):
        made &= rng.integers(0, 256, (rows, width), dtype=np.uint8)
    made[::5] = made[0]
    made[3::11] = 0
    return made


def distances(rows: np.ndarray, query: np.ndarray, metric: Metric) -> np.ndarray:
    bits, asked = np.unpackbits(rows, axis=1).astype(bool), np.unpackbits(query).astype(bool)
    both, either = bits & asked, bits | asked
    if metric is Metric.HAMMING:
        return (bits ^ asked).sum(axis=1)
    if metric is Metric.JACCARD:
        counts = either.sum(axis=1)
        return np.where(counts > 0, 1 - both.sum(axis=1) / np.maximum(counts, 1), 0)
    inner = asked if metric is Metric.SUBSTRUCTURE else bits
    return np.where((both == inner).all(axis=1), 0, np.inf)


@given(
    st.sampled_from(METRICS), st.integers(1, 60), st.sampled_from([1, 3, 8, 16, 17]), st.integers(0, 2**31),
    st.integers(0, 12), st.integers(1, 6),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_the_nearest_are_those_a_plain_comparison_finds(
    metric: Metric, rows: int, width: int, seed: int, k: int, queries: int
) -> None:
    data = sets(rows, width, seed)
    asked = np.resize(data, (queries, width)) | sets(queries, width, seed + 1)
    column = BinaryColumn(data)
    scores, found = column.search(asked, k, metric)
    assert scores.shape == found.shape == (queries, k)
    for query, each, held in zip(asked, scores, found, strict=True):
        far = distances(data, query, metric)
        want = np.lexsort((np.arange(rows), far))
        want = want[np.isfinite(far[want])][:k]
        assert held[: len(want)].tolist() == want.tolist()
        assert (held[len(want) :] == -1).all()
        np.testing.assert_allclose(each[: len(want)], far[want], rtol=1e-6)
        np.testing.assert_allclose(column.scores(query[None, :], metric), far, rtol=1e-6)
    order = np.random.default_rng(seed).permutation(rows)
    one = asked[:1]
    assert column.scores(one, metric, order).tolist() == column.scores(one, metric)[order].tolist()
    assert column.gather(order).scores(one, metric).tolist() == column.scores(one, metric)[order].tolist()
    assert column.head(rows // 2).scores(one, metric).tolist() == column.scores(one, metric)[: rows // 2].tolist()
    again = column.ranked(asked, np.where(found >= 0, found, -1), k, metric)
    assert again[0].tolist() == scores.tolist() and again[1].tolist() == found.tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_a_scan_by_several_threads_finds_the_same(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    data = sets(5_000, 16, 1)
    alone = BinaryColumn(data).search(data[:2], 9, metric)
    monkeypatch.setattr(binary, "SPLIT_BYTES", 1_000)
    with ThreadPoolExecutor(2) as pool:
        together = BinaryColumn(data).search(data[:2], 9, metric, pool)
    assert together[0].tolist() == alone[0].tolist()
    assert together[1].tolist() == alone[1].tolist()


def test_rows_that_are_mapped_anywhere_and_may_not_be_written_are_compared() -> None:
    data = np.frombuffer(b"." + sets(40, 8, 2).tobytes(), np.uint8)[1:].reshape(40, 8)
    for metric in METRICS:
        scores, rows = BinaryColumn(data).search(data[:1], 40, metric)
        far = distances(data, data[0], metric)
        np.testing.assert_allclose(scores[0][rows[0] >= 0], np.sort(far[np.isfinite(far)]), rtol=1e-6)


def signatures(rows: int, elements: int, kind: Any, seed: int = 0) -> np.ndarray:
    """Random hashes; each third row is like the one before but for some elements."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, np.iinfo(kind).max, (rows, elements), dtype=kind)
    for row in range(1, rows, 3):
        made[row] = made[row - 1]
        made[row, rng.choice(elements, row % elements, replace=False)] = 0
    return made


@pytest.mark.parametrize(("kind", "bits"), [(np.uint8, 8), (np.uint32, 32), (np.uint64, 64)])
@pytest.mark.parametrize("bands", [1, 3, 8, 16])
def test_signatures_that_share_a_band_score_the_part_of_equal_elements(kind: Any, bits: int, bands: int) -> None:
    hashes = signatures(120, 16, kind)
    column = BinaryColumn(hashes.view(np.uint8)).signed(Signature(bits, bands))
    size = 16 // bands
    for row in (0, 1, 40):
        equal = hashes == hashes[row]
        shares = equal[:, : bands * size].reshape(len(hashes), bands, size).all(axis=2).any(axis=1)
        want = np.where(shares, equal.mean(axis=1), -np.inf)
        query = hashes[row : row + 1].view(np.uint8)
        np.testing.assert_allclose(column.scores(query, Metric.MHJACCARD), want)
        scores, found = column.search(query, 5, Metric.MHJACCARD)
        order = np.lexsort((np.arange(len(want)), -want))[: min(5, int(shares.sum()))]
        assert found[0, : len(order)].tolist() == order.tolist()
        assert (found[0, len(order) :] == -1).all()
        np.testing.assert_allclose(scores[0, : len(order)], want[order])
