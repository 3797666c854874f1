"""TIMESTAMPTZ: texts to UTC microseconds and back, a column at a time.

A text is `2025-01-01T08:00:00.5+08:00`: date, `T` or a blank, time, perhaps a fraction (digits after the sixth are
cut), perhaps a blank, and `Z` or an offset from -12:00 to +14:00. Without an offset it is wall time in a time zone: of
a time that a clock change repeats the first counts, and one that it skips is read with the offset from before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import InvalidParameter

Micros = npt.NDArray[np.int64]

FIRST_MOMENT = -62_135_596_800_000_000
"""The first microsecond of year 1."""
LAST_MOMENT = 253_402_300_799_999_999
"""The last microsecond of year 9999."""
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
TIME_PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")
"""What a moment can be split into."""
_CLOCK_PARTS = {"hour": (HOUR, 24), "minute": (MINUTE, 60), "second": (SECOND, 60), "microsecond": (1, SECOND)}

_EPOCH = datetime(1970, 1, 1)
_PATTERN = (
    r"^(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,30}))?"
    r" ?(?P<offset>[Zz]|[+-]\d\d:\d\d)?$"
)
_COMPILED = re.compile(_PATTERN.replace("$", r"\Z"), re.ASCII)
_OUTSIDE = "it lies outside the years 1 to 9999"
_FEW = 16
"""Up to so many values are faster one by one."""
_LEAST_OFFSET, _MOST_OFFSET = -12 * HOUR, 14 * HOUR
_SHOWN = 100
_SEPARATORS = re.compile(r"[,\s]+")


class BadMoment(ValueError):
    """A text that is no moment; says which and why, in Milvus's words."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"got invalid timestamptz string '{text[:_SHOWN]}': {reason}")


# -- time zones ---------------------------------------------------------------------------------
@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """The time zone of an IANA name; empty means UTC. Raises InvalidParameter."""
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise InvalidParameter(f"unknown or invalid IANA Time Zone ID: {name}") from None


def _offsets(places: Micros, offset_at: Callable[[int], int]) -> Micros:
    """`offset_at` of each place. It is asked at both ends of a day, and where they agree they speak for the day; else
    of the hour, and only then place by place."""
    offsets = np.empty(len(places), np.int64)
    unknown = np.arange(len(places))
    for width in (DAY, HOUR, 1):
        buckets, inverse = np.unique(places[unknown] // width, return_inverse=True)
        first = np.array([offset_at(b * width) for b in buckets.tolist()], np.int64)
        last = np.array([offset_at(b * width + width - 1) for b in buckets.tolist()], np.int64)
        offsets[unknown] = first[inverse]
        unknown = unknown[(first != last)[inverse]]
        if not len(unknown):
            break
    return offsets


def _moment(micros: int) -> datetime:
    # At the very ends of the calendar, whose neighbours datetime does not know, the offset of two days away counts.
    return _EPOCH + timedelta(microseconds=min(max(micros, FIRST_MOMENT + 2 * DAY), LAST_MOMENT - 2 * DAY))


def _in_micros(offset: timedelta | None) -> int:
    assert offset is not None, "a time zone knows its offset"
    return offset // timedelta(microseconds=1)


def _from_wall(walls: Micros, zone: tzinfo) -> Micros:
    """Wall time in a zone -> UTC."""
    if zone is UTC:
        return walls
    return walls - _offsets(walls, lambda wall: _in_micros(_moment(wall).replace(tzinfo=zone).utcoffset()))


def _wall_offsets(moments: Micros, zone: tzinfo) -> Micros:
    """What to add to UTC for wall time. Whole minutes, as texts have them: odd seconds of old local times are cut."""
    if zone is UTC:
        return np.zeros(len(moments), np.int64)

    def offset_at(moment: int) -> int:
        return _in_micros(_moment(moment).replace(tzinfo=UTC).astimezone(zone).utcoffset())

    offsets = _offsets(moments, offset_at)
    return offsets - offsets % MINUTE


# -- reading ------------------------------------------------------------------------------------
def parse_moments(texts: pa.Array, zone: tzinfo = UTC) -> pa.Array:
    """string column -> int64 column of UTC microseconds; nulls stay. Raises BadMoment at the first text that is none.
    `zone` is that of texts without an offset."""
    if len(texts) <= _FEW:
        return pa.array([None if t is None else parse_moment(t, zone) for t in texts.to_pylist()], pa.int64())
    import pyarrow.compute as pc

    if texts.null_count:
        filled = parse_moments(texts.fill_null("1970-01-01T00:00:00Z"), zone)
        return pc.if_else(texts.is_valid(), filled, pa.scalar(None, pa.int64()))
    moments = _all_moments(pc.extract_regex(texts, _PATTERN), zone)
    if moments is None:
        for text in texts.to_pylist():
            parse_moment(text, zone)
        raise AssertionError("texts that do not parse together have one that does not parse alone")
    return _column(moments)


@lru_cache(maxsize=4096)
def parse_moment(text: str, zone: tzinfo = UTC) -> int:
    """One text as UTC microseconds. Raises BadMoment."""
    match = _COMPILED.match(text)
    if match is None or not text.isascii():
        raise BadMoment(text, "it should look like 2025-01-01T00:00:00Z")
    date, clock, fraction, offset = match.groups()
    if date.startswith("0000"):
        raise BadMoment(text, _OUTSIDE)
    try:
        wall = datetime.fromisoformat(f"{date}T{clock}")
    except ValueError:
        wall = None
    if wall is None or clock >= "24":  # which later versions of Python take for midnight
        raise BadMoment(text, "there is no such date or time")
    micros = _in_micros(wall - _EPOCH) + int((fraction or "").ljust(6, "0")[:6])
    if offset:
        size = _offset_size(offset)
        if size is None:
            raise BadMoment(text, "the offset should be from -12:00 to +14:00")
        micros -= size
    elif zone is not UTC:
        micros -= _in_micros(_moment(micros).replace(tzinfo=zone).utcoffset())
    if not FIRST_MOMENT <= micros <= LAST_MOMENT:
        raise BadMoment(text, _OUTSIDE)
    return micros


def in_utc(text: str, zone: tzinfo) -> str:
    """The same moment as a text that means it in every time zone. Raises BadMoment."""
    shown: str = show_moments(pa.array([parse_moment(text, zone)], pa.int64()))[0].as_py()
    return shown


def _all_moments(parts: pa.StructArray, zone: tzinfo) -> Micros | None:
    """The moments that matches of the pattern mean; None when one of them is none."""
    import pyarrow.compute as pc

    if parts.null_count:
        return None
    try:
        stamps = pc.binary_join_element_wise(parts.field("date"), parts.field("time"), "T").cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None
    walls: Micros = stamps.cast(pa.int64()).to_numpy(zero_copy_only=False)
    fractions = parts.field("fraction")
    if pc.any(pc.not_equal(fractions, "")).as_py():
        digits = pc.utf8_rpad(pc.utf8_slice_codeunits(fractions, 0, 6), 6, "0")
        fraction: Micros = digits.cast(pa.int64()).to_numpy()
        walls = walls + fraction
    moments = _without_offsets(walls, parts.field("offset"), zone)
    if moments is None or (moments < FIRST_MOMENT).any() or (moments > LAST_MOMENT).any():
        return None
    return moments


def _without_offsets(walls: Micros, given: pa.Array, zone: tzinfo) -> Micros | None:
    """Wall times with their offsets taken off; None when one is too large. There are few different offsets, however
    many rows."""
    encoded = given.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    sizes = [_offset_size(text) if text else 0 for text in texts]
    if None in sizes:
        return None
    codes = encoded.indices.to_numpy()
    moments: Micros = walls - np.array(sizes, np.int64)[codes]
    if "" in texts:
        naive = codes == texts.index("")
        moments[naive] = _from_wall(walls[naive], zone)
    return moments


def _offset_size(text: str) -> int | None:
    """The microseconds of `Z` or `+hh:mm`; None when it is too large."""
    if text in ("Z", "z"):
        return 0
    hours, minutes = int(text[1:3]), int(text[4:6])
    size = (hours * HOUR + minutes * MINUTE) * (-1 if text[0] == "-" else 1)
    return size if minutes < 60 and _LEAST_OFFSET <= size <= _MOST_OFFSET else None


# -- showing ------------------------------------------------------------------------------------
def show_moments(column: pa.Array, zone: tzinfo = UTC) -> pa.Array:
    """int64 column of UTC microseconds -> ISO texts in a time zone, without trailing zeros in the fraction; a zero
    offset is `Z`. Nulls stay."""
    if len(column) <= _FEW:
        return pa.array([None if m is None else _show_moment(m, zone) for m in column.to_pylist()], pa.string())
    return _show_all(column, zone)


def _show_moment(moment: int, zone: tzinfo) -> str:
    offset = 0
    if zone is not UTC:
        offset = _in_micros(_moment(moment).replace(tzinfo=UTC).astimezone(zone).utcoffset())
        offset -= offset % MINUTE
    try:
        wall = (_EPOCH + timedelta(microseconds=moment + offset)).isoformat()
    except OverflowError:  # a clock of this zone already shows the year 10000, or still the year 0
        shown: str = _show_all(pa.array([moment], pa.int64()), zone)[0].as_py()
        return shown
    return (wall.rstrip("0") if "." in wall else wall) + _suffix(offset)


def _show_all(column: pa.Array, zone: tzinfo) -> pa.Array:
    import pyarrow.compute as pc

    moments, missing = _values(column)
    offsets = _wall_offsets(moments, zone)
    walls = _column(moments + offsets).cast(pa.timestamp("us")).cast(pa.string())
    walls = pc.utf8_rtrim(pc.utf8_rtrim(pc.replace_substring(walls, " ", "T"), "0"), ".")
    different, inverse = np.unique(offsets, return_inverse=True)
    suffixes = pa.array([_suffix(offset) for offset in different.tolist()], pa.string())
    texts = pc.binary_join_element_wise(walls, suffixes.take(_column(inverse.astype(np.int64))), "")
    return texts if missing is None else pc.if_else(missing, pa.scalar(None, pa.string()), texts)


def _suffix(offset: int) -> str:
    if offset == 0:
        return "Z"
    hours, minutes = divmod(abs(offset) // MINUTE, 60)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}"


def split_moments(column: pa.Array, zone: tzinfo, parts: tuple[str, ...]) -> pa.Array:
    """int64 column of UTC microseconds -> a list of whole numbers per row: those of TIME_PARTS that `parts` names, as a
    clock in the zone shows them. Nulls stay."""
    moments, missing = _values(column)
    walls = moments + _wall_offsets(moments, zone)
    numbers = np.column_stack([_part(walls, part) for part in parts])
    ends = _column(np.arange(len(walls) + 1) * len(parts)).cast(pa.int32())
    return pa.ListArray.from_arrays(ends, _column(numbers.reshape(-1)), mask=missing)


def _part(walls: Micros, part: str) -> Micros:
    months = walls.astype("datetime64[us]").astype("datetime64[M]")
    month = months.astype(np.int64)
    if part == "year":
        return month // 12 + 1970
    if part == "month":
        return month % 12 + 1
    if part == "day":
        first_day = months.astype("datetime64[D]").astype(np.int64)
        return walls // DAY - first_day + 1
    width, count = _CLOCK_PARTS[part]
    return walls // width % count


def read_time_parts(text: str) -> tuple[str, ...]:
    """`year, month day` -> the parts it names; empty when it names none. Raises InvalidParameter."""
    parts = tuple(part for part in _SEPARATORS.split(text.lower()) if part)
    for part in parts:
        if part not in TIME_PARTS:
            raise InvalidParameter(f"time_fields: {part} is not one of {', '.join(TIME_PARTS)}")
    return parts


def _column(values: Micros) -> pa.Array:
    """A contiguous array as a column over the same memory."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def _values(column: pa.Array) -> tuple[Micros, pa.BooleanArray | None]:
    """The numbers, 0 for nulls, and where the nulls are (None: nowhere)."""
    if not column.null_count:
        return column.to_numpy(), None
    return column.fill_null(0).to_numpy(), column.is_null()
