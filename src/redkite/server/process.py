"""What every process that is Redkite's own does first."""

from __future__ import annotations

import sys

from redkite.config import Settings
from redkite.logs import configure


def begin_process(settings: Settings) -> None:
    """Send the log where the settings say, and keep pandas out. Not for a process of the user's."""
    configure(settings.log_level, as_json=settings.log_format == "json")
    _leave_out_pandas()


def _leave_out_pandas() -> None:
    """Arrow looks for pandas once, at the first array it makes of Python values, and imports it where it is installed:
    .3 s within somebody's first insert. Where it finds none it asks no more, save for a data frame that is wanted."""
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


class _NoPandas:
    """There is no pandas for as long as this is asked."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is left out of processes that have no use for it", name=name)
