"""Every module closes all that it has begun."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.leftovers import nothing_left


@pytest.fixture(autouse=True, scope="module")
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield
