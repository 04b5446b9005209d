"""schemathesis over the OpenAPI document against ``pgsched api``, as every kind of caller, all checks on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_fixtures import PEPPER, Rows, numbered
from offices import new_query
from people import People
from postgres_fixtures import fresh_database, fresh_source
from processes import Installation, assert_quiet, installation

#: a request that the schema allows may still be refused here, for a rule that no schema can say
UNSAYABLE = {
    "addUser": "roles are those of ALLOWED_ROLES",
    "changeUser": "roles are those of ALLOWED_ROLES",
    "addDataSource": "hosts have rules beyond a pattern, and keys must be there",
    "changeDataSource": "the password is needed for some changes, in combination",
    "addQuery": "SQL and cron have grammars, zones and sources must be there",
    "changeQuery": "SQL and cron have grammars, zones and sources must be there",
    "testQuery": "the source may refuse what the query became, and its parameter set must be there",
    "runQuery": "its parameter set must be there",
    "setGrants": "who is given something must be there",
    "addToken": "its queries must be there, its end must be in the future",
    "showSchedule": "cron has a grammar, zones must be there",
    "getLedger": "the end is after the start",
    **dict.fromkeys(
        ("getLatestRun", "getRun", "getPreviousRun", "getNextRun"), "columns are those of the run"
    ),
}
#: what coverage sends here always has an If-Match, made up and so not current: 412 whatever else is wrong
SHADOWED = ("changeQuery", "changeDataSource")
#: what getRun takes is all that these take
ALIKE = ("getPreviousRun", "getNextRun")
#: these end the session that schemathesis asks with; test_http_login asks them
ENDING = ("logOut", "endMySession")
#: the session is there for as long as it is asked with
KEPT = "clock_timestamp() + interval '10 hours'"


@pytest.fixture(scope="module")
def place(pg_server, migrated_template, tmp_path_factory) -> Iterator[tuple[Installation, People]]:
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        installation(tmp_path_factory.mktemp("schemathesis"), database.url) as place,
    ):
        place.environment["ARGON2_SECRET_KEY_B64"] = PEPPER
        _, url = place.api()
        people = People(conninfo=database.conninfo, url=url)
        # ids that are not guessed: the callers themselves must be there to the end
        people.sql("alter table user_account alter column id restart with 900001")
        admin = people.session(people.account("admin", "admin"))
        given = {"host": source.host, "port": source.port, "dbname": source.dbname}
        given |= {"name": "shop", "username": source.username, "password": source.password}
        assert admin.post("/api/datasources", json=given | {"sslmode": "disable"}).status_code == 201
        rows = Rows(conninfo=database.conninfo)
        for name, visibility in (("orders", "public"), ("inner", "users"), ("secret", "restricted")):
            made = admin.post("/api/admin/queries", json=new_query(name=name, visibility=visibility))
            assert made.status_code == 201, made.text
            query = made.json()["id"]
            rows.run(query, 0)
            rows.run(query, 1, document=numbered(40), chunks=2)
            rows.run(query, 2, "error")
            rows.run(query, 3, "queued")
        yield place, people
        people.close()


def config(scheme: str, secret: str | None) -> str:
    """What schemathesis is told beside its options."""
    # a tag that is not current is 412, which schemathesis does not count as an answer to either kind of data
    lines = [
        "[checks]",
        "enabled = true",
        "[checks.positive_data_acceptance]",
        'expected-statuses = ["2xx", "3xx", 401, 403, 404, 406, 409, 412, 429, 502]',
        "[checks.negative_data_rejection]",
        "expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 429]",
    ]
    if secret is not None:
        name = {"session": "api_key", "token": "bearer"}[scheme]
        lines += [f"[auth.openapi.{scheme}]", f'{name} = "{secret}"']
    for operation in UNSAYABLE:
        lines += ["[[operations]]", f'include-operation-id = "{operation}"']
        lines += ["checks.positive_data_acceptance.enabled = false"]
        if operation in SHADOWED + ALIKE:
            lines += ["phases.coverage.enabled = false"]
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.parametrize("caller", ["admin", "viewer", "token", "nobody"])
def test_every_answer_is_as_the_document_says(place: tuple[Installation, People], caller: str) -> None:
    installed, people = place
    [(admin,)] = people.sql("select user_id from user_role where role = 'admin'")
    # there is one admin, who cannot be deleted, deactivated or made less
    account = people.account("viewer", "viewer") if caller == "viewer" else admin
    scheme, secret = "session", None
    if caller == "token":
        scheme, secret = "token", people.token(account)
    elif caller != "nobody":
        secret = people.sid(account, expires_at=KEPT)
    told = installed.folder / f"{caller}.toml"
    told.write_text(config(scheme, secret))
    # all that a schema can be wrong about is tried as admin; the others see that they are told the same
    everything = caller == "admin"
    phases = "examples,coverage,fuzzing,stateful" if everything else "examples,fuzzing"
    examples = "4" if everything else "2"
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "--no-color", "--config-file", told, "run"),
            *(f"{people.url}/schema/openapi.json", "--continue-on-failure"),
            *("--seed", "1", "--max-examples", examples, "--workers", "1", "--phases", phases, "--no-shrink"),
            *(f"--exclude-operation-id={each}" for each in ENDING if secret is not None),
        ],
        capture_output=True,
        text=True,
        cwd=installed.folder,
        env=installed.environment,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert "failures" not in done.stdout.splitlines()[-1]
    if secret is not None:
        assert (
            people.client(**{scheme.replace("session", "sid"): secret}).get("/api/queries").status_code == 200
        )
    assert_quiet(installed.everything_said(), PEPPER)
