"""Previews: the first rows, in column order, with the digits they are stored with."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pgsched.domain.runs import Run, RunStatus, Trigger
from pgsched.entrypoints.http.preview import COLUMNS, ROWS, Cell, Preview, preview_of

RUN = Run(
    id=1,
    query_id=1,
    scheduled_at=datetime(2026, 1, 1, tzinfo=UTC),
    job_timezone="UTC",
    status=RunStatus.SUCCESS,
    trigger=Trigger.SCHEDULE,
)


def previewed(rows: str, **types: str) -> Preview:
    fields = [{"name": name, "type": type_} for name, type_ in types.items()]
    return preview_of(RUN, json.dumps({"fields": fields}).encode(), [rows.encode()])


def test_preview_has_the_schemas_order_and_the_stored_digits() -> None:
    preview = previewed(
        '[{"n": 1.10, "s": "a\\"b", "t": "2026-01-01T06:00:00Z", "j": {"k": [1]}, "x": null}]',
        s="string",
        n="number",
        t="datetime",
        j="any",
        x="integer",
    )
    assert preview.columns == (("s", False), ("n", True), ("t", False), ("j", False), ("x", True))
    assert [cell.text for cell in preview.rows[0]] == [
        'a"b',
        "1.10",
        "2026-01-01 06:00:00",
        '{"k": [1]}',
        "",
    ]
    assert preview.rows[0][4] == Cell(text="", null=True)


def test_preview_ends_after_some_rows_and_columns() -> None:
    types = {f"c{number}": "integer" for number in range(COLUMNS + 3)}
    row = json.dumps(dict.fromkeys(types, 1))
    preview = previewed(f"[{', '.join([row] * (ROWS + 1))}]", **types)
    assert (len(preview.rows), len(preview.columns), preview.hidden_columns) == (ROWS, COLUMNS, 3)


def test_preview_cuts_long_values_and_keeps_them_at_hand() -> None:
    (row,) = previewed(f'[{{"s": "{"x" * 500}"}}]', s="string").rows
    assert row[0].text.endswith("…")
    assert row[0].whole == "x" * 500


def test_preview_of_no_rows_still_has_its_columns() -> None:
    assert previewed("[]", a="string").columns == (("a", False),)


def test_preview_of_a_moment_is_alike_where_another_row_made_its_column_text() -> None:
    fields = {"fields": [{"name": "t", "type": "string", "pgOid": 1114}]}
    row = b'[{"t": "2026-01-01T06:00:00.000000"}, {"t": "infinity"}]'
    rows = preview_of(RUN, json.dumps(fields).encode(), [row]).rows
    assert [cells[0].text for cells in rows] == ["2026-01-01 06:00:00", "infinity"]
