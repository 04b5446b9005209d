from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strict_syslog import parse

from pgsched.adapters.logs.redaction import Redactor
from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter, cut, header_field


def parsed(line: bytes) -> dict[str, Any]:
    """Read one line strictly, or fail."""
    found = parse(line)
    return {
        "pri": found.facility * 8 + found.severity,
        "time": found.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "app": found.app_name,
        "msgid": found.msgid,
        "id": found.sd_id,
        "data": found.data,
        "msg": found.message,
        "payload": found.payload,
    }


def formatter(
    max_bytes: int = 4096, app_name: str = "pgsched-api", keys: tuple[str, ...] = ("token",)
) -> Rfc5424Formatter:
    return Rfc5424Formatter(
        app_name=app_name, enterprise_id=32473, max_bytes=max_bytes, redactor=Redactor(keys)
    )


def record(
    message: object = "done", *args: object, level: int = logging.INFO, **extra: object
) -> logging.LogRecord:
    return logging.getLogger("pgsched.worker").makeRecord(
        "pgsched.worker", level, __file__, 1, message, args, None, extra=extra
    )


def line(message: object = "done", *args: object, **extra: object) -> dict[str, Any]:
    return parsed(formatter().line(record(message, *args, **extra)))


def test_line_carries_action_and_ids() -> None:
    found = line("run %s finished", 7, action="run.finished", run_id=7, query_id=3, request_id="a-b", ok=True)
    assert found["msg"] == "run 7 finished"
    assert found["msgid"] == "run.finished"
    assert found["id"] == "pgsched@32473"
    assert found["app"] == "pgsched-api"
    assert found["data"] == {
        "logger": "pgsched.worker",
        "run_id": "7",
        "query_id": "3",
        "request_id": "a-b",
        "ok": "true",
    }


def test_line_without_extra_has_the_nil_msgid() -> None:
    assert line()["msgid"] == "-"


def test_line_has_microseconds_in_utc() -> None:
    made = record()
    made.created = datetime(2026, 3, 1, 23, 59, 59, 123456, tzinfo=UTC).timestamp()
    assert parsed(formatter().line(made))["time"] == "2026-03-01T23:59:59.123456Z"
    made.created = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    assert parsed(formatter().line(made))["time"] == "2026-03-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (25, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
    ],
)
def test_line_has_the_severity_of_its_level(level: int, severity: int) -> None:
    assert parsed(formatter().line(record(level=level)))["pri"] == 3 * 8 + severity


def test_line_escapes_structured_values() -> None:
    value = 'a]b"c\\d[e\nf'
    assert line(value=value)["data"]["value"] == value.replace("\n", "\\n")


def test_line_cannot_be_forged_by_a_message() -> None:
    found = line("a\r\n<26>1 2026-01-01T00:00:00Z h a - - - forged\x00\x1b[31m\u2028\u202eb\ud800")
    assert found["msg"] == (
        "a\\r\\n<26>1 2026-01-01T00:00:00Z h a - - - forged\\u0000\\u001b[31m\\u2028\\u202eb\\ud800"
    )


def test_line_holds_a_traceback_on_one_line() -> None:
    try:
        raise ValueError("postgresql://u:hunter22@h/db")
    except ValueError as error:
        made = record("failed")
        made.exc_info = (ValueError, error, error.__traceback__)
    found = parsed(formatter().line(made))
    assert found["msg"].startswith("failed\\nTraceback (most recent call last):\\n")
    assert found["msg"].endswith("ValueError: postgresql://u:***@h/db")


def test_line_survives_a_wrong_format_string() -> None:
    assert "unformattable" in line("%d rows", "many")["msg"]

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    assert "unformattable" in line("%s", Broken())["msg"]
    assert "unformattable" in line("x", thing=Broken())["data"]["thing"]


def test_line_masks_extras_at_any_depth_and_letter_case() -> None:
    found = line(
        "login",
        body={"User": "ada", "New_Token": "s1", "deep": [{"TOKEN": ["s2"]}]},
        access_token="s3",
        headers=[("Authorization", "Bearer s4"), ("cookie", "sid=s5"), ("accept", "x")],
    )
    assert found["data"]["body"] == '{"User": "ada", "New_Token": "***", "deep": [{"TOKEN": "***"}]}'
    assert found["data"]["access_token"] == "***"
    assert found["data"]["headers"] == '[["Authorization", "***"], ["cookie", "***"], ["accept", "x"]]'


def test_line_shows_and_masks_what_has_bytes_for_keys() -> None:
    headers = line("x", headers={b"authorization": b"Bearer s1", b"accept": b"y"}, token="s")["data"][
        "headers"
    ]
    assert "s1" not in headers
    assert "b'accept': b'y'" in headers


def test_line_masks_arguments_by_their_keys() -> None:
    assert "s1" not in line("%s", {"token": "s1"})["msg"]
    assert line("%(token)s", {"token": "s1"})["msg"] == "***"
    assert line("%s", {"a": {"token": "s1"}, "b": 1})["msg"] == "{'a': {'token': '***'}, 'b': 1}"


extras = st.dictionaries(
    st.text(min_size=1, max_size=40).filter(
        lambda key: key not in vars(record()) and key not in ("message", "asctime")
    ),
    st.one_of(
        st.none(),
        st.integers(),
        st.text(max_size=200),
        st.lists(st.text()),
        st.dictionaries(st.text(), st.text()),
    ),
    max_size=6,
)


@given(st.text(max_size=600), extras, st.integers(64, 700), st.text(max_size=60))
def test_line_is_strict_and_within_its_limit(
    message: str, extra: dict[str, Any], limit: int, app: str
) -> None:
    raw = formatter(limit, app).line(record(message, **extra))
    assert parsed(raw)["payload"] <= limit


@given(
    st.text(st.characters(min_codepoint=32, exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cf")), max_size=300)
)
def test_line_keeps_a_message_that_fits(message: str) -> None:
    found = parsed(formatter(keys=()).line(record("%s", message, other="x")))
    if not re.search("://|bearer|password|authorization|cookie|sid", message, re.IGNORECASE):
        assert found["msg"] == (message or None)


def test_long_message_is_cut_on_a_character_and_ids_stay() -> None:
    found = parsed(formatter(256).line(record("é" * 5000, run_id=7, blob="x" * 9000, query_id=8)))
    assert found["msg"].endswith("é…")
    assert found["data"]["run_id"] == "7"
    assert found["data"]["query_id"] == "8"
    assert found["data"]["truncated"] == "1"
    assert 250 <= found["payload"] <= 256


@given(st.text(st.characters(exclude_categories=("Cs",))), st.integers(0, 50))
def test_cut_never_splits_a_character(text: str, most: int) -> None:
    found = cut(text.encode(), most)
    assert len(found) <= most
    found.decode()
    assert found == text.encode() or len(text.encode()) > most


@given(st.text(), st.integers(1, 255))
def test_header_field_is_printable_ascii(text: str, longest: int) -> None:
    assert re.fullmatch(r"[\x21-\x7e]+", header_field(text, longest))
    assert len(header_field(text, longest)) <= longest
