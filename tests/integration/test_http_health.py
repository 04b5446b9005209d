"""Health: alive without the database, ready only with it and the right schema."""

from __future__ import annotations

import time

import httpx
import psycopg
from http_fixtures import Rows, api_over, served, services_over
from postgres_fixtures import Database
from test_http_reading import problem


def test_ready_when_database_and_schema_are_right(database: Database) -> None:
    with api_over(database) as api:
        assert api.get("/healthz").json() == {"status": "ok"}
        answer = api.get("/readyz")
        told = answer.json()
        assert answer.status_code == 200
        assert (told["status"], told["database"], told["workers"]) == ("ok", "ok", 0)
        assert told["schema"] >= 1
        assert "no worker is running" in told["warnings"][0]
        assert answer.headers["cache-control"] == "no-store"


def test_not_ready_on_an_empty_database(empty_database: Database) -> None:
    with api_over(empty_database) as api:
        assert problem(api.get("/readyz")) == (503, "schema_mismatch")
        assert "pgsched db upgrade" in api.get("/readyz").json()["detail"]
        assert problem(api.get("/api/queries")) == (503, "schema_mismatch")
        assert api.get("/healthz").status_code == 200


def test_database_down_is_told_in_time_and_tells_no_password() -> None:
    nowhere = psycopg.conninfo.make_conninfo(
        host="127.0.0.1", port=1, user="a", password="hunter2", dbname="b"
    )
    with served(lambda: services_over(nowhere)) as url, httpx.Client(base_url=url, timeout=30) as api:
        assert api.get("/healthz").status_code == 200
        for path in ("/readyz", "/api/queries", "/api/queries/a/runs/latest", "/"):
            asked = time.monotonic()
            answer = api.get(path)
            assert time.monotonic() - asked < 5
            assert problem(answer) == (503, "database_unavailable")
            assert answer.headers["retry-after"]
            assert "hunter2" not in answer.text


def test_connections_that_died_are_replaced(database: Database) -> None:
    run = Rows(conninfo=database.conninfo)
    run_id = run.run(run.query())
    with api_over(database) as api:
        assert api.get(f"/api/runs/{run_id}").status_code == 200
        database.server.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database.dbname]
        )
        time.sleep(0.1)
        assert api.get(f"/api/runs/{run_id}").status_code == 200
