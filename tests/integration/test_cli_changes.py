"""Changing and deleting sources and queries on the command line, and a query's dry run."""

from __future__ import annotations

import json

import pytest
from postgres_fixtures import fresh_database, fresh_source
from processes import assert_quiet, backends, eventually, installation

ENDLESS = "select pg_sleep(60)::text as x"


@pytest.fixture(scope="module")
def running(pg_server, migrated_template, tmp_path_factory):
    """One worker, one source."""
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        installation(tmp_path_factory.mktemp("cli-changes"), database.url) as place,
    ):
        place.add_source(source)
        yield place, database, source


def test_dsn_update_changes_what_is_given_and_moves_only_with_the_password(running):
    place, database, source = running
    before = place.json("dsn", "list")[0]
    after = place.json("dsn", "update", "shop", "--max-concurrency", "7", "--no-user-functions")
    changed = {"max_concurrency": 7, "allow_user_functions": False}
    assert after == before | changed | {"updated_at": after["updated_at"]}
    line = place.refused("dsn", "update", "shop", "--host", "localhost")
    assert line == "host: changes only together with the source's password"
    sealed = "select enc_password from data_source where name = 'shop'"
    old = database.execute(sealed)
    done = place.run(
        *("dsn", "update", "shop", "--host", "localhost", "--ask-password", "--reset", "max-concurrency"),
        answers=f"{source.password}\n{source.password}\n",
    )
    assert done.returncode == 0, done.stderr
    assert_quiet(done.stdout + done.stderr, source.password)
    assert database.execute(sealed) != old
    assert place.json("dsn", "list")[0]["max_concurrency"] == 4
    assert place.run("dsn", "test", "shop").returncode == 0
    place.json("dsn", "update", "shop", "--host", source.host, "--password", source.password)


def test_queries_update_changes_what_is_given(running):
    place, _, _ = running
    place.add_query("changed", "select 1 as one", "--disabled", max_rows="5")
    after = place.json(
        *("queries", "update", "changed", "--title", "Changed", "--reset", "max_rows"),
        *("--schedule-type", "cron", "--schedule-expr", "0 6 * * *", "--timezone", "Europe/Berlin"),
    )
    assert (after["title"], after["max_rows"], after["next_run_at"]) == ("Changed", 10_000, None)
    assert place.json("queries", "update", "changed", "--enabled")["next_run_at"] is not None
    assert place.json("queries", "list", "--search", "CHANG", "--enabled")[0]["name"] == "changed"
    assert place.json("queries", "list", "--search", "CHANG", "--disabled") == []
    for arguments, said in (
        (("--sql", "drop table t"), "the SQL is refused"),
        (("--timezone", "x"), "timezone: "),
        (("--reset", "title"), "title: is needed"),
        (("--data-source", "nowhere"), "data_source: there is no data source nowhere"),
    ):
        assert said in place.refused("queries", "update", "changed", *arguments)
    assert place.run("queries", "update", "changed").returncode == 2


def test_queries_test_shows_rows_and_stores_nothing(running):
    place, database, _ = running
    place.add_query(
        "dry", "select 12345678901234567890.5 as big, 'é' as x from generate_series(1, 3)", "--disabled"
    )
    done = place.run("queries", "test", "dry", "--limit", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["BIG", "X"]
    assert "12345678901234567890.5" in done.stdout
    assert done.stderr.startswith("2 rows in ")
    told = place.run("queries", "test", "dry", "--json")
    assert "12345678901234567890.5" in told.stdout
    assert json.loads(told.stdout)["rows_returned"] == 3
    place.add_query("dry_bad", "select nothing from nowhere", "--disabled")
    assert 'relation "nowhere" does not exist' in place.refused("queries", "test", "dry_bad")
    place.add_query("dry_slow", ENDLESS, "--disabled")
    assert "statement timeout" in place.refused("queries", "test", "dry_slow", "--timeout-ms", "300")
    assert database.execute(
        "select count(*) from query_run r join query_job j on j.id = r.query_id where j.name like 'dry%%'"
    ) == [(0,)]


def test_delete_with_force_asks_for_the_name_and_cancels_at_the_source(running):
    place, database, source = running
    worker = place.worker()
    place.add_query("doomed", ENDLESS, "--disabled")
    run_id = place.json("queries", "run", "doomed")["id"]
    place.json("queries", "run", "doomed")
    eventually(lambda: backends(source, f"pgsched:{run_id}/%") == 1)
    assert "ask with force" in place.refused("queries", "delete", "doomed")
    wrong = place.run("queries", "delete", "doomed", "--force", answers="other\n")
    assert (wrong.returncode, wrong.stderr.splitlines()[-1]) == (
        1,
        "Error: 'other' is not 'doomed'; nothing was changed",
    )
    assert backends(source, f"pgsched:{run_id}/%") == 1
    done = place.run("queries", "delete", "doomed", "--force", "--json", answers="doomed\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "doomed"
    eventually(lambda: backends(source, f"pgsched:{run_id}/%") == 0, within_s=5)
    assert database.execute("select count(*) from query_run where id >= %s", [run_id]) == [(0,)]
    assert place.refused("queries", "show", "doomed") == "there is no query doomed"
    assert worker.end() == 0
    assert "Traceback" not in place.everything_said()


def test_source_goes_with_its_queries_and_each_change_left_its_trail(running):
    place, database, _ = running
    assert "at the data source shop" in place.refused("dsn", "delete", "shop")
    place.json("dsn", "delete", "shop", "--force", "--yes")
    for table in ("data_source", "query_job", "query_run"):
        assert database.execute(f"select count(*) from {table}") == [(0,)]
    actions = dict(database.execute("select action, count(*) from audit_event group by 1"))
    assert {"source.create", "source.update", "source.delete"} <= actions.keys()
    assert {"query.create", "query.update", "query.delete", "run.request"} <= actions.keys()
    assert database.execute("select distinct left(actor, 4) from audit_event") == [("cli:",)]
