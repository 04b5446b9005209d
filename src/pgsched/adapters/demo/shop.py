"""Makes the shop's database and roles, and lets its orders go on arriving."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, sql

from pgsched.adapters import secluded

log = logging.getLogger(__name__)

DATABASE: Final = "shop"
OWNER: Final = "shop_owner"
READER: Final = "shop_reader"

#: seconds between two orders
ORDER_EVERY_S: Final = 1.5

#: one order of one to three products; stock is refilled when it has run out
_ORDER: Final = """
with placed as (
    insert into shop_order (customer_id) select 1 + (random() * 199)::int returning id),
lines as (
    insert into order_line (order_id, product_id, quantity, price)
    select placed.id, p.id, 1 + (random() * 2)::int, p.price
    from placed cross join lateral (
        select id, price from product where placed.id is not null
        order by random() limit 1 + (random() * 2)::int) p
    returning product_id, quantity)
update product
set stock = case when stock > lines.quantity then stock - lines.quantity else reorder_at * 4 end
from lines where product.id = lines.product_id"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shop:
    """How to reach the shop as its reader."""

    #: loopback address
    host: str
    #: TCP port of the embedded server
    port: int
    #: the reader's password, new with every start
    password: str = field(repr=False)
    #: the owner's conninfo, for the orders that arrive
    owner_conninfo: str = field(repr=False)


async def build_shop(superuser_conninfo: str, *, host: str, port: int) -> Shop:
    """Make what is missing: two roles, the database, its tables and a day of orders.

    The reader may connect to the shop and to nothing else: CONNECT is revoked from PUBLIC on every database
    of the server, and it is a member of no role (pg_monitor least of all).
    """
    reader_password, owner_password = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    async with await _connected(superuser_conninfo) as server:
        for role, password in ((OWNER, owner_password), (READER, reader_password)):
            await _role(server, role, password)
        found = await server.execute("select 1 from pg_database where datname = %s", [DATABASE])
        if await found.fetchone() is None:
            await server.execute(
                sql.SQL("create database {} owner {}").format(sql.Identifier(DATABASE), sql.Identifier(OWNER))
            )
        names = await (await server.execute("select datname from pg_database where datallowconn")).fetchall()
        for (name,) in names:
            await server.execute(
                sql.SQL("revoke connect, temporary on database {} from public").format(sql.Identifier(name))
            )
        await server.execute(
            sql.SQL("grant connect on database {} to {}").format(
                sql.Identifier(DATABASE), sql.Identifier(READER)
            )
        )
    owner_conninfo = psycopg.conninfo.make_conninfo(
        superuser_conninfo, user=OWNER, password=owner_password, dbname=DATABASE
    )
    async with await _connected(owner_conninfo) as owner:
        text = resources.files(__package__).joinpath("shop.sql").read_text("utf-8")
        await owner.execute(text.encode())
    return Shop(host=host, port=port, password=reader_password, owner_conninfo=owner_conninfo)


async def _connected(conninfo: str) -> AsyncConnection[Any]:
    connection: AsyncConnection[Any] = await secluded.connect(AsyncConnection, conninfo, within_s=10)
    await connection.set_autocommit(True)
    return connection


async def _role(server: AsyncConnection[tuple[object, ...]], role: str, password: str) -> None:
    found = await server.execute("select 1 from pg_roles where rolname = %s", [role])
    verb = "create" if await found.fetchone() is None else "alter"
    await server.execute(
        sql.SQL(f"{verb} role {{}} login nosuperuser nocreatedb nocreaterole password {{}}").format(
            sql.Identifier(role), sql.Literal(password)
        )
    )


async def keep_orders_coming(shop: Shop) -> None:
    """Place an order every now and then until cancelled; a server that goes away is waited for."""
    while True:
        try:
            async with await _connected(shop.owner_conninfo) as owner:
                while True:
                    await owner.execute(_ORDER)
                    await asyncio.sleep(ORDER_EVERY_S)
        except psycopg.Error as error:
            log.warning(
                "the demo's shop is closed: %s", type(error).__name__, extra={"action": "demo.closed"}
            )
            await asyncio.sleep(ORDER_EVERY_S)
