"""Running by hand over HTTP, dry runs, checks, and the trail that writes leave."""

from __future__ import annotations

import asyncio
import json
import threading

import httpx
from offices import ENDLESS, SECRET, Office
from people import code, people_over
from processes import backends, eventually

# runs by hand


def test_run_by_hand_is_queued_and_cancelled(office: Office) -> None:
    office.add_source()
    office.add_query()
    for path in ("/api/admin/queries/sales/run", "/api/admin/runs/1/cancel"):
        assert code(office.editor.post(path, content=b"x")) == (415, "unsupported_media_type")
        assert code(office.editor.post(path, json={"now": 1})) == (400, "invalid_request")
    asked = office.editor.post("/api/admin/queries/sales/run")
    run = asked.json()
    assert (asked.status_code, run["status"], run["trigger"]) == (202, "queued", "manual")
    assert asked.headers["location"] == f"/api/runs/{run['id']}"
    assert code(office.editor.delete("/api/admin/queries/sales")) == (409, "has_runs")
    assert code(office.admin.delete("/api/datasources/shop")) == (409, "in_use")
    cancelled = office.editor.post(f"/api/admin/runs/{run['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert code(office.editor.post(f"/api/admin/runs/{run['id']}/cancel")) == (409, "not_cancellable")
    office.editor.post("/api/admin/queries/sales/run")
    assert office.admin.delete("/api/datasources/shop?force=1").status_code == 204
    assert office.people.sql("select count(*) from query_run") == [(0,)]


def test_dry_run_gives_rows_and_stores_nothing(office: Office) -> None:
    office.add_source()
    office.add_query()
    before = office.state()
    whole = office.editor.post("/api/admin/queries/sales/test")
    assert whole.status_code == 200
    found = whole.json()
    assert (found["rows_returned"], found["truncated"]) == (5, False)
    assert found["result"]["data"][0] == {"n": 1, "x": "é"}
    assert [field["name"] for field in found["result"]["schema"]["fields"]] == ["n", "x"]
    some = office.editor.post("/api/admin/queries/sales/test", json={"limit": 2, "timeout_ms": None}).json()
    assert (some["rows_returned"], some["truncated"], len(some["result"]["data"])) == (2, True, 2)
    for wrong in ({"limit": 0}, {"limit": 10_001}, {"timeout_ms": 300_001}, {"limit": "5"}, {"rows": 5}):
        answer = office.editor.post("/api/admin/queries/sales/test", json=wrong)
        assert (code(answer), answer.json()["errors"][0]["field"]) == (
            (400, "invalid_request"),
            next(iter(wrong)),
        )
    assert code(office.editor.post("/api/admin/queries/sales/test", content=b"x")) == (
        415,
        "unsupported_media_type",
    )
    assert office.state() == before


def test_dry_run_tells_an_editor_all_that_the_source_said(office: Office) -> None:
    office.add_source()
    office.add_query(sql_text="select nothing from nowhere")
    answer = office.editor.post("/api/admin/queries/sales/test")
    assert code(answer) == (422, "query_failed")
    told = answer.json()
    assert (told["sqlstate"], told["message"], told["position"]) == (
        "42P01",
        'relation "nowhere" does not exist',
        21,
    )
    office.editor.patch("/api/admin/queries/sales", json={"sql_text": ENDLESS})
    slow = office.editor.post("/api/admin/queries/sales/test", json={"timeout_ms": 200})
    assert code(slow) == (504, "query_timeout")
    office.admin.patch("/api/datasources/shop", json={"port": 1, "password": SECRET})
    away = office.editor.post("/api/admin/queries/sales/test")
    assert code(away) == (502, "source_unreachable")
    assert SECRET not in away.text


def test_dry_runs_are_few_at_once_over_all_processes_and_end_with_their_client(
    office: Office, key_settings: dict[str, str]
) -> None:
    office.add_source()
    query = office.add_query(sql_text=ENDLESS)
    at_source = f"pgsched:test/{query['id']}"
    cookie = office.editor.headers["Cookie"]

    async def try_three(elsewhere: str) -> list[httpx.Response]:
        path, headers = "/api/admin/queries/sales/test", {"Cookie": cookie}
        async with httpx.AsyncClient(base_url=office.people.url, headers=headers, timeout=30) as client:
            under_way = [asyncio.create_task(client.post(path)) for _ in range(2)]
            while backends(office.source, at_source) < 2:  # noqa: ASYNC110 (the source sets no event)
                await asyncio.sleep(0.05)
            # another process's stand-in: a server of its own over the same database
            third = [await client.post(base + path) for base in ("", elsewhere)]
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            return third

    with people_over(office.database, **key_settings) as elsewhere:
        refused = asyncio.run(try_three(elsewhere.url))
    for third in refused:
        assert code(third) == (429, "too_many_requests")
        assert int(third.headers["retry-after"]) >= 1
    eventually(lambda: backends(office.source, at_source) == 0, within_s=5)
    office.editor.patch("/api/admin/queries/sales", json={"sql_text": "select 1 as one"})
    assert office.editor.post("/api/admin/queries/sales/test").status_code == 200


def test_dry_runs_one_after_another_share_a_connection_that_workers_know_of(office: Office) -> None:
    source = office.add_source()
    office.add_query(sql_text="select pg_backend_pid() as pid")

    def pid() -> int:
        answer = office.editor.post("/api/admin/queries/sales/test")
        return answer.json()["result"]["data"][0]["pid"]

    assert pid() == pid()
    # no worker has a number below 0; the last dry run of another test may still be noted
    kept = "select connections from source_kept where data_source_id = %s and worker_id < 0"
    assert office.people.sql(kept, [source["id"]]) == [(1,)]
    office.admin.patch("/api/datasources/shop", json={"max_concurrency": 1})
    # the one that was kept, and then none: a source's only place is for its runs
    assert len({pid(), pid(), pid()}) == 3


# parameter sets

SETS = {
    "sql_text": "select :n as n",
    "parameters": [{"name": "n", "type": "int"}],
    "param_sets": {"one": {"n": 1}, "two": {"n": 2}},
}


def test_dry_run_and_run_by_hand_take_the_set_that_is_named(office: Office) -> None:
    office.add_source()
    office.add_query(**SETS)
    path = "/api/admin/queries/sales"
    for body, set_, n in ((None, "one", 1), ({"params": None}, "one", 1), ({"params": "two"}, "two", 2)):
        found = office.editor.post(f"{path}/test", json=body) if body else office.editor.post(f"{path}/test")
        assert found.json()["result"]["data"] == [{"n": n}]
        asked = office.editor.post(f"{path}/run", json=body) if body else office.editor.post(f"{path}/run")
        assert (asked.status_code, asked.json()["params"]) == (202, set_)
    before = office.state()
    for verb in ("test", "run"):
        for wrong in ("three", "", "x" * 500, "One"):
            refused = office.editor.post(f"{path}/{verb}", json={"params": wrong})
            assert code(refused) == (400, "invalid_request")
            [fault] = refused.json()["errors"]
            assert fault["field"] == "params"
            assert fault["message"].endswith("it has one, two")
        assert code(office.editor.post(f"{path}/{verb}", json={"params": 1})) == (400, "invalid_request")
    assert office.state() == before
    office.add_query(name="plain")
    refused = office.editor.post("/api/admin/queries/plain/run", json={"params": "one"})
    assert refused.json()["errors"][0]["message"].endswith("it has none")
    first = office.editor.get("/api/queries/sales/runs", params={"params": "two"}).json()["items"]
    assert [run["params"] for run in first] == ["two"]
    older = office.editor.get(f"/api/queries/sales/runs/{first[0]['id']}/prev", params={"params": "one"})
    assert (older.status_code, older.json()["params"]) == (200, "one")
    assert office.editor.get(f"/api/queries/sales/runs/{first[0]['id']}/prev?params=two").status_code == 404


def test_ledger_over_http_tells_of_each_set(office: Office) -> None:
    office.add_source()
    office.add_query(**SETS)
    asked = {"start": "2026-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z", "limit": 3}
    told = office.editor.get("/api/admin/queries/sales/ledger", params=asked).json()
    assert [item["params"] for item in told["items"]] == ["one", "two"]
    assert told["next_start"] > told["items"][0]["at"] == told["items"][1]["at"]
    one = office.editor.get("/api/admin/queries/sales/ledger", params={**asked, "params": "two"}).json()
    assert [item["params"] for item in one["items"]] == ["two"] * 3
    unknown = office.editor.get("/api/admin/queries/sales/ledger", params={"params": "three"})
    assert code(unknown) == (404, "not_found")


# checks


def test_guard_and_schedule_answer_as_on_the_command_line(office: Office) -> None:
    refused = office.editor.post("/api/admin/sql/check", json={"sql": "select 1; drop table t"}).json()
    assert (refused["allowed"], refused["code"]) == (False, "not_one_statement")
    assert set(refused) == {"allowed", "code", "detail", "position"}
    assert office.editor.post("/api/admin/sql/check", json={"sql": "select 1"}).json()["allowed"] is True
    always = {"sql": "select 1 where now() < :scheduled_at"}
    assert office.editor.post("/api/admin/sql/check", json=always).json()["allowed"] is True
    # a verdict as the command line gives it, not a malformed body
    for odd, position in (("select 1\x00 x", 9), ("select '\ud800'", 9)):
        told = office.editor.post(
            "/api/admin/sql/check",
            content=json.dumps({"sql": odd}),
            headers={"Content-Type": "application/json"},
        ).json()
        assert (told["allowed"], told["code"], told["position"]) == (False, "bad_characters", position)
    asked = {
        "type": "cron",
        "expr": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "after": "2026-03-28T12:00:00Z",
        "n": 2,
    }
    answer = office.editor.post("/api/admin/schedule/next", json=asked)
    assert answer.json() == {"next": ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]}
    for change, expected in (
        ({"expr": ""}, "bad_schedule"),
        ({"type": "daily"}, "bad_schedule"),
        ({"timezone": "x"}, "bad_timezone"),
        ({"n": 0}, "invalid_request"),
        ({"after": "soon"}, "invalid_request"),
    ):
        wrong = office.editor.post("/api/admin/schedule/next", json=asked | change)
        assert code(wrong) == (400, expected)
        # the fault is where it was asked, not where a query has it
        assert [fault["field"] for fault in wrong.json()["errors"]] == [*change]


# the trail


def test_every_write_leaves_a_trail_without_secrets(office: Office) -> None:
    office.people.sql("delete from audit_event")
    office.add_source(password=SECRET)
    office.admin.patch("/api/datasources/shop", json={"port": 1, "password": SECRET + "2"})
    office.add_query()
    office.editor.patch("/api/admin/queries/sales", json={"title": "Orders"})
    run = office.editor.post("/api/admin/queries/sales/run").json()
    office.editor.post(f"/api/admin/runs/{run['id']}/cancel")
    office.editor.delete("/api/admin/queries/sales?force=1")
    office.admin.delete("/api/datasources/shop")
    trail = office.admin.get("/api/audit").json()["items"]
    assert [(event["action"], event["actor"].partition("@")[0]) for event in reversed(trail)] == [
        ("source.create", "admin"),
        ("source.update", "admin"),
        ("query.create", "editor"),
        ("query.update", "editor"),
        ("run.request", "editor"),
        ("run.cancel", "editor"),
        ("query.delete", "editor"),
        ("source.delete", "admin"),
    ]
    assert trail[4] | {"old": {"title": "Sales"}, "new": {"title": "Orders"}} == trail[4]
    assert SECRET not in json.dumps(trail)


def test_writers_of_different_fields_at_once_all_win(office: Office) -> None:
    office.add_source()
    office.add_query()
    fields = ("max_rows", "keep_runs", "jitter_s", "keep_days")
    answers: list[int] = []

    def write(field: str) -> None:
        headers = {"Cookie": office.editor.headers["Cookie"]}
        sent = httpx.patch(
            f"{office.people.url}/api/admin/queries/sales", json={field: 7}, headers=headers, timeout=30
        )
        answers.append(sent.status_code)

    writers = [threading.Thread(target=write, args=(field,)) for field in fields]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert answers == [200] * len(fields)
    after = office.editor.get("/api/admin/queries/sales").json()
    assert [after[field] for field in fields] == [7] * len(fields)


# why did it not run?


def test_ledger_is_for_editors_and_tells_each_instant(office: Office) -> None:
    office.add_source()
    office.add_query()
    asked = "/api/admin/queries/sales/ledger?start=2026-01-01T00:00:00Z&end=2100-01-01T00:00:00Z&limit=2"
    answer = office.editor.get(asked)
    told = answer.json()
    assert answer.status_code == 200
    assert (told["name"], len(told["items"])) == ("sales", 2)
    assert told["items"][0]["outcome"] in ("due", "not_due", "disabled")
    assert told["next_start"] > told["items"][1]["at"]
    wrong = office.editor.get("/api/admin/queries/sales/ledger?start=yesterday")
    assert code(wrong) == (400, "invalid_request")
    assert code(office.editor.get("/api/admin/queries/nobody/ledger")) == (404, "not_found")
    assert office.viewer.get(asked).status_code == 403
