"""What is written to the log can be read back, and bytes that are no record are refused."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.errors import Corruption
from redkite.node.records import DELETE, INSERT, RecordHeader, decode_record, encode_record

BATCH = pa.RecordBatch.from_pydict({"id": [1, 2], "word": ["a", None], "$meta": [b"{}", b'{"k":1}']})


def test_a_record_comes_back_as_it_was_written() -> None:
    header = RecordHeader(INSERT, 2**60, 7, 9)
    payload = b"".join(bytes(b) for b in encode_record(header, BATCH))
    assert decode_record(payload) == (header, BATCH)


@given(cut=st.integers(0, 300), noise=st.binary(max_size=40))
def test_bytes_that_are_no_record_are_corruption(cut: int, noise: bytes) -> None:
    payload = b"".join(bytes(b) for b in encode_record(RecordHeader(DELETE, 1, 2, 0), BATCH))
    with pytest.raises(Corruption, match="log record"):
        decode_record(noise + payload[: min(cut, len(payload) // 2)])
