"""The checker: judges a record by rules of its own; it uses nothing of pgsched's code."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from chaos import reasons
from chaos.findings import Findings
from chaos.fleet import Hurt
from chaos.instants import expected
from chaos.load import Query
from chaos.record import Record

TERMINAL = ("success", "error", "cancelled", "skipped")
#: how far two clocks of one machine, and a trigger and its commit, may be apart
SLACK = timedelta(seconds=1.5)


class Checker:
    """All rules over one record."""

    def __init__(
        self,
        record: Record,
        queries: Mapping[int, Query],
        hurts: list[Hurt],
        *,
        lease_s: float,
        until: datetime,
    ) -> None:
        self.record = record
        self.queries = queries
        self.hurts = hurts
        self.lease = timedelta(seconds=lease_s)
        self.until = until
        self.found = Findings()
        #: who claimed with which token
        self.holders: dict[tuple[int, int], Any] = {
            (c.run_id, c.token): c
            for c in record.changes
            if c.status == "running" and c.old_status == "queued"
        }
        self.by_run: dict[int, list[Any]] = defaultdict(list)
        for change in record.changes:
            self.by_run[change.run_id].append(change)

    def check(self) -> Findings:
        """Apply every rule."""
        rules: tuple[Callable[[], None], ...] = (
            self.outcomes,
            self.results,
            self.tokens,
            self.transitions,
            self.overlaps,
            self.self_kills,
            self.stuck,
        )
        for rule in rules:
            rule()
        for judge in (reasons.skipped, reasons.catch_up):
            judge(self.record, self.queries, self.found)
        return self.found

    # -- exactly one outcome per instant, no phantom -------------------------------------------------------

    def outcomes(self) -> None:
        """Each due instant has one row or one place in one gap, nothing else has any."""
        for query_id, query in self.queries.items():
            job = self.record.jobs.get(query_id)
            if job is None:
                continue
            due = expected(query, job.anchor_at, job.created_at, self.until)
            wanted = set(due)
            got: Counter[datetime] = Counter(
                run.scheduled_at
                for run in self.record.runs
                if run.query_id == query_id and run.trigger == "schedule"
            )
            for gap in self.record.gaps:
                if gap.query_id != query_id:
                    continue
                inside = [
                    at
                    for at in expected(query, job.anchor_at, job.created_at, gap.to_at)
                    if at >= gap.from_at
                ]
                if len(inside) != gap.instants or inside[0] != gap.from_at or inside[-1] != gap.to_at:
                    self.found.add(
                        "gap",
                        f"{query.name}: gap from {gap.from_at} of {gap.instants}, there are {len(inside)}",
                    )
                got.update(inside)
            for at in due:
                if got[at] == 0:
                    self.found.add("missed", f"{query.name} {at}")
                elif got[at] > 1:
                    self.found.add("duplicated", f"{query.name} {at}: {got[at]} outcomes")
            for at in got:
                if at <= self.until and at not in wanted:
                    self.found.add("phantom", f"{query.name} {at}")
            self.found.seen["instants"] += len(due)
        for change in self.record.changes:
            if (
                change.op == "INSERT"
                and change.trigger == "schedule"
                and change.at + SLACK / 10 < change.scheduled_at
            ):
                self.found.add(
                    "phantom", f"run {change.run_id} was planned before its instant {change.scheduled_at}"
                )

    # -- success ⇔ one complete right blob, never rewritten ------------------------------------------------

    def results(self) -> None:
        """Each success has its whole right result, made by the recorded attempt; nothing else has one."""
        for run in self.record.runs:
            blob = self.record.blobs.get(run.id)
            if (run.status == "success") != (blob is not None):
                self.found.add("torn", f"run {run.id} is {run.status} and has {'a' if blob else 'no'} result")
            query = self.queries.get(run.query_id)
            if blob is None or query is None:
                continue
            self.found.seen["results"] += 1
            whole = (
                blob.rows == blob.distinct == blob.right == blob.row_count == run.rows_returned == query.rows
            )
            if not whole or (blob.first, blob.last) != (1, query.rows):
                self.found.add(
                    "torn", f"run {run.id} of {query.name}: {vars(blob)} instead of {query.rows} rows"
                )
            if blob.made_by != {f"pgsched:{run.id}/{run.attempt}"}:
                self.found.add(
                    "stale", f"run {run.id}, attempt {run.attempt}, holds the result of {blob.made_by}"
                )
            if (run.id, run.attempt) not in self.record.executions:
                self.found.add(
                    "phantom", f"run {run.id}/{run.attempt} succeeded and the source knows nothing of it"
                )
        inserted = Counter(change.run_id for change in self.record.blob_changes if change.op == "INSERT")
        rewritten = [change.run_id for change in self.record.blob_changes if change.op == "UPDATE"]
        rewritten += [run_id for run_id, count in inserted.items() if count > 1]
        for run_id in rewritten:
            self.found.add("rewritten", f"the result of run {run_id} was written more than once")

    # -- tokens only grow ----------------------------------------------------------------------------------

    def tokens(self) -> None:
        """Every claim draws a token that nobody had, higher than the run's last."""
        drawn: Counter[int] = Counter()
        for change in self.holders.values():
            drawn[change.token] += 1
            if change.token <= change.old_token:
                self.found.add("token", f"run {change.run_id}: token {change.token} after {change.old_token}")
        for token, count in drawn.items():
            if count > 1:
                self.found.add("token", f"token {token} was drawn {count} times")
        self.found.seen["claims"] = len(self.holders)
        claimed = {(run_id, claim.attempt) for (run_id, _), claim in self.holders.items()}
        for (run_id, attempt), executions in self.record.executions.items():
            # the source's log is read after the tables: what is newer than they are says nothing
            known = any(execution.began < self.record.now - SLACK for execution in executions)
            if known and (run_id, attempt) not in claimed:
                self.found.add(
                    "phantom", f"attempt {attempt} of run {run_id} ran at the source and was never claimed"
                )

    # -- who may change what -------------------------------------------------------------------------------

    def transitions(self) -> None:
        """Whoever ends an attempt holds it, unexpired; a rescue takes from the lost alone."""
        for change in self.record.changes:
            if change.op != "UPDATE" or change.old_status == change.status:
                continue
            if change.old_status in TERMINAL:
                self.found.add(
                    "stale", f"run {change.run_id} was {change.old_status} and became {change.status}"
                )
            if change.old_status != "running":
                continue
            claim = self.holders.get((change.run_id, change.old_token))
            if claim is None:
                continue
            if change.losses > change.old_losses:
                self._rescue(change, claim)
            elif change.writer != claim.writer:
                self.found.add(
                    "stale",
                    f"run {change.run_id}: {change.writer} ended what {claim.writer} held ({change.status})",
                )
            elif change.at > change.old_lease + SLACK and not self._is_hurt("*", change.old_lease, change.at):
                # the guard looks at the lease when the statement runs; the trigger a moment later
                self.found.add(
                    "stale",
                    f"run {change.run_id}: {change.status} {change.at - change.old_lease} after its lease",
                )

    def _rescue(self, change: Any, claim: Any) -> None:
        self.found.seen["rescues"] += 1
        if change.at >= change.old_lease:
            return
        # before its end a lease is broken only when the holder's connection is gone
        if not self._is_hurt(claim.writer, claim.at - self.lease, change.at):
            self.found.add(
                "rescue", f"run {change.run_id} was taken from {claim.writer}, which is there, at {change.at}"
            )

    def _is_hurt(self, who: str, since: datetime, until: datetime, *kinds: str) -> bool:
        return any(
            hurt.who in (who, "*")
            and (not kinds or hurt.kind in kinds)
            and hurt.since <= until.timestamp() + 1
            and hurt.until >= since.timestamp() - 1
            for hurt in self.hurts
        )

    # -- no overlap unless allowed -------------------------------------------------------------------------

    def overlaps(self) -> None:
        """Exclusive runs of one query hold one after the other; ``allow`` has at most four."""
        holds: dict[int, list[tuple[datetime, datetime, int, bool]]] = defaultdict(list)
        for (run_id, token), claim in self.holders.items():
            # `at` is the trigger's time; both ends lie inside their transactions
            ends = [
                c.at
                for c in self.by_run[run_id]
                if c.old_status == "running" and c.old_token == token and c.status != "running"
            ]
            ends += [c.at for c in self.by_run[run_id] if c.op == "DELETE"]
            holds[claim.query_id].append(
                (claim.at, min(ends, default=self.record.now), run_id, claim.exclusive)
            )
        for query_id, times in holds.items():
            name = self.queries[query_id].name if query_id in self.queries else f"query {query_id}"
            exclusive = sorted(hold for hold in times if hold[3])
            for earlier, later in pairwise(exclusive):
                if later[0] < earlier[1]:
                    self.found.add(
                        "overlap", f"{name}: runs {earlier[2]} and {later[2]} at once from {later[0]}"
                    )
            for since, *_ in times:
                if sum(a <= since < b for a, b, *_ in times) > 4:
                    self.found.add("overlap", f"{name}: more than four at once at {since}")

    # -- a worker that lost its lease has stopped at the source --------------------------------------------

    def self_kills(self) -> None:
        """No statement of a worker that is alive goes on at the source after its lease has ended."""
        for (run_id, _token), claim in self.holders.items():
            leases = [c.lease for c in self.by_run[run_id] if c.token == claim.token and c.lease is not None]
            end = max(leases)
            for execution in self.record.executions.get((run_id, claim.attempt), ()):
                # attempts that were handed back carry their number again
                if (
                    execution.began < claim.at - SLACK
                    or execution.began > end
                    or execution.ended <= end + SLACK
                ):
                    continue
                asleep = ("kill", "freeze", "stop", "source")
                if not self._is_hurt(claim.writer, claim.at, execution.ended, *asleep):
                    self.found.add(
                        "self_kill",
                        f"run {run_id}/{claim.attempt} went on {execution.ended - end} after its lease",
                    )

    # -- nothing is stuck ----------------------------------------------------------------------------------

    def stuck(self) -> None:
        """At the end, with every fault healed, everything due is planned, claimed and held by the living."""
        now = self.record.now
        running = {run.query_id for run in self.record.runs if run.status == "running"}
        for run in self.record.runs:
            if run.status == "running" and run.lease_until < now - timedelta(seconds=6):
                self.found.add("stuck", f"run {run.id} is held by nobody since {run.lease_until}")
            waits = run.status == "queued" and run.ready_at < now - timedelta(seconds=6)
            if waits and run.query_id not in running:
                self.found.add("stuck", f"run {run.id} waits since {run.ready_at}")
        for job in self.record.jobs.values():
            if (
                job.enabled
                and job.paused_at is None
                and (job.next_run_at is None or job.next_run_at < now - timedelta(seconds=5))
            ):
                self.found.add("stuck", f"{job.name} is not planned since {job.next_run_at}")
