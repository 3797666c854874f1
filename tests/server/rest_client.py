"""REST as a test speaks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

_CLIENT = httpx.Client(timeout=60)


@dataclass
class Rest:
    """Calls of one server. `ok` returns the data of a success, `error` code and message of a failure."""

    uri: str

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.uri}/v2/vectordb/{path}"
        if isinstance(body, bytes):
            return _CLIENT.post(url, content=body, headers=named)
        return _CLIENT.post(url, json={} if body is None else body, headers=named)

    def whole(self, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """The envelope of a success."""
        response = self.post(path, body, **headers)
        assert response.status_code == 200, response.text
        envelope: dict[str, Any] = response.json()
        assert envelope["code"] == 0, envelope
        return envelope

    def ok(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.whole(path, body, **headers)["data"]

    def error(self, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        response = self.post(path, body, **headers)
        assert response.status_code == 200, response.text
        envelope = response.json()
        assert envelope.keys() == {"code", "message"}, envelope
        assert envelope["code"] != 0
        return envelope["code"], envelope["message"]
