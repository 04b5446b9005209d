"""Path and query parameters: what is read, and what is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.errors import InvalidInput, NotFound
from pgsched.domain.runs import RunStatus
from pgsched.entrypoints.http.parameters import Faults, query_key, run_key

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(
    min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.one_of(st.just(UTC), OFFSETS)
)


def read(method: str, *arguments: object, **options: object) -> object:
    with Faults() as faults:
        return getattr(faults, method)(*arguments, **options)


def refused(method: str, *arguments: object, **options: object) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(method, *arguments, **options)
    (fault,) = caught.value.faults
    return fault.field


@given(TIMES)
def test_instant_reads_what_isoformat_writes(moment: datetime) -> None:
    assert read("instant", "start", moment.isoformat()) == moment
    if moment.utcoffset() == timedelta(0):
        zulu = moment.replace(tzinfo=None).isoformat() + "z"
        assert read("instant", "start", zulu) == moment


def test_instant_takes_the_blank_that_an_unescaped_plus_became() -> None:
    wanted = datetime(2026, 3, 29, tzinfo=UTC)
    assert read("instant", "start", "2026-03-29T02:00:00 02:00") == wanted


def test_instant_keeps_microseconds_and_drops_what_is_finer() -> None:
    assert read("instant", "start", "2026-03-29T00:00:00.123456789Z") == datetime(
        2026, 3, 29, 0, 0, 0, 123456, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-29",
        "2026-03-29T00:00:00",
        "2026-03-29T00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-03-29T24:00:00Z",
        "2026-03-29T00:00:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+02:00",
        "9999-12-31T23:59:59-02:00",
        "2026-03-29T00:00:00+25:00",
        "2026-03-29T00:00:00Z\n",
        "٢٠٢٦-03-29T00:00:00Z",
        "infinity",
        "now",
        "1774742400",
    ],
)
def test_instant_refuses(text: str) -> None:
    assert refused("instant", "end", text) == "end"


@pytest.mark.parametrize("text", ["0", "501", "-1", "+5", " 5", "5.0", "", "1e2", "five", "٥", "9" * 5000])
def test_limit_refuses(text: str) -> None:
    assert refused("limit", text) == "limit"


@pytest.mark.parametrize(("text", "limit"), [(None, 50), ("1", 1), ("500", 500), ("007", 7)])
def test_limit_reads(text: str | None, limit: int) -> None:
    assert read("limit", text) == limit


@pytest.mark.parametrize("text", ["-1", str(2**63), "x", ""])
def test_offset_refuses(text: str) -> None:
    assert refused("offset", text) == "offset"


def test_status_reads_every_status_and_any() -> None:
    for status in RunStatus:
        assert read("status", status.value, default=None) is status
    assert read("status", "any", default=RunStatus.SUCCESS) is None
    assert read("status", None, default=RunStatus.SUCCESS) is RunStatus.SUCCESS


@pytest.mark.parametrize("text", ["", "SUCCESS", "done", "success,error"])
def test_status_refuses(text: str) -> None:
    assert refused("status", text, default=None) == "status"


def test_include_knows_result_alone() -> None:
    assert read("include_result", None) is False
    assert read("include_result", "result") is True
    assert refused("include_result", "results") == "include"


def test_faults_are_told_all_at_once() -> None:
    def read_all() -> None:
        with Faults() as faults:
            faults.limit("0")
            faults.instant("start", "x")
            faults.run_id("before", "y")

    with pytest.raises(InvalidInput) as caught:
        read_all()
    assert [fault.field for fault in caught.value.faults] == ["limit", "start", "before"]


def test_faults_leave_other_errors_alone() -> None:
    def read_both() -> None:
        with Faults() as faults:
            faults.limit("0")
            faults.run_id("before", "9" * 30)

    with pytest.raises(NotFound):
        read_both()


def test_query_key_tells_ids_from_names() -> None:
    assert query_key("17") == 17
    assert query_key(str(2**63 - 1)) == 2**63 - 1
    assert query_key("Orders_by.hour-2") == "Orders_by.hour-2"


@pytest.mark.parametrize(
    "text", [str(2**63), "9" * 5000, "-1", "a b", "1a", "a\x00", "ä", "٣", "x" * 64, "a\n"]
)
def test_query_key_knows_what_can_be_none(text: str) -> None:
    with pytest.raises(NotFound) as caught:
        query_key(text)
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 500


@pytest.mark.parametrize("text", [str(2**63), "orders", "-1", "1.0", ""])
def test_run_key_knows_what_can_be_none(text: str) -> None:
    with pytest.raises(NotFound):
        run_key(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b", ("a", "b")),
        ('"a,b",c', ("a,b", "c")),
        ('"say ""a"""', ('say "a"',)),
        ('"new\nline",b', ("new\nline", "b")),
        ('"\r",b', ("\r", "b")),
        ('b,"\r\n"', ("b", "\r\n")),
    ],
)
def test_columns_are_read_as_csv_has_them(text: str, names: tuple[str, ...]) -> None:
    assert read("columns", [text]) == names


@pytest.mark.parametrize("text", ["", "a,", "a\nb", "a\n", "a\r", "\n", '"a', '"a\n', '"a"b', '"a"\n'])
def test_columns_refuse(text: str) -> None:
    assert refused("columns", [text]) == "columns"
