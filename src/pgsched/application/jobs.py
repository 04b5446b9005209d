"""Query jobs: adding one."""

from __future__ import annotations

import asyncio
from datetime import datetime

from pgsched.application.ports.execution import SqlGuard
from pgsched.application.ports.repositories import Jobs, Sources
from pgsched.application.ports.timing import Clock
from pgsched.domain.durations import Duration
from pgsched.domain.errors import BadSchedule, FieldFault, SqlNotAllowed
from pgsched.domain.jobs import Job, JobSpec
from pgsched.domain.schedules import Schedule


class AddJob:
    """Asks the guard and the schedule, not the source, and stores the job."""

    def __init__(self, jobs: Jobs, sources: Sources, guard: SqlGuard, clock: Clock) -> None:
        self._jobs = jobs
        self._sources = sources
        self._guard = guard
        self._clock = clock

    async def __call__(self, spec: JobSpec, *, start_at: datetime | None = None) -> Job:
        """Store the job.

        Raises:
            SqlNotAllowed: the guard refuses the statement; says what and where.
            BadSchedule: the expression is not one, or has no instant in ten years.
            BadTimezone: the zone is not in the IANA database.
            InvalidInput: another field breaks a rule.
            NotFound: there is no such source.
            NameTaken: another query has the name.
        """
        now = await self._clock.now()
        anchor = start_at or now.replace(microsecond=0)
        schedule = Schedule.parse(spec.schedule_type, spec.schedule_expr, spec.timezone, anchor)
        if schedule.next_after(now) is None:
            raise BadSchedule.of(FieldFault(field="schedule_expr", message="never fires"))
        Duration.parse(spec.misfire_window, field="misfire_window")
        source = await self._sources.get(spec.data_source_id)
        verdict = await asyncio.to_thread(
            self._guard.check, spec.sql_text, allow_user_functions=source.allow_user_functions
        )
        if not verdict.allowed:
            raise SqlNotAllowed(verdict.detail, reason=str(verdict.code), position=verdict.position)
        return await self._jobs.add(spec, start_at=start_at)
