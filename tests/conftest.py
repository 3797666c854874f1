"""What every test may use: a place on disk, the repository's own files, and a printed seed."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.order import arrange

REPOSITORY = Path(__file__).resolve().parent.parent

# How long an example takes says more about the machine than about the code.
TIMELESS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", TIMELESS, max_examples=60)
settings.register_profile("thorough", TIMELESS, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes stays until the end: while tests run, the garbage collector need not look through it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        arrange(items)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY


@pytest.fixture
def database_path(tmp_path: Path) -> str:
    """A path at which no database is yet."""
    return str(tmp_path / "test.db")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed for this run, printed with a failure. REDKITE_TEST_SEED repeats it."""
    chosen = int(os.environ.get("REDKITE_TEST_SEED", random.randrange(2**32)))
    request.node.add_report_section("setup", "seed", f"REDKITE_TEST_SEED={chosen}")
    return chosen
