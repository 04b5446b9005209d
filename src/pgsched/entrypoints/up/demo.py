"""Puts the demo's source and queries into pgsched, the way an admin would."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgsched.adapters.demo import shop as shops
from pgsched.adapters.demo.queries import QUERIES
from pgsched.domain.errors import NotFound
from pgsched.domain.sources import NewSource, SslMode
from pgsched.entrypoints.operator import operator

if TYPE_CHECKING:
    from pgsched.adapters.demo.shop import Shop
    from pgsched.entrypoints.container import Container

SOURCE = "shop"


async def install(container: Container, shop: Shop) -> None:
    """Add or renew the source (its password is new with every start), add the queries that are missing."""
    new = NewSource(
        name=SOURCE,
        host=shop.host,
        port=shop.port,
        dbname=shops.DATABASE,
        username=shops.READER,
        sslmode=SslMode.DISABLE,
    )
    new = replace(new, password=container.vault().seal(shop.password, new.binding))
    sources = container.sources()
    try:
        source = await sources.replace((await sources.get(SOURCE)).id, new)
    except NotFound:
        source = await sources.add(new)
    have = {job.spec.name for job in await container.jobs().all()}
    for query in QUERIES:
        if query.name not in have:
            given = {
                "name": query.name,
                "title": query.title,
                "description": query.description,
                "sql_text": query.sql,
                "data_source_id": source.id,
                "schedule_type": query.schedule_type,
                "schedule_expr": query.schedule_expr,
                "keep_runs": 2000,
            }
            await container.add_job()(given, operator())
