"""Answers from memory: finished runs by id, as long as the database was seen and permission is given anew.

Nothing here decides who may read: ``access_to`` is asked for every request, with rights no older than the
watch's last look.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pgsched.application.ports.watch import Ended
from pgsched.domain.audience import Access, Audience, RowFilter, access_to
from pgsched.domain.freshness import Freshness
from pgsched.domain.row_filters import fingerprint
from pgsched.entrypoints.http.carried import lines_of
from pgsched.entrypoints.http.origins import Headers
from pgsched.entrypoints.http.representations import LARGEST_KEPT, Represented

if TYPE_CHECKING:
    from pgsched.application.watching import Generation, Watching
    from pgsched.entrypoints.http.questions import Question

#: bytes of bodies that a process keeps
KEPT_BYTES = 64 * 1024 * 1024
_MOST_RUNS = 16_384
_MOST_AGES = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What a handler tells of the run it answers with: what the answer may be kept under."""

    #: whose run it is
    query_id: int
    #: the run, which is over
    ended: Ended
    #: the filters that were applied to its rows, None for every row
    rows: tuple[RowFilter, ...] | None
    #: whether errors are told whole
    whole_errors: bool
    #: the database's now, UTC, where the answer tells its age
    now: datetime | None = None


class Key(NamedTuple):
    """All that the bytes of a finished run's answer depend on."""

    ended: Ended
    form: tuple[object, ...]
    whole_errors: bool
    rows: str


@dataclass(frozen=True, slots=True)
class Age:
    """Header lines that tell an age: of the answer, never in the body of the run."""

    headers: Headers
    #: the same as lines of HTTP/1.1
    lines: bytes
    #: seconds of the monotonic clock until which they are right
    until: float

    @classmethod
    def of(cls, freshness: Freshness, at: float) -> Age:
        """Write them for an age at a moment of the monotonic clock."""
        headers = [
            (b"pgsched-age", b"%d" % freshness.age_s),
            (b"pgsched-stale", b"%d" % freshness.is_stale),
        ]
        # to the next whole second of the age, or the moment it is too old
        left = 1 - freshness.age_s % 1
        if not freshness.is_stale and (end := freshness.fresh_until) is not None:
            left = min(left, (end - freshness.now).total_seconds())
        return cls(headers, lines_of(headers), at + left)


_NO_AGE = Age([], b"", float("inf"))


class Memory:
    """Keeps answers, and finds them for whoever may read them."""

    def __init__(self, watching: Watching, *, most_bytes: int = KEPT_BYTES) -> None:
        self._watching = watching
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Key, Represented] = OrderedDict()
        #: whose run it is, of runs that were kept
        self._query_of: dict[int, int] = {}
        #: bytes kept
        self.size = 0
        #: ages told, by the run and the query's fresh_for
        self._ages: dict[tuple[Ended, str | None], Age] = {}
        #: from this process's monotonic clock to the database's, seconds; None until an answer told its age
        self._to_database: float | None = None

    @property
    def trusted(self) -> bool:
        """Whether anything may be answered from memory now."""
        return self._watching.trusted

    @property
    def generation(self) -> Generation:
        """What is known now; what is loaded after this was read may be kept in it."""
        return self._watching.generation

    async def catch_up(self) -> None:
        """Believe nothing any more that a change committed before now has made untrue."""
        await self._watching.catch_up()

    def key(self, question: Question, audience: Audience) -> Key | None:
        """Return what the answer is kept under, None when the database must be asked.

        Asks for permission each time; what may not be seen has no key.
        """
        watching = self._watching
        ended: Ended | None
        if question.query is None:
            assert question.run_id is not None
            query_id = self._query_of.get(question.run_id)
            ended = watching.runs.get(question.run_id)
            if query_id is None or ended is None:
                return None
            watching.asks_for_run(question.run_id)
        else:
            known = question.query
            query_id = known if isinstance(known, int) else watching.generation.ids.get(known)
            if query_id is None:
                return None
            ended = watching.latest.get(query_id)
            if ended is None:
                return None
            watching.asks_for_query(query_id)
        rights = watching.generation.rights.get(query_id)
        if rights is None:
            return None
        access = access_to(audience, query_id=query_id, visibility=rights.visibility, grants=rights.grants)
        return _key(ended, question, audience.whole_errors, access) if access.visible else None

    def find(self, key: Key) -> Represented | None:
        """Return the answer that is kept under a key."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def age(self, question: Question, key: Key) -> Age:
        """Return the header lines that tell the age of a query's latest success; none for other answers."""
        if question.query is None or self._to_database is None:
            return _NO_AGE
        known, generation = question.query, self._watching.generation
        query_id = known if isinstance(known, int) else generation.ids.get(known)
        rights = None if query_id is None else generation.rights.get(query_id)
        if rights is None:
            return _NO_AGE
        at, asked = time.monotonic(), (key.ended, rights.fresh_for)
        told = self._ages.get(asked)
        if told is None or told.until <= at:
            if len(self._ages) >= _MOST_AGES:
                self._ages.clear()
            now = _EPOCH + timedelta(seconds=at + self._to_database)
            since = _EPOCH + timedelta(microseconds=key.ended.at)
            told = Age.of(Freshness(since=since, fresh_for=rights.fresh_for, now=now), at)
            self._ages[asked] = told
        return told

    def keep(self, question: Question, shown: Shown, answer: Represented) -> None:
        """Keep the answer to a question, and have what it depends on watched."""
        if shown.now is not None:
            self._to_database = (shown.now - _EPOCH).total_seconds() - time.monotonic()
        if question.query is None:
            self._watching.asks_for_run(shown.ended.run_id)
            self._watching.asks_for_query(shown.query_id)
        elif not question.of_set:
            self._watching.met(shown.query_id, shown.ended)
        if len(answer.plain.body or b"") > LARGEST_KEPT:
            return
        key = Key(shown.ended, question.form, shown.whole_errors, fingerprint(shown.rows))
        if answer.plain.body is None and key in self._kept:
            return  # more is known of it already
        self._drop(key)
        self._kept[key] = answer
        if len(self._query_of) >= _MOST_RUNS:
            self._query_of.clear()  # they are learnt again
        self._query_of[shown.ended.run_id] = shown.query_id
        self.size += answer.size
        while self.size > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.size -= found.size


def _key(ended: Ended, question: Question, whole_errors: bool, access: Access) -> Key:
    rows = fingerprint(access.rows) if access.rows is not None else ""
    return Key(ended, question.form, whole_errors, rows)
