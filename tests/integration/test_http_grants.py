"""Grants over HTTP and on the command line: who reads a restricted query, and which of its rows, at once."""

from __future__ import annotations

from http_fixtures import Rows
from offices import Office
from people import code


def test_grant_opens_a_restricted_query_at_once_and_its_rows_alone(office: Office) -> None:
    office.add_source()
    query = office.add_query(visibility="restricted")
    Rows(conninfo=office.database.conninfo).run(query["id"])
    latest = f"/api/queries/{query['id']}/runs/latest"
    assert code(office.viewer.get(latest)) == (404, "not_found")
    path = "/api/admin/queries/sales/grants"
    assert office.editor.get(path).json() == {"users": [], "roles": [], "tokens": []}
    given = {"users": [{"name": "viewer@example.com", "row_filter": {"product": ["tea"]}}]}
    held = office.editor.put(path, json=given)
    assert held.status_code == 200, held.text
    [user] = held.json()["users"]
    assert (user["email"], user["row_filter"]) == ("viewer@example.com", {"product": ["tea"]})
    seen = office.viewer.get(latest)
    assert [row["product"] for row in seen.json()["result"]["data"]] == ["tea"]
    assert seen.json()["rows_returned"] == 1
    # what a GET answers can be sent back; a role beside it shows every row
    echo = office.editor.get(path).json()
    assert office.editor.put(path, json=echo).json() == echo
    office.editor.put(path, json=echo | {"roles": [{"name": "viewer"}]})
    assert len(office.viewer.get(latest).json()["result"]["data"]) == 2
    assert office.editor.put(path, json={}).json() == {"users": [], "roles": [], "tokens": []}
    assert code(office.viewer.get(latest)) == (404, "not_found")
    actions = [event["action"] for event in office.admin.get("/api/audit").json()["items"]]
    assert actions[:3] == ["grant.update"] * 3


def test_token_reads_what_is_granted_to_itself(office: Office) -> None:
    office.add_source()
    query = office.add_query(visibility="restricted")
    Rows(conninfo=office.database.conninfo).run(query["id"])
    made = office.viewer.post("/api/tokens", json={"name": "wall", "queries": []}).json()
    screen = office.people.client(token=made["token"])
    latest = "/api/queries/sales/runs/latest"
    assert code(screen.get(latest)) == (404, "not_found")
    put = office.editor.put("/api/admin/queries/sales/grants", json={"tokens": [{"id": made["id"]}]})
    assert put.json()["tokens"] == [{"id": made["id"], "name": "wall", "row_filter": None}]
    assert screen.get(latest).status_code == 200
    assert code(office.viewer.get(latest)) == (404, "not_found")
    assert code(screen.get("/api/admin/queries/sales/grants")) == (403, "forbidden")


def test_what_is_wrong_with_grants_is_named_and_nothing_changes(office: Office) -> None:
    office.add_source()
    office.add_query(visibility="restricted")
    path = "/api/admin/queries/sales/grants"
    office.editor.put(path, json={"roles": [{"name": "viewer"}]})
    before = office.state()
    wrong = {
        "users": [{"name": "nobody@example.com"}, {"id": 2**62}, {"name": "x", "row_filter": {"c": []}}],
        "roles": [{"name": "boss"}],
        "groups": [],
    }
    answer = office.editor.put(path, json=wrong)
    assert code(answer) == (400, "invalid_request")
    assert {fault["field"] for fault in answer.json()["errors"]} == {
        "users[0]",
        "users[1]",
        "users[2].row_filter.c",
        "roles[0]",
        "groups",
    }
    for client, refused in ((office.nobody, 401), (office.viewer, 403), (office.token, 403)):
        assert client.put(path, json={}).status_code == refused
        assert client.get(path).status_code == refused
    assert code(office.editor.put("/api/admin/queries/nothing/grants", json={})) == (404, "not_found")
    assert code(office.editor.put(path, json={"roles": [{"name": "a\x00"}]})) == (400, "invalid_request")
    assert office.state() == before
