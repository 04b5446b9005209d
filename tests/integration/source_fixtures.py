"""What tests of the execution port share: an address, a statement, and a run through to the document."""

from __future__ import annotations

import json
from dataclasses import dataclass

import psycopg
from postgres_fixtures import SourceDatabase

from pgsched.adapters.source.sources import PsycopgSources
from pgsched.application.ports.execution import Keep, SourceAddress, Statement
from pgsched.domain.results import OnLimit


def address_of(source: SourceDatabase, **changes: object) -> SourceAddress:
    """The reader's address of a source database."""
    given = {
        "host": source.host,
        "port": source.port,
        "dbname": source.dbname,
        "username": source.username,
        "password": source.password,
    }
    return SourceAddress(**(given | changes))


def statement(sql: str, **changes: object) -> Statement:
    """A statement within generous bounds."""
    given = {
        "sql": sql,
        "timezone": "UTC",
        "timeout_ms": 20_000,
        "max_rows": 10_000,
        "max_bytes": 8 << 20,
        "on_limit": OnLimit.TRUNCATE,
        "application_name": "pgsched:1/1",
    }
    return Statement(**(given | changes))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A result as it would be stored."""

    text: str
    rows: int
    bytes: int
    truncated: bool
    batches: int

    @property
    def document(self) -> dict:
        return json.loads(self.text)

    @property
    def data(self) -> list[dict]:
        return self.document["data"]

    @property
    def fields(self) -> list[dict]:
        return self.document["schema"]["fields"]


async def run(sources: PsycopgSources, source: SourceDatabase, sql: str, **changes: object) -> Outcome:
    """Run a statement as the source's reader and collect its document."""
    return await run_at(sources, address_of(source), statement(sql, **changes))


async def keep_any(connections: int, _for_s: float) -> int:
    """Let every connection be kept."""
    return connections


async def run_at(
    sources: PsycopgSources, address: SourceAddress, wanted: Statement, *, keep: Keep | None = keep_any
) -> Outcome:
    """Run a statement at an address and collect its document."""
    async with sources.execute(address, wanted, keep=keep) as stream:
        batches = [batch async for batch in stream]
        text = b'{"schema":%b,"data":[%b]}' % (
            stream.table_schema(),
            b",".join(batch.data for batch in batches),
        )
    assert stream.rows == sum(batch.rows for batch in batches)
    assert stream.bytes == len(b",".join(batch.data for batch in batches))
    return Outcome(
        text=text.decode(),
        rows=stream.rows,
        bytes=stream.bytes,
        truncated=stream.truncated,
        batches=len(batches),
    )


def through_jsonb(source: SourceDatabase, text: str) -> str:
    """The document as a jsonb column of the metadata database gives it back."""
    with psycopg.connect(source.admin_conninfo) as connection:
        connection.execute("create temp table stored (document jsonb)")
        connection.execute("insert into stored values (%s)", [text])
        (document,) = connection.execute("select document::text from stored").fetchone()
    return document
