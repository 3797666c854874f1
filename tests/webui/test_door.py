"""HTTP of the page: what strangers get, who may ask, what the answers carry."""

from __future__ import annotations

import datetime as dt
import json
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.server.fakes import FakeService
from tests.server.guarded import ROOT
from tests.servers import ProcessServer, ThreadServer
from tests.webui.page import MARK, Page

import redkite
from redkite.config import Settings
from redkite.errors import InvalidParameter
from redkite.server.main import Server
from redkite.server.webui.door import _body as read_whole
from redkite.server.webui.files import page_files
from redkite.server.webui.sessions import MOST_SESSIONS, Sessions, cookie, token_of

LARGEST = 150_000
COOKIE = "redkite_session"


@pytest.fixture(scope="module")
def open_page() -> Iterator[Page]:
    """The page of a server that asks nobody."""
    with ThreadServer(FakeService()) as server, Page(server.metrics_port) as visitor:
        yield visitor


# -- files --------------------------------------------------------------------------------------
def test_the_page_is_small_and_whole() -> None:
    files = page_files()
    assert sum(len(file.content) for file in files.values()) < LARGEST
    for name, file in files.items():
        for used in re.findall(r'from "\./([^"]+)"|(?:src|href)="/webui/([^"]+)"', file.content.decode()):
            assert "".join(used) in files, f"{name} uses {used}"


def test_the_page_parses_no_markup_and_fetches_nothing_from_elsewhere() -> None:
    for name, file in page_files().items():
        text = file.content.decode()
        found = re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\son[a-z]+=\"", text
        )
        assert found is None, f"{name}: {found}"
        hosts = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not hosts, f"{name}: {hosts}"
        assert "<style" not in text
        assert not re.search(r"<script(?![^>]*src=)", text), name


def test_files_are_open_to_strangers_and_closed_to_everything_else(page: Page) -> None:
    shown = page.http.get("/webui/")
    assert shown.status_code == 200
    assert "default-src 'self'" in shown.headers["content-security-policy"]
    assert "unsafe" not in shown.headers["content-security-policy"]
    assert shown.headers["x-frame-options"] == "DENY"
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert page.http.get("/webui").headers["location"] == "/webui/"
    assert page.http.get("/webui/main.js").headers["content-type"].startswith("text/javascript")
    for path in ("/webui/../door.py", "/webui/..%2fdoor.py", "/webui/nothing.js", "/webui/__init__.py"):
        assert page.http.get(path).status_code in (401, 404), path
    assert page.http.post("/webui/").status_code == 405


def test_a_file_that_did_not_change_is_not_sent_again(page: Page) -> None:
    first = page.http.get("/webui/page.css")
    again = page.http.get("/webui/page.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


# -- who may ask --------------------------------------------------------------------------------
def test_a_stranger_is_told_to_log_in_and_nothing_else(page: Page) -> None:
    assert page.ask("session") == {"guarded": True, "user": None, "admin": False}
    for path in ("names", "details", "tasks", "slow", "live", "server", "rest/collections/list", "rest/users/list"):
        answer = page.post(path)
        assert answer.status_code == 401, path
        assert "data" not in answer.json()


def test_a_login_gives_a_cookie_that_scripts_and_other_sites_cannot_use(page: Page) -> None:
    answer = page.post("login", {"user": "root", "password": "Milvus"})
    given = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/webui"} <= set(given.split("; "))
    assert "Milvus" not in given
    assert page.ask("session")["admin"] is True


@pytest.mark.parametrize("login", [{"user": "root", "password": "wrong"}, {"user": "x", "password": ""}, {"key": "no"}])
def test_a_wrong_login_is_refused_without_saying_what_was_wrong(page: Page, login: dict[str, str]) -> None:
    answer = page.post("login", login)
    assert answer.status_code == 401
    assert answer.json()["message"] == "The user name, the password or the key is wrong."
    assert "set-cookie" not in answer.headers


def test_a_login_that_is_no_login_is_refused(page: Page) -> None:
    assert page.http.post("/webui/api/login", content=b"[1").status_code == 400
    assert page.post("login", {"name": "root"}).status_code == 400


def test_an_api_key_logs_in_for_its_user(page: Page, guarded: ProcessServer) -> None:
    with redkite.MilvusClient(guarded.uri, token=ROOT) as root:
        key = root.create_api_key("page", "bob")
        page.ask("login", {"key": key})
        assert page.ask("session")["user"] == "bob"
        root.drop_api_key("page")
    assert page.post("names").status_code == 401


def test_who_logs_out_is_a_stranger_again(page: Page) -> None:
    page.log_in("root", "Milvus")
    token = page.http.cookies[COOKIE]
    assert page.post("logout").status_code == 200
    answer = httpx.post(f"{page.base}/webui/api/names", json={}, headers=MARK | {"Cookie": f"{COOKIE}={token}"})
    assert answer.status_code == 401


def test_a_changed_password_ends_the_sessions_of_its_user(page: Page, guarded: ProcessServer) -> None:
    with redkite.MilvusClient(guarded.uri, token=ROOT) as root:
        root.create_user("carol", "first secret")
        page.log_in("carol", "first secret")
        assert page.ask("names") == []
        root.update_password("carol", "first secret", "second secret")
        assert page.post("names").status_code == 401
        root.drop_user("carol")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_the_page_of_another_site_cannot_ask(page: Page, headers: dict[str, str]) -> None:
    page.log_in("root", "Milvus")
    for path in ("names", "rest/users/create", "login"):
        assert page.post(path, None, **headers).status_code == 403


def test_a_form_of_another_site_cannot_ask(page: Page) -> None:
    page.log_in("root", "Milvus")
    sent = {"Cookie": f"{COOKIE}={page.http.cookies[COOKIE]}"}
    answer = httpx.post(f"{page.base}/webui/api/rest/users/drop", content=b'{"userName":"bob"}', headers=sent)
    assert answer.status_code == 403  # without the page's own header, which takes the same origin
    assert page.http.get("/webui/api/names").status_code == 405
    preflight = page.http.options("/webui/api/names")
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_answers_are_not_for_other_sites(page: Page) -> None:
    page.log_in("root", "Milvus")
    for path in ("names", "rest/collections/list", "rest/nothing/there"):
        headers = page.post(path).headers
        assert not [name for name in headers if name.startswith("access-control")], path
        assert "default-src 'self'" in headers["content-security-policy"]
    assert page.post("rest/collections/list").headers["cache-control"] == "no-store"


def test_endpoints_that_the_page_does_not_need_are_not_behind_it(page: Page) -> None:
    page.log_in("root", "Milvus")
    for path in ("collections/drop", "databases/drop", "entities/delete", "users/update_password"):
        assert page.post(f"rest/{path}").status_code == 404, path


def test_a_name_that_somebody_made_point_here_is_refused(open_page: Page) -> None:
    assert open_page.ask("session")["guarded"] is False
    for host in ("evil.example", "evil.example:9091", "127.0.0.1.evil.example"):
        assert open_page.post("session", None, Host=host).status_code == 403, host
    for host in ("localhost:9091", "127.0.0.1", "[::1]:9091"):
        assert open_page.post("session", None, Host=host).status_code == 200, host


def test_a_server_that_asks_nobody_takes_no_logins(open_page: Page) -> None:
    assert open_page.post("login", {"user": "root", "password": "Milvus"}).status_code == 400


def test_a_question_that_is_too_large_is_refused(page: Page) -> None:
    page.log_in("root", "Milvus")
    assert page.post("details", {"names": ["x" * 5_000_000]}).status_code == 413


def test_the_page_can_be_switched_off() -> None:
    with ThreadServer(FakeService(), web_ui=False) as server:
        assert httpx.get(f"http://127.0.0.1:{server.metrics_port}/webui/").status_code == 404


def test_questions_are_in_the_audit_log_and_passwords_are_not(page: Page, folder: Path) -> None:
    page.log_in("root", "Milvus")
    page.ask("names")
    page.post("rest/users/create", {"userName": "dora", "password": "unheard of"})
    page.post("rest/users/drop", {"userName": "dora"})

    def noted() -> list[dict[str, object]]:
        return [json.loads(line) for line in (folder / "audit.log").read_text().splitlines()]

    deadline = time.monotonic() + 120
    while not any(line["method"] == "users/drop" for line in noted()) and time.monotonic() < deadline:
        time.sleep(0.05)
    mine = {(line["protocol"], line["method"], line["user"]) for line in noted()}
    assert {("page", "names", "root"), ("rest", "users/create", "root"), ("rest", "users/drop", "root")} <= mine
    assert "unheard of" not in (folder / "audit.log").read_text()


# -- sessions -----------------------------------------------------------------------------------
def test_sessions_end_by_themselves() -> None:
    now = 0.0
    sessions = Sessions(lambda: now)
    idle, busy = sessions.begin(b"Basic a", "a"), sessions.begin(b"Basic b", "b")
    for hour in range(1, 12):
        now = hour * 3600.0
        assert sessions.header(busy) == b"Basic b"
    assert sessions.header(idle) is None
    now = 12 * 3600.0 + 1
    assert sessions.header(busy) is None


def test_the_session_that_was_used_least_recently_makes_room() -> None:
    sessions = Sessions(lambda: 0.0)
    first, second = sessions.begin(b"a", "a"), sessions.begin(b"b", "b")
    for number in range(MOST_SESSIONS - 2):
        sessions.begin(b"c", f"c{number}")
    assert sessions.header(first) == b"a"
    sessions.begin(b"d", "d")
    assert (sessions.header(first), sessions.header(second)) == (b"a", None)


def test_nobody_ends_the_sessions_of_others_by_logging_in_often() -> None:
    sessions = Sessions(lambda: 0.0)
    other = sessions.begin(b"a", "a")
    own = [sessions.begin(b"b" * number, "b") for number in range(2 * MOST_SESSIONS)]
    assert sessions.header(other) == b"a"
    assert sessions.header(own[-1]) == b"b" * (2 * MOST_SESSIONS - 1)
    assert sessions.header(own[0]) is None


def test_a_body_in_many_small_pieces_costs_no_more_than_its_length() -> None:
    pieces = 60_000
    left = iter(range(pieces, 0, -1))

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"x", "more_body": next(left) > 1}

    since = time.thread_time()
    with pytest.raises(StopIteration) as done:
        read_whole(receive).send(None)  # it never has to wait
    assert done.value.value == b"x" * pieces
    assert time.thread_time() - since < 2


@pytest.mark.parametrize("header", [{"Host": "[::1"}, {"Origin": "http://[::1"}])
def test_an_address_that_is_none_is_refused(header: dict[str, str]) -> None:
    with ThreadServer(FakeService()) as server:
        url = f"http://127.0.0.1:{server.metrics_port}/webui/api/names"
        assert httpx.post(url, json={}, headers={**MARK, **header}).status_code == 403


def test_a_cookie_is_secure_where_the_connection_is() -> None:
    assert b"Secure" in cookie("x", encrypted=True)
    assert b"Secure" not in cookie("x", encrypted=False)
    assert token_of(b"other=1; redkite_session=abc; more=2") == "abc"
    assert token_of(b"xredkite_session=abc") == ""


# -- encryption ---------------------------------------------------------------------------------
def certificate(folder: Path) -> dict[str, str]:
    """A key, and a certificate that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "server.pem").write_bytes(made.public_bytes(pem))
    (folder / "server.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return {"tls_cert": str(folder / "server.pem"), "tls_key": str(folder / "server.key")}


def test_the_metrics_port_is_encrypted_on_request(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    with ThreadServer(FakeService(), metrics_tls=True, **files) as server:
        trusted = ssl.create_default_context(cafile=files["tls_cert"])
        with httpx.Client(base_url=f"https://localhost:{server.metrics_port}", verify=trusted) as visitor:
            assert visitor.get("/healthz").text == "OK"
            assert visitor.get("/webui/").status_code == 200
            assert visitor.post("/webui/api/session", json={}, headers=MARK).json()["code"] == 0
            assert "; Secure" in visitor.post("/webui/api/logout", json={}, headers=MARK).headers["set-cookie"]
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{server.metrics_port}/healthz")


def test_encryption_of_the_metrics_port_takes_a_certificate() -> None:
    with pytest.raises(InvalidParameter, match="metrics_tls goes with tls_cert and tls_key"):
        Server(Settings(metrics_tls=True))
