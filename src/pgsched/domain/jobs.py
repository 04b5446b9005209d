"""Query jobs: what runs, when, for whom, and under which policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

from pgsched.domain.errors import FieldFault, InvalidInput
from pgsched.domain.names import MAX_DESCRIPTION, MAX_TITLE, name_fault, text_fault
from pgsched.domain.parameters import Parameter, ParameterSet, param_sets_from, parameters_from
from pgsched.domain.results import OnLimit
from pgsched.domain.schedules import Schedule, ScheduleType


class Visibility(StrEnum):
    """Who may read a query's runs."""

    #: everyone, a login is not needed (unless PUBLIC_READ=0, which makes it ``users``)
    PUBLIC = "public"
    #: every account that is logged in
    USERS = "users"
    #: granted users, roles and tokens; editors and admins always
    RESTRICTED = "restricted"


class OverlapPolicy(StrEnum):
    """What becomes of an instant that falls due while the query's earlier run is not over."""

    #: recorded as skipped
    SKIP = "skip"
    #: one waits, later ones are skipped
    QUEUE = "queue"
    #: all wait, at most 100
    QUEUE_ALL = "queue_all"
    #: the earlier one is cancelled, the new one starts once it has ended
    CANCEL_PREVIOUS = "cancel_previous"
    #: both run, at most 4 at once
    ALLOW = "allow"


class MisfirePolicy(StrEnum):
    """What becomes of instants that are found more than a minute late."""

    #: the newest runs, the rest is recorded
    ONCE = "once"
    #: each inside the window runs, oldest first, at most 100
    ALL = "all"
    #: none runs, all are recorded
    SKIP = "skip"


#: field, least, most, whether None is allowed; units are in the field's name or its ``#:`` line
BOUNDS: tuple[tuple[str, int, int, bool], ...] = (
    ("start_deadline_s", 1, 31_536_000, True),
    ("jitter_s", 0, 86_400, False),
    ("max_attempts", 1, 100, False),
    ("retry_backoff_s", 1, 900, False),
    ("timeout_ms", 1, 86_400_000, False),
    ("max_rows", 1, 1_000_000_000, False),
    ("max_bytes", 1, 1 << 40, False),
    ("pause_after_failures", 0, 1_000_000, False),
    ("keep_runs", 1, 1_000_000_000, True),
    ("keep_days", 1, 36_500, True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """Everything about a query that a person decides.

    Raises:
        InvalidInput: when made with a value that breaks a rule; a fault for each bad field.
    """

    #: unique name, usable in a URL
    name: str
    #: what people call it
    title: str
    #: what it shows and for whom, may have lines
    description: str = ""
    #: one statement that the guard allowed
    sql_text: str
    #: where it runs
    data_source_id: int
    #: cron or interval
    schedule_type: ScheduleType
    #: five cron fields or a macro; an ISO 8601 duration or whole seconds
    schedule_expr: str
    #: IANA name of the zone that the schedule and the session live in
    timezone: str = "UTC"
    #: whether instants are planned
    enabled: bool = True
    #: who reads
    visibility: Visibility = Visibility.PUBLIC
    #: see ``OverlapPolicy``
    overlap_policy: OverlapPolicy = OverlapPolicy.SKIP
    #: see ``MisfirePolicy``
    misfire_policy: MisfirePolicy = MisfirePolicy.ONCE
    #: ISO 8601 duration; instants older than this when found are recorded, never run
    misfire_window: str = "P1D"
    #: seconds after its instant at which a run that still waits is skipped, None for never
    start_deadline_s: int | None = None
    #: seconds over which starts are spread
    jitter_s: int = 0
    #: tries of one run, the first included
    max_attempts: int = 3
    #: seconds before the second try; doubles from there
    retry_backoff_s: int = 5
    #: milliseconds a statement may take
    timeout_ms: int = 300_000
    #: rows stored of one run
    max_rows: int = 10_000
    #: bytes of encoded rows stored of one run
    max_bytes: int = 8 * 1024 * 1024
    #: what happens at either limit
    on_limit: OnLimit = OnLimit.TRUNCATE
    #: final errors in a row after which the query is paused, 0 for never
    pause_after_failures: int = 0
    #: runs kept, None for all
    keep_runs: int | None = None
    #: days that runs are kept, None for ever
    keep_days: int | None = None
    #: ISO 8601 duration; a newest result whose run began longer ago is stale, None for never
    fresh_for: str | None = None
    #: whether the numbers of its newest result are told in /metrics, of a public query only
    expose_metrics: bool = False
    #: what the statement takes as ``:name``; read from JSON as ``parameters_from`` says
    parameters: tuple[Parameter, ...] = ()
    #: values to run it with, each set by itself; without any it runs with the defaults
    param_sets: tuple[ParameterSet, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what breaks a rule, all faults at once."""
        faults = [
            name_fault("name", self.name),
            text_fault("title", self.title, MAX_TITLE, shortest=1),
            text_fault("description", self.description, MAX_DESCRIPTION, lines=True),
            *(self._bound_fault(*bound) for bound in BOUNDS),
            self._exposure_fault(),
        ]
        found = [fault for fault in faults if fault is not None]
        if self.parameters != () or self.param_sets != ():
            found += self._read_parameters()
        if found:
            raise InvalidInput.of(*found)

    @property
    def set_names(self) -> tuple[str, ...]:
        """The sets that each instant is run with; one without a name when there are none."""
        return tuple(one.name for one in self.param_sets) or ("",)

    def set_called(self, name: str | None) -> str:
        """Return the set that somebody asks for: the one of that name, the first (or none) without a name.

        Raises:
            InvalidInput: the query has no such set.
        """
        if name is None:
            return self.set_names[0]
        known = [one.name for one in self.param_sets]
        if name in known:
            return name
        there = f"it has {', '.join(known)}" if known else "it has none"
        message = f"the query has no parameter set {ascii(name[:63])[1:-1]}; {there}"
        raise InvalidInput.of(FieldFault(field="params", message=message))

    def described(self) -> dict[str, object]:
        """Return the fields by name, parameters and sets as JSON holds them."""
        told: dict[str, object] = {field.name: getattr(self, field.name) for field in fields(self)}
        told["parameters"] = [each.describe() for each in self.parameters]
        told["param_sets"] = [each.describe() for each in self.param_sets]
        return told

    def _read_parameters(self) -> Sequence[FieldFault]:
        try:
            parameters = parameters_from(self.parameters)
            object.__setattr__(self, "parameters", parameters)
            object.__setattr__(self, "param_sets", param_sets_from(self.param_sets, parameters))
        except InvalidInput as error:
            return error.faults
        return ()

    def _exposure_fault(self) -> FieldFault | None:
        if not self.expose_metrics or self.visibility is Visibility.PUBLIC:
            return None
        message = "is for queries whose visibility is public: /metrics asks for no login"
        return FieldFault(field="expose_metrics", message=message)

    def _bound_fault(self, field: str, least: int, most: int, optional: bool) -> FieldFault | None:
        value = getattr(self, field)
        if (value is None and optional) or (value is not None and least <= value <= most):
            return None
        return FieldFault(field=field, message=f"must be {least} to {most}, not {value}")


def first_instant(spec: JobSpec, anchor: datetime, now: datetime) -> datetime | None:
    """Return the first instant to plan of a job saved ``now``: an interval's anchor itself, cron's next.

    None when the job is disabled, or when its schedule has ended.
    """
    if not spec.enabled:
        return None
    schedule = Schedule(
        type=spec.schedule_type, expr=spec.schedule_expr, timezone=spec.timezone, anchor=anchor
    )
    if spec.schedule_type is ScheduleType.INTERVAL:
        return next(schedule.instants_after(anchor, inclusive=True), None)
    # a start in the future holds for cron too
    return next(schedule.instants_after(max(anchor, now), inclusive=anchor > now), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A stored query job."""

    #: identity, 64 bit
    id: int
    #: what a person decided
    spec: JobSpec
    #: first instant of an interval schedule, UTC, a whole second
    anchor_at: datetime
    #: next instant to be planned, UTC; None when disabled or when the schedule has ended
    next_run_at: datetime | None
    #: final errors since the last success
    consecutive_failures: int = 0
    #: when it was paused after failures, UTC; None when it was not
    paused_at: datetime | None = None
    #: why it was paused
    pause_reason: str | None = None
    #: when it was made, UTC
    created_at: datetime
    #: when it last changed, UTC
    updated_at: datetime

    @property
    def schedule(self) -> Schedule:
        """The schedule, with this job's anchor."""
        spec = self.spec
        return Schedule(
            type=spec.schedule_type, expr=spec.schedule_expr, timezone=spec.timezone, anchor=self.anchor_at
        )
