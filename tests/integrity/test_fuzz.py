"""Readers of stored bytes take anything: they read it, or say what is wrong. `make fuzz` goes on for longer."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integrity import targets
from tests.integrity.fuzz import load, mutated


@pytest.mark.parametrize("name", targets.TARGETS)
def test_what_was_found_interesting_before_is_read_or_refused(name):
    for data in load(name):
        targets.run(name, data)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_damaged_bytes_are_read_or_refused(name):
    seeds = targets.seeds(name)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32), st.integers(0, 9))
    def check(seed, which):
        targets.run(name, mutated(seeds[which % len(seeds)], random.Random(seed), seeds))

    check()


@pytest.mark.parametrize("name", targets.TARGETS)
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(name, data):
    targets.run(name, data)
