"""Planning on Postgres: the statements that lock due jobs, write their runs and gaps, and move them on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from pgsched.adapters.postgres import runs_sql as sql
from pgsched.adapters.postgres.mapping import job_from
from pgsched.adapters.postgres.pipeline import Answer, Pipeline
from pgsched.application.ports.queue import Decide, Planned
from pgsched.domain.jobs import Job, OverlapPolicy
from pgsched.domain.planning import ActiveRuns, Plan, why_unplannable
from pgsched.domain.runs import RunStatus, SkipReason

log = logging.getLogger(__name__)

#: what is written beside each reason
WHY: Final = {
    SkipReason.OVERLAP: "the query's earlier run was not over",
    SkipReason.MISFIRE: "found too late to run",
    SkipReason.DEADLINE: "waited longer than start_deadline_s",
    SkipReason.PAUSED: "the query is paused after failures",
}
_SUPERSEDED: Final = "a newer run took its place"

#: a job, the name of one of its parameter sets, and what becomes of that set's instants
_SetPlan: TypeAlias = tuple[Job, str, Plan]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planning:
    """What was decided and sent; ``planned`` once its transaction has been committed."""

    #: how many jobs were due
    jobs: int
    #: what becomes of them
    plans: Sequence[_SetPlan]
    #: the rows that are new
    inserted: Answer

    def planned(self) -> Planned:
        """Return what it did."""
        queued = sum(row["status"] == RunStatus.QUEUED for row in self.inserted.rows)
        decided = sum(len(p.runs) + sum(g.instants for g in p.gaps) for _, _, p in self.plans)
        return Planned(jobs=self.jobs, queued=queued, recorded=decided - queued)


async def begin_planning(pipeline: Pipeline, decide: Decide, limit: int) -> Planning:
    """Lock up to ``limit`` due jobs, decide, and send what carries it out."""
    due = pipeline.send(sql.LOCK_DUE, {"limit": limit})
    active_now = pipeline.send(sql.ACTIVE)
    await pipeline.answers()
    active = {
        (row["query_id"], row["params"]): ActiveRuns(queued=row["queued"], running=row["running"])
        for row in active_now.rows
    }
    plans: list[_SetPlan] = []
    for row in due.rows:
        try:
            job = job_from(row)
            for params in job.spec.set_names:
                under_way = active.get((job.id, params), ActiveRuns())
                plans.append((job, params, decide(job, row["now"], under_way)))
        except Exception as error:
            # One job that cannot be planned (its zone is gone, say) must not stop all others.
            log.exception(
                "query %s cannot be planned and is paused",
                row["j_name"],
                extra={"action": "job.unplannable", "query_id": row["j_id"]},
            )
            pipeline.send(sql.PAUSE_UNPLANNABLE, {"id": row["j_id"], "why": why_unplannable(error)})
    return Planning(jobs=len(due.rows), plans=plans, inserted=_send_plans(pipeline, plans))


def _send_plans(pipeline: Pipeline, plans: Sequence[_SetPlan]) -> Answer:
    """Send rows, gaps and the next instants; the answer will have the rows that are new."""
    superseded = [(job.id, params) for job, params, plan in plans if plan.cancel_previous]
    if superseded:
        ids, names = zip(*superseded, strict=True)
        parameters = {"ids": list(ids), "params": list(names), "why": _SUPERSEDED}
        pipeline.send(sql.CANCEL_PREVIOUS, parameters)
    runs = [(job, params, run) for job, params, plan in plans for run in plan.runs]
    inserted = Answer()
    if runs:
        inserted = pipeline.send(
            sql.INSERT_PLANNED,
            {
                "query_id": [job.id for job, _, _ in runs],
                "params": [params for _, params, _ in runs],
                "scheduled_at": [run.instant for _, _, run in runs],
                "job_timezone": [job.spec.timezone for job, _, _ in runs],
                "status": [run.status.value for _, _, run in runs],
                "data_source_id": [job.spec.data_source_id for job, _, _ in runs],
                "ready_at": [run.ready_at for _, _, run in runs],
                "deadline_at": [run.deadline_at for _, _, run in runs],
                "exclusive": [job.spec.overlap_policy is not OverlapPolicy.ALLOW for job, _, _ in runs],
                "error_code": [run.skipped and run.skipped.value for _, _, run in runs],
                "error_message": [run.skipped and WHY[run.skipped] for _, _, run in runs],
            },
        )
    gaps = [(job, params, gap) for job, params, plan in plans for gap in plan.gaps]
    if gaps:
        pipeline.send(
            sql.INSERT_GAPS,
            {
                "query_id": [job.id for job, _, _ in gaps],
                "params": [params for _, params, _ in gaps],
                "from_at": [gap.from_at for _, _, gap in gaps],
                "to_at": [gap.to_at for _, _, gap in gaps],
                "instants": [gap.instants for _, _, gap in gaps],
                "reason": [gap.reason.value for _, _, gap in gaps],
            },
        )
    if plans:
        advance = {
            "ids": [job.id for job, _, _ in plans],
            "next_run_at": [plan.next_run_at for _, _, plan in plans],
        }
        pipeline.send(sql.ADVANCE, advance)
    return inserted
