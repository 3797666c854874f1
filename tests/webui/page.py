"""Asking what the page asks, without a browser."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx

MARK = {"X-Redkite-Page": "1"}


class Page:
    """A visitor of the page of a server at this metrics port."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.base, headers=MARK, timeout=30)

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        return self.http.post(f"/webui/api/{path}", json=body or {}, headers=headers)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The data of an answer that went well."""
        answer = self.post(path, body)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["code"] == 0, told
        return told["data"]

    def log_in(self, user: str, password: str) -> Self:
        self.ask("login", {"user": user, "password": password})
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
