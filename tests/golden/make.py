"""Make the golden database of the present format: `python -m tests.golden.make`.

It is made once for each format that is released and never made again: `test_golden.py` opens the files of every
format that ever was. The rows come from a fixed seed; ids and timestamps are those of the day it was made.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tests.integrity import sample

from redkite.storage.catalog_state import CATALOG_FORMAT

HERE = Path(__file__).parent
ANSWERS = "answers.json"
DATABASE = "database"
MAX_BYTES = 300_000


def make(target: Path) -> None:
    """The database in `target/database`, and beside it what it answers."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    made = target / "sample.db"
    right = sample.make(str(made))
    (made / "LOCK").unlink()
    made.rename(target / DATABASE)
    (target / ANSWERS).write_text(json.dumps(right, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if size > MAX_BYTES:
        raise SystemExit(f"{target} has {size:,} bytes, more than {MAX_BYTES:,}")
    print(f"{target}: {size:,} bytes")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / f"format-{CATALOG_FORMAT}")
