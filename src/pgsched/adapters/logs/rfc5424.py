"""Log records as RFC 5424 writes them, one line each.

::

    <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID [pgsched@32473 key="value" …] BOM message

MSGID is the record's ``action``; every other value of ``extra`` is structured data. Line ends and other
control characters are escaped, so that no message can forge a record of its own.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pgsched.adapters.logs.redaction import MASK, Redactor

#: "system daemons" (RFC 5424 §6.2.1)
FACILITY = 3
SD_NAME = "pgsched"
BOM = b"\xef\xbb\xbf"
#: a parameter that says that others do not fit
_TRUNCATED = b' truncated="1"'

#: attributes of every record (of Python 3.11 to 3.14), which are not extras
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

#: names of keys and header fields that are remembered
_MOST_NAMES = 1000
_NOT_VISIBLE = re.compile(r"[^\x21-\x7e]")
_NOT_IN_SD_NAME = re.compile(r'[^\x21-\x7e]|[="\]]')
# control characters, lone surrogates, Unicode's line ends and what turns the direction of writing
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SD_SPECIAL = re.compile(r'([\\"\]])')
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Rfc5424Formatter(logging.Formatter):
    """Formats a record as one line without its line end; secrets are masked first."""

    def __init__(self, *, app_name: str, enterprise_id: int, max_bytes: int, redactor: Redactor) -> None:
        """Take APP_NAME, RFC_ENTERPRISE_ID, MAX_LOG_BYTES and what masks REDACT_KEYS."""
        super().__init__()
        self._app_name = header_field(app_name, 48)
        self._sd_id = f"{SD_NAME}@{enterprise_id}"
        self._max_bytes = max_bytes
        self._redactor = redactor
        #: the same few keys come with every line
        self._is_secret = lru_cache(maxsize=_MOST_NAMES)(redactor.secret)
        self._hostname = header_field(socket.gethostname(), 255)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line as text; it always encodes to UTF-8."""
        return self.line(record).decode()

    def line(self, record: logging.LogRecord) -> bytes:
        """Return the line as bytes: header, then at most ``max_bytes`` of structured data and message."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        header = " ".join(
            (
                f"<{FACILITY * 8 + _severity(record.levelno)}>1",
                at.replace("+00:00", "Z"),
                self._hostname,
                self._app_name,
                header_field(str(record.process or ""), 128),
                header_field(str(getattr(record, "action", "")), 32),
            )
        )
        message = _escaped(self._redactor.text(self._text(record))).encode()
        # a message keeps at least half of the room, whatever the extras hold
        room = self._max_bytes - min(len(message) + len(BOM) + 1, self._max_bytes // 2)
        data = self._structured_data(record, room)
        line = f"{header} ".encode() + data
        left = self._max_bytes - len(data) - len(BOM) - 1
        if message and left > 0:
            line += b" " + BOM + cut(message, left)
        return line

    def _text(self, record: logging.LogRecord) -> str:
        try:
            text = str(record.msg)
            if record.args:
                # args are masked before they become text, when their keys can still be told
                text = text % self._redactor.value(record.args)
        except Exception as error:  # a wrong format string must not lose the record
            shown = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
            text = f"{shown} [unformattable: {type(error).__name__}]"
        if record.exc_info and record.exc_info[0] is not None:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        if record.stack_info:
            text = f"{text}\n{record.stack_info}"
        return text

    def _structured_data(self, record: logging.LogRecord, room: int) -> bytes:
        """Return the one SD-ELEMENT; what does not fit is cut or left out, and ``truncated`` says so."""
        parameters = [(name, _sd_value(value)) for name, value in self._parameters(record)]
        content = "".join([f' {name}="{value}"' for name, value in parameters])
        element = f"[{self._sd_id}{content}]".encode()
        if len(element) + len(_TRUNCATED) <= room:
            return element
        return self._cut_data(parameters, room)

    def _cut_data(self, parameters: Sequence[tuple[str, str]], room: int) -> bytes:
        element = f"[{self._sd_id}".encode()
        truncated = False
        for name, value in parameters:
            start = f' {name}="'.encode()
            content = value.encode()
            spare = room - len(element) - len(start) - len(_TRUNCATED) - 2
            if len(content) <= spare:
                element += start + content + b'"'
                continue
            # half of what is left, so that the ids after a long value still find a place
            kept = _cut_sd(content, spare // 2)
            if kept:
                element += start + kept + b'"'
            truncated = True
        if truncated:
            element += _TRUNCATED
        return element + b"]" if len(element) + 1 <= self._max_bytes else b"-"

    def _parameters(self, record: logging.LogRecord) -> Iterator[tuple[str, str]]:
        yield "logger", record.name
        # readers keep one value a name
        taken: set[str] = set()
        for key, value in vars(record).items():
            if key in _STANDARD or key == "action" or value is None:
                continue
            name = _param_name(key)
            if name in taken:
                name = f"{name[:24]}.{len(taken)}"
            taken.add(name)
            yield name, MASK if self._is_secret(key) else self._value_text(value)

    def _value_text(self, value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if type(value) is int and value.bit_length() < 64:
            return str(value)
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        try:
            if isinstance(value, (dict, list, tuple, set, frozenset)):
                masked = self._redactor.value(value)
                try:
                    text = json.dumps(masked, default=str, ensure_ascii=False)
                except TypeError:  # keys that JSON does not have, such as the bytes of ASGI's headers
                    text = str(masked)
                return self._redactor.text(text)
            return self._redactor.text(str(value))
        except Exception as error:  # nor must an object that cannot be shown
            return f"[unformattable: {type(error).__name__}]"


@lru_cache(maxsize=_MOST_NAMES)
def _param_name(key: str) -> str:
    name = _NOT_IN_SD_NAME.sub("_", key)[:32]
    return f"_{name}" if name in ("", "logger", "truncated") else name


@lru_cache(maxsize=_MOST_NAMES)
def header_field(text: str, longest: int) -> str:
    """Bring a text into PRINTUSASCII of limited length, ``-`` (NILVALUE) when nothing is left (§6.2)."""
    return _NOT_VISIBLE.sub("_", text)[:longest] or "-"


def cut(encoded: bytes, most: int) -> bytes:
    """Shorten UTF-8 to ``most`` bytes, ending with … where there is room, never within a character."""
    if len(encoded) <= most:
        return encoded
    ellipsis = "…".encode()
    if most < len(ellipsis):
        return encoded[:most].decode(errors="ignore").encode()
    return encoded[: most - len(ellipsis)].decode(errors="ignore").encode() + ellipsis


def _cut_sd(content: bytes, most: int) -> bytes:
    """Shorten an escaped value; half an escape at the end would swallow the closing quote."""
    if most < 3:
        return b""
    kept = content[: most - 3].decode(errors="ignore").encode()
    if (len(kept) - len(kept.rstrip(b"\\"))) % 2:
        kept = kept[:-1]
    return kept + "…".encode()


def _sd_value(text: str) -> str:
    """Escape a PARAM-VALUE (§6.3.3): backslash before quotation mark, backslash and closing bracket."""
    if text.isalnum() and text.isascii():
        return text
    # backslashes first, so that those of escaped control characters survive a strict reader
    return _SD_SPECIAL.sub(r"\\\1", _escaped(text))


def _escaped(text: str) -> str:
    # far cheaper; what is printable has nothing unsafe in it
    if text.isprintable():
        return text
    return _UNSAFE.sub(lambda match: _SHORT.get(match[0], f"\\u{ord(match[0]):04x}"), text)


def _severity(level: int) -> int:
    if level >= logging.CRITICAL:
        return 2
    if level >= logging.ERROR:
        return 3
    if level >= logging.WARNING:
        return 4
    return 6 if level >= logging.INFO else 7
