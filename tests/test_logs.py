"""Logging is silent until configured, then text or JSON lines."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from redkite.logs import _UnreadHandler, configure, get_logger


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


LOGS = """
from redkite.logs import configure, get_logger
configure("INFO")
for number in range(2_000):
    get_logger("x").info("line %d %s", number, "x" * 200)
"""


LEFT_OUT = "lines of the log were left out here: nobody read it in time"


def test_a_log_that_nobody_reads_holds_up_nobody_and_says_later_what_it_lacks() -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as stream:
        configure("INFO", as_json=True, stream=stream)
        (handler,) = logging.getLogger("redkite").handlers
        for number in range(3_000):
            get_logger("x").info("line %d %s", number, "x" * 1000)  # far more than a pipe takes, and than is kept
        with ThreadPoolExecutor(1) as pool, open(reading) as log:
            read = pool.submit(log.readlines)
            handler.flush()
            get_logger("x").info("the end")
            handler.flush()
            handler.close()
            stream.close()
            *found, last = map(json.loads, read.result())
    place = kept = 0
    for line in found:  # the pipe may take some only when others have been left out
        first, second, *rest = line["message"].split()
        if first == "line":
            assert int(second) == place
            place, kept = place + 1, kept + 1
        else:
            assert (line["level"], [second, *rest]) == ("warning", LEFT_OUT.split())
            place += int(first)
    assert place == 3_000
    assert 900 <= kept < 1_200
    assert last["message"] == "the end"


def test_a_process_ends_although_nobody_reads_its_log() -> None:
    with subprocess.Popen([sys.executable, "-c", LOGS], stderr=subprocess.PIPE) as process:
        assert process.wait(30) == 0


def test_a_process_that_ends_has_written_what_it_logged() -> None:
    done = subprocess.run([sys.executable, "-c", LOGS], stderr=subprocess.PIPE, text=True, timeout=30, check=True)
    assert [int(line.split()[-2]) for line in done.stderr.splitlines()] == list(range(2_000))


def test_who_reads_the_log_may_go_away() -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as stream:
        configure("INFO", stream=stream)
        (handler,) = logging.getLogger("redkite").handlers
        os.close(reading)
        get_logger("x").info("nobody hears it")
        handler.flush()
        assert isinstance(handler, _UnreadHandler)
        assert isinstance(handler.failed, BrokenPipeError)
        handler.close()
