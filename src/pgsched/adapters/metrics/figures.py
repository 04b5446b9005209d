"""The database's figures as metrics. Labels carry ids, and there is a bound on how many series there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from pgsched.domain.freshness import is_stale

if TYPE_CHECKING:
    from datetime import datetime

    from prometheus_client.metrics_core import Metric

    from pgsched.application.ports.upkeep import Distribution, Figures, RunCount
    from pgsched.domain.exposure import Exposed

#: most queries with series of their own: those with the lowest ids, so that a series does not come and go
MOST_QUERIES = 1000
#: stands for the queries beyond those
OTHER = "other"


class FiguresCollector(Collector):
    """Hands one look at the database to prometheus_client."""

    def __init__(
        self, figures: Figures | None, exposed: Sequence[Exposed], *, version: str, lost_records: int
    ) -> None:
        self._figures = figures
        self._exposed = exposed
        self._version = version
        self._lost_records = lost_records

    def collect(self) -> Iterator[Metric]:
        """Yield every family; without figures those alone that need no database."""
        yield InfoMetricFamily("pgsched_build", "What runs here.", {"version": self._version})
        yield CounterMetricFamily(
            "pgsched_log_errors",
            "Log records of this process that went to stderr instead.",
            self._lost_records,
        )
        yield GaugeMetricFamily(
            "pgsched_database_up", "Whether the metadata database answered.", int(self._figures is not None)
        )
        if self._figures is not None:
            yield from _runs(self._figures)
            yield from _queue(self._figures)
            yield from _queries(self._figures)
            yield from _sources(self._figures)
            yield from _workers(self._figures)
            yield from _exposed(self._exposed)


def _runs(figures: Figures) -> Iterator[Metric]:
    known = {figure.job.id for figure in figures.queries}

    def name(count: RunCount) -> str:
        return str(count.query_id) if count.query_id in known else OTHER

    runs = CounterMetricFamily(
        "pgsched_runs", "Runs that are over, by outcome.", labels=["query_id", "status", "reason"]
    )
    for (query, status, reason), value in _summed(
        ((name(count), count.status.value, count.reason), count.runs) for count in figures.counts
    ):
        runs.add_metric([query, status, reason], value)
    yield runs
    for metric, text, attribute, scale in (
        ("pgsched_run_rows", "Rows that successful runs returned.", "rows", 1),
        ("pgsched_run_bytes", "Bytes of results stored.", "bytes", 1),
        ("pgsched_run_seconds", "Time that runs took, connecting included.", "duration_ms", 1000),
        ("pgsched_run_attempts", "Tries of runs that are over.", "attempts", 1),
    ):
        family = CounterMetricFamily(metric, text, labels=["query_id"])
        for (query,), value in _summed(
            ((name(count),), getattr(count, attribute) / scale) for count in figures.counts
        ):
            family.add_metric([query], value)
        yield family
    yield CounterMetricFamily(
        "pgsched_leases_lost",
        "Times that a run was lost with its worker.",
        sum(count.losses for count in figures.counts),
    )
    yield _histogram("pgsched_run_duration_seconds", "How long runs took.", figures.durations)
    yield _histogram(
        "pgsched_run_lateness_seconds", "How long after its instant a scheduled run began.", figures.lateness
    )


def _queue(figures: Figures) -> Iterator[Metric]:
    depth = GaugeMetricFamily("pgsched_queue_depth", "Runs that are not over, by state.", labels=["state"])
    for state in ("waiting", "later", "running", "stuck"):
        depth.add_metric([state], getattr(figures, state))
    yield depth
    yield GaugeMetricFamily(
        "pgsched_queue_longest_wait_seconds",
        "Time that the longest waiting run has waited since it could start.",
        figures.longest_wait_s,
    )
    yield GaugeMetricFamily(
        "pgsched_planning_delay_seconds",
        "Time since the oldest instant that nobody has planned came due.",
        figures.planning_delay_s,
    )


def _queries(figures: Figures) -> Iterator[Metric]:
    yield GaugeMetricFamily("pgsched_queries", "Queries there are.", figures.query_count)
    families = {
        name: GaugeMetricFamily(f"pgsched_query_{name}", text, labels=["query_id"])
        for name, text in (
            ("last_success_timestamp_seconds", "When the newest success ended."),
            ("next_run_timestamp_seconds", "The next instant to be planned."),
            ("failures_in_a_row", "Final errors since the last success."),
            ("paused", "Whether the query is paused after failures."),
            ("stale", "Whether there was no success for fresh_for, or else for two periods and a minute."),
            ("stored_runs", "Runs that are kept."),
            ("stored_bytes", "Bytes of the results that are kept."),
        )
    }
    for figure in figures.queries:
        job, labels = figure.job, [str(figure.job.id)]
        values: dict[str, float | None] = {
            "last_success_timestamp_seconds": _seconds(figure.last_success_at),
            "next_run_timestamp_seconds": _seconds(job.next_run_at),
            "failures_in_a_row": job.consecutive_failures,
            "paused": int(job.paused_at is not None),
            "stale": int(is_stale(job, figure.last_success_at, figures.now)),
            "stored_runs": figure.stored_runs,
            "stored_bytes": figure.stored_bytes,
        }
        for name, value in values.items():
            if value is not None:
                families[name].add_metric(labels, value)
    yield from families.values()


def _sources(figures: Figures) -> Iterator[Metric]:
    runs = GaugeMetricFamily(
        "pgsched_source_runs", "Runs at a source, or waiting for it.", labels=["source_id", "state"]
    )
    most = GaugeMetricFamily("pgsched_source_max_concurrency", "Runs at once it takes.", labels=["source_id"])
    for source in figures.sources[:MOST_QUERIES]:
        runs.add_metric([str(source.id), "running"], source.running)
        runs.add_metric([str(source.id), "waiting"], source.waiting)
        most.add_metric([str(source.id)], source.max_concurrency)
    yield runs
    yield most


def _workers(figures: Figures) -> Iterator[Metric]:
    alive = [worker for worker in figures.workers if worker.alive]
    yield GaugeMetricFamily("pgsched_workers", "Workers that are there.", len(alive))
    runs = GaugeMetricFamily("pgsched_worker_runs", "Runs that a worker holds.", labels=["worker_id"])
    most = GaugeMetricFamily("pgsched_worker_concurrency", "Runs at once it takes.", labels=["worker_id"])
    connections = GaugeMetricFamily(
        "pgsched_worker_source_connections",
        "Connections to sources, in use and kept, at its last sign of life.",
        labels=["worker_id"],
    )
    errors = CounterMetricFamily(
        "pgsched_worker_log_errors",
        "Log records of a worker that went to stderr instead.",
        labels=["worker_id"],
    )
    for worker in alive:
        labels = [str(worker.id)]
        runs.add_metric(labels, worker.running)
        most.add_metric(labels, worker.concurrency)
        connections.add_metric(labels, worker.figures.get("source_connections", 0))
        errors.add_metric(labels, worker.figures.get("log_errors", 0))
    yield from (runs, most, connections, errors)


def _exposed(exposed: Sequence[Exposed]) -> Iterator[Metric]:
    values = GaugeMetricFamily(
        "pgsched_query_value",
        "Numbers of the newest result of a query with expose_metrics.",
        labels=["query_id", "params", "row", "column"],
    )
    left_out = GaugeMetricFamily(
        "pgsched_query_value_rows_left_out",
        "Rows of that result whose numbers are not told: there are too many.",
        labels=["query_id", "params"],
    )
    for one in exposed:
        labels = [str(one.query_id), one.params]
        for value in one.values:
            values.add_metric([*labels, value.row, value.column], value.number)
        left_out.add_metric(labels, one.rows_left_out)
    yield from (values, left_out)


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _histogram(name: str, text: str, found: Distribution) -> Metric:
    buckets, total = [], 0
    for bound, count in zip(found.bounds, found.counts, strict=False):
        total += count
        buckets.append((str(bound), total))
    total = sum(found.counts)
    family = HistogramMetricFamily(name, text)
    family.add_metric([], buckets=[*buckets, ("+Inf", total)], sum_value=found.seconds)
    return family


def _summed(
    values: Iterable[tuple[tuple[str, ...], float]],
) -> Iterable[tuple[tuple[str, ...], float]]:
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for key, value in values:
        sums[key] += value
    return sorted(sums.items())
