"""Cron expressions: what is taken, and when it fires, beside cronsim and beside a slow walk."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgsched.domain.cron import MAX_LENGTH, CronExpression, parse_cron
from pgsched.domain.errors import BadSchedule
from pgsched.domain.zones import CALENDAR_END, CALENDAR_START

MICROSECOND = timedelta(microseconds=1)
#: zones whose clocks change by whole hours and never at midnight: there cronsim follows real time exactly
PLAIN_ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Europe/Dublin",
]
#: half-hour changes, changes at midnight, a skipped day, two hours at once
ODD_ZONES = [
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Asia/Tehran",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "America/Santiago",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
]
#: near changes of the offset in the zones above
MOMENTS = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 2, 15, 2, tzinfo=UTC),
    datetime(2026, 3, 22, 2, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2021, 3, 21, 20, 30, tzinfo=UTC),
    datetime(2021, 9, 21, 19, 30, tzinfo=UTC),
    datetime(2018, 2, 18, 2, tzinfo=UTC),
    datetime(2018, 11, 4, 3, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(2006, 3, 12, 3, tzinfo=UTC),
    datetime(2008, 11, 2, 2, 31, tzinfo=UTC),
    datetime(2028, 2, 28, 23, 59, tzinfo=UTC),
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def local(expr: str, zone: str, after: str, n: int) -> list[str]:
    """Return the n instants strictly after ``after``, in local time without the seconds."""
    found = islice(parse_cron(expr).instants(ZoneInfo(zone), utc(after) + MICROSECOND), n)
    return [f"{instant.astimezone(ZoneInfo(zone)):%Y-%m-%dT%H:%M%z}" for instant in found]


def a_field(
    low: int, high: int, *words: str, wrong: bool = False, star: bool = True
) -> st.SearchStrategy[str]:
    """Generate one field: ``words`` beside numbers, mistakes when ``wrong``, no star when not ``star``."""
    mistakes = [f"0{low}", str(high + 1), "-1", "", "x", "5-2", "LW", "L"] if wrong else []
    numbers = st.integers(low, high)
    span = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    kinds = [numbers.map(str), span, st.just("*") if star else span]
    if words or mistakes:
        kinds.append(st.sampled_from([*words, *mistakes]))
    step = st.sampled_from(
        ["", "", "", "/1", "/2", "/3", "/15", "/40", *(["/0", "/", "/x"] if wrong else [])]
    )
    plain = st.tuples(st.one_of(kinds[:3]), step).map("".join)
    term = st.one_of(plain, plain, *kinds[3:])
    terms = st.lists(term, min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), terms) if star else terms


def expressions(*, wrong: bool = False, times: bool = True) -> st.SearchStrategy[str]:
    return st.tuples(
        a_field(0, 59, wrong=wrong, star=times),
        a_field(0, 23, wrong=wrong, star=times),
        a_field(1, 31, "L", "LW", "lw", wrong=wrong),
        a_field(1, 12, "JAN", "feb", "Dec", wrong=wrong),
        a_field(0, 7, "SUN", "mon", "5L", "7L", "1#1", "7#5", "mon#2", "3#4", wrong=wrong),
    ).map(" ".join)


EXPRESSIONS = expressions()
TIMES_OF_DAY = expressions(times=False)
REAL_TIME = expressions().map(lambda expr: f"*/7 {expr.split(maxsplit=1)[1]}") | expressions().map(
    lambda expr: " ".join([(words := expr.split())[0], "*", *words[2:]])
)


@st.composite
def starts(draw: st.DrawFn) -> datetime:
    near = draw(st.sampled_from(MOMENTS))
    return near + timedelta(
        minutes=draw(st.integers(-3000, 3000)), seconds=draw(st.sampled_from([0, 0, 1, 59]))
    )


def parsed(expr: str) -> CronExpression | None:
    try:
        return parse_cron(expr)
    except BadSchedule:
        return None


def oracle(expr: str, start: datetime) -> CronSim | None:
    try:
        return CronSim(expr, start)
    except CronSimError:
        return None


def by_cronsim(expr: str, zone: str, start: datetime, n: int) -> list[datetime]:
    found = islice(CronSim(expr, start.astimezone(ZoneInfo(zone))), n)
    # What it gives for a start inside a fold may lie before the start; "after" is meant strictly here.
    return [at for at in (instant.astimezone(UTC) for instant in found) if at > start]


def by_walking(expr: str, zone: str, start: datetime, hours: int) -> list[datetime]:
    """Ask of every minute of real time whether the clock shows a match, by the fields of cronsim."""
    fields = CronSim(expr, start)
    at = start.replace(second=0, microsecond=0)
    found = []
    for _ in range(hours * 60):
        at += timedelta(minutes=1)
        wall = at.astimezone(ZoneInfo(zone))
        of_day = wall.minute in fields.minutes and wall.hour in fields.hours
        if of_day and wall.month in fields.months and fields.match_day(wall.date()):
            found.append(at)
    return found


@given(expr=expressions(wrong=True))
@example(expr="* * * * *")
@example(expr="5-5/2 0 * * *")
@example(expr="\t0 0\t1 1  * ")
@settings(max_examples=400, deadline=None)
def test_what_is_taken_is_what_cronsim_takes(expr: str) -> None:
    ours, theirs = parsed(expr), oracle(expr, datetime(2026, 1, 1, tzinfo=UTC))
    if ours is not None and theirs is None:
        # the one thing it knows at once and we say when a schedule is saved: no month has such a day
        assert next(ours.dates(date(2000, 1, 1), date(2399, 12, 31)), None) is None
    else:
        assert (ours is None) == (theirs is None)


@given(expr=EXPRESSIONS, zone=st.sampled_from(PLAIN_ZONES), start=starts())
@example(expr="30 2 * * *", zone="Europe/Berlin", start=datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
@settings(max_examples=400, deadline=None)
def test_instants_are_those_of_cronsim(expr: str, zone: str, start: datetime) -> None:
    if oracle(expr, start) is None:
        return
    wanted = by_cronsim(expr, zone, start, 8)
    found = list(islice(parse_cron(expr).instants(ZoneInfo(zone), start + MICROSECOND), len(wanted)))
    assert found == wanted


@given(
    expr=TIMES_OF_DAY,
    zone=st.sampled_from(ODD_ZONES),
    start=starts(),
)
@settings(max_examples=300, deadline=None)
def test_times_of_day_are_those_of_cronsim_in_odd_zones(expr: str, zone: str, start: datetime) -> None:
    if oracle(expr, start) is None:
        return
    wanted = by_cronsim(expr, zone, start, 8)
    found = list(islice(parse_cron(expr).instants(ZoneInfo(zone), start + MICROSECOND), len(wanted)))
    assert found == wanted


@given(
    expr=REAL_TIME,
    zone=st.sampled_from(PLAIN_ZONES + ODD_ZONES),
    start=starts(),
)
@example(expr="45 * * * *", zone="Australia/Lord_Howe", start=datetime(2026, 4, 4, 14, tzinfo=UTC))
@example(expr="*/10 2 * * *", zone="Australia/Lord_Howe", start=datetime(2026, 4, 4, 14, tzinfo=UTC))
@example(expr="*/10 0 4 11 *", zone="America/Sao_Paulo", start=datetime(2018, 11, 3, 12, tzinfo=UTC))
@example(expr="6 * 11 3 *", zone="America/Santiago", start=datetime(2006, 3, 11, 23, 53, tzinfo=UTC))
@settings(max_examples=60, deadline=None)
def test_wildcard_jobs_follow_real_time(expr: str, zone: str, start: datetime) -> None:
    if oracle(expr, start) is None:
        return
    end = start.replace(second=0) + timedelta(hours=60)
    found = list(parse_cron(expr).instants(ZoneInfo(zone), start + MICROSECOND, end + MICROSECOND))
    assert found == by_walking(expr, zone, start, 60)


@given(expr=EXPRESSIONS, zone=st.sampled_from(PLAIN_ZONES + ODD_ZONES), start=starts())
@settings(max_examples=200, deadline=None)
def test_instants_ascend_and_can_be_taken_up_anywhere(expr: str, zone: str, start: datetime) -> None:
    cron = parse_cron(expr)
    found = list(islice(cron.instants(ZoneInfo(zone), start), 6))
    assert all(earlier < later for earlier, later in pairwise(found))
    for index, instant in enumerate(found):
        assert next(cron.instants(ZoneInfo(zone), instant)) == instant
        later = list(islice(cron.instants(ZoneInfo(zone), instant + MICROSECOND), 1))
        assert later == found[index + 1 : index + 2] or index == len(found) - 1


@pytest.mark.parametrize(
    ("expr", "zone", "after", "wanted"),
    [
        # the gap: 02:00 to 03:00 does not exist on 29 March 2026 in Berlin
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            ["2026-03-29T03:00+0200", "2026-03-30T02:30+0200"],
        ),
        (
            "0,30 2,3 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            ["2026-03-29T03:00+0200", "2026-03-29T03:30+0200"],
        ),
        (
            "30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:00Z",
            ["2026-03-29T01:30+0100", "2026-03-29T03:30+0200"],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            ["2026-03-30T02:00+0200", "2026-03-30T02:30+0200"],
        ),
        # the fold: 02:00 to 03:00 comes twice on 25 October
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00Z",
            ["2026-10-25T02:30+0200", "2026-10-26T02:30+0100"],
        ),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:15Z", ["2026-10-26T02:30+0100"]),
        (
            "30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00Z",
            ["2026-10-25T02:30+0200", "2026-10-25T02:30+0100"],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T00:10Z",
            ["2026-10-25T02:30+0200", "2026-10-25T02:00+0100"],
        ),
        # half an hour, and a day that never was
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z", ["2026-10-04T02:30+1100"]),
        (
            "45 * * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:40Z",
            ["2026-04-05T01:45+1100", "2026-04-05T01:45+1030"],
        ),
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T12:00-10:00",
            ["2011-12-31T00:00+1400", "2011-12-31T12:00+1400"],
        ),
        ("0 * 30 12 *", "Pacific/Apia", "2011-12-29T12:00-10:00", ["2012-12-30T00:00+1400"]),
        ("0 0 4 11 *", "America/Sao_Paulo", "2018-11-01T00:00Z", ["2018-11-04T01:00-0200"]),
    ],
)
def test_changes_of_the_offset(expr: str, zone: str, after: str, wanted: list[str]) -> None:
    assert local(expr, zone, after, len(wanted)) == wanted


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ("0 0 13 * FRI", ["2026-01-02", "2026-01-09", "2026-01-13", "2026-01-16"]),  # OR: both restricted
        ("0 0 */2 * FRI", ["2026-01-09", "2026-01-23", "2026-02-13"]),  # AND: begins with a star
        ("0 0 1-31/2 * FRI", ["2026-01-01", "2026-01-02", "2026-01-03"]),  # OR again
        (
            "0 0 1 * */2",
            ["2026-01-01", "2026-02-01", "2026-03-01", "2026-08-01"],
        ),  # Sunday 0, Thursday 4, Saturday 6
        ("0 0 * * 0", ["2026-01-04"]),
        ("0 0 * * 7", ["2026-01-04"]),
        ("0 0 * * 5-7", ["2026-01-02", "2026-01-03", "2026-01-04", "2026-01-09"]),
        ("0 0 L * *", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("0 0 LW * *", ["2026-01-30", "2026-02-27", "2026-03-31"]),
        ("0 0 * * 5L", ["2026-01-30", "2026-02-27"]),
        ("0 0 * * TUE#2", ["2026-01-13", "2026-02-10"]),
        ("0 0 * * 0#5", ["2026-03-29", "2026-05-31"]),
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29"]),
        ("0 0 * feb mon#5", ["2044-02-29"]),
        ("0 0 20/5 * *", ["2026-01-20", "2026-01-25", "2026-01-30", "2026-02-20"]),
        ("@yearly", ["2026-01-01", "2027-01-01"]),
        ("@annually", ["2026-01-01", "2027-01-01"]),
        ("@monthly", ["2026-01-01", "2026-02-01"]),
        ("@weekly", ["2026-01-04", "2026-01-11"]),
        ("@daily", ["2026-01-01", "2026-01-02"]),
        (" @Midnight ", ["2026-01-01", "2026-01-02"]),
    ],
)
def test_days_match_as_in_debian_cron(expr: str, wanted: list[str]) -> None:
    found = islice(parse_cron(expr).instants(ZoneInfo("UTC"), utc("2026-01-01T00:00Z")), len(wanted))
    assert [f"{instant:%Y-%m-%d}" for instant in found] == wanted


def test_hourly_follows_real_time() -> None:
    assert not parse_cron("@hourly").fixed_time
    assert local("@hourly", "UTC", "2026-01-01T00:00Z", 2) == [
        "2026-01-01T01:00+0000",
        "2026-01-01T02:00+0000",
    ]


@pytest.mark.parametrize(
    ("expr", "part"),
    [
        ("", "five fields"),
        (" \t ", "five fields"),
        ("* * * *", "4 fields"),
        ("0 * * * * *", "6 fields"),
        ("*", "1 field;"),
        ("60 * * * *", "minute field has '60'"),
        ("* 24 * * *", "hour field has '24'"),
        ("* * 0 * *", "day-of-month field has '0'"),
        ("* * * 13 *", "month field has '13'"),
        ("* * * * 8", "day-of-week field has '8'"),
        ("* * * * MOO", "a name from SUN to SAT"),
        ("* 5-2 * * *", "backwards"),
        ("* * * * SAT-SUN", "backwards"),
        ("*/0 * * * *", "step '0'"),
        ("*/ * * * *", "step ''"),
        ("1,,2 * * * *", "minute field has ''"),
        ("* * * * L", "5L"),
        ("* * * * 5#6", "5#2"),
        ("* * L-3 * *", "'L'"),
        ("٣ * * * *", "ASCII"),
        ("* * * * frı", "ASCII"),
        ("*\u00a0* * * *", "ASCII"),
        ("\ud800 * * * *", "ASCII"),
        ("0\x00 * * * *", "minute field"),
        ("@reboot", "@reboot"),
        ("@every 5m", "not a macro"),
        ("@hourly * * * *", "not a macro"),
        ("@", "not a macro"),
        ("0 0 * * *" + " " * MAX_LENGTH, "characters"),
        ("9" * 900 + " * * * *", "minute field"),
    ],
)
def test_a_refusal_names_the_part_and_the_cure(expr: str, part: str) -> None:
    with pytest.raises(BadSchedule) as caught:
        parse_cron(expr)
    assert part in caught.value.detail
    assert "\n" not in caught.value.detail
    assert len(caught.value.detail) < 250
    assert [fault.field for fault in caught.value.faults] == ["schedule_expr"]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("expr", ["* * * * *", "30 5 * * *", "0 0 29 2 *"])
def test_the_calendar_ends_quietly(expr: str, zone: str) -> None:
    cron = parse_cron(expr)
    last = list(cron.instants(ZoneInfo(zone), CALENDAR_END - timedelta(days=2)))
    assert all(instant < CALENDAR_END for instant in last)
    assert len(last) == {"* * * * *": 2880, "30 5 * * *": 2, "0 0 29 2 *": 0}[expr]
    assert next(cron.instants(ZoneInfo(zone), datetime.min.replace(tzinfo=UTC))) >= CALENDAR_START
    assert list(cron.instants(ZoneInfo(zone), datetime.max.replace(tzinfo=UTC))) == []


def test_a_clock_set_by_the_sun_keeps_whole_minutes() -> None:
    # Amsterdam went from +0:19:32 to +0:20 on 1937-07-01, skipping 28 seconds at midnight
    found = local("0 0 1 7 *", "Europe/Amsterdam", "1937-06-01T00:00Z", 1)
    zone = ZoneInfo("Europe/Amsterdam")
    seconds = {
        instant.astimezone(zone).second
        for instant in islice(parse_cron("0 0 * * *").instants(zone, utc("1937-06-20T00:00Z")), 20)
    }
    assert found[0].startswith("1937-07-01T00:0")
    assert seconds == {0}
