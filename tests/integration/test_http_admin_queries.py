"""Queries over HTTP as editors write them, and who may not."""

from __future__ import annotations

import pytest
from offices import ADMIN_PATHS, EDITOR_PATHS, NO_KEYS, Office, new_query
from people import code


def test_who_may_not_is_refused_before_anything_is_read_and_nothing_changes(office: Office) -> None:
    office.add_source()
    office.add_query()
    before = office.state()
    for method, path in ADMIN_PATHS + EDITOR_PATHS:
        for client, expected in (
            (office.nobody, (401, "not_authenticated")),
            (office.viewer, (403, "forbidden")),
            (office.token, (403, "forbidden")),
        ):
            for body in (b"{}", b"nonsense"):
                answer = client.request(
                    method, path, content=body, headers={"Content-Type": "application/json"}
                )
                assert (method, path, code(answer)) == (method, path, expected)
    for method, path in ADMIN_PATHS:
        assert code(office.editor.request(method, path)) == (403, "forbidden")
    foreign = {"Origin": "https://evil.example"}
    for method, path in ADMIN_PATHS + EDITOR_PATHS:
        if method != "GET":
            answer = office.admin.request(method, path, json={}, headers=foreign)
            assert code(answer) == (403, "bad_origin")
    assert office.state() == before


def test_query_is_made_shown_changed_and_deleted(office: Office) -> None:
    source = office.add_source()
    made = office.editor.post("/api/admin/queries", json=new_query(timeout_ms=5000))
    query = made.json()
    assert (made.status_code, made.headers["location"]) == (201, f"/api/admin/queries/{query['id']}")
    assert (query["data_source_id"], query["data_source"]) == (source["id"], "shop")
    assert (query["timeout_ms"], query["max_rows"], query["visibility"]) == (5000, 10_000, "public")
    for key in ("sales", query["id"]):
        assert office.editor.get(f"/api/admin/queries/{key}").json() == query
    changed = office.editor.patch(
        "/api/admin/queries/sales", json={"title": "Orders", "timeout_ms": None, "keep_runs": 3}
    ).json()
    assert changed == query | {
        "title": "Orders",
        "timeout_ms": 300_000,
        "keep_runs": 3,
        "updated_at": changed["updated_at"],
    }
    # what a GET answers can be sent back, read-only fields aside
    echo = {name: changed[name] for name in new_query() | {"data_source_id": 0, "start_at": 0}}
    assert office.editor.patch("/api/admin/queries/sales", json=echo).json() == changed
    assert office.editor.delete("/api/admin/queries/sales").status_code == 204
    assert code(office.editor.get("/api/admin/queries/sales")) == (404, "not_found")


def test_interval_without_expression_has_the_default_stored(office: Office) -> None:
    office.add_source()
    given = new_query()
    del given["schedule_expr"]
    assert office.editor.post("/api/admin/queries", json=given).json()["schedule_expr"] == "PT21600S"


@pytest.mark.parametrize(
    ("change", "expected", "fields"),
    [
        ({"sql_text": "delete from t"}, "sql_not_allowed", {"sql_text"}),
        ({"sql_text": ""}, "sql_not_allowed", {"sql_text"}),
        ({"schedule_expr": ""}, "bad_schedule", {"schedule_expr"}),
        ({"schedule_type": "cron", "schedule_expr": "61 * * * *"}, "bad_schedule", {"schedule_expr"}),
        ({"timezone": "Mars/Olympus"}, "bad_timezone", {"timezone"}),
        ({"data_source": "nowhere"}, "invalid_request", {"data_source"}),
        ({"data_source_id": 4711}, "invalid_request", {"data_source_id"}),
        ({"visibility": "all", "max_rows": 0}, "invalid_request", {"visibility", "max_rows"}),
        ({"title": None, "id": 5}, "invalid_request", {"title", "id"}),
        ({"start_at": "2026-01-01"}, "invalid_request", {"start_at"}),
        (
            {"sql_text": "delete from t", "timezone": "x", "schedule_expr": "y", "name": "a b"},
            "invalid_request",
            {"sql_text", "timezone", "schedule_expr", "name"},
        ),
    ],
)
def test_what_is_wrong_with_a_query_is_told_and_nothing_is_stored(
    office: Office, change: dict, expected: str, fields: set[str]
) -> None:
    office.add_source()
    office.add_query(name="stored")
    before = office.state()
    for answer in (
        office.editor.post("/api/admin/queries", json=new_query(**change)),
        office.editor.patch("/api/admin/queries/stored", json=change),
    ):
        assert code(answer) == (400, expected)
        assert {fault["field"] for fault in answer.json()["errors"]} == fields
    assert office.state() == before


def test_name_is_taken_once(office: Office) -> None:
    office.add_source()
    office.add_query()
    office.add_query(name="other")
    assert code(office.editor.post("/api/admin/queries", json=new_query())) == (409, "name_taken")
    assert code(office.editor.patch("/api/admin/queries/other", json={"name": "sales"})) == (
        409,
        "name_taken",
    )


def test_queries_are_found_by_text_and_by_being_enabled(office: Office) -> None:
    office.add_source()
    office.add_query(title="Ümsatz 50%")
    office.add_query(name="other", enabled=True)

    def names(**asked: object) -> list[str]:
        page = office.editor.get("/api/admin/queries", params=asked).json()
        return [query["name"] for query in page["items"]]

    assert names() == ["other", "sales"]
    assert names(q="üMS") == names(q="50%") == names(enabled="false") == ["sales"]
    assert names(enabled=1) == ["other"]
    assert names(q="\x00") == names(q="_") == []
    assert code(office.editor.get("/api/admin/queries", params={"enabled": "maybe", "limit": 0})) == (
        400,
        "invalid_request",
    )


def test_stale_edits_are_refused_and_without_if_match_the_last_write_wins(office: Office) -> None:
    office.add_source()
    office.add_query()
    for path, change in (
        ("/api/datasources/shop", {"max_concurrency": 5}),
        ("/api/admin/queries/sales", {"max_rows": 5}),
    ):
        tag = office.admin.get(path).headers["etag"]
        assert not tag.startswith("W/")
        first = office.admin.patch(path, json=change, headers={"If-Match": f'"x", {tag}'})
        assert first.status_code == 200
        assert first.headers["etag"] == office.admin.get(path).headers["etag"] != tag
        before = office.state()
        again = dict.fromkeys(change, 6)
        for stale in (tag, f"W/{first.headers['etag']}", '"x"', "nonsense"):
            headers = {"If-Match": stale}
            assert code(office.admin.patch(path, json=again, headers=headers)) == (412, "precondition_failed")
            gone = office.admin.delete(path + "?force=1", headers=headers)
            assert code(gone) == (412, "precondition_failed")
        assert office.state() == before
        assert office.admin.patch(path, json=again).status_code == 200
        assert office.admin.patch(path, json=change, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize("key", NO_KEYS)
def test_key_of_nothing_is_not_found(office: Office, key: str) -> None:
    for method, path in (
        ("GET", f"/api/datasources/{key}"),
        ("PATCH", f"/api/datasources/{key}"),
        ("DELETE", f"/api/datasources/{key}"),
        ("POST", f"/api/datasources/{key}/test"),
        ("GET", f"/api/admin/queries/{key}"),
        ("PATCH", f"/api/admin/queries/{key}"),
        ("DELETE", f"/api/admin/queries/{key}?force=1"),
        ("POST", f"/api/admin/queries/{key}/test"),
        ("POST", f"/api/admin/queries/{key}/run"),
        ("POST", f"/api/admin/runs/{key}/cancel"),
    ):
        sent = {"json": {}} if method == "PATCH" else {}
        assert (path, code(office.admin.request(method, path, **sent))) == (path, (404, "not_found"))


def test_options_names_every_method_of_a_path(office: Office) -> None:
    for path, taken in (
        ("/api/admin/queries", "GET, OPTIONS, POST, HEAD"),
        ("/api/admin/queries/x", "DELETE, GET, OPTIONS, PATCH, HEAD"),
        ("/api/admin/queries/x/run", "OPTIONS, POST"),
        ("/api/users", "GET, OPTIONS, POST, HEAD"),
    ):
        assert office.nobody.options(path).headers["allow"] == taken


def test_what_has_not_changed_is_not_sent_again(office: Office) -> None:
    office.add_source()
    office.add_query()
    [(viewer,)] = office.people.sql("select id from user_account where name = 'Viewer'")
    changes = {
        "/api/datasources/shop": {"max_concurrency": 3},
        "/api/admin/queries/sales": {"title": "Other"},
        f"/api/users/{viewer}": {"name": "Viewer "[:-1] + "s"},
    }
    for path, change in changes.items():
        tag = office.admin.get(path).headers["etag"]
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            same = office.admin.get(path, headers={"If-None-Match": known})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert office.admin.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
        assert office.admin.patch(path, json=change).status_code == 200
        assert office.admin.get(path, headers={"If-None-Match": tag}).status_code == 200
        # who may not see it is told so, whatever he has
        assert office.nobody.get(path, headers={"If-None-Match": "*"}).status_code == 401
    office.people.sql("update user_account set name = 'Viewer' where id = %s", [viewer])
