"""What an import may ask for: which files go together, and its options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from redkite.errors import ImportFailed
from redkite.formats.readers import CsvOptions
from redkite.model.imports import extension
from redkite.model.limits import Limits
from redkite.model.rules.numbers import truth

_REFUSED: Final = ("backup", "l0_import", "start_ts", "end_ts", "startTs", "endTs", "storage_version", "ezk")
"""Options of files that Milvus wrote for itself."""
_KNOWN: Final = ("timeout", "sep", "nullkey", "auto_commit", "skip_disk_quota_check")
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_LONGEST: Final = 1e10
"""Seconds: three hundred years are as good as any more."""
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NO_SEPARATORS: Final = ("\0", "\r", "\n", '"')


class ImportOptions(NamedTuple):
    csv: CsvOptions = CsvOptions()
    auto_commit: bool = True
    """Rows are seen as soon as all are there; else somebody has to say so."""
    timeout_ms: int = 0
    """From the moment that the import is asked for; 0: it may take as long as it takes."""


def read_options(given: Mapping[str, str]) -> ImportOptions:
    """The options of an import. Raises ImportFailed for what is not known or not supported."""
    for key, value in given.items():
        if key in _REFUSED:
            if key in ("backup", "l0_import") and truth(value) is False:
                continue
            raise ImportFailed(f"the option {key} is for binlogs of Milvus's own backups, which cannot be imported")
        if key not in _KNOWN:
            raise ImportFailed(f"unknown import option {key}, known are {', '.join(_KNOWN)}")
    if _flag(given, "skip_disk_quota_check", default=False):
        raise ImportFailed("the option skip_disk_quota_check is only for imports of backups")
    sep = given.get("sep", ",")
    if len(sep) != 1 or sep in _NO_SEPARATORS or not sep.isascii():
        raise ImportFailed(f"unsupported csv separator: {sep}")
    return ImportOptions(
        csv=CsvOptions(sep, given.get("nullkey", "")),
        auto_commit=_flag(given, "auto_commit", default=True),
        timeout_ms=_duration(given["timeout"]) if "timeout" in given else 0,
    )


def _flag(given: Mapping[str, str], key: str, *, default: bool) -> bool:
    if key not in given:
        return default
    value = truth(given[key])
    if value is None:
        raise ImportFailed(f"the option {key} is true or false, not {given[key]!r:.80}")
    return value


def _duration(text: str) -> int:
    """`300s`, `1h30m` -> milliseconds."""
    if _DURATION.fullmatch(text) is None:
        raise ImportFailed(f"parse timeout failed, {text!r:.80} is no duration such as 300s or 1h30m")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    return max(1, int(1000 * min(seconds, _LONGEST)))


def check_groups(groups: Sequence[Sequence[str]], limits: Limits) -> None:
    """Raises ImportFailed unless each group is one file, or the NumPy files of one set of rows."""
    count = sum(map(len, groups))
    if not count or not all(groups):
        raise ImportFailed("import request is empty: no file to import")
    if count > limits.max_import_files:
        raise ImportFailed(
            f"The max number of import files should not exceed {limits.max_import_files}, but got {count}"
        )
    for group in groups:
        kinds = list(dict.fromkeys(map(extension, group)))
        if len(kinds) > 1:
            raise ImportFailed(f"inconsistency in file types, ({group[0]}) vs ({_other(group, kinds[0])})")
        if kinds[0] != ".npy" and len(group) > 1:
            raise ImportFailed(f"for {_TITLES[kinds[0]]} import, accepts only one file")
        if len(set(group)) < len(group):
            raise ImportFailed(f"a file is named twice: {sorted(group)}")


def _other(group: Sequence[str], kind: str) -> str:
    return next(file for file in group if extension(file) != kind)


_TITLES: Final = {".json": "JSON", ".jsonl": "JSON", ".ndjson": "JSON", ".parquet": "Parquet", ".csv": "CSV"}
