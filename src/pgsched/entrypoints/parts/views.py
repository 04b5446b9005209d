"""Builds the adapters that read the metadata database for people and dashboards."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgsched.adapters.postgres.database import Database
    from pgsched.application.ports.ledger import LedgerView
    from pgsched.application.ports.upkeep import FiguresView
    from pgsched.application.ports.views import HealthView, QueryView, RunView


def query_view(database: Database) -> QueryView:
    from pgsched.adapters.postgres.views import PostgresQueryView

    return PostgresQueryView(database)


def run_view(database: Database) -> RunView:
    from pgsched.adapters.postgres.views import PostgresRunView

    return PostgresRunView(database)


def health_view(database: Database) -> HealthView:
    from pgsched.adapters.postgres.health import PostgresHealth

    return PostgresHealth(database)


def figures_view(database: Database) -> FiguresView:
    from pgsched.adapters.postgres.figures import PostgresFigures

    return PostgresFigures(database)


def ledger_view(database: Database) -> LedgerView:
    from pgsched.adapters.postgres.ledger import PostgresLedger

    return PostgresLedger(database)
