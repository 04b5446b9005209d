"""What one process counts of itself, and the whole page: its own metrics and the database's figures.

Several processes on one socket share their counts through files, the way prometheus_client does it, when
PROMETHEUS_MULTIPROC_DIR names a folder; whichever answers tells of all.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict
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
#: seconds after which what was counted is added up
_ADDED_UP_S = 0.1
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
        #: what was not added up yet: (method, route, status, seconds), (cache, hit)
        self._answered: list[tuple[str, str, int, float]] = []
        self._looks: list[tuple[str, bool]] = []
        self._is_due = False

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; ``route`` is a template with its parameters' names, never a path."""
        self._answered.append((method, route, status, seconds))
        if not self._is_due:
            self._add_up_soon()

    def looked_up(self, cache: str, *, hit: bool) -> None:
        """Count one look into a cache."""
        self._looks.append((cache, hit))
        if not self._is_due:
            self._add_up_soon()

    def _add_up_soon(self) -> None:
        # One by one they cost more than the answers they count, above all through files shared by processes.
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._add_up()
            return
        self._is_due = True
        loop.call_later(_ADDED_UP_S, self._add_up)

    def _add_up(self) -> None:
        self._is_due = False
        answered, self._answered = self._answered, []
        looks, self._looks = self._looks, []
        requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        times: defaultdict[str, list[float]] = defaultdict(list)
        for method, route, status, seconds in answered:
            requests[method, route, status] += 1
            times[route].append(seconds)
        for (method, route, status), count in requests.items():
            self._requests.labels(method, route, str(status)).inc(count)
        for route, seconds_of in times.items():
            self._observe(self._seconds.labels(route), seconds_of)
        for (cache, hit), count in Tally(looks).items():
            self._cache.labels(cache, "hit" if hit else "miss").inc(count)

    @staticmethod
    def _observe(histogram: Histogram, seconds: list[float]) -> None:
        """Observe many at once, which prometheus_client has no method for."""
        counts = Tally(bisect_left(_BUCKETS, each) for each in seconds)
        for place, count in counts.items():
            histogram._buckets[place].inc(count)
        histogram._sum.inc(sum(seconds))

    def page(self, figures: Figures | None, exposed: Sequence[Exposed] = ()) -> bytes:
        """Write everything; ``figures`` are None while the metadata database is away."""
        self._add_up()
        own = self._registry
        if SHARED_FOLDER in os.environ:
            own = CollectorRegistry()
            MultiProcessCollector(own)  # type: ignore[no-untyped-call]
        whole = CollectorRegistry()
        lost = self._lost_records()
        whole.register(FiguresCollector(figures, exposed, version=self._version, lost_records=lost))
        return generate_latest(own) + generate_latest(whole)
