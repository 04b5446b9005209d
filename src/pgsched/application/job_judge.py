"""Judging what somebody wrote about a query: its fields, source, schedule and SQL, all faults at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pgsched.application.ports.execution import SqlGuard
from pgsched.application.ports.repositories import Sources
from pgsched.application.statements import judge
from pgsched.domain.drafts import Draft
from pgsched.domain.durations import Duration
from pgsched.domain.errors import (
    BadSchedule,
    BadTimezone,
    FieldFault,
    InvalidInput,
    NotFound,
    together,
)
from pgsched.domain.instants import FORM, instant_of
from pgsched.domain.job_changes import changes_plan, drafted_job
from pgsched.domain.jobs import Job, JobSpec
from pgsched.domain.schedules import Schedule, ScheduleType
from pgsched.domain.sources import DataSource
from pgsched.domain.zones import zone_named

#: what the guard sees
_JUDGED = ("sql_text", "parameters", "param_sets")
_SCHEDULE = ("schedule_type", "schedule_expr")


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What somebody wrote about a query, found right."""

    #: the query as it shall be
    spec: JobSpec
    #: the first instant asked for, UTC; None when none was
    start_at: datetime | None


class JobJudge:
    """Asks the rules of the fields, the sources, the schedule and the guard; never the source itself."""

    def __init__(self, sources: Sources, guard: SqlGuard, default_interval_s: int) -> None:
        self._sources = sources
        self._guard = guard
        self._default_interval_s = default_interval_s

    async def __call__(self, given: Mapping[str, object], now: datetime, before: Job | None = None) -> Judged:
        """Return the query as it shall be; what ``given`` does not name stays as it was ``before``.

        Fields are those of ``JobSpec``, and ``data_source`` (a name) and ``start_at``. An interval without an
        expression has DEFAULT_QUERY_INTERVAL. What a change leaves alone is not judged again.

        Raises:
            InvalidInput: with every fault there is; BadSchedule, BadTimezone or SqlNotAllowed when all
                faults are of that kind.
        """
        errors: list[InvalidInput] = []
        wanted = dict(given)
        start_at = self._start(wanted, now, errors)
        source = await self._source(wanted, errors)
        self._resolve_interval(wanted, before, errors)
        draft = drafted_job(wanted, None if before is None else before.spec)
        errors += _sorted_faults(draft, wanted)
        spec = draft.value
        if before is None or changes_plan(before, spec, start_at=start_at):
            errors += self._schedule_faults(draft, start_at, now, errors)
        for name in ("misfire_window", "fresh_for"):
            duration = getattr(spec, name)
            if duration is not None and (before is None or name in wanted) and draft.is_right(name):
                try:
                    Duration.parse(duration, field=name)
                except BadSchedule as error:
                    errors.append(InvalidInput.of(*error.faults))
        moved = before is None or spec.data_source_id != before.spec.data_source_id
        if draft.is_right(*_JUDGED) and (before is None or moved or _is_other_sql(spec, before.spec)):
            if source is None and before is not None:
                source = await self._sources.get(before.spec.data_source_id)
            errors += await self._sql_faults(spec, source)
        if errors:
            raise together(errors)
        return Judged(spec=spec, start_at=start_at)

    def _start(self, wanted: dict[str, object], now: datetime, errors: list[InvalidInput]) -> datetime | None:
        if "start_at" not in wanted:
            return None
        value = wanted.pop("start_at")
        if value is None:
            return now
        read = instant_of(value) if isinstance(value, str) else value
        if isinstance(read, datetime):
            return read.astimezone(UTC)
        errors.append(InvalidInput.of(FieldFault(field="start_at", message=f"must be {FORM}")))
        return None

    async def _source(self, wanted: dict[str, object], errors: list[InvalidInput]) -> DataSource | None:
        """Find the source that is named, by name or id, and leave its id in its place."""
        found: DataSource | None = None
        for field, kind in (("data_source", str), ("data_source_id", int)):
            key = wanted.get(field)
            if isinstance(key, bool) or not isinstance(key, kind):
                continue
            try:
                source = await self._sources.get(key)
            except NotFound as error:
                errors.append(InvalidInput.of(FieldFault(field=field, message=error.detail)))
                continue
            if found is not None and found.id != source.id:
                fault = FieldFault(field=field, message="names another source than data_source does")
                errors.append(InvalidInput.of(fault))
            found = source
        if "data_source" in wanted:
            name = wanted.pop("data_source")
            if name is None:
                wanted.setdefault("data_source_id", None)
            elif not isinstance(name, str):
                fault = FieldFault(field="data_source", message="must be text: the name of a source")
                errors.append(InvalidInput.of(fault))
            # a fault was told; the missing id is none of its own
            wanted["data_source_id"] = (
                found.id if found else wanted.get("data_source_id", 1 if name else None)
            )
        return found

    def _resolve_interval(
        self, wanted: dict[str, object], before: Job | None, errors: list[InvalidInput]
    ) -> None:
        """Give an interval without an expression the default one, so that it is stored."""
        is_absent = "schedule_expr" not in wanted
        if wanted.get("schedule_expr") is not None or (is_absent and before is not None):
            return
        kind = wanted.get("schedule_type", None if before is None else before.spec.schedule_type)
        if kind == ScheduleType.INTERVAL:
            wanted["schedule_expr"] = f"PT{self._default_interval_s}S"
        elif kind == ScheduleType.CRON:
            message = "a cron schedule needs an expression"
            errors.append(BadSchedule.of(FieldFault(field="schedule_expr", message=message)))
            wanted["schedule_expr"] = "* * * * *"
        elif is_absent:
            # its type is at fault; that is told
            wanted["schedule_expr"] = "PT1H"

    def _schedule_faults(
        self,
        draft: Draft[JobSpec],
        start_at: datetime | None,
        now: datetime,
        errors: list[InvalidInput],
    ) -> list[InvalidInput]:
        if not draft.is_right(*_SCHEDULE, "timezone") or any(type(error) is BadSchedule for error in errors):
            return []
        spec, zone = draft.value, draft.value.timezone
        found: list[InvalidInput] = []
        try:
            zone_named(zone)
        except BadTimezone as error:
            found.append(error)
            zone = "UTC"
        anchor = start_at or now.replace(microsecond=0)
        try:
            schedule = Schedule.parse(spec.schedule_type, spec.schedule_expr, zone, anchor)
            if schedule.next_after(now) is None:
                raise BadSchedule.of(FieldFault(field="schedule_expr", message="never fires"))
        except BadSchedule as error:
            found.append(error)
        return found

    async def _sql_faults(self, spec: JobSpec, source: DataSource | None) -> list[InvalidInput]:
        allowed = source is None or source.allow_user_functions
        check = partial(self._guard.check, allow_user_functions=allowed)
        try:
            await judge(partial(asyncio.to_thread, check), spec)
        except InvalidInput as error:
            return [error]
        return []


def _is_other_sql(spec: JobSpec, before: JobSpec) -> bool:
    return any(getattr(spec, name) != getattr(before, name) for name in _JUDGED)


def _sorted_faults(draft: Draft[JobSpec], wanted: Mapping[str, object]) -> list[InvalidInput]:
    """Tell a kind of schedule that there is not from other faults of fields: it has its own code."""
    kinds = [
        fault
        for fault in draft.faults
        if fault.field == "schedule_type" and isinstance(wanted.get("schedule_type"), str)
    ]
    others = [fault for fault in draft.faults if fault not in kinds]
    found: list[InvalidInput] = []
    if kinds:
        found.append(BadSchedule.of(*kinds))
    if others:
        found.append(InvalidInput.of(*others))
    return found
