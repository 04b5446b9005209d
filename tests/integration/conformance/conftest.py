"""The worlds that every conformance suite runs in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from postgres_fixtures import Database
from worlds import World, memory_world, postgres_world


@pytest.fixture(params=["memory", "postgres"])
def ground(request: pytest.FixtureRequest) -> Database | None:
    """Where the ports stand: None for memory, else a database of their own."""
    # Asked for here, since a server cannot be started while the test's own event loop runs.
    return None if request.param == "memory" else request.getfixturevalue("database")


@pytest.fixture
async def world(ground: Database | None) -> AsyncIterator[World]:
    """Every port over one store or one database, its clock standing still."""
    if ground is None:
        yield memory_world()
    else:
        async with postgres_world(ground) as made:
            yield made
