"""Schedules: checking what people write, and the instants of both kinds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsched.domain.durations import Duration
from pgsched.domain.errors import BadSchedule, BadTimezone, InvalidInput
from pgsched.domain.schedules import Schedule, ScheduleType
from pgsched.domain.zones import CALENDAR_END, CALENDAR_START, zone_named, zone_names

ANCHOR = datetime(2026, 1, 31, 12, tzinfo=UTC)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Africa/Casablanca",
]


def interval(expr: str, *, zone: str = "Europe/Berlin", anchor: datetime = ANCHOR) -> Schedule:
    return Schedule.parse("interval", expr, zone, anchor)


def cron(expr: str, *, zone: str = "Europe/Berlin", anchor: datetime | None = ANCHOR) -> Schedule:
    return Schedule.parse("cron", expr, zone, anchor)


def fields_of(error: InvalidInput) -> list[str]:
    return [fault.field for fault in error.faults]


# checking


@pytest.mark.parametrize(
    ("kind", "expr", "field"),
    [
        ("daily", "0 0 * * *", "schedule_type"),
        ("CRON", "0 0 * * *", "schedule_type"),
        ("", "0 0 * * *", "schedule_type"),
        ("cron", "PT6H", "schedule_expr"),
        ("cron", "", "schedule_expr"),
        ("interval", "0 0 * * *", "schedule_expr"),
        ("interval", "", "schedule_expr"),
        ("interval", "P8000Y", "schedule_expr"),
        ("cron", "0 0 30 2 *", "schedule_expr"),
        ("cron", "0 0 31 4,6,9,11 *", "schedule_expr"),
        ("cron", "0 0 * 2 MON#5", "schedule_expr"),  # next on 29 February 2044
    ],
)
def test_parse_refuses_what_is_no_schedule(kind: str, expr: str, field: str) -> None:
    with pytest.raises(BadSchedule) as caught:
        Schedule.parse(kind, expr, "UTC", ANCHOR)
    assert fields_of(caught.value) == [field]
    assert caught.value.code == "bad_schedule"


@pytest.mark.parametrize(
    "expr", ["0 0 29 2 *", "0 0 29 2 SUN", "0 0 29 2 */7", "0 0 31 * *", "0 0 30 2 MON", "0 0 L 2 *"]
)
def test_parse_takes_what_fires_within_ten_years(expr: str) -> None:
    assert cron(expr).next_after(ANCHOR) is not None


def test_parse_counts_ten_years_from_the_anchor() -> None:
    rare = "0 0 29 2 */7"  # a Sunday: 2032, then 2060
    assert cron(rare, anchor=datetime(2023, 1, 1, tzinfo=UTC))
    with pytest.raises(BadSchedule, match="ten years from 2033"):
        cron(rare, anchor=datetime(2033, 1, 1, tzinfo=UTC))
    assert cron(rare, anchor=None)
    # what was stored stays readable when its ten years are over
    stored = Schedule(type=ScheduleType.CRON, expr=rare, timezone="UTC", anchor=None)
    assert stored.next_after(datetime(2033, 1, 1, tzinfo=UTC)) == datetime(2060, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "", " ", ".", "Mars/Olympus", "europe/berlin", "EUROPE/BERLIN", "Europe/berlin", "utc", "UTC ",
        "UTC\n", "localtime", "posixrules", "America", "Europe/", "Europe//Berlin", "/etc/localtime",
        "../UTC", "/usr/share/zoneinfo/UTC", "Europe/../UTC", "posix/UTC", "UTC\x00", "tzdata.zi",
        "zone.tab", "+01:00",
        "UTC+1", "\ud800", "Ü", "A" * 100_000,
    ],
)  # fmt: skip
def test_parse_refuses_what_is_no_zone(name: str) -> None:
    with pytest.raises(BadTimezone) as caught:
        Schedule.parse("cron", "0 0 * * *", name, None)
    assert fields_of(caught.value) == ["timezone"]
    assert caught.value.code == "bad_timezone"
    assert len(caught.value.detail) < 200
    assert "\n" not in caught.value.detail


def test_a_zone_in_other_letters_is_told_its_name() -> None:
    with pytest.raises(BadTimezone, match="did you mean Europe/Berlin"):
        zone_named("europe/berlin")


def test_every_zone_name_opens() -> None:
    assert {"UTC", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Buenos_Aires"} <= zone_names()
    assert all(zone_named(name).key == name for name in zone_names())


def test_an_anchor_is_a_whole_second_in_utc() -> None:
    written = datetime(2026, 1, 1, 2, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert interval("PT1H", anchor=written).anchor == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("anchor", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_an_anchor_outside_the_calendar_is_refused(anchor: datetime) -> None:
    with pytest.raises(BadSchedule) as caught:
        interval("PT1H", anchor=anchor)
    assert fields_of(caught.value) == ["start_at"]


def test_naive_datetimes_are_refused() -> None:
    naive = datetime(2026, 1, 1)
    with pytest.raises(ValueError, match="aware"):
        Schedule(type=ScheduleType.INTERVAL, expr="PT1H", timezone="UTC", anchor=naive)
    for ask in (interval("PT1H").next_after, interval("PT1H").newest_until, cron("0 0 * * *").next_after):
        with pytest.raises(ValueError, match="aware"):
            ask(naive)


# instants of intervals

periods = st.one_of(
    st.integers(1, 10**7).map(str),
    st.builds(
        lambda months, days, seconds: f"P{months}M{days}DT{seconds}S",
        st.sampled_from([0, 0, 1, 2, 3, 5, 12, 13]),
        st.sampled_from([0, 1, 1, 2, 7, 30]),
        st.sampled_from([0, 0, 1, 1800, 43200, 90_000]),
    ).filter(lambda text: text != "P0M0DT0S"),
)
near = st.integers(-400 * 86400, 4000 * 86400).map(lambda seconds: ANCHOR + timedelta(seconds=seconds))
anchors = st.one_of(
    st.sampled_from([ANCHOR, datetime(2011, 12, 30, 9, tzinfo=UTC), datetime(2011, 12, 28, 10, tzinfo=UTC)]),
    st.integers(0, 15 * 366 * 86400).map(lambda s: datetime(2011, 1, 1, tzinfo=UTC) + timedelta(seconds=s)),
)


@given(expr=periods, zone=st.sampled_from(ZONES), anchor=anchors, ahead=st.integers(-100, 3000 * 86400))
@settings(max_examples=400, deadline=None)
def test_an_interval_is_its_anchor_plus_whole_periods(
    expr: str, zone: str, anchor: datetime, ahead: int
) -> None:
    schedule, period = interval(expr, zone=zone, anchor=anchor), Duration.parse(expr)
    start = anchor + timedelta(seconds=ahead)
    found = list(islice(schedule.instants_after(start), 6))
    assert all(instant > start and instant.tzinfo is UTC for instant in found)
    assert all(earlier < later for earlier, later in pairwise(found))
    # the same, walked from the anchor without any jump, from a little before where it must be
    k = max(0, (start - anchor) // period.mean - 45)
    walked = (period.times(count, anchor, zone_named(zone)) for count in range(k, k + 400))
    wanted = sorted({instant for instant in walked if instant > start})
    assert found == wanted[:6]


@given(expr=periods, zone=st.sampled_from(ZONES), after=near)
@settings(max_examples=200, deadline=None)
def test_next_after_is_the_first_of_instants_after(expr: str, zone: str, after: datetime) -> None:
    schedule = interval(expr, zone=zone)
    first, second = islice(schedule.instants_after(after), 2)
    assert schedule.next_after(after) == first
    assert schedule.next_after(first) == second
    assert next(schedule.instants_after(first, inclusive=True)) == first
    assert schedule.newest_until(first) == first
    assert schedule.newest_until(second - timedelta(microseconds=1)) == first


@given(expr=periods, zone=st.sampled_from(ZONES), after=near, more=st.integers(-10, 300))
@settings(max_examples=200, deadline=None)
def test_count_between_counts_what_iteration_yields(expr: str, zone: str, after: datetime, more: int) -> None:
    schedule = interval(expr, zone=zone)
    until = after + more * Duration.parse(expr).mean
    assert schedule.count_between(after, until) == sum(
        1 for _ in takewhile(lambda instant: instant <= until, schedule.instants_after(after))
    )


def test_count_between_leaves_out_its_start_and_takes_in_its_end() -> None:
    schedule = interval("PT1S")
    month = timedelta(days=30)
    assert schedule.count_between(ANCHOR, ANCHOR + month) == 30 * 86400
    assert schedule.count_between(ANCHOR - month, ANCHOR) == 1
    assert schedule.count_between(ANCHOR - month, ANCHOR - timedelta(seconds=1)) == 0
    assert schedule.count_between(ANCHOR + month, ANCHOR) == 0


def test_the_anchor_is_the_first_instant() -> None:
    schedule = interval("PT6H")
    assert schedule.next_after(ANCHOR - timedelta(microseconds=1)) == ANCHOR
    assert schedule.next_after(datetime(1, 1, 1, tzinfo=UTC)) == ANCHOR
    assert schedule.next_after(ANCHOR) == ANCHOR + timedelta(hours=6)
    assert schedule.newest_until(ANCHOR - timedelta(microseconds=1)) is None


def test_elapsed_intervals_do_not_drift() -> None:
    schedule = interval("PT7S")
    far = ANCHOR + timedelta(days=365 * 1000)
    found = schedule.next_after(far)
    assert found is not None
    assert (found - ANCHOR).total_seconds() % 7 == 0
    assert timedelta() < found - far <= timedelta(seconds=7)


def test_a_gap_that_swallows_a_step_leaves_one_instant() -> None:
    # Apia had no 30 December 2011: the step of that midnight and the next are the same instant
    schedule = interval("P1D", zone="Pacific/Apia", anchor=datetime(2011, 12, 28, 10, tzinfo=UTC))
    found = [
        f"{instant.astimezone(zone_named('Pacific/Apia')):%d %H:%M}"
        for instant in islice(schedule.instants_after(ANCHOR.replace(year=2011)), 4)
    ]
    assert found == ["28 00:00", "29 00:00", "31 00:00", "01 00:00"]


@pytest.mark.parametrize("expr", ["PT1S", "PT6H", "P1D", "P1M", "P1MT1S", "P9Y"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_an_interval_ends_with_the_calendar(expr: str, zone: str) -> None:
    schedule = interval(expr, zone=zone)
    for instant in schedule.instants_after(CALENDAR_END - timedelta(seconds=30)):
        assert instant < CALENDAR_END
    assert schedule.next_after(datetime.max.replace(tzinfo=UTC)) is None
    newest = schedule.newest_until(datetime.max.replace(tzinfo=UTC))
    assert newest is not None
    assert newest < CALENDAR_END
    assert schedule.next_after(newest) is None


def test_the_last_hours_that_can_be_written_are_answered_too() -> None:
    schedule = cron("0 0 * * *")
    east, west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
    assert schedule.next_after(datetime.max.replace(tzinfo=west)) is None
    first = schedule.next_after(datetime.min.replace(tzinfo=east))
    assert first is not None
    assert first >= CALENDAR_START


# instants of cron


def test_cron_goes_on_strictly_after() -> None:
    schedule = cron("0 6 * * *", zone="UTC")
    due = datetime(2026, 2, 1, 6, tzinfo=UTC)
    assert schedule.next_after(due - timedelta(microseconds=1)) == due
    assert schedule.next_after(due) == due + timedelta(days=1)
    assert next(schedule.instants_after(due, inclusive=True)) == due
    assert schedule.next_after(due.astimezone(timezone(timedelta(hours=9)))) == due + timedelta(days=1)


@pytest.mark.parametrize(
    "expr",
    ["* * * * *", "*/7 3 * * *", "0 6 * * MON", "0 0 1 * *", "30 2 29 3 *", "0 0 29 2 *", "0 0 29 2 */7"],
)
@given(after=near)
@settings(max_examples=25, deadline=None)
def test_newest_until_is_the_one_before_the_next(expr: str, after: datetime) -> None:
    schedule = cron(expr)
    newest = schedule.newest_until(after)
    assert newest is not None
    assert newest <= after
    assert schedule.next_after(newest) == schedule.next_after(after)
    assert schedule.count_between(newest, after) == 0
    assert schedule.count_between(newest - timedelta(microseconds=1), after) == 1
