"""The production container over in-memory adapters: for tests of whatever is built on pgsched."""

from __future__ import annotations

from dataclasses import dataclass

from dependency_injector import providers

from pgsched.adapters.memory.access import (
    MemoryCredentials,
    MemoryLoginFailures,
    MemorySessions,
    MemoryTokens,
)
from pgsched.adapters.memory.accounts import MemoryAccounts
from pgsched.adapters.memory.alarms import MemoryAlarms
from pgsched.adapters.memory.audit import MemoryAudit, MemoryTransactions
from pgsched.adapters.memory.clock import ManualClock
from pgsched.adapters.memory.database import NoDatabase
from pgsched.adapters.memory.dry_runs import MemoryDryRunPlaces
from pgsched.adapters.memory.grants import MemoryGrants
from pgsched.adapters.memory.guard import FirstWordGuard
from pgsched.adapters.memory.health import MemoryHealth
from pgsched.adapters.memory.jobs import MemoryJobs
from pgsched.adapters.memory.kept import MemoryKeptConnections
from pgsched.adapters.memory.ledger import MemoryLedger
from pgsched.adapters.memory.runs import MemoryRunQueue
from pgsched.adapters.memory.secrets import MemoryKeyRings, OpenVault, PlainHasher
from pgsched.adapters.memory.source import ScriptedSource
from pgsched.adapters.memory.sources import MemorySources
from pgsched.adapters.memory.store import MemoryStore
from pgsched.adapters.memory.upkeep import MemoryFigures, MemoryRetention, MemoryRunTally
from pgsched.adapters.memory.views import MemoryQueryView, MemoryRunView
from pgsched.adapters.memory.watch import MemoryWatch
from pgsched.adapters.memory.workers import MemoryWorkers
from pgsched.entrypoints.container import Container


@dataclass(frozen=True, kw_only=True, slots=True)
class InMemory:
    """A container without a machine, and the handles by which a test moves it."""

    #: the production container, its adapters replaced
    container: Container
    #: what is kept
    store: MemoryStore
    #: time, moved by ``advance``
    clock: ManualClock
    #: what sources answer, by SQL text
    source: ScriptedSource


def in_memory(*, ticking: bool = False) -> InMemory:
    """Build the container over memory; with ``ticking`` its clock runs, else it stands until advanced."""
    clock = ManualClock(ticking=ticking)
    store, source, rings = MemoryStore(clock), ScriptedSource(), MemoryKeyRings()
    container = Container()
    replacements: dict[str, object] = {
        "database": NoDatabase(),
        "sources": MemorySources(store),
        "jobs": MemoryJobs(store),
        "accounts": MemoryAccounts(store),
        "transactions": MemoryTransactions(store),
        "audit": MemoryAudit(store),
        "grants": MemoryGrants(store),
        "credentials": MemoryCredentials(store),
        "sessions": MemorySessions(store),
        "tokens": MemoryTokens(store),
        "login_failures": MemoryLoginFailures(store),
        "dry_runs": MemoryDryRunPlaces(store),
        "queue": MemoryRunQueue(store),
        "workers": MemoryWorkers(store),
        "kept": MemoryKeptConnections(store),
        "clock": clock,
        "query_view": MemoryQueryView(store),
        "run_view": MemoryRunView(store),
        "health_view": MemoryHealth(store),
        "ledger_view": MemoryLedger(store),
        "figures_view": MemoryFigures(store),
        "tally": MemoryRunTally(store),
        "retention": MemoryRetention(store),
        "watch": MemoryWatch(store),
        "vault": OpenVault(rings=rings),
        "key_rings": rings,
        "hasher": PlainHasher(),
        "guard": FirstWordGuard(),
        "at_source": source,
        "alarms": MemoryAlarms(),
    }
    for name, adapter in replacements.items():
        getattr(container, name).override(providers.Object(adapter))
    return InMemory(container=container, store=store, clock=clock, source=source)
