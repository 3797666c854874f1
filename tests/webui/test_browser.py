"""The page in a real browser. Skipped where there is none: `make webui` brings playwright, Chromium has to be there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import pytest
from tests.server.guarded import ROOT
from tests.servers import ProcessServer
from tests.webui.conftest import LARGE, ROWS

import redkite

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, ViewportSize

Scheme = Literal["light", "dark"]
PHONE: ViewportSize = {"width": 390, "height": 800}
PLACES = ("#/collections", "#/collection/default/books/data?filter=year%20%3E%201960", "#/users", "#/settings")
DESK: ViewportSize = {"width": 1280, "height": 860}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here: `make webui` installs it")
    named = os.environ.get("BROWSER_PATH")
    path = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"no browser here: {error.message.splitlines()[0]}")
        yield started
        started.close()


class Visit:
    """One visitor in a browser of its own, and everything that must not happen meanwhile."""

    def __init__(
        self, browser: Browser, port: int, scheme: Scheme = "light", viewport: ViewportSize | None = None
    ) -> None:
        self.base = f"http://127.0.0.1:{port}/webui/"
        self.context = browser.new_context(viewport=viewport or DESK, color_scheme=scheme)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.faults: list[str] = []
        self.foreign: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._said)
        self.page.on("dialog", lambda box: self.faults.append(f"dialog {box.message}"))
        self.page.on("request", self._asked)

    def _said(self, line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            self.faults.append(line.text)

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.base).netloc:
            self.foreign.append(request.url)

    def go(self, place: str) -> Page:
        self.page.goto(self.base + place)
        return self.page

    def log_in(self, user: str = "root", password: str = "Milvus") -> Page:
        page = self.go("")
        page.get_by_label("User").fill(user)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("navigation", name="Views").wait_for()
        return page

    def check(self) -> None:
        """Nothing went wrong, nothing was fetched from elsewhere, no text became markup."""
        # A refused question is told by the browser as a failed resource.
        assert [fault for fault in self.faults if "Failed to load resource" not in fault] == []
        assert self.foreign == []
        assert self.page.evaluate("window.owned") is None
        assert self.page.locator("main script, main img[onerror], main iframe").count() == 0


@pytest.fixture
def visit(browser: Browser, guarded: ProcessServer) -> Iterator[Visit]:
    visitor = Visit(browser, guarded.metrics_port)
    yield visitor
    visitor.check()
    visitor.context.close()


def test_who_logs_in_sees_the_overview_and_a_wrong_password_is_told(visit: Visit) -> None:
    page = visit.go("")
    page.get_by_label("User").fill("root")
    page.get_by_label("Password").fill("wrong one")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").get_by_text("is wrong").wait_for()
    visit.log_in()
    page.get_by_role("heading", name="Overview").wait_for()
    assert page.locator(".chart").count() == 6
    page.get_by_text("Rows written a second").wait_for()
    page.locator(".tile-value").first.wait_for()
    page.reload()
    page.get_by_role("heading", name="Overview").wait_for()
    page.locator("#logout").click()
    page.get_by_role("button", name="Log in").wait_for()


def test_from_the_list_to_a_collection_and_its_schema(visit: Visit) -> None:
    page = visit.log_in()
    page.get_by_role("link", name="Collections").click()
    row = page.get_by_role("row", name=re.compile("books"))
    row.get_by_text(str(ROWS)).wait_for()
    row.get_by_text("alias novels").wait_for()
    row.get_by_text("embedding: HNSW").wait_for()
    page.get_by_label("Find").fill("nothing like it")
    page.get_by_text("No collection has that in its name.").wait_for()
    page.get_by_label("Find").fill("book")
    page.get_by_role("link", name="books", exact=True).click()
    page.get_by_role("heading", name="books").wait_for()
    page.get_by_text("primary key").wait_for()
    page.get_by_role("region", name="Indexes").get_by_text("HNSW, COSINE").wait_for()
    page.get_by_role("region", name="Partitions").get_by_text("_default").wait_for()
    assert page.title() == "books · Redkite"


def test_rows_page_by_page_and_a_bad_filter_with_its_caret(visit: Visit) -> None:
    visit.log_in()
    page = visit.go("#/collection/default/books/data?filter=id%20%3C%2060")
    page.get_by_text("1–25 of 60 rows").wait_for()
    page.get_by_role("button", name="Next").click()
    page.get_by_text("26–50 of 60 rows").wait_for()
    assert "page=1" in page.url
    page.get_by_label("Filter").fill("year = = 1950")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    alert.wait_for()
    lines = (alert.locator("pre").text_content() or "").split("\n")
    assert lines[0].strip() == "year = = 1950"
    assert lines[1][lines[0].index("=") :].lstrip().startswith("^")
    page.get_by_label("Filter").fill("year > 5000")
    page.keyboard.press("Enter")
    page.get_by_text("None passes the filter.").wait_for()
    page.get_by_label("Filter").fill("id == 7")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Show row 7").click()
    shown = page.get_by_role("dialog")
    assert '"year": 1907' in (shown.text_content() or "")
    assert "… 16]" in (shown.text_content() or "")
    page.keyboard.press("Escape")
    assert shown.count() == 0


def test_a_search_shows_its_hits_and_its_plan(visit: Visit) -> None:
    visit.log_in()
    page = visit.go("#/collection/default/books/search")
    page.get_by_label("Row", exact=True).fill("12")
    page.get_by_label("Filter").fill("year > 1950")
    page.get_by_label("Hits").fill("4")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_text("4 hits").wait_for()
    plan = page.get_by_role("list", name="Plan")
    told = plan.text_content() or ""
    assert "search of books by embedding" in told
    assert "HNSW, COSINE" in told
    assert "Planned in" in told
    assert re.search(r"of 300 rows", told)
    page.reload()  # the address says all of it
    page.get_by_text("4 hits").wait_for()
    page.get_by_label("Query", exact=True).select_option("vector")
    page.get_by_role("button", name="Draw one at random").click()
    page.get_by_label("Parameters of the index").fill('{"ef": 32}')
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_text("ef=32").wait_for()
    page.get_by_label("Vector").fill("[1, 2")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_role("alert").get_by_text("The vector is not JSON").wait_for()


def test_every_view_opens_in_the_dark_and_on_a_phone(browser: Browser, guarded: ProcessServer) -> None:
    places = ("#/overview", "#/collections", "#/collection/default/books", "#/collection/default/books/data",
              "#/collection/default/books/segments", "#/tasks", "#/slow", "#/users", "#/settings")  # fmt: skip
    visitor = Visit(browser, guarded.metrics_port, "dark", PHONE)
    page = visitor.log_in()
    for place in places:
        visitor.go(place)
        page.locator("main h1").wait_for()
        page.locator("main .loading").first.wait_for(state="detached")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{place} is wider than a phone"
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    button = page.locator("#theme")
    button.click()  # from what the system has to light
    light = page.evaluate(background)
    assert dark != light
    page.reload()
    page.locator("main h1").wait_for()
    assert page.evaluate(background) == light
    visitor.check()
    visitor.context.close()


def test_hostile_names_and_rows_stay_text(visit: Visit) -> None:
    visit.log_in()
    for place in ("#/collections", "#/collection/default/books", "#/collection/default/books/data?filter=id%20%3C%205"):
        page = visit.go(place)
        page.get_by_text("window.owned=1").first.wait_for()
        visit.check()
    page.get_by_role("button", name="Show row 1").click()
    page.get_by_role("dialog").get_by_text("window.owned=1").first.wait_for()
    name = "%3Cimg%20src%3Dx%20onerror%3D%22window.owned%3D1%22%3E"
    visit.go(f"#/collection/default/{name}")
    page.get_by_role("alert").wait_for()
    visit.go(f"#/{name}")
    page.get_by_text("There is no such view.").wait_for()


def test_users_are_created_given_roles_and_dropped(visit: Visit, guarded: ProcessServer) -> None:
    visit.log_in()
    page = visit.go("#/users")
    page.get_by_label("New user").fill("frida")
    page.get_by_label("Password").fill("a long secret")
    page.locator("form", has_text="New user").get_by_role("button", name="Create").click()
    page.get_by_label("Give frida a role").select_option("reader")
    page.get_by_role("button", name="Take the role reader from frida").wait_for()
    page.get_by_role("button", name="Drop frida").click()
    page.get_by_role("dialog").get_by_role("button", name="Drop frida").click()
    page.get_by_text("frida was dropped").wait_for()
    with redkite.MilvusClient(guarded.uri, token=ROOT) as root:
        assert "frida" not in root.list_users()


def test_a_user_without_grants_finds_empty_rooms(visit: Visit) -> None:
    page = visit.log_in("nobody", "nobody secret")
    page.get_by_role("link", name="Collections").click()
    page.get_by_text("none was granted to you").wait_for()
    assert page.get_by_role("link", name="Settings").count() == 0
    visit.go("#/users")
    page.get_by_text("Other users are not shown to you.").wait_for()
    visit.go("#/collection/default/books/data")
    page.get_by_role("alert").wait_for()
    visit.go("#/settings")
    page.get_by_role("alert").get_by_text("Not allowed").wait_for()


def test_the_page_can_be_used_by_keyboard_alone(visit: Visit) -> None:
    page = visit.go("")
    page.get_by_label("User").wait_for()
    page.keyboard.type("root")
    page.keyboard.press("Tab")
    page.keyboard.type("Milvus")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Overview").wait_for()
    page.reload()
    page.get_by_role("heading", name="Overview").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, a, input, select, textarea')].filter(
            (each) => !each.labels?.length && !each.ariaLabel && !each.textContent.trim()).length"""
    )
    assert unnamed == 0


def test_what_cannot_be_shown_says_what_it_was(visit: Visit) -> None:
    visit.log_in()
    page = visit.go("#/collection/default/missing")
    page.get_by_role("heading", name="missing").wait_for()
    page.get_by_role("alert").get_by_text("collection not found").wait_for()


def test_on_a_phone_nothing_is_too_small_for_a_finger(browser: Browser, guarded: ProcessServer) -> None:
    visit = Visit(browser, guarded.metrics_port, viewport=PHONE)
    try:
        page = visit.log_in()
        for place in PLACES:
            visit.go(place)
            page.reload()
            page.wait_for_selector("table")
            small = page.evaluate(
                """[...document.querySelectorAll('button, a, input, select, summary')]
                    .filter((each) => each.getClientRects().length)
                    .map((each) => [each.getBoundingClientRect(), each.outerHTML])
                    .filter(([box]) => box.width < 24 || box.height < 24).map(([, text]) => text)"""
            )
            assert small == [], place
    finally:
        visit.context.close()


def test_an_ended_session_leads_back_to_the_login(visit: Visit, guarded: ProcessServer) -> None:
    with redkite.MilvusClient(guarded.uri, token=ROOT) as root:
        root.create_user("gus", "first secret")
        page = visit.log_in("gus", "first secret")
        root.drop_user("gus")
    page.get_by_role("button", name="Log in").wait_for()


def test_values_are_shown_as_people_write_them(visit: Visit) -> None:
    page = visit.log_in()
    told = page.evaluate(
        """async () => {
            const { bytes, duration, number, percent, short } = await import('/webui/dom.js');
            const { quantile } = await import('/webui/overview.js');
            const { vectorText, plain } = await import('/webui/cells.js');
            return [
                duration(0), duration(0.00005), duration(0.1), duration(0.0123), duration(2), duration(100),
                duration(130), bytes(0), bytes(1536), bytes(104857600), number(1234567), number(null),
                short(12345), percent(1), percent(0.5), percent(0.0123),
                quantile([0, 10, 0], [1, 2], 0.5), quantile([0, 0, 4], [1, 2], 0.99),
                vectorText([0.123456, 1, 2, 3]), vectorText({ 3: 0.5 }),
                plain({ Data: { StringData: { data: ['a'] } } }, { type: 'Array' }),
                plain('{"a": 12345678901234567}', { type: 'JSON' }),
                plain('7', { type: 'Int64' }), plain('9007199254740993', { type: 'Int64' }),
            ];
        }"""
    )
    assert told == [
        "0", "50 µs", "100 ms", "12.3 ms", "2 s", "100 s", "2 min 10 s",
        "0 B", "1.5 KB", "100 MB", "1,234,567", "–", "12.3K", "100%", "50%",
        "1.23%", 1.5, 2, "[0.1235, 1, 2, … 4]", "{3: 0.5}", ["a"], {"a": "12345678901234567"}, 7, "9007199254740993",
    ]  # fmt: skip


def test_keys_that_javascript_has_no_number_for_stay_what_they_are(visit: Visit) -> None:
    visit.log_in()
    page = visit.go("#/collection/default/other/data")
    page.get_by_role("button", name=f"Show row {LARGE}").click()
    page.get_by_role("link", name="Search with this row").click()
    page.get_by_text("2 hits in").wait_for()
    assert str(LARGE) in page.url
    page.get_by_role("button", name=f"Show row {LARGE + 1}").wait_for()


def test_another_database_is_chosen_with_its_properties(visit: Visit) -> None:
    page = visit.log_in()
    page.get_by_role("link", name="Collections").click()
    page.get_by_label("Database").select_option("drafts")
    page.get_by_text("No collections here.").wait_for()
    page.get_by_text("database.max.collections = 7").wait_for()
    assert "db=drafts" in page.url
    visit.go("#/collections?db=missing")
    page.get_by_role("alert").get_by_text("database not found").wait_for()
    page.get_by_label("Database").select_option("default")
    page.get_by_role("link", name="books", exact=True).wait_for()
