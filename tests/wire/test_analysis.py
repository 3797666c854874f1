"""Texts to analyse, as they come over the wire."""

from __future__ import annotations

import pytest

from redkite.errors import InvalidParameter
from redkite.model.analysis import RunAnalyzer
from redkite.wire.messages import find_method, message_class
from redkite.wire.methods import decode_request


def request(*texts: bytes) -> bytes:
    method = find_method("RunAnalyzer")
    assert method is not None
    data: bytes = message_class(method.input_type)(placeholder=texts).SerializeToString()
    return data


def test_texts_are_bytes_of_utf8() -> None:
    decoded = decode_request("RunAnalyzer", request("é\u0000".encode(), b""), {})
    assert isinstance(decoded, RunAnalyzer) and decoded.texts == ("é\u0000", "")


@pytest.mark.parametrize("bad", [b"\xff", b"a\xc3", b"\xed\xa0\x80"])
def test_bytes_that_are_no_text_are_refused_and_named(bad: bytes) -> None:
    with pytest.raises(InvalidParameter, match="text 1 is not valid UTF-8"):
        decode_request("RunAnalyzer", request(b"ok", bad), {})
