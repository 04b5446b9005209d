"""The clauses of the port ``Watch``."""

from __future__ import annotations

from decimal import Decimal

from worlds import World

from pgsched.application.ports.watch import Ended, QueryRights
from pgsched.domain.audience import EVERYTHING, Grant
from pgsched.domain.jobs import Visibility

#: an id that nothing has
NOTHING = 2**62


async def test_look_tells_the_latest_success_of_each_query_that_is_there(world: World) -> None:
    busy, new = await world.job(), await world.job()
    first = await world.succeeded(busy, {"n": 1})
    await world.running(new)
    seen = await world.watch.look([new.id, NOTHING, busy.id], [])
    assert dict(seen.latest) == {busy.id: Ended.of(first), new.id: None}
    await world.advance(1)
    second = await world.succeeded(busy, {"n": 2})
    await world.running(busy)
    seen = await world.watch.look([busy.id], [])
    assert dict(seen.latest) == {busy.id: Ended.of((await world.run_view.latest(EVERYTHING, busy.id)).run)}
    assert second.id == seen.latest[busy.id].run_id


async def test_look_tells_which_runs_are_there_and_over(world: World) -> None:
    run = await world.succeeded(await world.job())
    held = await world.running()
    seen = await world.watch.look([], [run.id, held.hold.run_id, NOTHING])
    assert dict(seen.runs) == {run.id: Ended.of(run)}


async def test_epoch_stays_while_runs_come_and_go_and_moves_with_rights(world: World) -> None:
    job = await world.job(visibility=Visibility.RESTRICTED)
    epochs = [(await world.watch.look([], [])).epoch]
    await world.succeeded(job, {"n": 1})
    assert (await world.watch.look([job.id], [])).epoch == epochs[0]
    await world.grant(job, Grant(role="tenant"))
    epochs.append((await world.watch.look([], [])).epoch)
    await world.job()
    epochs.append((await world.watch.look([], [])).epoch)
    assert epochs == sorted(set(epochs))


async def test_rights_tell_what_decides_who_may_read(world: World) -> None:
    public = await world.job(name="open")
    closed = await world.job(name="closed", visibility=Visibility.RESTRICTED)
    given = [
        Grant(user_id=1),
        Grant(role="tenant", row_filter={"a": ("x", Decimal("0.10000000000000000001"), None)}),
        Grant(token_id=11, row_filter={}),
    ]
    for grant in given:
        await world.grant(closed, grant)
    rights = await world.watch.rights([public.id, closed.id, NOTHING])
    assert dict(rights) == {
        public.id: QueryRights(query_id=public.id, name="open", visibility=Visibility.PUBLIC),
        closed.id: QueryRights(
            query_id=closed.id, name="closed", visibility=Visibility.RESTRICTED, grants=tuple(given)
        ),
    }
