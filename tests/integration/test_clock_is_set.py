"""A worker bears that somebody sets the metadata server's clock, or that its own is wrong."""

from __future__ import annotations

import pytest
from processes import ended_run, eventually, installation

#: found before the server's by every statement of pgsched's; goes on like it, and can be set
_CLOCK = """
create schema travel;
create table travel.clock (wrong_by interval not null);
insert into travel.clock values ('0');
create function travel.clock_timestamp() returns timestamptz language sql volatile
    as 'select pg_catalog.clock_timestamp() + wrong_by from travel.clock';
alter database {dbname} set search_path = travel, pg_catalog, public"""


@pytest.fixture
def place(database, source_db, tmp_path):
    for statement in _CLOCK.format(dbname=database.dbname).split(";\n"):
        database.execute(statement)
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        yield place


def set_clock(database, wrong_by: str) -> None:
    database.execute("update travel.clock set wrong_by = %s", [wrong_by])


def ticks_after(database, name: str):
    """Successes of a query after this moment."""
    ((now,),) = database.execute("select travel.clock_timestamp()")
    count = "select count(*) >= 2 from query_run r join query_job j on j.id = r.query_id where j.name = %s"
    more = f"{count} and r.status = 'success' and r.scheduled_at > %s"
    return lambda: database.execute(more, [name, now]) == [(True,)]


@pytest.mark.slow
def test_metadata_clock_that_is_set_loses_nothing(place, database):
    place.add_query("tick", "select 1 as one", schedule_expr="PT1S")
    place.add_query("long", "select pg_sleep(8)::text as x", schedule_expr="P1D")
    worker = place.worker()
    eventually(ticks_after(database, "tick"))

    # an hour forwards by mistake: what that hour names is not planned before somebody takes it back
    set_clock(database, "1 hour")
    eventually(lambda: "clock was set forwards" in place.log("worker"))
    set_clock(database, "0")
    eventually(lambda: "clock was set back" in place.log("worker"))
    eventually(ticks_after(database, "tick"))
    assert database.execute(
        "select count(*) from query_run where scheduled_at > pg_catalog.clock_timestamp() + interval '1 min'"
    ) == [(0,)]
    assert database.execute("select count(*) from query_gap") == [(0,)]

    # an hour back: what runs goes on, what is asked for runs at once, no lease reaches an hour ahead
    by_hand = place.json("queries", "run", "long")
    eventually(lambda: place.json("runs", "show", str(by_hand["id"]))["status"] == "running")
    set_clock(database, "-1 hour")
    far = "select count(*) from query_run where lease_until > travel.clock_timestamp() + interval '1 min'"
    eventually(lambda: database.execute(far) == [(0,)])
    other = place.json("queries", "run", "tick")
    assert ended_run(database, other["id"], within_s=15)["status"] == "success"
    run = ended_run(database, by_hand["id"], within_s=25)
    assert (run["status"], run["attempt"]) == ("success", 1)
    assert worker.process.poll() is None
