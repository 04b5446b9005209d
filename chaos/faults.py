"""The kinds of faults: coroutines that do harm, undo it, and return their name, or None if they could not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psutil
import psycopg

from chaos import failpoints, wall_clock
from chaos.chaos import Chaos
from chaos.fleet import Member
from chaos.proxy import Link

Kind = Callable[[Chaos], Awaitable[str | None]]


def _someone(chaos: Chaos) -> Member | None:
    alive = chaos.fleet.alive()
    return chaos.rng.choice(alive) if alive else None


# -- workers --------------------------------------------------------------------------------------------


async def kill_worker(chaos: Chaos) -> str | None:
    """Kill -9 at any moment."""
    member = _someone(chaos)
    if member is None:
        return None
    chaos.fleet.kill(member)
    await asyncio.sleep(1)
    return "worker killed"


def kill_at(name: str) -> Kind:
    """Kill -9 at a failpoint."""

    async def kind(chaos: Chaos) -> str | None:
        member = await chaos.hit(name, "kill", within_s=chaos.fleet.lease_s / 2 + 6)
        if member is None:
            return None
        chaos.fleet.hurt(member.name, "kill")
        await asyncio.to_thread(member.process.wait)
        return f"worker killed at {name}"

    kind.__name__ = f"kill_at_{name}"
    return kind


async def freeze_briefly(chaos: Chaos) -> str | None:
    """SIGSTOP for less than a lease."""
    return await _freeze(chaos, chaos.fleet.lease_s * 0.4, "worker frozen briefly")


async def freeze_past_lease(chaos: Chaos) -> str | None:
    """SIGSTOP past the lease, then SIGCONT."""
    return await _freeze(chaos, chaos.fleet.lease_s + 3, "worker frozen past its lease")


async def _freeze(chaos: Chaos, seconds: float, name: str) -> str | None:
    member = _someone(chaos)
    if member is None:
        return None
    hurt = chaos.fleet.hurt(member.name, "freeze")
    member.send(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    member.send(signal.SIGCONT)
    hurt.until = time.time() + 2
    return name


def freeze_at(name: str) -> Kind:
    """SIGSTOP at a failpoint, SIGCONT after the lease: the write that comes then is stale."""

    async def kind(chaos: Chaos) -> str | None:
        member = await chaos.hit(name, "stop", within_s=chaos.fleet.lease_s / 2 + 6)
        if member is None:
            return None
        hurt = chaos.fleet.hurt(member.name, "freeze")
        await asyncio.sleep(chaos.fleet.lease_s + 2)
        member.send(signal.SIGCONT)
        hurt.until = time.time() + 2
        return f"worker frozen at {name} past its lease"

    kind.__name__ = f"freeze_at_{name}"
    return kind


async def roll(chaos: Chaos) -> str | None:
    """Rolling restart: one worker is told to stop, another takes its place."""
    member = _someone(chaos)
    if member is None:
        return None
    if not await chaos.fleet.stop(member):
        chaos.wrong_answers.append(f"{member.name} did not end when told to")
    return "worker restarted"


async def kill_api(chaos: Chaos) -> str | None:
    """Kill -9 of an API process."""
    apis = [api for api in chaos.fleet.apis if api.is_alive]
    if not apis:
        return None
    chaos.fleet.kill(chaos.rng.choice(apis))
    return "API killed"


async def cut_off(chaos: Chaos) -> str | None:
    """A worker that reaches its sources and not the metadata database, for longer than a lease."""
    member = _someone(chaos)
    if member is None:
        return None
    hurt = chaos.fleet.hurt(member.name, "cut")
    await member.link.spoil(Link.SILENT)
    await asyncio.sleep(chaos.fleet.lease_s + 4)
    await member.link.spoil(Link.GOOD)
    hurt.until = time.time() + 3
    return "worker cut off from the metadata database"


def black_hole(to: str) -> Kind:
    """Packets between a worker on a host of its own and one of its servers vanish, both ways."""

    async def kind(chaos: Chaos) -> str | None:
        there = [m for m in chaos.fleet.alive() if m.host is not None and m.host.is_whole]
        if not there:
            return None
        member = chaos.rng.choice(there)
        assert member.host is not None
        if to == "metadata":
            wire, seconds = member.host.to_metadata, chaos.fleet.lease_s + 4
            hurt = chaos.fleet.hurt(member.name, "cut")
        else:
            wire, seconds = member.host.to_sources, chaos.rng.uniform(2, 12)
            hurt = chaos.fleet.hurt(member.name, "source")
        wire.cut()
        try:
            await asyncio.sleep(seconds)
        finally:
            wire.mend()
        # retransmissions come at growing distances
        hurt.until = time.time() + 15
        return f"black hole between a worker and its {to}"

    kind.__name__ = f"black_hole_{to}"
    return kind


async def reset_link(chaos: Chaos) -> str | None:
    """Every connection of a worker to the metadata database is reset."""
    member = _someone(chaos)
    if member is None:
        return None
    chaos.fleet.hurt(member.name, "reset", until=time.time() + 3)
    member.link.drop()
    return "metadata connections reset"


async def set_wall_clock(chaos: Chaos) -> str | None:
    """A worker's wall clock is set, back or forwards, and set right later; nothing at all may come of it."""
    member = _someone(chaos)
    if member is None:
        return None
    clock = wall_clock.place_of(chaos.place.folder, member.name)
    clock.write_text(str(chaos.rng.choice((-86400, -3600, -90, 90, 3600, 86400))))
    await asyncio.sleep(chaos.rng.uniform(3, 20))
    clock.write_text("0")
    return "worker's wall clock set"


# -- the metadata server --------------------------------------------------------------------------------


async def kill_server(chaos: Chaos) -> str | None:
    """Kill -9 of the postmaster with all of its backends."""
    async with chaos.meta_busy:
        pid = chaos.place.meta.pid
        if pid is None:
            return None
        hurt = chaos.fleet.hurt("*", "server")
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await asyncio.sleep(chaos.rng.uniform(0.2, 3))
        await _start_again(chaos)
        hurt.until = time.time() + 3
    return "metadata server killed with its backends"


async def restart_server(chaos: Chaos) -> str | None:
    """A fast shutdown and a start, as for an update."""
    async with chaos.meta_busy:
        if chaos.place.meta.pid is None:
            return None
        hurt = chaos.fleet.hurt("*", "server")
        await chaos.place.meta.stop()
        await asyncio.sleep(chaos.rng.uniform(0, 2))
        await _start_again(chaos)
        hurt.until = time.time() + 3
    return "metadata server restarted"


async def _start_again(chaos: Chaos) -> None:
    await chaos.place.meta.start()
    back = time.time()
    for _ in range(400):
        await asyncio.sleep(0.025)
        with suppress(psycopg.Error, OSError):
            claimed = await chaos.ask(
                "select extract(epoch from min(at))::float8 from witness.run"
                " where status = 'running' and old_status = 'queued' and at > to_timestamp(%s)",
                [back],
            )
            if claimed[0][0] is not None:
                chaos.returns.append((back, claimed[0][0]))
                return


async def end_backends(chaos: Chaos) -> str | None:
    """pg_terminate_backend for every connection of the workers."""
    chaos.fleet.hurt("*", "reset", until=time.time() + 3)
    await chaos.ask(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'worker%'"
    )
    return "metadata backends terminated"


async def freeze_backend(chaos: Chaos) -> str | None:
    """SIGSTOP of one backend that serves a worker; what it has locked stays locked."""
    found = await chaos.ask(
        "select pid, application_name from pg_stat_activity where application_name like 'worker%'"
    )
    if not found:
        return None
    pid, name = chaos.rng.choice(found)
    hurt = chaos.fleet.hurt(name, "backend")
    return await _frozen(pid, chaos.rng.uniform(1, chaos.fleet.lease_s), hurt, "metadata backend frozen")


async def fill_disk(chaos: Chaos) -> str | None:
    """The metadata server's disk is full for some seconds."""
    disk = chaos.place.disk
    if disk is None:
        return None
    async with chaos.meta_busy:
        hurt = chaos.fleet.hurt("*", "disk")
        filler = disk / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"\0" * (1 << 20))
                file.flush()
        await asyncio.sleep(chaos.rng.uniform(2, 5))
        filler.unlink()
        if chaos.place.meta.pid is None:
            await chaos.place.meta.start()
        await _until_it_answers(chaos)
        hurt.until = time.time() + 3
    return "metadata server's disk full"


async def _until_it_answers(chaos: Chaos) -> None:
    for _ in range(400):
        with suppress(psycopg.Error, OSError):
            await chaos.ask("select 1")
            return
        await asyncio.sleep(0.05)


async def upgrade_schema(chaos: Chaos) -> str | None:
    """A migration under load: the tables are locked for a while; newer processes come, older ones go on."""
    async with chaos.meta_busy:
        number = chaos.fleet.newer + 1
        hurt = chaos.fleet.hurt("*", "server")
        try:
            await chaos.ask(
                f"""begin;
                set local lock_timeout = '10s';
                alter table query_run add column chaos_{number} integer not null default 0;
                alter table query_job add column chaos_{number} integer not null default 0;
                insert into schema_migration (version, name)
                    select max(version) + 1, 'chaos_{number}' from schema_migration;
                select pg_sleep({chaos.rng.uniform(0.2, 1.5)});
                commit"""
            )
        finally:
            # where the lock was not to be had in time, nothing happened
            hurt.until = time.time() + 3
        chaos.fleet.newer = number
    for member in chaos.fleet.alive():
        await asyncio.sleep(0.5)
        if not await chaos.fleet.stop(member):
            chaos.wrong_answers.append(f"{member.name} did not end when told to")
    for api in chaos.fleet.apis:
        if api.is_alive:
            await chaos.fleet.stop(api)
    return "schema upgraded under load"


# -- sources --------------------------------------------------------------------------------------------


def spoil_source(link: Link) -> Kind:
    """The way to a source is spoiled for a while."""

    async def kind(chaos: Chaos) -> str | None:
        async with chaos.source_busy:
            proxy = chaos.sources[chaos.rng.choice(list(chaos.sources))]
            hurt = chaos.fleet.hurt("*", "source")
            await proxy.spoil(link)
            await asyncio.sleep(chaos.rng.uniform(1, 5))
            await proxy.spoil(Link.GOOD)
            # what was on its way takes some time to be heard of at the source
            hurt.until = time.time() + 5
        return f"source: {link.value}"

    kind.__name__ = f"spoil_source_{link.value}"
    return kind


async def end_source_backends(chaos: Chaos) -> str | None:
    """pg_terminate_backend for every connection of pgsched at the source."""
    await chaos.ask(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'pgsched%'",
        source=True,
    )
    return "source backends terminated"


async def freeze_source_backend(chaos: Chaos) -> str | None:
    """SIGSTOP of one backend that runs a query."""
    found = await chaos.ask(
        "select pid from pg_stat_activity where application_name like 'pgsched:%' and state = 'active'",
        source=True,
    )
    if not found:
        return None
    hurt = chaos.fleet.hurt("*", "source")
    return await _frozen(chaos.rng.choice(found)[0], chaos.rng.uniform(1, 4), hurt, "source backend frozen")


async def _frozen(pid: int, seconds: float, hurt: object, name: str) -> str | None:
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        hurt.until = time.time()  # type: ignore[attr-defined]
        return None
    await asyncio.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    hurt.until = time.time() + 3  # type: ignore[attr-defined]
    return name


# -- people ---------------------------------------------------------------------------------------------


async def delete_running(chaos: Chaos) -> str | None:
    """A query is deleted while its run is at the source."""
    ((query_id,),) = await chaos.ask(
        """insert into query_job (name, title, sql_text, data_source_id, schedule_type, schedule_expr,
               anchor_at, next_run_at)
           select 'gone' || (random() * 1e9)::bigint, 'gone', 'select pg_sleep(3)::text as x',
               id, 'interval', 'P1D', t.now, t.now
           from data_source, (select date_trunc('second', clock_timestamp()) as now) t
           where name = 'shop' returning id"""
    )
    for _ in range(100):
        await asyncio.sleep(0.05)
        if await chaos.ask("select 1 from query_run where query_id = %s and status = 'running'", [query_id]):
            break
    await chaos.ask("delete from query_job where id = %s", [query_id])
    return "query deleted while it ran"


WORKER_KINDS: tuple[Kind, ...] = (
    kill_worker,
    *(kill_at(name) for name in failpoints.NAMES if name != "handing_back"),
    freeze_briefly,
    freeze_past_lease,
    freeze_at("succeed_borrowed"),
    freeze_at("fail_borrowed"),
    freeze_at("claimed"),
    roll,
    cut_off,
    black_hole("metadata"),
    black_hole("sources"),
    reset_link,
    set_wall_clock,
)
SERVER_KINDS: tuple[Kind, ...] = (
    kill_server,
    restart_server,
    end_backends,
    freeze_backend,
    fill_disk,
    upgrade_schema,
)
OTHER_KINDS: tuple[Kind, ...] = (
    *(spoil_source(link) for link in (Link.REFUSE, Link.SILENT, Link.RESET, Link.TRICKLE)),
    end_source_backends,
    freeze_source_backend,
    kill_api,
    delete_running,
)
ALL: tuple[Kind, ...] = (*WORKER_KINDS, *SERVER_KINDS, *OTHER_KINDS)
