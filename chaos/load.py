"""What the fleet has to do: queries under every policy, whose results can be checked to the last byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from chaos.place import READER, Place
from chaos.proxy import Proxy

#: what makes the results of this test unlike any other's
SALT = "pgsched-chaos"


@dataclass(frozen=True, kw_only=True)
class Query:
    """One query, as the checker needs to know it."""

    name: str
    #: seconds between instants, 0 for cron
    every_s: int
    rows: int = 10
    sleep_s: float = 0.0
    #: share of attempts that fail with something that can pass
    flaky: float = 0.0
    #: SQL instead of the checkable one; such a query never succeeds
    broken: str = ""
    source: str = "shop"
    #: seconds before now at which the schedule began: a backlog to catch up with
    behind_s: int = 0
    cron: str = ""
    timezone: str = "UTC"
    #: further fields of JobSpec
    policies: dict[str, Any] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        """The statement; each row says which run and attempt made it."""
        if self.broken:
            return self.broken
        parts = [f"(select pg_sleep({self.sleep_s})) as waited"] if self.sleep_s else []
        if self.flaky:
            parts.append(f"(select flaky({self.flaky}) as ok) as luck")
        parts.append(f"generate_series(1, {self.rows}) as n")
        return (
            f"select n, md5(n::text || '{SALT}') as h, current_setting('application_name') as made_by"
            f" from {' cross join '.join(parts)}"
        )


def expected_hash(n: int) -> str:
    """What column h of row n must be."""
    return hashlib.md5(f"{n}{SALT}".encode()).hexdigest()


#: the load of the long test; periods in whole seconds
LOAD = (
    Query(name="tick", every_s=1),
    Query(name="steady", every_s=2, sleep_s=0.5, rows=50),
    Query(name="long", every_s=4, sleep_s=9, policies={"timeout_ms": 60_000}),
    Query(name="queue", every_s=2, sleep_s=1.5, policies={"overlap_policy": "queue"}),
    Query(name="all", every_s=3, sleep_s=0.4, policies={"overlap_policy": "queue_all"}),
    Query(name="cancel", every_s=3, sleep_s=4, policies={"overlap_policy": "cancel_previous"}),
    Query(name="allow", every_s=2, sleep_s=3, policies={"overlap_policy": "allow"}),
    Query(name="jitter", every_s=4, policies={"jitter_s": 3}),
    Query(
        name="deadline",
        every_s=1,
        sleep_s=0.3,
        source="narrow",
        policies={"start_deadline_s": 2, "overlap_policy": "queue_all"},
    ),
    Query(name="big", every_s=15, rows=60_000, policies={"max_rows": 100_000, "max_bytes": 64 << 20}),
    Query(name="flaky", every_s=3, flaky=0.4, policies={"max_attempts": 4, "retry_backoff_s": 1}),
    Query(name="broken", every_s=4, broken="select 1 / 0 as n"),
    Query(name="pausing", every_s=2, broken="select 1 / 0 as n", policies={"pause_after_failures": 4}),
    Query(name="catch_all", every_s=2, policies={"misfire_policy": "all"}),
    Query(name="catch_none", every_s=2, policies={"misfire_policy": "skip"}),
    Query(name="minutely", every_s=0, cron="* * * * *"),
)
#: schedules that began long ago: what came due since is caught up with, or recorded
BACKLOG = (
    Query(name="behind_once", every_s=10, behind_s=3600),
    Query(name="behind_all", every_s=3, behind_s=600, policies={"misfire_policy": "all"}),
    Query(name="behind_none", every_s=60, behind_s=3600, policies={"misfire_policy": "skip"}),
    Query(
        name="behind_window",
        every_s=60,
        behind_s=7200,
        policies={"misfire_policy": "all", "misfire_window": "PT1H"},
    ),
)


async def furnish(place: Place, proxies: dict[str, Proxy], queries: tuple[Query, ...]) -> dict[int, Query]:
    """Add sources and queries with pgsched's own repositories; return the queries by id."""
    from psycopg.conninfo import make_conninfo

    from pgsched.adapters.crypto.vault import SealedBoxVault
    from pgsched.adapters.postgres.clock import PostgresClock
    from pgsched.adapters.postgres.database import Database
    from pgsched.adapters.postgres.jobs import PostgresJobs
    from pgsched.adapters.postgres.sources import PostgresSources
    from pgsched.domain.sources import NewSource

    vault = SealedBoxVault.load(public=place.folder / "public", private=place.folder / "private")
    database = Database(make_conninfo(**place.direct.keywords()), application_name="driver", max_size=2)
    await database.open()
    try:
        ids = {}
        for name, proxy in proxies.items():
            new = NewSource(
                name=name,
                host=proxy.host,
                port=proxy.port,
                dbname="shop",
                username=READER,
                max_concurrency=1 if name == "narrow" else 20,
            )
            sealed = replace(new, password=vault.seal(place.reader_password, new.binding))
            ids[name] = (await PostgresSources(database).add(sealed)).id
        now = await PostgresClock(database).now()
        jobs = PostgresJobs(database)
        return {(await jobs.add(_spec(q, ids), start_at=_start(q, now))).id: q for q in queries}
    finally:
        await database.close()


def _start(query: Query, now: datetime) -> datetime | None:
    return now - timedelta(seconds=query.behind_s) if query.behind_s else None


def _spec(query: Query, sources: dict[str, int]) -> Any:
    from pgsched.domain.jobs import JobSpec, MisfirePolicy, OverlapPolicy
    from pgsched.domain.schedules import ScheduleType

    policies = dict(query.policies)
    for name, kind in (("overlap_policy", OverlapPolicy), ("misfire_policy", MisfirePolicy)):
        if name in policies:
            policies[name] = kind(policies[name])
    return JobSpec(
        name=query.name,
        title=query.name,
        sql_text=query.sql,
        data_source_id=sources[query.source],
        schedule_type=ScheduleType.CRON if query.cron else ScheduleType.INTERVAL,
        schedule_expr=query.cron or f"PT{query.every_s}S",
        timezone=query.timezone,
        **policies,
    )
