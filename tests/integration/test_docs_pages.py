"""Every block of the documentation is pasted by somebody with a real installation, page by page.

The reader follows the README first; what that makes (two databases, keys, API, worker, two queries) is there
for all other pages. What a page needs beyond, and what stands in the place of names that cannot be real here,
is declared in ``PAGES_NEED``; a block that cannot run here says why in a comment above it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from docs_pages import BLOCKS, PAGES, RUN, Block
from postgres_fixtures import Server
from processes import free_port
from reader import SERVICE, Reader

README, TUTORIAL = "README.md", "docs/tutorial/first-steps.md"


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a page takes for granted, and what stands in the place of names that cannot be real here."""

    #: shell lines, run before the first block
    before: str = ""
    #: shell lines, run behind the last
    after: str = ""
    #: a regular expression, and what is typed instead
    instead: dict[str, str] = field(default_factory=dict)
    #: what the terminal's environment has besides
    environment: dict[str, str] = field(default_factory=dict)


#: a query with tenants, for pages about who may see what
BY_REGION = """
pgsched queries add --name {name} --data-source shop --schedule-expr P1D \\
  --sql "select 'north' as region, 1 as n"
"""
#: the text of a token is shown once: the reader's clipboard
CLIPBOARD = {
    r"^(pgsched tokens add .*)$": r'\1 | tee shown; grep -o "pgs_[A-Za-z0-9_.-]*" shown > clipboard',
    r"pgs_…": "$(cat clipboard)",
}
#: the id that an answer shows
EVE = """users/$(psql -Atc "select id from user_account where email = 'eve@example.com'" pgsched_meta)"""
LOGIN = """
curl -s -c cookies -H 'Content-Type: application/json' http://127.0.0.1:8000/api/auth/login \\
  -d '{"email":"you@example.com","password":"correct horse battery"}'
"""
PAGES_NEED = {
    "docs/how-to/back-up-and-restore.md": Needs(
        before="psql -qc 'create database pgsched_restored owner pgsched_meta' postgres",
        instead={
            r"pgsched\.dump pgsched$": "pgsched.dump pgsched_meta",
            r"--role=pgsched\b": "--role=pgsched_meta",
            r"--dbname=pgsched\b": "--dbname=pgsched_restored",
        },
        environment={
            "PG_DSN_APP": "postgresql://pgsched_meta:metadata-secret@localhost:5432/pgsched_restored"
        },
    ),
    "docs/how-to/connect-a-source.md": Needs(
        before="openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout key.pem -out root.pem",
        instead={
            r"shop_reader": "careful_reader",
            r"--name shop ": "--name careful ",
            # a name that no server has; the source is saved with a warning
            r"db\.example\.com": "db.invalid",
        },
        environment={"PGDATABASE": "shop"},
        after="pgsched dsn delete careful",
    ),
    "docs/how-to/feed-a-dashboard.md": Needs(
        # what the page calls with the rows, and an end to its polling
        instead={
            r"^async function": "const draw = rows => { console.log(rows); process.exit() };\nasync function",
            r", 5000\);": ", 10);",
        }
    ),
    "docs/how-to/give-a-query-to-some.md": Needs(
        before=BY_REGION.format(name="revenue_by_region")
        + BY_REGION.format(name="some_public_query")
        + "pgsched users add --email ada@example.com --name Ada --roles management --password 'a long one'",
        environment={"ALLOWED_ROLES": "viewer,editor,admin,management"},
    ),
    "docs/how-to/load-results-elsewhere.md": Needs(
        # the package of Python stands in for the command line of the same name
        before="""mkdir -p ~/bin; cat > ~/bin/duckdb <<'END'
#!/usr/bin/env python
import sys, duckdb
print(duckdb.sql(sys.argv[2]))
END
chmod +x ~/bin/duckdb"""
    ),
    "docs/how-to/manage-users-and-tokens.md": Needs(
        instead={r"you@example\.com": "boss@example.com", r"ada@": "ada.l@", r"users/2": EVE} | CLIPBOARD
    ),
    "docs/how-to/run-behind-your-own-postgres.md": Needs(
        instead={r"(role|owner|database) pgsched\b": r"\1 pgsched_own"}
    ),
    "docs/how-to/use-parameters.md": Needs(
        before="psql -qc \"alter table orders add column region text default 'EU'\" shop" + LOGIN
    ),
    "docs/reference/results.md": Needs(
        # the run that the sentence above it speaks of
        instead={
            r"^pandas": "import io, json, pandas\n"
            "run = {'result': {'schema': {'fields': []}, 'data': []}}\npandas"
        }
    ),
    "docs/reference/metrics.md": Needs(before=BY_REGION.format(name="orders_by_status")),
    "docs/reference/cli.md": Needs(
        before=BY_REGION.format(name="regional").replace("regional", "region_of_cli")
        + "pgsched users add --email screen@example.com --name Screen --password 'a long password'\n"
        "psql -qc 'create database empty owner pgsched_meta' postgres\n"
        "echo 'select 1 as one' | tee revenue.sql > biggest.sql\n"
        """psql -Atc "select min(id) from query_run where status = 'success'" pgsched_meta > run_id""",
        instead={
            r"revenue_by_region": "region_of_cli",
            r"(ada|wall)@example\.com": "screen@example.com",
            r"psql pgsched_meta": "psql -q empty",
            r"(public|private)_key\.base64": r"other_\1.base64",
            r"(dsn (add --name|update)) shop --host (db2?)\.example\.com": r"\1 elsewhere --host \3.invalid",
            r"add --name (revenue_by_day|biggest_orders)": r"add --name \1_of_cli",
            r"export 4711": 'export "$(cat run_id)"',
        },
        after="pgsched dsn delete elsewhere",
    ),
}


def other_page(page: str) -> Needs:
    return PAGES_NEED.get(page, Needs())


def changes(instead: dict[str, str]):
    def changed(text: str) -> str:
        for old, new in instead.items():
            text = re.sub(old, new, text, flags=re.MULTILINE)
        return text

    return changed


def on_ports(**ports: int):
    """The text with this session's ports in the place of the usual ones."""
    numbers = {"5432": ports.get("postgres", 5432), "8000": ports["api"]}
    return lambda text: re.sub(r"\b(5432|8000)\b", lambda found: str(numbers[found[1]]), text)


def to_run(page: str) -> list[Block]:
    """The blocks of a page that are run here."""
    return [b for b in BLOCKS if b.page == page and b.language in RUN and b.not_run is None]


def wait_for(url: str, *, seconds: float = 60) -> httpx.Response:
    """Ask until the answer is 200."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer = httpx.get(url)
            if answer.status_code == 200:
                return answer
            said = answer.text
        except httpx.TransportError as error:
            said = repr(error)
        assert time.monotonic() < end, said
        time.sleep(0.2)


@dataclass(frozen=True, kw_only=True)
class Town:
    """What the README leads to, with its services running."""

    reader: Reader
    #: address of the API
    url: str
    server: Server
    #: what each block of the README printed, by its number on the page
    printed: dict[int, str]


@pytest.fixture(scope="module")
def town(pg_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The README followed as printed, from the first block that runs to the last."""
    before_databases = {name for (name,) in pg_server.execute("select datname from pg_database")}
    before_roles = {name for (name,) in pg_server.execute("select rolname from pg_roles")}
    api = free_port()
    reader = Reader(
        tmp_path_factory.mktemp("reader"),
        on_ports(postgres=pg_server.port, api=api),
        # what psql needs to be the superuser
        PGHOST=pg_server.host,
        PGPORT=str(pg_server.port),
        PGUSER=pg_server.user,
        PGPASSWORD=pg_server.password,
    )
    url, printed = f"http://127.0.0.1:{api}", {}
    try:
        with ExitStack() as services:
            for block in to_run(README):
                if SERVICE.match(block.text):
                    services.enter_context(reader.service(block.text))
                    continue
                if "curl" in block.text:
                    wait_for(f"{url}/api/queries/revenue_by_day/runs/latest")
                printed[block.number] = reader.paste(block)
            yield Town(reader=reader, url=url, server=pg_server, printed=printed)
    finally:
        for (name,) in pg_server.execute("select datname from pg_database"):
            if name not in before_databases and not name.startswith("pgsched_test"):
                pg_server.drop(name)
        for (name,) in pg_server.execute("select rolname from pg_roles"):
            if name not in before_roles:
                pg_server.execute(f'drop role "{name}"')


@pytest.mark.slow
def test_quickstart_of_the_readme_works_as_printed(town: Town) -> None:
    *_, reading, frame = town.printed.values()
    first = httpx.get(f"{town.url}/api/queries/revenue_by_day/runs/latest").json()
    assert (first["status"], first["trigger"]) == ("success", "schedule")
    assert first["rows_returned"] == len(first["result"]["data"]) > 1
    listed, latest = (json.loads(line) for line in reading.splitlines()[-2:])
    assert [query["name"] for query in listed["items"]] == ["biggest_orders", "revenue_by_day"]
    assert latest == first
    assert "revenue" in frame
    biggest = wait_for(f"{town.url}/api/queries/biggest_orders/runs/latest").json()
    assert (biggest["trigger"], biggest["rows_returned"]) == ("manual", 10)
    assert (town.reader.folder / "my-pgsched/private_key.base64").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page) and page not in (README, TUTORIAL)])
def test_page_works_as_printed(town: Town, page: str) -> None:
    needs = other_page(page)
    changed = changes(needs.instead)
    environment = {name: town.reader.changed(value) for name, value in needs.environment.items()}

    def prepare(text: str) -> None:
        if text:
            town.reader.paste(Block(page=page, number=0, language="sh", text=text), **environment)

    prepare(needs.before)
    for block in to_run(page):
        # a service of the page's own does not take the port of the one that runs
        own = {r"--port \d+": f"--port {free_port()}"} if SERVICE.search(block.text) else {}
        said = town.reader.paste(block, lambda text, own=own: changes(own)(changed(text)), **environment)
        if "etag-compare" in block.text:
            assert [said.strip(), town.reader.paste(block).strip()] == ["200", "304"]
    prepare(needs.after)


@pytest.mark.slow
def test_first_steps_of_the_tutorial_work_as_printed(tmp_path: Path) -> None:
    port = free_port()
    reader = Reader(tmp_path, on_ports(api=port))
    first, *blocks = to_run(TUTORIAL)
    assert first.text == "make up\n"
    with reader.service(f"pgsched up --demo --port {port}"):
        api = f"http://127.0.0.1:{port}/api/queries"
        wait_for(f"{api}/top_products/runs/latest", seconds=90)
        for block in blocks:
            reader.paste(block)
        minutes = wait_for(f"{api}/busy_minutes/runs/latest").json()
        assert minutes["rows_returned"] >= 1
        broken = wait_for(f"{api}/broken/runs/latest?status=error").json()
        assert (broken["error_code"], broken["error_message"]) == ("query_failed", "division by zero")


def test_what_is_declared_is_needed() -> None:
    """No page that is gone, and no change of a text that no page has."""
    for page, needs in PAGES_NEED.items():
        text = "".join(block.text for block in to_run(page))
        for old in needs.instead:
            assert re.search(old, text, re.MULTILINE), f"{page}: {old}"


def test_a_failing_block_fails(tmp_path: Path) -> None:
    reader = Reader(tmp_path, str)
    for language, text in (
        ("sh", "pgsched sql check - < /dev/null"),
        ("sh", "false\ntrue"),
        ("sh", "curl -s http://127.0.0.1:1/"),
        ("python", "raise SystemExit(3)"),
        ("js", "nobody()"),
    ):
        with pytest.raises(AssertionError):
            reader.paste(Block(page="new.md", number=1, language=language, text=text))
