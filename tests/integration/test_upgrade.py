"""Upgrading under load, with a program that really is the next version; and restoring a dump."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from postgres_fixtures import fresh_database
from processes import ended_run, eventually, installation
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tools import program

import pgsched
from pgsched.adapters.postgres import schema

#: what the next version's step does: a column, an index, a table
NEXT_STEP = """
alter table query_job add column owner text not null default '';
create table note (id bigint generated always as identity primary key, text text not null);
"""


@pytest.fixture
def next_version(tmp_path):
    """A copy of the program with one more migration; gives what PYTHONPATH leads to it."""
    folder = tmp_path / "next"
    shutil.copytree(
        Path(pgsched.__file__).parent, folder / "pgsched", ignore=shutil.ignore_patterns("__pycache__")
    )
    postgres = folder / "pgsched/adapters/postgres"
    (postgres / "migrations" / f"{schema.EXPECTED + 1:04}_next.sql").write_text(NEXT_STEP)
    text = (postgres / "schema.py").read_text()
    changed = re.sub(r"^EXPECTED: Final = \d+", f"EXPECTED: Final = {schema.EXPECTED + 1}", text, flags=re.M)
    assert changed != text
    (postgres / "schema.py").write_text(changed)
    return {"PYTHONPATH": str(folder)}


def test_rolling_upgrade_loses_no_instant_and_no_answer(database, source_db, tmp_path, next_version):
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        query = place.add_query(
            "ticks", "select 1 as one", schedule_expr="PT1S", overlap_policy="queue_all", misfire_policy="all"
        )
        first = ended_run(database, place.json("queries", "run", "ticks")["id"]) if place.worker() else None
        assert first is not None
        old_worker = place._started[-1]
        old_api, old_url = place.api()
        # it has looked at the schema when it is ready
        eventually(lambda: httpx.get(f"{old_url}/readyz", timeout=30).status_code == 200)
        # the step itself, while runs go on
        assert place.run("db", "upgrade", "--dry-run", **next_version).stdout == (
            f"would apply migration {schema.EXPECTED + 1} (next)\n"
        )
        assert place.run("db", "upgrade", **next_version).returncode == 0
        # what ran before goes on: the worker runs, the API answers, but says it is to be replaced
        newest = "select coalesce(max(id), 0) from query_run where status = 'success'"
        ((before,),) = database.execute(newest)
        eventually(lambda: database.execute(newest)[0][0] > before + 2)
        assert httpx.get(f"{old_url}/api/queries/ticks/runs/latest").status_code == 200
        assert httpx.get(f"{old_url}/readyz").json()["code"] == "schema_mismatch"
        # what is started now must be the new version
        refused = place.start("worker")
        assert refused.process.wait(30) == 1
        assert refused.err.splitlines()[-1].endswith("; upgrade pgsched")
        new_api, new_url = place.api(**next_version)
        assert httpx.get(f"{new_url}/readyz").status_code == 200
        assert old_api.end() == 0
        new_worker = place.worker(**next_version)
        assert old_worker.end() == 0
        ((before,),) = database.execute(newest)
        eventually(lambda: database.execute(newest)[0][0] > before + 2)
        assert (new_worker.end(), new_api.end()) == (0, 0)
        # every second has its one outcome, and every outcome is a success
        assert database.execute(
            "select count(*) from query_run where status not in ('success', 'queued')"
        ) == [(0,)]
        ((gaps,),) = database.execute(
            "select count(*) from ("
            " select scheduled_at - lag(scheduled_at) over (order by scheduled_at) as step from query_run"
            " where query_id = %s and trigger = 'schedule') s where step <> interval '1 second'",
            [query["id"]],
        )
        assert gaps == 0


def test_dump_is_restored_as_documented(pg_server, migrated_template, database, source_db, tmp_path):
    """The lines of docs/how-to/back-up-and-restore.md, with this test's databases in their place."""
    page = (Path(__file__).parents[2] / "docs/how-to/back-up-and-restore.md").read_text()
    dump_line, restore_line = (
        re.search(rf"^{name} .*$", page, re.MULTILINE)[0] for name in ("pg_dump", "pg_restore")
    )
    with (
        installation(tmp_path / "place", database.url) as place,
        fresh_database(pg_server, purpose="restored") as restored,
    ):
        place.add_source(source_db)
        place.add_query("three", "select n from generate_series(1, 3) as n", keep_runs="5")
        worker = place.worker()
        run = ended_run(database, place.json("queries", "run", "three")["id"])
        worker.end()
        for line, of in ((dump_line, database), (restore_line, restored)):
            # programs of Postgres 15 do not know every option of today's libpq
            options = conninfo_to_dict(of.conninfo)
            way_in = make_conninfo(**{k: v for k, v in options.items() if k != "require_auth"})
            parts = {"pgsched": way_in, "--dbname=pgsched": f"--dbname={way_in}"}
            parts["--role=pgsched"] = f"--role={options['user']}"
            command = [parts.get(part, part) for part in line.split()]
            command[0] = program(command[0])
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        settings = {"PG_DSN_APP": restored.url}
        assert place.run("db", "upgrade", **settings).returncode == 0
        check = place.run("keys", "check", "--json", **settings)
        assert '"sources": 1' in check.stdout, check.stderr
        shown = place.run("runs", "show", str(run["id"]), "--json", **settings)
        restored_run = json.loads(shown.stdout)
        assert (restored_run["status"], len(restored_run["result"]["data"])) == ("success", 3)


def test_this_python_runs_the_next_version(next_version):
    done = subprocess.run(
        [sys.executable, "-m", "pgsched", "db", "schema"],
        capture_output=True,
        text=True,
        env={**os.environ, **next_version},
    )
    assert "create table note" in done.stdout
