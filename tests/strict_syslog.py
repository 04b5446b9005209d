"""A strict reader of RFC 5424: what a line that pgsched writes must be, field by field.

Stricter than the RFC in what pgsched promises beyond it: microseconds in UTC, visible ASCII in the header, no
control character anywhere, every backslash of a PARAM-VALUE part of an escape, MSG always with its BOM.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_HEAD = re.compile(
    rb"<(0|[1-9][0-9]{0,2})>1"
    rb" ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z)"
    rb" ([\x21-\x7e]{1,255}) ([\x21-\x7e]{1,48}) ([\x21-\x7e]{1,128}) ([\x21-\x7e]{1,32}) "
)
_SD_NAME = re.compile(rb"[\x21\x23-\x3c\x3e-\x5c\x5e-\x7e]{1,32}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
BOM = b"\xef\xbb\xbf"


class NotSyslog(AssertionError):
    """The line is not what it should be; says where."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One record as it was read."""

    facility: int
    severity: int
    at: datetime
    hostname: str
    app_name: str
    procid: str
    msgid: str
    #: of the one SD-ELEMENT, None for NILVALUE
    sd_id: str | None
    #: its parameters, unescaped
    data: dict[str, str]
    #: None when there is none
    message: str | None
    #: bytes of structured data and message
    payload: int


def parse(line: bytes) -> Line:
    """Read one line without its line end, or raise NotSyslog."""
    head = _HEAD.match(line)
    if head is None:
        raise NotSyslog(f"no header: {line[:120]!r}")
    priority = int(head[1])
    if priority > 191:
        raise NotSyslog(f"PRI {priority}")
    sd_id, data, end = _structured_data(line, head.end())
    message = None
    if end < len(line):
        if line[end : end + 1] != b" ":
            raise NotSyslog(f"no blank after the structured data: {line[end : end + 20]!r}")
        if line[end + 1 : end + 4] != BOM:
            raise NotSyslog(f"MSG without BOM: {line[end : end + 20]!r}")
        message = _text(line[end + 4 :])
    return Line(
        facility=priority // 8,
        severity=priority % 8,
        # the RFC's times are those of the calendar; this raises for the 30th of February
        at=datetime.fromisoformat(head[2].decode()),
        hostname=head[3].decode(),
        app_name=head[4].decode(),
        procid=head[5].decode(),
        msgid=head[6].decode(),
        sd_id=sd_id,
        data=data,
        message=message,
        payload=len(line) - head.end(),
    )


def lines_of(path: Path) -> Iterator[Line]:
    """Read a whole file strictly: each record one line, the last one ended too."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if content and not content.endswith(b"\n"):
        raise NotSyslog(f"{path}: the last line is torn: {content[-80:]!r}")
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            yield parse(line)
        except (NotSyslog, ValueError) as error:
            raise NotSyslog(f"{path}, line {number}: {error}") from None


#: files that were read to their end, as they were then: path, bytes
_READ: set[tuple[Path, int]] = set()


def check(path: Path) -> int:
    """Read a whole file strictly and return how many records it has; one that was read before has none."""
    known = (path, path.stat().st_size)
    if known in _READ:
        return 0
    _READ.add(known)
    return sum(1 for _ in lines_of(path))


def _structured_data(line: bytes, start: int) -> tuple[str | None, dict[str, str], int]:
    if line[start : start + 1] == b"-":
        return None, {}, start + 1
    if line[start : start + 1] != b"[":
        raise NotSyslog(f"no structured data: {line[start : start + 20]!r}")
    name, at = _name(line, start + 1)
    if not re.fullmatch(rb"[^@]+@(0|[1-9][0-9]*)", name):
        raise NotSyslog(f"SD-ID {name!r} is not name@enterprise")
    data: dict[str, str] = {}
    while line[at : at + 1] == b" ":
        key, at = _name(line, at + 1)
        if line[at : at + 2] != b'="':
            raise NotSyslog(f"no value after {key!r}")
        value, at = _value(line, at + 2)
        if key.decode() in data:
            raise NotSyslog(f"{key!r} twice")
        data[key.decode()] = value
    if line[at : at + 1] != b"]":
        raise NotSyslog(f"the element does not end: {line[at : at + 20]!r}")
    return name.decode(), data, at + 1


def _name(line: bytes, at: int) -> tuple[bytes, int]:
    found = _SD_NAME.match(line, at)
    if found is None:
        raise NotSyslog(f"no SD-NAME: {line[at : at + 20]!r}")
    return found[0], found.end()


def _value(line: bytes, at: int) -> tuple[str, int]:
    value = bytearray()
    while at < len(line):
        byte = line[at : at + 1]
        if byte == b'"':
            return _text(bytes(value)), at + 1
        if byte == b"]":
            raise NotSyslog("] unescaped in a value")
        if byte == b"\\":
            at += 1
            byte = line[at : at + 1]
            if byte not in (b'"', b"\\", b"]"):
                raise NotSyslog(f"\\{byte!r} is no escape")
        value += byte
        at += 1
    raise NotSyslog("a value does not end")


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        raise NotSyslog(f"not UTF-8: {error}") from None
    if found := _CONTROL.search(text):
        raise NotSyslog(f"control character {found[0]!r}")
    return text
