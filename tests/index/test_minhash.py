"""MINHASH_LSH: what shares a band is found, and each parameter does something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.index.test_binary import signatures

from redkite.errors import StorageError
from redkite.index import registry
from redkite.index.binary import BinaryColumn
from redkite.index.minhash import BandFilter, MinHashIndex, as_signatures
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

ROWS, ELEMENTS, BANDS = 600, 16, 8


def spec_of(**build: Any) -> IndexSpec:
    params = {"mh_element_bit_width": 32, "mh_lsh_band": BANDS} | build
    return IndexSpec(index_type="MINHASH_LSH", metric=Metric.MHJACCARD, build=params)


@pytest.fixture(scope="module")
def hashes() -> np.ndarray:
    made = signatures(ROWS, ELEMENTS, np.uint32, seed=3)
    made[300:340, :2] = made[0, :2]
    return made


@pytest.fixture(scope="module")
def column(hashes: np.ndarray) -> BinaryColumn:
    return BinaryColumn(hashes.view(np.uint8))


def built(column: BinaryColumn, **build: Any) -> tuple[MinHashIndex, memoryview]:
    data = registry.build(spec_of(**build), column, lambda: True, 1)
    index = registry.open_index(spec_of(**build), None, data)
    assert isinstance(index, MinHashIndex)
    return index, data


def sharing(hashes: np.ndarray, row: int) -> set[int]:
    equal = (hashes == hashes[row]).reshape(len(hashes), BANDS, -1).all(axis=2).any(axis=1)
    return set(np.flatnonzero(equal).tolist())


def test_an_index_finds_the_rows_that_share_a_band_and_no_others(column: BinaryColumn, hashes: np.ndarray) -> None:
    index, _ = built(column)
    asked = column.matrix[:30]
    for params in ({}, {"mh_lsh_batch_search": True}, {"mh_search_with_jaccard": True, "refine_k": ROWS}):
        _, rows = index.search(asked, ROWS, params, None)
        for row in range(30):
            assert set(rows[row][rows[row] >= 0].tolist()) == sharing(hashes, row)


def test_an_answer_is_the_same_with_and_without_the_index(column: BinaryColumn) -> None:
    index, _ = built(column)
    params = {"mh_element_bit_width": 32, "mh_lsh_band": BANDS}
    signed = as_signatures(column, Metric.MHJACCARD, params)
    asked = column.matrix[::20]
    exact = signed.search(asked, ROWS, Metric.MHJACCARD, None)
    found = index.search(asked, ROWS, {"mh_search_with_jaccard": True}, None)[1]
    through = signed.ranked(asked, found, ROWS, Metric.MHJACCARD)
    assert through[0].tolist() == exact[0].tolist()
    assert as_signatures(column, Metric.HAMMING, params) is column


def test_comparing_finds_better_rows_than_taking_the_first(column: BinaryColumn, hashes: np.ndarray) -> None:
    hashes = hashes.copy()
    hashes[599] = hashes[0]
    index, _ = built(BinaryColumn(hashes.view(np.uint8)))
    asked = hashes[:1].view(np.uint8)
    first = index.search(asked, 3, {}, None)[1]
    assert 599 not in first
    compared = index.search(asked, 3, {"mh_search_with_jaccard": True}, None)[1]
    assert {0, 599} <= set(compared[0].tolist())
    assert index.search(asked, 3, {"mh_search_with_jaccard": True, "refine_k": 20}, None)[1].shape == (1, 20)
    assert index.widened({"refine_k": 20}, 3, 2.0)["refine_k"] == 40


def test_only_allowed_rows_are_found(column: BinaryColumn, hashes: np.ndarray) -> None:
    index, _ = built(column)
    allowed = np.arange(ROWS) % 2 == 1
    _, rows = index.search(column.matrix[:1], 100, {}, np.packbits(allowed, bitorder="little"))
    assert set(rows[rows >= 0].tolist()) == {row for row in sharing(hashes, 0) if row % 2}


def test_hashes_stay_mapped_unless_they_are_wanted_in_memory(column: BinaryColumn) -> None:
    data = registry.build(spec_of(), column, lambda: True, 1)
    held = np.frombuffer(data, np.uint8)
    mapped, copied = (registry.open_index(spec_of(mh_lsh_code_in_mem=wanted), None, data) for wanted in (False, True))
    assert np.shares_memory(mapped._hashes, held)
    assert not np.shares_memory(copied._hashes, held)


def test_a_stricter_filter_takes_more_memory_and_lets_less_pass(column: BinaryColumn) -> None:
    strict, _ = built(column, mh_lsh_bloom_false_positive_prob=0.001)
    loose, _ = built(column, mh_lsh_bloom_false_positive_prob=0.1)
    assert strict.memory() > loose.memory()
    rng = np.random.default_rng(0)
    known, others = rng.integers(0, 2**63, 3_000, dtype=np.uint64), rng.integers(0, 2**63, 30_000, dtype=np.uint64)
    for wrong in (0.1, 0.01, 0.001):
        held = BandFilter(known, wrong)
        assert held.may_have(known).all()
        assert wrong / 4 < held.may_have(others).mean() < 2 * wrong


def test_more_bands_find_rows_that_are_less_alike(column: BinaryColumn) -> None:
    found = []
    for bands in (1, 4, 16):
        index, _ = built(column, mh_lsh_band=bands)
        found.append(int((index.search(column.matrix, 50, {}, None)[1] >= 0).sum()))
    assert found[0] < found[1] < found[2]


def test_bytes_that_are_no_index_are_refused(column: BinaryColumn) -> None:
    data = bytes(registry.build(spec_of(), column, lambda: True, 1))
    for broken in (b"", data[:70], b"X" + data[1:]):
        with pytest.raises(StorageError):
            registry.open_index(spec_of(), None, memoryview(broken))
    assert registry.build_bytes(spec_of(), ROWS, 64) >= len(data)
