"""Entity tags: one for each thing that can be answered, none for what may still change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from pgsched.adapters.formats.shape import Format, Shape
from pgsched.application.ports.views import StoredRun
from pgsched.domain.audience import EVERYTHING, anonymous
from pgsched.domain.runs import Run, RunStatus, Trigger
from pgsched.entrypoints.http.conditional import entity_tag, is_known

T = datetime(2026, 1, 1, tzinfo=UTC)
PUBLIC = anonymous(public_read=True)


def stored(status: RunStatus = RunStatus.SUCCESS, *, id_: int = 1, end: datetime | None = T) -> StoredRun:
    run = Run(
        id=id_,
        query_id=1,
        scheduled_at=T,
        job_timezone="UTC",
        run_finished_at=end,
        status=status,
        trigger=Trigger.SCHEDULE,
    )
    return StoredRun(run=run, result=None)


def test_tags_differ_wherever_answers_may() -> None:
    runs = [stored(id_=1), stored(id_=2), stored(id_=1, end=T + timedelta(microseconds=1))]
    shapes = [*(Shape(format=format_) for format_ in Format), Shape(offset=1), Shape(limit=1), Shape(limit=0)]
    shapes += [Shape(columns=("a", "b")), Shape(columns=("b", "a")), Shape(columns=("a,b",))]
    shapes += [Shape(bigint_as_string=True), Shape(csv_safe=True, format=Format.CSV)]
    readers = [None, (), ({"a": (1,)},), ({"a": (2,)},)]
    tags = {
        entity_tag(replace(run, rows=rows), shape.tag, audience)
        for run, rows, shape, audience in product(runs, readers, shapes, [PUBLIC, EVERYTHING])
    }
    assert len(tags) == len(runs) * len(readers) * len(shapes) * 2
    assert None not in tags


@pytest.mark.parametrize("status", list(RunStatus))
def test_tags_are_for_finished_runs(status: RunStatus) -> None:
    end = T if status.is_terminal else None
    assert (entity_tag(stored(status, end=end), "table", PUBLIC) is not None) == status.is_terminal


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ('"a-1"', True),
        ('W/"a-1"', True),
        ('"x", "a-1"', True),
        ('"x",W/"a-1","y"', True),
        ("*", True),
        (" * ", True),
        ('"a"', False),
        ("a-1", False),
        ("", False),
        ('"a-1', False),
        ('"x,"a-1', False),
    ],
)
def test_if_none_match_is_compared_weakly_and_as_a_list(header: str, known: bool) -> None:
    assert is_known('"a-1"', header) is known
