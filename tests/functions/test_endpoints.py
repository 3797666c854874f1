"""Which addresses functions may send texts to."""

from __future__ import annotations

import pytest

from redkite.errors import InvalidParameter
from redkite.functions.endpoints import check_allowed, checked_endpoint


@pytest.mark.parametrize(
    ("rules", "endpoint"),
    [
        (["*"], "http://anything:1"),
        (["localhost"], "http://localhost:8080"),
        (["localhost"], "http://127.0.0.1"),
        (["localhost"], "http://127.8.9.1:99/prefix"),
        (["localhost"], "https://[::1]:5"),
        (["tei"], "http://tei:80"),
        (["TEI"], "http://tei"),
        (["tei:8080"], "http://tei:8080/x"),
        (["https://models.example"], "https://models.example"),
        (["https://models.example"], "https://models.example:443/v1"),
        (["none", "*.models.example"], "https://a.b.models.example:9"),
        (["[::2]:80"], "http://[::2]"),
    ],
)
def test_an_address_on_the_list_may_be_named(rules: list[str], endpoint: str) -> None:
    check_allowed("w", checked_endpoint("w", endpoint), rules)


@pytest.mark.parametrize(
    ("rules", "endpoint"),
    [
        (["localhost"], "http://169.254.169.254/latest"),
        (["localhost"], "http://10.0.0.1"),
        (["localhost"], "http://localhost.example.com"),
        (["localhost"], "http://127.0.0.1.example.com"),
        (["localhost"], "http://0.0.0.0:80"),
        (["localhost"], "http://[::ffff:a00:1]"),
        (["localhost"], "http://2130706434.example"),
        (["tei"], "http://teix"),
        (["tei:8080"], "http://tei:8081"),
        (["tei:8080"], "http://tei"),
        (["https://models.example"], "http://models.example"),
        (["https://models.example"], "https://models.example:444"),
        (["*.models.example"], "https://models.example"),
        (["*.models.example"], "https://evilmodels.example"),
        (["none"], "http://localhost"),
        (["a:b:c"], "http://a"),
        ([], "http://localhost"),
    ],
)
def test_an_address_that_is_not_on_the_list_is_refused(rules: list[str], endpoint: str) -> None:
    with pytest.raises(InvalidParameter, match="is not one that this server may ask"):
        check_allowed("w", checked_endpoint("w", endpoint), rules)


@pytest.mark.parametrize("host", ["a..b", ".a", "a..", "x" * 64, "models." + "y" * 70 + ".example"])
def test_a_name_that_no_server_can_have_is_refused(host: str) -> None:
    with pytest.raises(InvalidParameter, match=r"w: endpoint \[http://.*\] is invalid, should be an http\(s\) URL"):
        checked_endpoint("w", f"http://{host}/v1")
