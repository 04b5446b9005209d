from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pgsched.domain.errors import EmbeddedFault, FieldFault, InvalidInput, NameTaken
from pgsched.entrypoints.cli.main import one_line
from pgsched.entrypoints.cli.output import card, emit, json_option, plain, printable_json, table, timestamp


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    id: int
    colour: Colour
    at: datetime
    password: str = field(default="hunter22", repr=False)


THING = Thing(id=7, colour=Colour.RED, at=datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))))


def test_times_are_rfc_3339_in_utc() -> None:
    assert timestamp(THING.at) == "2026-01-01T10:00:00Z"
    assert timestamp(THING.at.replace(microsecond=1500)) == "2026-01-01T10:00:00.001500Z"
    with pytest.raises(ValueError, match="zone"):
        timestamp(datetime(2026, 1, 1))


def test_values_become_json_without_their_secrets() -> None:
    value = {
        "thing": THING,
        "path": Path("/a"),
        "n": Decimal("1.10"),
        "for": timedelta(seconds=1),
        "s": (1, None),
    }
    assert plain(value) == {
        "thing": {"id": 7, "colour": "red", "at": "2026-01-01T10:00:00Z"},
        "path": "/a",
        "n": "1.10",
        "for": 1.0,
        "s": [1, None],
    }
    with pytest.raises(TypeError, match="bytes"):
        plain({"ciphertext": b"x"})


def test_table_aligns_text_left_and_numbers_right() -> None:
    rows = [{"name": "日本", "rows": 5, "on": True}, {"name": "orders", "rows": 12345, "on": False}]
    assert table(rows, ["name", "rows", "on"]) == [
        "NAME     ROWS  ON",
        "日本        5  yes",
        "orders  12345  no",
    ]


def test_table_of_nothing_says_so() -> None:
    assert table([], ["name"]) == ["(none)"]


def test_table_takes_rows_that_lack_a_column() -> None:
    assert table([{"a": 1}, {"b": "x"}]) == ["A  B", "1", "   x"]


def test_table_cells_cannot_steer_the_terminal() -> None:
    assert table([{"a": "x\x1b[31m\ny\u202e"}])[1] == "x\\x1b[31m\\ny\\u202e"


def test_card_aligns_its_values() -> None:
    assert card({"id": 1, "name": "orders", "roles": ["a", "b"], "none": None}) == [
        "id:    1",
        "name:  orders",
        "roles: a, b",
        "none:",
    ]


@click.command()
@json_option
def show(as_json: bool) -> None:
    emit([THING, THING], as_json, ["id", "colour"])


def test_json_is_one_document_on_one_line() -> None:
    done = CliRunner().invoke(show, ["--json"])
    assert done.output.count("\n") == 1
    assert json.loads(done.output) == [{"id": 7, "colour": "red", "at": "2026-01-01T10:00:00Z"}] * 2


@pytest.mark.parametrize("text", ["\x9b31m", "\u202eabc", "\U000e0041", "\x1b\x7f\u2028", "Käse 🧀"])
def test_json_cannot_steer_the_terminal_and_reads_the_same(text: str) -> None:
    written = printable_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert written.isprintable()
    assert json.loads(written) == {text: [text]}
    assert ("Käse" in text) == ("Käse" in written)


def test_json_with_white_space_of_its_own_comes_on_one_line() -> None:
    written = printable_json('{"a":\t[1,\r\n2], "b":\n"\\t\x9b"}')
    assert written.isprintable()
    assert json.loads(written) == {"a": [1, 2], "b": "\t\x9b"}


@click.command()
@json_option
def shout(as_json: bool) -> None:
    emit({"name": "a\x9b\u202eb"}, as_json)


def test_what_is_printed_as_json_cannot_steer_the_terminal() -> None:
    assert CliRunner().invoke(shout, ["--json"]).output == '{"name": "a\\u009b\\u202eb"}\n'


def test_without_json_the_columns_are_printed() -> None:
    assert CliRunner().invoke(show, []).output == "ID  COLOUR\n 7  red\n 7  red\n"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NameTaken("query", "a"), NameTaken("query", "a").detail),
        (
            InvalidInput.of(FieldFault(field="a", message="bad"), FieldFault(field="b", message="c")),
            "a: bad; b: c",
        ),
        (InvalidInput("two faults", [FieldFault(field="a", message="bad")]), "two faults; bad"),
        (EmbeddedFault("line 1\n  line 2\x1b[31m"), "line 1 line 2?[31m"),
        (FileNotFoundError(2, "No such file or directory", "x.sql"), "x.sql: No such file or directory"),
        (KeyError("hunter22"), "internal error (KeyError); run with PGSCHED_DEBUG=1 for the trace"),
        (OSError("hunter22"), "internal error (OSError); run with PGSCHED_DEBUG=1 for the trace"),
    ],
)
def test_errors_are_told_in_one_line(error: Exception, text: str) -> None:
    assert one_line(error) == text


def test_utc_is_written_with_z() -> None:
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)).endswith("Z")
