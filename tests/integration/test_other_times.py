"""A worker bears that somebody sets the metadata server's clock, or brings back a database of yesterday."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from postgres_fixtures import fresh_database
from processes import ended_run, eventually, installation
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tools import program

ROOT = Path(__file__).parents[2]
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


@pytest.mark.slow
def test_database_of_yesterday_loses_no_instant_silently(place, database, pg_server, tmp_path):
    set_clock(database, "-1 day")
    place.add_query("hourly", "select 1 as one", schedule_expr="PT1H", misfire_policy="all")
    place.add_query("often", "select 1 as one", schedule_expr="PT10M")
    place.add_query("long", "select pg_sleep(60)::text as x")
    worker = place.worker()
    under_way = place.json("queries", "run", "long")["id"]
    first = "select count(distinct query_id) from query_run where status = 'success'"
    eventually(lambda: database.execute(first) == [(2,)])
    eventually(lambda: place.json("runs", "show", str(under_way))["status"] == "running")
    programs_run("pg_dump", "--format=custom", f"--file={tmp_path / 'dump'}", way_in(database))
    worker.kill()

    with fresh_database(pg_server, purpose="restored") as restored:
        programs_run("pg_restore", "--no-owner", f"--dbname={way_in(restored)}", str(tmp_path / "dump"))
        restored.execute(f"alter database {restored.dbname} set search_path = travel, pg_catalog, public")
        set_clock(restored, "0")
        place.environment["PG_DSN_APP"] = restored.url
        place.worker()
        waiting = "select 1 from query_run where status in ('queued', 'running') and trigger = 'schedule'"
        planned = "select 1 from query_job where next_run_at <= clock_timestamp()"
        eventually(lambda: not restored.execute(planned) and not restored.execute(waiting))
        told = {name: outcomes(place, name) for name in ("hourly", "often")}
        # the first of each was there already; the rest of the day came due at once
        assert told == {"hourly": {"ran": 25}, "often": {"ran": 2, "missed": 143}}
        again = place.json("runs", "show", str(under_way))
        assert (again["status"], again["attempt"]) == ("running", 2)


@pytest.mark.slow
def test_worker_whose_own_clock_is_wrong_plans_by_the_databases(database, source_db, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        place.add_query("tick", "select 1 as one", schedule_expr="PT1S")
        # leads every Python below this folder's settings astray
        (tmp_path / "sitecustomize.py").write_text("from chaos import wall_clock\nwall_clock.install()\n")
        wrong = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "CHAOS_FOLDER": str(tmp_path)}
        clock = tmp_path / "clock" / "pgsched-worker"
        clock.parent.mkdir()
        clock.write_text("3600")
        place.worker(**wrong, APP_NAME="pgsched-worker")
        ticks = "select count(*) from query_run where status = 'success'"
        eventually(lambda: database.execute(ticks)[0][0] >= 3)
        ahead = place.log("worker").split()[1]
        clock.write_text("-3600")
        ((before,),) = database.execute(ticks)
        eventually(lambda: database.execute(ticks)[0][0] >= before + 3)
        assert place.log("worker").splitlines()[-1].split()[1] < ahead
        assert database.execute("select count(*) from query_run where created_at < scheduled_at") == [(0,)]


def programs_run(name: str, *arguments: str) -> None:
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def way_in(database) -> str:
    # programs of Postgres 15 do not know every option of today's libpq
    options = conninfo_to_dict(database.conninfo)
    return make_conninfo(**{name: value for name, value in options.items() if name != "require_auth"})


def outcomes(place, name: str) -> Counter[str]:
    """How often each outcome is told of a query; late or not, it ran."""
    told = place.json("queries", "ledger", name, "--start", "2000-01-01T00:00:00Z", "--limit", "1000")
    return Counter("ran" if item["outcome"] == "late" else item["outcome"] for item in told["items"])
