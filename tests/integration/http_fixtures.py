"""A real server over a real database for the tests of the HTTP entry point, and rows for it to read."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
from dependency_injector import providers
from postgres_fixtures import Database

from pgsched import config
from pgsched.entrypoints.api import services_of
from pgsched.entrypoints.container import Container
from pgsched.entrypoints.http import server
from pgsched.entrypoints.http.app import ApiServices, create_app
from pgsched.entrypoints.loop import run_on_fast_loop

#: scheduled_at of the first run
T0 = datetime(2026, 1, 1, tzinfo=UTC)
#: a small result as it is stored
DOCUMENT = {
    "schema": {
        "fields": [
            {"name": "product", "type": "string"},
            {"name": "sold", "type": "integer", "extDtype": "Int64"},
        ],
        "pandas_version": "1.4.0",
    },
    "data": [{"product": "tea", "sold": 9007199254740993}, {"product": "<b>", "sold": None}],
}


def numbered(count: int, **more: object) -> dict:
    """A document with so many rows."""
    fields = [
        {"name": "n", "type": "integer", "pgType": "integer", "pgOid": 23},
        {"name": "t", "type": "string", "pgType": "text", "pgOid": 25},
    ]
    return {
        "schema": {"fields": fields, "pandas_version": "1.4.0"},
        "data": [{"n": n, "t": f"row {n}", **more} for n in range(count)],
    }


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Writes rows as a worker would have left them."""

    conninfo: str
    names: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    def query(self, name: str | None = None, **changes: object) -> int:
        """Insert a query and return its id."""
        number = next(self.names)
        values = {
            "name": name or f"query{number}",
            "title": f"Query {number}",
            "sql_text": "select 1",
            "schedule_type": "interval",
            "schedule_expr": "PT1M",
            "anchor_at": T0,
            **changes,
        }
        columns = ", ".join(values)
        marks = ", ".join(f"%({column})s" for column in values)
        return self._one(
            f"""with source as (
                    insert into data_source (name, host, dbname, username)
                    values ('source{number}', 'localhost', 'shop', 'reader') returning id)
                insert into query_job (data_source_id, {columns})
                select id, {marks} from source returning id""",
            values,
        )

    def run(self, query_id: int, minute: float = 0, status: str = "success", **changes: object) -> int:
        """Insert a run of some minute after T0, with a result if it is a success; return its id.

        ``chunks`` says in how many the result is stored, 0 for one document.
        """
        document = changes.pop("document", DOCUMENT)
        chunks = changes.pop("chunks", 0)
        at = T0 + timedelta(minutes=minute)
        over = status not in ("queued", "running")
        ran = status in ("running", "success", "error")
        values = {
            "query_id": query_id,
            "scheduled_at": at,
            "job_timezone": "UTC",
            "run_started_at": at + timedelta(milliseconds=5) if ran else None,
            "run_finished_at": at + timedelta(milliseconds=17, microseconds=250) if over else None,
            "duration_ms": 12 if over and ran else None,
            "status": status,
            "trigger": "schedule",
            "attempt": 1 if ran else 0,
            "ready_at": at,
            "data_source_id": 1,
            "rows_returned": len(document["data"]) if status == "success" else None,
            "error_code": {"error": "query_failed", "skipped": "overlap"}.get(status),
            "error_message": "ERROR: no such column\nDETAIL: secret" if status == "error" else None,
            "error_public": "no such column" if status == "error" else None,
            "lease_until": at if status == "running" else None,
            "worker_id": 1 if status == "running" else None,
            **changes,
        }
        columns = ", ".join(values)
        marks = ", ".join(f"%({column})s" for column in values)
        if status != "success":
            return self._one(f"insert into query_run ({columns}) values ({marks}) returning id", values)
        if chunks:
            return self._chunked(columns, marks, values, document, chunks)
        text = json.dumps(document)
        return self._one(
            f"""with run as (insert into query_run ({columns}) values ({marks}) returning id),
                blob as (insert into query_run_blob (run_id, format, df_json, row_count, byte_size)
                    select id, 'jsonb', %(text)s::text::jsonb, %(rows_returned)s, length(%(text)s::text)
                    from run)
                select id from run""",
            {**values, "text": text},
        )

    def _chunked(self, columns: str, marks: str, values: dict, document: dict, chunks: int) -> int:
        data = document["data"]
        size = -(-len(data) // chunks)
        return self._one(
            f"""with run as (insert into query_run ({columns}) values ({marks}) returning id, token),
                blob as (insert into query_run_blob (run_id, format, df_json, row_count, byte_size)
                    select id, 'jsonb-chunks', jsonb_build_object('schema', %(schema)s::text::jsonb),
                        %(rows_returned)s, 5000000 from run),
                chunk as (insert into query_run_chunk (run_id, token, seq, data)
                    select id, token, place, part::jsonb from run,
                        unnest(%(parts)s::text[]) with ordinality as parts (part, place))
                select id from run""",
            {
                **values,
                "schema": json.dumps(document["schema"]),
                "parts": [json.dumps(data[start : start + size]) for start in range(0, len(data), size)],
            },
        )

    def _one(self, statement: str, values: dict[str, object]) -> int:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            row = connection.execute(statement, values).fetchone()
        assert row is not None
        return int(row[0])


#: the pepper of every server and every account in tests
PEPPER = base64.b64encode(bytes(range(32))).decode()


def container_over(conninfo: str, **variables: str) -> Container:
    """The production container over a database; ``variables`` are settings by their names."""
    environment = {"PG_DSN_APP": conninfo, "ARGON2_SECRET_KEY_B64": PEPPER, "PGSCHED_HOME": "/nonexistent"}
    settings = config.load({**environment, **variables}, Path("/nonexistent"))
    return Container(
        settings=providers.Object(settings),
        service=providers.Object("test"),
        pool_size=providers.Object(4),
    )


def services_over(conninfo: str, *, remembering: bool = False, **changes: object) -> ApiServices:
    """The services over a database; nothing is connected before the application opens.

    Answers come from memory only when ``remembering``. Capital letters in ``changes`` name settings, small
    ones what the application is given.
    """
    variables = {name: str(changes.pop(name)) for name in list(changes) if name.isupper()}
    container = container_over(conninfo, **variables)
    pool = container.database()
    # Tests change rows behind the server's back and want to see it at once, not within a second.
    quick = {} if remembering else {"watching": None}
    given = {"allowed_hosts": None, "open": pool.open, "close": pool.close, **quick, **changes}
    return replace(services_of(container, "127.0.0.1"), **given)


@contextmanager
def served(make: Callable[[], ApiServices]) -> Iterator[str]:
    """Run a server in a thread of its own for the time of the block; gives its URL."""
    sock = server.listen("127.0.0.1", 0)
    ready = threading.Event()
    urls: list[str] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))

        def tell(url: str) -> None:
            urls.append(url)
            ready.set()

        await server.run(create_app(make()), sock, stop=stop, ready=tell)

    thread = threading.Thread(target=run_on_fast_loop, args=(main(),))
    thread.start()
    try:
        assert ready.wait(20), "the server did not start"
        yield urls[0]
    finally:
        for loop, stop in loops:
            loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


@contextmanager
def api_over(database: Database, **changes: object) -> Iterator[httpx.Client]:
    """A client of a server over a database."""
    with (
        served(lambda: services_over(database.conninfo, **changes)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client
