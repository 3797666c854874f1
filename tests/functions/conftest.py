"""Clients that ask models are closed behind each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redkite.env import Env
from redkite.functions.http import Http
from redkite.model.calling import ModelSettings


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: list[Http] = []
    begin = Http.__init__

    def noted(self: Http, env: Env, settings: ModelSettings) -> None:
        begin(self, env, settings)
        made.append(self)

    monkeypatch.setattr(Http, "__init__", noted)
    yield
    for one in made:
        one.close()
