"""Real Postgres for every integration test: one server a session (and xdist worker), a database a test.

``PGSCHED_TEST_PG_BINS`` adds program folders of other versions, colon-separated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from offices import key_settings, office, open_office  # noqa: F401 (fixtures for every test here)
from postgres_fixtures import (
    Database,
    Server,
    SourceDatabase,
    all_bins,
    fresh_database,
    fresh_source,
    in_wheel,
    template_of,
    throwaway,
)
from strict_syslog import check


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that ask for ``any_pg_server`` on every version there is."""
    if "any_pg_server" in metafunc.fixturenames:
        bins = all_bins()
        metafunc.parametrize("any_pg_server", bins.values(), ids=bins.keys(), indirect=True, scope="session")


@pytest.fixture(scope="session", autouse=True)
def _every_line_is_strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever services logged in this session, under whichever test, is RFC 5424 to the letter."""
    yield
    for path in tmp_path_factory.getbasetemp().rglob("logs/pgsched-*.log*"):
        check(path)


@pytest.fixture(scope="session")
def _servers() -> Iterator[ServerPool]:
    """The servers of this session, each started once, when first asked for."""
    with ExitStack() as stack:
        yield ServerPool(stack)


class ServerPool:
    """Servers by program folder."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[Path | None, Server] = {}

    def on(self, pg_bin: Path) -> Server:
        """The server on these programs, started if need be."""
        if pg_bin not in self._running:
            self._running[pg_bin] = self._stack.enter_context(throwaway(pg_bin))
        return self._running[pg_bin]


@pytest.fixture(scope="session")
def pg_server(_servers: ServerPool) -> Server:
    """A throw-away server on the installed programs; ``user`` and ``password`` are the superuser's."""
    return _servers.on(next(iter(all_bins().values())))


@pytest.fixture(scope="session")
def pg18_server(_servers: ServerPool) -> Server:
    """The same on the wheel's Postgres 18."""
    return _servers.on(next(in_wheel()))


@pytest.fixture(scope="session")
def any_pg_server(_servers: ServerPool, request: pytest.FixtureRequest) -> Server:
    """The same on each version there is: installed, the wheel's, those of PGSCHED_TEST_PG_BINS."""
    return _servers.on(request.param)


@pytest.fixture(scope="session")
def migrated_template(pg_server: Server) -> str:
    """The name of a template database with all migrations applied."""
    return template_of(pg_server)


@pytest.fixture
def database(pg_server: Server, migrated_template: str) -> Iterator[Database]:
    """A fresh migrated database, owned by the application's role; dropped afterwards."""
    with fresh_database(pg_server, template=migrated_template) as database:
        yield database


@pytest.fixture
def empty_database(pg_server: Server) -> Iterator[Database]:
    """A fresh database without a schema; dropped afterwards."""
    with fresh_database(pg_server, purpose="empty") as database:
        yield database


@pytest.fixture
def source_db(pg_server: Server) -> Iterator[SourceDatabase]:
    """A fresh source database with the read-only role ``reader``; dropped afterwards."""
    with fresh_source(pg_server) as source:
        yield source
