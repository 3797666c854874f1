"""Type checkers infer the model of a typed collection."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mypy_sees_the_model_in_everything_that_comes_back() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "tests/typing/typed_collections.py"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout
