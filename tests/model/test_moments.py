"""Times as texts and as UTC microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.errors import InvalidParameter
from redkite.model.moments import (
    FIRST_MOMENT,
    LAST_MOMENT,
    TIME_PARTS,
    BadMoment,
    in_utc,
    parse_moment,
    parse_moments,
    read_time_parts,
    show_moments,
    split_moments,
    zone_of,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = ("UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Africa/Monrovia")
MICROS = st.integers(FIRST_MOMENT + 86_400_000_000, LAST_MOMENT - 86_400_000_000)


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ("2025-01-01 00:00:00", "2024-12-31T16:00:00Z"),
        ("2025-01-01T00:00:00", "2024-12-31T16:00:00Z"),
        ("2025-01-01 00:00:00.5 +01:00", "2024-12-31T23:00:00.5Z"),
        ("2025-01-01 00:00:00.120000-12:00", "2025-01-01T12:00:00.12Z"),
        ("2025-01-01t00:00:00z", "2025-01-01T00:00:00Z"),
        ("2024-02-29T23:59:59.9999999Z", "2024-02-29T23:59:59.999999Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
        ("2025-01-01T00:00:00+14:00", "2024-12-31T10:00:00Z"),
    ],
)
def test_every_accepted_form_means_its_moment(text: str, shown: str) -> None:
    zone = zone_of("Asia/Shanghai")
    assert in_utc(text, zone) == shown
    assert set(show_moments(parse_moments(pa.array([text] * 50), zone)).to_pylist()) == {shown}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("noon", "it should look like"), ("", "it should look like"), ("2025-01-01", "it should look like"),
        ("2025-01-01T00:00Z", "it should look like"), ("2025-01-01T00:00:00 UTC", "it should look like"),
        ("2025-02-30T00:00:00Z", "no such date or time"), ("2025-01-01T24:00:00Z", "no such date or time"),
        ("2025-01-01T00:00:60Z", "no such date or time"), ("2025-01-01T00:00:00+14:01", "-12:00 to +14:00"),
        ("2025-01-01T00:00:00-13:00", "-12:00 to +14:00"), ("2025-01-01T00:00:00+01:60", "-12:00 to +14:00"),
        ("2025-01-01T00:00:00Z\n", "it should look like"), ("２025-01-01T00:00:00Z", "it should look like"),
        ("0001-01-01T00:00:00+01:00", "years 1 to 9999"), ("0000-06-01T00:00:00Z", "years 1 to 9999"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_moment_is_named_with_the_reason(text: str, reason: str) -> None:
    for around in (1, 50):
        good = ["2025-01-01T00:00:00Z"] * around
        with pytest.raises(BadMoment) as caught:
            parse_moments(pa.array([*good, text, *good]))
        assert str(caught.value).startswith(f"got invalid timestamptz string '{text}': ")
        assert reason in str(caught.value)


@given(st.lists(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), max_size=40), st.sampled_from(ZONES))
def test_wall_times_are_read_as_python_reads_them(walls: list[datetime], name: str) -> None:
    zone = zone_of(name)
    texts = pa.array([wall.isoformat(timespec="microseconds") for wall in walls], pa.string())
    read = parse_moments(texts, zone).to_pylist()
    assert read == [micros(wall.replace(tzinfo=zone)) for wall in walls]
    assert read == [parse_moment(text, zone) for text in texts.to_pylist()]


@given(st.lists(st.one_of(MICROS, st.none()), max_size=40), st.sampled_from(ZONES))
def test_what_is_shown_is_read_back_in_any_zone(moments: list[int | None], name: str) -> None:
    column = pa.array(moments, pa.int64())
    shown = show_moments(column, zone_of(name))
    assert parse_moments(shown).to_pylist() == moments
    assert shown.to_pylist() == [show_moments(column.slice(i, 1), zone_of(name))[0].as_py() for i in range(len(column))]
    assert all(text is None or not text.rstrip("Z").endswith(".") for text in shown.to_pylist())


@given(st.lists(st.integers(-(10**15), 4 * 10**15), min_size=1, max_size=30), st.sampled_from(ZONES[:5]))
def test_parts_are_those_of_a_clock_in_the_zone(moments: list[int], name: str) -> None:
    rows = split_moments(pa.array(moments, pa.int64()), zone_of(name), TIME_PARTS).to_pylist()
    for moment, row in zip(moments, rows, strict=True):
        clock = (EPOCH + timedelta(microseconds=moment)).astimezone(zone_of(name))
        odd = clock.utcoffset()
        assert odd is not None
        if odd.total_seconds() % 60 == 0:
            assert row == [
                clock.year, clock.month, clock.day, clock.hour, clock.minute, clock.second, clock.microsecond,
            ]  # fmt: skip


def test_parts_come_in_the_order_asked_and_nulls_stay() -> None:
    parts = read_time_parts("Hour, year\tday")
    assert parts == ("hour", "year", "day")
    column = pa.array([parse_moment("2025-03-04T05:06:07Z"), None])
    assert split_moments(column, UTC, parts).to_pylist() == [[5, 2025, 4], None]
    with pytest.raises(InvalidParameter, match="time_fields: week is not one of year, month, day"):
        read_time_parts("week")


@pytest.mark.parametrize("name", ["Mars/Base", "../etc/passwd", "America", "local", "+08:00"])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match="unknown or invalid IANA Time Zone ID: "):
        zone_of(name)


def test_the_ends_of_the_calendar_are_shown_in_every_zone() -> None:
    column = pa.array([FIRST_MOMENT, LAST_MOMENT])
    assert show_moments(pa.array([FIRST_MOMENT, LAST_MOMENT] * 9)).to_pylist()[:2] == show_moments(column).to_pylist()
    assert show_moments(column, zone_of("Asia/Tokyo")).to_pylist()[1] == "10000-01-01T08:59:59.999999+09:00"
    assert show_moments(column).to_pylist() == ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
