"""What a process counts of itself is added up in batches, to the same figures as one by one."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from pgsched.adapters.metrics.process import _BUCKETS, ProcessMetrics


def samples(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(page.decode())
        for each in family.samples
        if not each.name.endswith("_created")
    }


@given(st.lists(st.sampled_from([*_BUCKETS, 0.0, 0.0011, 0.3, 7.0]), min_size=1, max_size=30))
def test_many_durations_at_once_are_observed_as_one_by_one(seconds: list[float]) -> None:
    metrics, registry = ProcessMetrics("1"), CollectorRegistry()
    name = "pgsched_http_request_duration_seconds"
    single = Histogram(name, "x", ["route"], buckets=_BUCKETS, registry=registry)

    async def count() -> None:  # on a loop, where they are added up later
        for each in seconds:
            metrics.answered("GET", "/r", 200, each)
            single.labels("/r").observe(each)

    asyncio.run(count())
    found = samples(metrics.page(None))
    for family in registry.collect():
        for each in family.samples:
            if not each.name.endswith("_created"):
                assert abs(found[each.name, tuple(sorted(each.labels.items()))] - each.value) < 1e-9
    labels = (("method", "GET"), ("route", "/r"), ("status", "200"))
    assert found["pgsched_http_requests_total", labels] == len(seconds)


async def test_what_was_counted_is_added_up_soon_though_nobody_asks_here() -> None:
    metrics = ProcessMetrics("1")
    metrics.looked_up("answers", hit=True)
    metrics.looked_up("answers", hit=False)
    await asyncio.sleep(0.3)
    # another process on the same socket would read it now
    found = {
        each.labels["outcome"]: each.value
        for family in metrics._registry.collect()
        for each in family.samples
        if each.name == "pgsched_cache_requests_total"
    }
    assert found == {"hit": 1, "miss": 1}
