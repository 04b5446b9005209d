"""Lines of the access log made from templates are those that the formatter would make."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pgsched.adapters.logs.access import Answered, BatchedAccessLog, Lines, _record
from pgsched.adapters.logs.redaction import Redactor
from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter

FORMATTER = Rfc5424Formatter(
    app_name="pgsched-api", enterprise_id=32473, max_bytes=600, redactor=Redactor(["token", "secret"])
)
PATHS = st.sampled_from(
    [
        "/api/queries/orders/runs/latest",
        '/a"]\\\n=',
        "/token=abc",
        "/987654.25",
        "/1970-01-01T00:00:00.000000Z",
        "/Request.Id.To.Be.Put.In-",
        "/" + "x" * 400,
        "/" + "é" * 700,
    ]
)


@given(
    path=PATHS | st.text(st.characters(max_codepoint=255), max_size=40),
    client=st.sampled_from([None, "127.0.0.1", "2001:db8::1"]),
    requests=st.lists(
        st.tuples(
            st.floats(min_value=0, max_value=4e9),
            st.floats(min_value=0, max_value=1e5).map(lambda ms: round(ms, 1)),
            st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_lines_from_templates_are_the_formatters(path, client, requests) -> None:
    lines = Lines()
    for created, duration_ms, request_id in requests:
        answered = Answered("GET", path, 200, duration_ms, client, request_id)
        record = _record(answered)
        record.created = created
        assert lines.line(FORMATTER.line, created, answered) == FORMATTER.line(record)


class _Listing(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(FORMATTER)
        self.lines: list[bytes] = []

    def write_lines(self, lines: Sequence[tuple[float, bytes]]) -> None:
        self.lines += [line for _, line in lines]


async def test_every_answer_is_written_once_by_each_handler() -> None:
    root, handler, plain = logging.getLogger(), _Listing(), logging.handlers.BufferingHandler(10_000)
    before = root.level
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    root.addHandler(plain)
    try:
        log = BatchedAccessLog()
        for number in range(2000):
            log.note(Answered("GET", "/x", 200, 0.1, None, f"id-{number}-"))
        await log.close()
    finally:
        root.removeHandler(handler)
        root.removeHandler(plain)
        root.setLevel(before)
    wanted = [f"id-{number}-" for number in range(2000)]
    assert [each for each, line in zip(wanted, handler.lines, strict=True) if each.encode() in line] == wanted
    assert [vars(record)["request_id"] for record in plain.buffer] == wanted
