"""Durations: the strict grammar and the arithmetic of calendar and elapsed parts."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.durations import Duration
from pgsched.domain.errors import BadSchedule
from pgsched.domain.zones import CALENDAR_END, CALENDAR_START

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("PT6H", Duration(seconds=21600)),
        ("21600", Duration(seconds=21600)),
        ("007", Duration(seconds=7)),
        ("PT1S", Duration(seconds=1)),
        ("PT36H", Duration(seconds=129600)),
        ("PT90M30S", Duration(seconds=5430)),
        ("PT0H5M", Duration(seconds=300)),
        ("P1D", Duration(days=1)),
        ("P1DT12H", Duration(days=1, seconds=43200)),
        ("P0DT1H", Duration(seconds=3600)),
        ("P2W", Duration(days=14)),
        ("P1M", Duration(months=1)),
        ("PT1M", Duration(seconds=60)),
        ("P1Y2M3W4DT5H6M7S", Duration(months=14, days=25, seconds=18367)),
    ],
)
def test_parse_reads(text: str, wanted: Duration) -> None:
    assert Duration.parse(text) == wanted


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is empty"),
        ("P", "names no time"),
        ("PT", "names no time"),
        ("P1DT", "write P1D"),
        ("-P1D", "no sign"),
        ("P-1D", "no sign"),
        ("+PT1H", "no sign"),
        ("-5", "no sign"),
        ("PT1.5H", "whole numbers"),
        ("PT0,5S", "whole numbers"),
        ("1.5", "whole numbers"),
        ("pt6h", "write PT6H"),
        ("Pt6H", "write PT6H"),
        ("PT6H\n", "write PT6H"),
        (" PT6H", "write PT6H"),
        ("21600\n", "write 21600"),
        ("P6H", "after a T"),
        ("PT1D", "ISO 8601"),
        ("P1D1M", "ISO 8601"),
        ("PT1S1M", "ISO 8601"),
        ("P1DT1HT1M", "ISO 8601"),
        ("P1D/P2D", "ISO 8601"),
        ("6H", "ISO 8601"),
        ("every hour", "ISO 8601"),
        ("PT٣H", "ISO 8601"),
        ("٣", "ISO 8601"),
        ("3²", "ISO 8601"),
        ("PT1H\x00", "ISO 8601"),
        ("\ud800", "ISO 8601"),
        ("0", "shortest"),
        ("PT0S", "shortest"),
        ("P0Y0M0DT0H0M0S", "shortest"),
        ("P9999Y", "calendar"),
        ("9" * 90, "calendar"),
        ("P" + "9" * 90 + "D", "calendar"),
        ("9" * 5000, "characters"),
    ],
)
def test_parse_refuses_and_says_why(text: str, part: str) -> None:
    with pytest.raises(BadSchedule) as caught:
        Duration.parse(text)
    assert part in caught.value.detail
    assert "\n" not in caught.value.detail
    assert len(caught.value.detail) < 250


def test_parse_names_the_field_it_was_asked_for() -> None:
    with pytest.raises(BadSchedule) as caught:
        Duration.parse("PT", field="misfire_window")
    assert [fault.field for fault in caught.value.faults] == ["misfire_window"]


@given(text=st.text(alphabet="PYMWDTHS0123456789 .-\n", max_size=12))
def test_parse_answers_or_refuses_and_nothing_else(text: str) -> None:
    try:
        duration = Duration.parse(text)
    except BadSchedule:
        return
    assert duration.mean.total_seconds() >= 1


def moved(text: str, count: int, anchor: str, zone: ZoneInfo = BERLIN) -> str:
    at = Duration.parse(text).times(count, datetime.fromisoformat(anchor), zone)
    return at.astimezone(zone).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("text", "count", "anchor", "wanted"),
    [
        ("P1M", 1, "2026-01-31T08:00+01:00", "2026-02-28T08:00+01:00"),
        ("P1M", 2, "2026-01-31T08:00+01:00", "2026-03-31T08:00+02:00"),
        ("P1M", 25, "2026-01-31T08:00+01:00", "2028-02-29T08:00+01:00"),
        ("P1Y", 1, "2028-02-29T08:00+01:00", "2029-02-28T08:00+01:00"),
        ("P1Y", 4, "2028-02-29T08:00+01:00", "2032-02-29T08:00+01:00"),
        ("P1D", 1, "2026-03-28T08:00+01:00", "2026-03-29T08:00+02:00"),
        ("PT24H", 1, "2026-03-28T08:00+01:00", "2026-03-29T09:00+02:00"),
        # a gap: the first instant after it, without moving the steps that follow
        ("P1D", 1, "2026-03-28T02:30+01:00", "2026-03-29T03:00+02:00"),
        ("P1D", 2, "2026-03-28T02:30+01:00", "2026-03-30T02:30+02:00"),
        # a fold: the first of the two, but an anchor in the second stays where it is
        ("P1D", 1, "2026-10-24T02:30+02:00", "2026-10-25T02:30+02:00"),
        ("P1D", 0, "2026-10-25T02:30+01:00", "2026-10-25T02:30+01:00"),
        ("P1D", 1, "2026-10-25T02:30+01:00", "2026-10-26T02:30+01:00"),
        # calendar part first, then real time
        ("P1DT12H", 1, "2026-03-28T20:00+01:00", "2026-03-30T08:00+02:00"),
        ("P1DT12H", 1, "2026-03-28T01:00+01:00", "2026-03-29T14:00+02:00"),
    ],
)
def test_times_steps_on_the_wall_clock_then_in_real_time(
    text: str, count: int, anchor: str, wanted: str
) -> None:
    assert moved(text, count, anchor) == wanted


@pytest.mark.parametrize("text", ["P1M", "P1D", "PT1S", "P9000Y", "P1MT1S", "P3650000D"])
def test_times_stops_at_the_end_of_the_calendar(text: str) -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    assert Duration.parse(text).times(10**15, anchor, BERLIN) == CALENDAR_END


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("P1D", "2026-03-30T12:00:00+00:00"),
        ("PT36H", "2026-03-30T00:00:00+00:00"),
        ("P1M", "2026-02-28T12:00:00+00:00"),
        ("P1Y1M1DT1H", "2025-02-27T11:00:00+00:00"),
    ],
)
def test_before_goes_back_by_the_calendar_of_utc(text: str, wanted: str) -> None:
    assert Duration.parse(text).before(datetime(2026, 3, 31, 12, tzinfo=UTC)).isoformat() == wanted


@pytest.mark.parametrize("text", ["P2026Y", "P5000Y", "P800000D", "P2024YT900000H", "100000000000"])
def test_before_stops_at_the_start_of_the_calendar(text: str) -> None:
    assert Duration.parse(text).before(datetime(2026, 3, 31, tzinfo=UTC)) == CALENDAR_START
