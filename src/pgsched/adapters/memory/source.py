"""A source that answers from a script: rows, errors, or nothing until it is cancelled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pgsched.application.ports.execution import Keep, RowBatch, SourceAddress, SourceReport, Statement
from pgsched.domain.errors import (
    IsMetadata,
    LimitExceeded,
    PgschedError,
    QueryFailed,
    QueryTimeout,
    SourceFault,
    SourceUnreachable,
)
from pgsched.domain.parameters import SCHEDULED_AT
from pgsched.domain.results import PANDAS_VERSION, OnLimit
from pgsched.domain.runs import LEASE_S

Row = Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a statement gives."""

    #: rows, all of the same columns
    rows: Sequence[Row] = ()
    #: Table Schema types by column, for results without rows too
    types: Mapping[str, str] = field(default_factory=dict)
    #: rows handed out at once
    batch: int = 100
    #: what it ends with after those rows, None for a good end
    error: PgschedError | None = None
    #: whether it never ends by itself
    hangs: bool = False


class ScriptedSource:
    """The port ``QuerySource``; every source answers from the one script."""

    def __init__(
        self,
        answers: Mapping[str, Answer] | None = None,
        *,
        unreachable: Sequence[str] = (),
        metadata: Sequence[str] = (),
    ) -> None:
        """Answer by SQL text; ``unreachable`` hosts do not, ``metadata`` databases are pgsched's own."""
        self.answers = dict(answers or {})
        self._unreachable = frozenset(unreachable)
        self._metadata = frozenset(metadata)
        #: what was asked for, in order
        self.executed: list[tuple[SourceAddress, Statement]] = []
        #: statements under way
        self.running = 0

    @asynccontextmanager
    async def execute(
        self,
        address: SourceAddress,
        statement: Statement,
        *,
        keep: Keep | None = None,
        keep_s: float | None = None,  # noqa: ARG002 (nothing is open)
    ) -> AsyncIterator[ScriptedStream]:
        """Run one statement of the script; a connection that is kept is noted, though there is none."""
        self.executed.append((address, statement))
        self._connect(address, allow_metadata=statement.allow_metadata)
        answer = self.answers.get(statement.sql)
        if answer is None:
            raise QueryFailed(
                f"the script has no answer to {statement.sql[:40]!r}", sqlstate="42601", position=1
            )
        self.running += 1
        try:
            try:
                async with asyncio.timeout(statement.timeout_ms / 1000) as deadline:
                    yield ScriptedStream(answer, statement)
            except TimeoutError:
                if not deadline.expired():
                    raise
                raise QueryTimeout(f"gave no result within {statement.timeout_ms} ms") from None
            if keep is not None:
                await keep(1, LEASE_S)
        finally:
            self.running -= 1

    async def inspect(self, address: SourceAddress, *, allow_metadata: bool = False) -> SourceReport:
        """Report whether the source answers."""
        try:
            self._connect(address, allow_metadata=allow_metadata)
        except SourceFault as fault:
            return SourceReport(ok=False, error_code=fault.code, error_detail=fault.detail)
        return SourceReport(ok=True, latency_ms=0.1, server_version="0.0")

    def kept(self) -> int:
        """Return 0: no connection is kept."""
        return 0

    async def retire(self) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _connect(self, address: SourceAddress, *, allow_metadata: bool) -> None:
        if address.host in self._unreachable:
            raise SourceUnreachable("the source cannot be reached: connection refused")
        if address.dbname in self._metadata and not allow_metadata:
            raise IsMetadata("the source is pgsched's own metadata database")


class ScriptedStream:
    """The port ``ResultStream`` over an answer, cut by the statement's limits."""

    def __init__(self, answer: Answer, statement: Statement) -> None:
        self._answer = answer
        self._statement = statement
        self.rows = 0
        self.bytes = 0
        self.truncated = False
        self.arguments = {
            one.name: one.text if one.sql is None else one.sql
            for one in statement.arguments
            if one.name != SCHEDULED_AT
        }

    async def __aiter__(self) -> AsyncIterator[RowBatch]:
        """Hand out the batches, then end as the script says."""
        if self._answer.hangs:
            await asyncio.Event().wait()
        pending: list[bytes] = []
        for row in self._answer.rows:
            encoded = json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()
            # the comma before it counts, as it is stored
            size = len(encoded) + (self.rows > 0)
            if self.rows >= self._statement.max_rows or self.bytes + size > self._statement.max_bytes:
                if self._statement.on_limit is OnLimit.ERROR:
                    raise LimitExceeded("the result has more rows or bytes than its query allows")
                # a sample of the whole is the first rows here
                self.truncated = True
                break
            self.rows, self.bytes = self.rows + 1, self.bytes + size
            pending.append(encoded)
            if len(pending) >= self._answer.batch:
                yield RowBatch(rows=len(pending), data=b",".join(pending))
                pending = []
                await asyncio.sleep(0)
        if pending:
            yield RowBatch(rows=len(pending), data=b",".join(pending))
        if self._answer.error is not None:
            raise self._answer.error

    def table_schema(self) -> bytes:
        """Return the Table Schema of the script's columns."""
        names = {name: "any" for row in self._answer.rows for name in row}
        types = {**names, **self._answer.types}
        fields = [{"name": name, "type": kind} for name, kind in types.items()]
        return json.dumps({"fields": fields, "pandas_version": PANDAS_VERSION}).encode()
