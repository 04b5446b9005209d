"""Cancelling over HTTP, wherever a run stands: the run ends, and its backend at the source is gone.

The bounds on time are there to fail when nothing happens; closer ones would measure the machine.
"""

from __future__ import annotations

import httpx
import pytest
from postgres_fixtures import fresh_database, fresh_source
from processes import backends, ended_run, eventually, installation

PASSWORD = "a long enough password"
#: catches every cancel request, and the source's own timeout too
STUBBORN = """
create function stubborn() returns int language plpgsql as $$
begin
    loop
        begin
            perform pg_sleep(60);
        exception when query_canceled then null;
        end;
    end loop;
end $$;
create function counts() returns setof int language plpgsql as $$
begin
    for n in 1..1000000000 loop return next n; end loop;
end $$
"""
#: where a run stands when it is cancelled
STATEMENTS = {
    "sleeping": "select pg_sleep(60)::text as x",
    "stubborn": "select stubborn() as x",
    "computing": "select count(*) from generate_series(1, 100000000000) as n",
    "collecting": "select n from counts() as n",
    "fetching": "select n, repeat('x', 500) as x from generate_series(1, 9999) n, generate_series(1, 9999) m",
}


@pytest.fixture(scope="module")
def running(pg_server, migrated_template, tmp_path_factory):
    """A worker, an API with an editor logged in, and a source."""
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        installation(tmp_path_factory.mktemp("cancels"), database.url) as place,
    ):
        source.execute(STUBBORN)
        place.add_source(source)
        person = ("--email", "editor@example.com", "--name", "E", "--roles", "editor", "--password", PASSWORD)
        place.json("users", "add", *person)
        place.worker()
        _, url = place.api()
        with httpx.Client(base_url=url, timeout=30) as editor:
            given = {"email": "editor@example.com", "password": PASSWORD}
            assert editor.post("/api/auth/login", json=given).status_code == 200
            yield editor, database, source


def start(editor: httpx.Client, name: str, **changes: object) -> int:
    query = {"name": name, "title": name, "data_source": "shop", "enabled": False}
    query |= {"schedule_type": "interval", "schedule_expr": "P1D"}
    params = changes.pop("params", None)
    made = editor.post("/api/admin/queries", json=query | changes)
    assert made.status_code == 201, made.text
    asked = editor.post(f"/api/admin/queries/{name}/run", json={"params": params})
    assert asked.status_code == 202, asked.text
    return asked.json()["id"]


@pytest.mark.parametrize("stands", STATEMENTS)
def test_cancel_ends_a_run_and_its_backend(running, stands):
    editor, database, source = running
    limits = {"max_rows": 1_000_000_000, "max_bytes": 1 << 30, "timeout_ms": 60_000}
    run_id = start(editor, stands, sql_text=STATEMENTS[stands], **limits)
    mine = f"pgsched:{run_id}/%"
    busy = "select 1 from pg_stat_activity where application_name like %s and state = 'active'"
    eventually(lambda: source.server.execute(busy, [mine]))
    if stands == "fetching":
        chunks = "select 1 from query_run_chunk where run_id = %s limit 1"
        eventually(lambda: database.execute(chunks, [run_id]))
    assert editor.post(f"/api/admin/runs/{run_id}/cancel").status_code == 202
    run = ended_run(database, run_id, within_s=10)
    assert (run["status"], run["error_code"], run["attempt"]) == ("cancelled", "cancelled", 1)
    eventually(lambda: backends(source, mine) == 0, within_s=10)
    assert editor.get(f"/api/runs/{run_id}").json()["result"] is None
    again = editor.post(f"/api/admin/runs/{run_id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "not_cancellable")


def test_backend_that_ignores_its_timeout_is_gone_after_it(running):
    editor, database, source = running
    run_id = start(editor, "ignores", sql_text=STATEMENTS["stubborn"], timeout_ms=500)
    run = ended_run(database, run_id)
    assert (run["status"], run["error_code"], run["attempt"]) == ("error", "query_timeout", 1)
    eventually(lambda: backends(source, f"pgsched:{run_id}/%") == 0, within_s=10)


#: SQLSTATEs of every class that has something to say here, and whether trying again may help
SQLSTATES = {
    "08006": True, "40001": True, "40P01": True, "53300": True, "55P03": True, "57P01": True, "57P03": True,
    "0A000": False, "22012": False, "23505": False, "25006": False, "42501": False, "53100": False,
    "53200": False, "53400": False, "54000": False, "55000": False, "57P05": False, "58030": False,
    "P0001": False, "XX000": False,
}  # fmt: skip


def test_only_what_can_pass_by_itself_is_tried_again(running):
    editor, database, source = running
    source.execute(
        "create function fails(code text) returns int language plpgsql as"
        " $$ begin raise exception 'no' using errcode = code; end $$"
    )
    sets = {f"c{code}": {"code": code} for code in SQLSTATES}
    first = start(
        editor,
        "fails",
        sql_text="select fails(:code) as n",
        parameters=[{"name": "code", "type": "text"}],
        param_sets=sets,
        params="c08006",
        overlap_policy="allow",
        max_attempts=2,
        retry_backoff_s=1,
    )
    ids = {"c08006": first}
    for name in list(sets)[1:]:
        ids[name] = editor.post("/api/admin/queries/fails/run", json={"params": name}).json()["id"]
    runs = {name.removeprefix("c"): ended_run(database, run_id) for name, run_id in ids.items()}
    assert {code: run["attempt"] == 2 for code, run in runs.items()} == SQLSTATES
    assert {code: run["error_sqlstate"] for code, run in runs.items()} == {code: code for code in SQLSTATES}
    assert {(run["status"], run["error_code"]) for run in runs.values()} == {("error", "query_failed")}


def test_a_worker_runs_a_query_with_the_set_that_is_named(running):
    editor, database, _ = running
    sets = {
        "parameters": [
            {"name": "n", "type": "int"},
            {"name": "day", "type": "date", "default": {"sql": "(:scheduled_at)::date - 1"}},
        ],
        "param_sets": {"one": {"n": 1}, "two": {"n": 2}},
    }
    query = {"name": "in_sets", "title": "x", "data_source": "shop", "enabled": False}
    query |= {
        "schedule_type": "interval",
        "schedule_expr": "P1D",
        "sql_text": "select :n * 10 as n, :day as day",
    }
    assert editor.post("/api/admin/queries", json=query | sets).status_code == 201
    for name, n in (("two", 20), ("one", 10)):
        asked = editor.post("/api/admin/queries/in_sets/run", json={"params": name}).json()
        run = ended_run(database, asked["id"])
        assert (run["status"], run["params"]) == ("success", name)
        latest = editor.get("/api/queries/in_sets/runs/latest", params={"params": name}).json()
        assert (latest["id"], latest["result"]["data"][0]["n"]) == (asked["id"], n)
        assert latest["param_values"] == {"n": str(n // 10), "day": latest["result"]["data"][0]["day"]}
