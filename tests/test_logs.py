"""Logging is silent until configured, then text or JSON lines."""

from __future__ import annotations

import io
import json
import logging

import pytest

from redkite.logs import configure, get_logger


@pytest.fixture(autouse=True)
def restored():
    root = logging.getLogger("redkite")
    before = (root.handlers, root.level, root.propagate)
    yield
    root.handlers, root.level, root.propagate = before


def test_loggers_live_below_redkite():
    assert get_logger("storage").name == "redkite.storage"
    assert get_logger("redkite.storage.log").name == "redkite.storage.log"
    assert get_logger("redkite").name == "redkite"
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("redkite").handlers)


def test_json_lines_carry_extra_fields_and_the_traceback():
    stream = io.StringIO()
    configure("debug", as_json=True, stream=stream)
    try:
        raise ValueError("broken")
    except ValueError:
        get_logger("x").exception("it failed with %d", 7, extra={"collection": "docs"})
    line = json.loads(stream.getvalue())
    assert (line["level"], line["logger"], line["message"]) == ("error", "redkite.x", "it failed with 7")
    assert line["collection"] == "docs"
    assert "ValueError: broken" in line["error"]
    assert line["time"].endswith("+00:00")


def test_configuring_again_replaces_the_handler_and_the_level():
    first, second = io.StringIO(), io.StringIO()
    configure("INFO", stream=first)
    configure("WARNING", stream=second)
    get_logger("x").info("quiet")
    get_logger("x").warning("loud")
    assert first.getvalue() == ""
    assert "WARNING redkite.x: loud" in second.getvalue()
