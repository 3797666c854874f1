"""Pages in a browser: which may call, and what they are told."""

from __future__ import annotations

import httpx
import pytest
from tests.server.fakes import FakeService
from tests.server.rest_client import Rest
from tests.servers import ThreadServer

from redkite.server.rest.origins import Origins

HERE, THERE = b"http://localhost:3000", b"https://evil.example"


def told(origins: Origins, origin: bytes) -> dict[bytes, bytes] | None:
    found = origins.headers(origin)
    return None if found is None else dict(found)


@pytest.mark.parametrize("origin", [b"http://localhost:3000", b"http://127.0.0.1", b"https://[::1]:8443"])
def test_a_server_that_asks_nobody_answers_pages_of_its_own_machine(origin: bytes) -> None:
    found = told(Origins(), origin)
    assert found is not None
    assert found[b"access-control-allow-origin"] == origin
    assert b"access-control-allow-credentials" not in found


@pytest.mark.parametrize(
    "origin",
    [THERE, b"null", b"", b"http://localhost.evil.example", b"http://127.0.0.1.evil.example", b"http://[", b"\xff\xfe"],
)
def test_and_no_others(origin: bytes) -> None:
    assert Origins().headers(origin) is None


def test_a_server_that_asks_who_calls_answers_every_page_without_credentials() -> None:
    found = told(Origins(guarded=True), THERE)
    assert found is not None
    assert found[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in found


def test_named_origins_may_send_credentials_and_others_nothing() -> None:
    origins = Origins("https://app.example, https://other.example:8443/", guarded=True)
    for origin in (b"https://app.example", b"https://other.example:8443"):
        found = told(origins, origin)
        assert found is not None
        assert found[b"access-control-allow-origin"] == origin
        assert found[b"access-control-allow-credentials"] == b"true"
    for origin in (THERE, b"http://app.example", b"https://app.example:444", HERE):
        assert origins.headers(origin) is None


def test_none_means_none() -> None:
    assert Origins("none", guarded=True).headers(HERE) is None
    assert Origins("none").headers(None) is not None  # whoever is no page


def test_a_foreign_page_cannot_make_the_server_do_anything(service: FakeService) -> None:
    with ThreadServer(service) as server:
        rest = Rest(server.uri)
        asked = len(service.asked)
        for headers in ({}, {"content-type": "text/plain"}):  # the latter is sent by browsers without a preflight
            response = httpx.post(
                f"{server.uri}/v2/vectordb/databases/list", content=b"{}", headers={"Origin": THERE.decode(), **headers}
            )
            assert response.status_code == 403
            assert "access-control-allow-origin" not in response.headers
        assert len(service.asked) == asked
        preflight = httpx.options(f"{server.uri}/v2/vectordb/databases/list", headers={"Origin": THERE.decode()})
        assert preflight.status_code == 403
        assert rest.post("databases/list", Origin=HERE.decode()).headers["access-control-allow-origin"] == HERE.decode()


def test_the_setting_opens_it(service: FakeService) -> None:
    with ThreadServer(service, rest_origins="*") as server:
        response = Rest(server.uri).post("databases/list", Origin=THERE.decode())
    assert response.headers["access-control-allow-origin"] == "*"
