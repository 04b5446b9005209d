"""Successes recorded together: runs that end at the same time share one message and one commit.

Each is still guarded by its own token and lease, and each success has its one blob; a lost lease concerns its
run alone. Small results share a statement as well. When one is refused, for whatever reason, nothing of the
batch is there, and each is recorded by itself.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Final

from psycopg import DataError, Error
from psycopg.types.json import Jsonb

from pgsched.adapters.postgres import runs_sql as sql
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.mapping import run_from
from pgsched.adapters.postgres.pipeline import Row
from pgsched.domain.errors import DatabaseFault, DatabaseUnavailable, LeaseLost, ResultRejected
from pgsched.domain.runs import Hold, Run, Success

#: most runs in one transaction
MOST_TOGETHER: Final = 16
#: bytes of rows up to which results share a statement: setting one up takes longer than writing them
SMALL_BYTES: Final = 4096
#: bytes of rows above which a result is recorded by itself: parsing it would keep others waiting
LARGE_BYTES: Final = 256 * 1024
#: seconds within which the server answers; a frozen backend must not hold up every run that ends here
ANSWER_S: Final = 10.0


@dataclass(slots=True, eq=False)
class _Ending:
    """A run that wants to end well."""

    hold: Hold
    success: Success
    run: asyncio.Future[Run]


class Finishing:
    """Records successes, one by one while there is time, together when there is none."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Ending] = []
        #: whether something is being recorded, so that who comes now waits
        self._is_busy = False
        #: whether what was recorded last had no company: what ends now will have none either
        self._is_alone = False
        #: what records those who waited
        self._recording: asyncio.Task[None] | None = None

    async def succeed(self, hold: Hold, success: Success) -> Run:
        """Store result and status in one transaction; see the port for what is promised and raised."""
        if len(success.data) > LARGE_BYTES:
            return await self._alone(hold, success)
        if self._is_alone and not self._is_busy:
            return await self._at_once(hold, success)
        ending = _Ending(hold=hold, success=success, run=asyncio.get_running_loop().create_future())
        self._waiting.append(ending)
        if not self._is_busy:
            self._record_soon()
        try:
            return await ending.run
        finally:
            # here and below: an error leads to the frames it came through; one that leads back to it keeps
            # the result until the collector looks
            del ending

    async def _at_once(self, hold: Hold, success: Success) -> Run:
        """Record a run by itself; who comes meanwhile waits for it."""
        # no task: to begin one and to hear of its end takes two turns of the loop
        self._is_busy = True
        try:
            return await self._alone(hold, success)
        finally:
            self._is_busy = False
            if self._waiting:
                self._record_soon()

    def _record_soon(self) -> None:
        self._is_busy = True
        self._recording = asyncio.create_task(self._record_waiting())

    async def _record_waiting(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
                # who was cancelled meanwhile must not succeed
                together = [ending for ending in together if not ending.run.done()]
                self._is_alone = len(together) < 2
                await self._record(together)
        finally:
            self._is_busy = False
            for ending in self._waiting:
                ending.run.cancel()

    async def _record(self, together: list[_Ending]) -> None:
        small = [ending for ending in together if _is_small(ending.success)]
        if len(small) == 1:
            small = []
        others = [ending for ending in together if ending not in small]
        try:
            async with self._database.pipeline(within_s=ANSWER_S) as pipeline:
                answers = [pipeline.send(sql.SUCCEED, _told(each.hold, each.success)) for each in others]
                if small:
                    answers.append(pipeline.send(sql.SUCCEED_TOGETHER, _told_together(small)))
        except Exception as error:
            if isinstance(error, DatabaseFault) and not _is_about_one(error):
                _tell_all(together, error)
            else:
                await asyncio.gather(*(self._record_alone(each) for each in together))
        except BaseException as error:
            _tell_all(together, error)
            raise
        else:
            ended = {row["id"]: row for answer in answers for row in answer.rows}
            for ending in together:
                row = ended.get(ending.hold.run_id)
                _tell(ending, lost(ending.hold) if row is None else run_from(row))
        finally:
            del together, small, others

    async def _record_alone(self, ending: _Ending) -> None:
        try:
            _tell(ending, await self._alone(ending.hold, ending.success))
        except Exception as error:
            _tell(ending, error)
        finally:
            del ending

    async def _alone(self, hold: Hold, success: Success) -> Run:
        try:
            async with self._database.pipeline(within_s=ANSWER_S) as pipeline:
                answer = pipeline.send(sql.SUCCEED, _told(hold, success))
        except Error as error:
            raise (rejection_of(error) or error) from None
        if not answer.rows:
            raise lost(hold)
        return run_from(answer.rows[0])


def lost(hold: Hold) -> LeaseLost:
    """Tell that a run is no longer held."""
    return LeaseLost(f"run {hold.run_id} is no longer held by token {hold.token}")


def _is_about_one(error: DatabaseFault) -> bool:
    """Whether what was refused for now may be one result: memory ran out, or it took too long.

    57P01 and its kin are about the server, or the connection, which ends.
    """
    state = error.sqlstate if isinstance(error, DatabaseUnavailable) else None
    return state is not None and not state.startswith("57P")


def rejection_of(error: Error) -> ResultRejected | None:
    """Tell that the database cannot hold a result, None when an error says something else.

    Class 22 is a value that jsonb does not take, class 54 one that is too long or nested too deep for it.
    """
    if not isinstance(error, DataError) and not (error.sqlstate or "").startswith("54"):
        return None
    primary = error.diag.message_primary or "the value is out of range"
    is_long = not isinstance(error, DataError)
    way_out = "select a part of the value, or fewer columns" if is_long else "round or cast the column"
    return ResultRejected(f"the result cannot be stored as jsonb: {primary}; {way_out}")


def _tell_all(endings: list[_Ending], error: BaseException) -> None:
    for ending in endings:
        _tell(ending, error)


def _tell(ending: _Ending, outcome: Run | BaseException) -> None:
    if ending.run.done():
        return
    if isinstance(outcome, Run):
        ending.run.set_result(outcome)
    elif isinstance(outcome, asyncio.CancelledError):
        ending.run.cancel()
    else:
        ending.run.set_exception(outcome)


def _told(hold: Hold, success: Success) -> Row:
    return {
        "run_id": hold.run_id,
        "token": hold.token,
        "rows": success.rows,
        "truncated": success.truncated,
        "byte_size": success.byte_size,
        "format": "jsonb-chunks" if success.chunks else "jsonb",
        "document": Jsonb(success, dumps=_document),
        "chunks": success.chunks,
        "param_values": None if success.param_values is None else Jsonb(success.param_values),
    }


def _is_small(success: Success) -> bool:
    return len(success.data) <= SMALL_BYTES and not success.chunks


def _told_together(endings: list[_Ending]) -> Row:
    successes = [ending.success for ending in endings]
    return {
        "ids": [ending.hold.run_id for ending in endings],
        "tokens": [ending.hold.token for ending in endings],
        "rows": [success.rows for success in successes],
        "truncated": [success.truncated for success in successes],
        "byte_sizes": [success.byte_size for success in successes],
        "documents": [_document(success).decode() for success in successes],
        "param_values": [
            None if success.param_values is None else json.dumps(success.param_values)
            for success in successes
        ],
    }


def _document(success: Success) -> bytes:
    data = b"" if success.chunks else b',"data":[' + success.data + b"]"
    return b'{"schema":' + success.table_schema + data + b"}"
