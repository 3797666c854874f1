"""Indexes over values as a query node opens them."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from tests.filter.rows import columns_of
from tests.index.scalar.indexed_rows import spec, stored

from redkite.errors import Corruption
from redkite.model.segments import IndexFile, IndexMeta
from redkite.segment.scalars import open_scalar_file

ROWS = 50
DATA = stored(spec("INVERTED"), "age", columns_of([{"id": n, "age": n} for n in range(ROWS)]))


class OneObject:
    """An object store that holds one index."""

    def verify(self, name: str, size: int, crc: int) -> None:
        assert (name, size, crc) == ("index-1", len(DATA), zlib.crc32(DATA))

    def map(self, name: str) -> memoryview:
        assert name == "index-1"
        return memoryview(DATA)


def opened(rows: int = ROWS, **params: str) -> Any:
    store: Any = OneObject()
    meta = IndexMeta(
        index_id=1, collection_id=1, field_id=100, field="age", name="age", params=params, spec=spec("INVERTED"),
        created_timestamp=0,
    )  # fmt: skip
    file = IndexFile(index_id=1, object="index-1", size=len(DATA), crc=zlib.crc32(DATA), rows=rows)
    return open_scalar_file(store, meta, file)


@pytest.mark.parametrize(("params", "mapped"), [({}, True), ({"mmap.enabled": "true"}, True),
                                                ({"mmap.enabled": "false"}, False)])  # fmt: skip
def test_an_index_is_read_where_it_is_mapped_unless_it_shall_be_in_memory(params: dict[str, str], mapped: bool) -> None:
    keys = opened(**params)._values.keys.values
    assert np.shares_memory(keys, np.frombuffer(DATA, np.uint8)) == mapped
    assert keys.tolist() == list(range(ROWS))


def test_an_index_over_another_number_of_rows_is_not_the_one_that_is_meant() -> None:
    with pytest.raises(Corruption, match="has 50 rows, the catalog says 51"):
        opened(rows=51)
