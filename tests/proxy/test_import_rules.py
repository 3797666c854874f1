"""Options of imports."""

from __future__ import annotations

import pytest

from redkite.errors import ImportFailed
from redkite.proxy.rules.import_rules import read_options


@pytest.mark.parametrize(
    ("text", "expected"), [("300s", 300_000), ("1h30m", 5_400_000), ("1ms", 1), ("0s", 1), ("9" * 400 + "h", 10**13)]
)
def test_a_timeout_is_a_duration_however_long(text: str, expected: int) -> None:
    assert read_options({"timeout": text}).timeout_ms == expected


@pytest.mark.parametrize("text", ["", "5", "-5s", "1e9s", "infs", "nans", "5 s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ImportFailed, match="parse timeout failed"):
        read_options({"timeout": text})
