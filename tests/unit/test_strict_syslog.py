"""The reader that judges pgsched's logs refuses what it should: else its verdict is worth nothing."""

from __future__ import annotations

import pytest
from strict_syslog import NotSyslog, lines_of, parse

GOOD = (
    b"<30>1 2026-03-10T12:00:00.000001Z host pgsched-api 7 run.ended "
    b'[pgsched@32473 logger="x" path="a\\"b\\\\c\\]d"] \xef\xbb\xbfk\xc3\xa4se'
)


def test_reader_reads_every_field() -> None:
    line = parse(GOOD)
    assert (line.facility, line.severity, line.hostname, line.app_name) == (3, 6, "host", "pgsched-api")
    assert (line.procid, line.msgid, line.sd_id) == ("7", "run.ended", "pgsched@32473")
    assert line.data == {"logger": "x", "path": 'a"b\\c]d'}
    assert line.message == "käse"
    assert line.at.isoformat() == "2026-03-10T12:00:00.000001+00:00"


def test_reader_takes_nil_values() -> None:
    assert parse(b"<30>1 2026-03-10T12:00:00.000001Z - - - - -").message is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<30>", b"<192>"),
        (b"<30>", b"<030>"),
        (b"<30>1", b"<30>2"),
        (b"000001Z", b"001Z"),
        (b"000001Z", b"000001+00:00"),
        (b"03-10T", b"02-30T"),
        (b"host ", b"h\xc3\xb6st "),
        (b"host ", b" "),
        (b"pgsched-api", b"x" * 49),
        (b"run.ended", b"x" * 33),
        (b"pgsched@32473", b"pgsched"),
        (b"pgsched@32473", b"pgsched@x"),
        (b'\\"b', b'"b'),
        (b"\\]d", b"]d"),
        (b"\\\\c", b"\\c"),
        (b'logger="x"', b'path="x"'),
        (b'logger="x"', b"logger=x"),
        (b'logger="x"', b'logger="\n"'),
        (b'd"]', b'd"'),
        (b"] \xef", b"]\xef"),
        (b"\xef\xbb\xbf", b""),
        (b"k\xc3\xa4", b"k\xc3"),
        (b"k\xc3\xa4", b"k\x1b["),
        (b"k\xc3\xa4", b"k\xe2\x80\xa8"),
    ],
)
def test_reader_refuses_what_is_wrong(old: bytes, new: bytes) -> None:
    assert old in GOOD
    with pytest.raises((NotSyslog, ValueError)):
        parse(GOOD.replace(old, new, 1))


def test_reader_refuses_torn_and_joined_lines(tmp_path) -> None:
    path = tmp_path / "log"
    path.write_bytes(GOOD + b"\n" + GOOD + b"\n")
    assert len(list(lines_of(path))) == 2
    for content in (GOOD, GOOD + b"\n" + GOOD[:40] + b"\n", GOOD + b"\n\n", GOOD[5:] + b"\n"):
        path.write_bytes(content)
        with pytest.raises(NotSyslog):
            list(lines_of(path))
