"""Data sources: adding one, looking one over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from pgsched.application.ports.execution import QuerySource, SourceAddress, SourceReport
from pgsched.application.ports.repositories import Sources
from pgsched.application.ports.secrets import PasswordVault
from pgsched.domain.errors import CannotOpen, FieldFault, InvalidInput, KeyFault, NoPrivateKey
from pgsched.domain.sources import DataSource, NewSource


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedSource:
    """A stored source and what a first look at it found."""

    source: DataSource
    report: SourceReport


class AddSource:
    """Seals the password, stores the source, and looks it over so that faults show at once."""

    def __init__(self, sources: Sources, vault: PasswordVault, at_source: QuerySource) -> None:
        self._sources = sources
        self._vault = vault
        self._at_source = at_source

    async def __call__(
        self, new: NewSource, password: str | None, *, key_version: int | None = None
    ) -> AddedSource:
        """Store the source; an unreachable one is stored too, the report says so.

        Raises:
            InvalidInput: ``key_version`` is not the version that seals now.
            KeyFault: there is no usable public key.
            NameTaken: another source has the name.
        """
        if key_version is not None and key_version != (current := self._vault.current_version):
            raise InvalidInput.of(
                FieldFault(
                    field="key_version", message=f"is {key_version}, but the key that seals is {current}"
                )
            )
        if password is not None:
            new = replace(new, password=self._vault.seal(password, new.binding))
        source = await self._sources.add(new)
        report = await self._at_source.inspect(
            address_of(source, password), allow_metadata=source.allow_metadata
        )
        return AddedSource(source=source, report=report)


class InspectSource:
    """Opens a source's password and looks the source over."""

    def __init__(self, sources: Sources, vault: PasswordVault, at_source: QuerySource) -> None:
        self._sources = sources
        self._vault = vault
        self._at_source = at_source

    async def __call__(self, key: str | int) -> SourceReport:
        """Report on the source of this name or id; a source that fails is a report, not an error.

        Raises:
            NotFound: there is no such source.
            NoPrivateKey: passwords cannot be opened here.
        """
        source = await self._sources.get(key)
        try:
            password = await open_password(self._vault, source)
        except NoPrivateKey:
            raise
        except (CannotOpen, KeyFault) as error:
            return SourceReport(ok=False, error_code=error.code, error_detail=error.detail)
        return await self._at_source.inspect(
            address_of(source, password), allow_metadata=source.allow_metadata
        )


async def open_password(vault: PasswordVault, source: DataSource) -> str | None:
    """Open a source's sealed password beside the event loop; None when it has none.

    Raises:
        KeyFault: it cannot be opened here; the subclass says why.
    """
    if source.password is None:
        return None
    return await asyncio.to_thread(vault.open, source.password, source.binding)


def address_of(source: DataSource, password: str | None) -> SourceAddress:
    """Join a source and its opened password."""
    return SourceAddress(
        host=source.host,
        port=source.port,
        dbname=source.dbname,
        username=source.username,
        password=password,
        sslmode=source.sslmode,
        sslrootcert=source.sslrootcert,
        source_id=source.id,
    )
