"""What one process counts of itself, and the whole page: its own metrics and the database's figures.

Several processes on one socket share their counts through files, the way prometheus_client does it, when
PROMETHEUS_MULTIPROC_DIR names a folder; whichever answers tells of all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from pgsched.adapters.metrics.figures import FiguresCollector

if TYPE_CHECKING:
    from pgsched.application.ports.upkeep import Figures
    from pgsched.domain.exposure import Exposed

#: names the folder that processes on one socket share
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
#: seconds
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class ProcessMetrics:
    """Counts requests and cache hits; writes the page."""

    def __init__(self, version: str, *, lost_records: Callable[[], int] = int) -> None:
        """Take pgsched's version, and what tells how many log records could not be written."""
        self._version = version
        self._lost_records = lost_records
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "pgsched_http_requests",
            "Requests answered, by route, method and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "pgsched_http_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._cache = Counter(
            "pgsched_cache_requests",
            "Looks into this process's caches, by cache and outcome (hit or miss).",
            ["cache", "outcome"],
            registry=self._registry,
        )
        # the children are looked up by label values each time otherwise, under a lock
        self._by_request: dict[tuple[str, str, int], Counter] = {}
        self._by_route: dict[str, Histogram] = {}
        self._by_look: dict[tuple[str, bool], Counter] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; ``route`` is a template with its parameters' names, never a path."""
        key = (method, route, status)
        count = self._by_request.get(key)
        if count is None:
            count = self._by_request[key] = self._requests.labels(method, route, str(status))
        count.inc()
        time = self._by_route.get(route)
        if time is None:
            time = self._by_route[route] = self._seconds.labels(route)
        time.observe(seconds)

    def looked_up(self, cache: str, *, hit: bool) -> None:
        """Count one look into a cache."""
        count = self._by_look.get((cache, hit))
        if count is None:
            count = self._by_look[cache, hit] = self._cache.labels(cache, "hit" if hit else "miss")
        count.inc()

    def page(self, figures: Figures | None, exposed: Sequence[Exposed] = ()) -> bytes:
        """Write everything; ``figures`` are None while the metadata database is away."""
        own = self._registry
        if SHARED_FOLDER in os.environ:
            own = CollectorRegistry()
            MultiProcessCollector(own)  # type: ignore[no-untyped-call]
        whole = CollectorRegistry()
        lost = self._lost_records()
        whole.register(FiguresCollector(figures, exposed, version=self._version, lost_records=lost))
        return generate_latest(own) + generate_latest(whole)
