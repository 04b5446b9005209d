"""Whether the metadata database's schema is this program's: asked before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsched.domain.errors import SchemaMismatch

if TYPE_CHECKING:
    from pgsched.entrypoints.container import Container


async def refuse_other(container: Container) -> None:
    """Let a command go on with the schema it was made for only.

    Raises:
        SchemaMismatch: the schema is older or newer; says what to do.
        DatabaseUnavailable: the metadata database cannot be reached.
    """
    found = await container.health_view().readiness()
    if found.schema_version != found.expected_version:
        raise SchemaMismatch.between(found.schema_version, found.expected_version)


async def refuse_newer(container: Container) -> None:
    """Let a service start that may wait for an upgrade of the schema, but not for one of itself.

    Raises:
        SchemaMismatch: the schema is newer.
        DatabaseUnavailable: the metadata database cannot be reached.
    """
    found = await container.health_view().readiness()
    if found.schema_version > found.expected_version:
        raise SchemaMismatch.between(found.schema_version, found.expected_version)
