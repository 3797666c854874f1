"""Masks of parts of filters that a node keeps."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from redkite.query.masks import Bits, SegmentMasks
from redkite.segment.kept import Kept


@given(st.lists(st.booleans(), max_size=40))
def test_a_mask_comes_back_as_it_was_and_is_the_readers_own(values: list[bool]) -> None:
    masks = SegmentMasks(Kept(1_000), 1, 1, len(values))
    assert masks.get("a") is None
    masks.put("a", np.array(values, np.bool_))
    found = masks.get("a")
    assert found is not None
    assert found.tolist() == values
    found[:] = ~found
    again = masks.get("a")
    assert again is not None and again.tolist() == values


def test_the_least_recently_used_mask_goes_first() -> None:
    store: Kept[Bits] = Kept(30)
    masks = SegmentMasks(store, 1, 1, 80)
    mask = np.ones(80, np.bool_)
    for name in "abc":
        masks.put(name, mask)
    masks.get("a")
    masks.put("d", mask)
    assert [masks.get(name) is not None for name in "abcd"] == [True, False, True, True]
    assert store.held == 30
    masks.put("d", mask)
    assert store.held == 30
    SegmentMasks(store, 1, 1, 800).put("large", np.ones(800, np.bool_))
    assert store.held == 100
    masks.put("e", mask)
    assert store.held == 10
    assert masks.get("e") is not None


def test_masks_belong_to_a_segment_and_a_version_of_its_schema() -> None:
    store: Kept[Bits] = Kept(1_000)
    mask = np.ones(8, np.bool_)
    SegmentMasks(store, 1, 1, 8).put("a", mask)
    SegmentMasks(store, 2, 1, 8).put("a", mask)
    assert SegmentMasks(store, 1, 2, 8).get("a") is None
    assert SegmentMasks(store, 3, 1, 8).get("a") is None
    store.forget(1)
    assert SegmentMasks(store, 1, 1, 8).get("a") is None
    assert SegmentMasks(store, 2, 1, 8).get("a") is not None
    assert store.held == 1
