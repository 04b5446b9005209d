"""Data sources: adding one, changing one, looking one over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from pgsched.application.ports.audit import Audit, Transactions
from pgsched.application.ports.execution import QuerySource, SourceAddress, SourceReport
from pgsched.application.ports.repositories import Sources
from pgsched.application.ports.secrets import PasswordVault
from pgsched.application.source_passwords import (
    PASSWORD_FIELDS,
    is_given,
    password_given_faults,
    sealed_password,
)
from pgsched.application.versions import KnownVersion, compare_and_set
from pgsched.domain.audit import Actor, added, changed
from pgsched.domain.errors import (
    CannotOpen,
    FieldFault,
    InvalidInput,
    KeyFault,
    NoPrivateKey,
    PasswordRequired,
)
from pgsched.domain.source_changes import drafted_source, password_faults
from pgsched.domain.sources import DataSource, NewSource


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedSource:
    """A stored source and what a first look at it found."""

    source: DataSource
    #: None when nobody asked for a look
    report: SourceReport | None


class AddSource:
    """Judges what somebody wrote about a source, seals its password and stores it."""

    def __init__(
        self,
        sources: Sources,
        vault: PasswordVault,
        at_source: QuerySource,
        transactions: Transactions,
        audit: Audit,
    ) -> None:
        self._sources = sources
        self._vault = vault
        self._at_source = at_source
        self._transactions = transactions
        self._audit = audit

    async def __call__(self, given: Mapping[str, object], by: Actor, *, look: bool = False) -> AddedSource:
        """Store the source that these fields describe: those of ``NewSource``, and ``PASSWORD_FIELDS``.

        With ``look`` it is looked over so that faults show at once; an unreachable one is stored too.

        Raises:
            InvalidInput: with every fault.
            NoPrivateKey: a bare sealed password cannot be checked and bound here.
            KeyFault: there is no usable public key.
            NameTaken: another source has the name.
        """
        new = await _judged(given, self._vault)
        async with self._transactions.begin():
            source = await self._sources.add(new)
            await self._audit.record(by, added("source", source.id, source.name, trail_of(source)))
        if not look:
            return AddedSource(source=source, report=None)
        password = given.get("password")
        report = await self._at_source.inspect(
            address_of(source, password if isinstance(password, str) else None),
            allow_metadata=source.allow_metadata,
        )
        return AddedSource(source=source, report=report)


class ChangeSource:
    """Judges a change of a source and stores it; what decides where its password goes needs the password."""

    def __init__(
        self, sources: Sources, vault: PasswordVault, transactions: Transactions, audit: Audit
    ) -> None:
        self._sources = sources
        self._vault = vault
        self._transactions = transactions
        self._audit = audit

    async def __call__(
        self,
        key: str | int,
        given: Mapping[str, object],
        by: Actor,
        *,
        only_if: KnownVersion | None = None,
    ) -> DataSource:
        """Change the fields that are given; without ``only_if`` the last write of a field wins.

        Raises:
            NotFound: there is no such source.
            Stale: its version is not one that ``only_if`` knows.
            InvalidInput: with every fault.
            PasswordRequired: the change sends the password elsewhere, and the password is not given.
            NoPrivateKey: a bare sealed password cannot be checked and bound here.
            KeyFault: there is no usable public key.
            NameTaken: another source has the name.
        """
        found = await self._sources.get(key)
        return await compare_and_set(
            "data source",
            lambda: self._sources.get(found.id),
            lambda before: self._changed(before, given, by),
            only_if,
        )

    async def _changed(self, before: DataSource, given: Mapping[str, object], by: Actor) -> DataSource:
        after = await _judged(given, self._vault, before)
        if not is_given(given) and all(
            getattr(before, each.name) == getattr(after, each.name) for each in fields(NewSource)
        ):
            return before
        async with self._transactions.begin():
            source = await self._sources.change(before, after)
            old, new = trail_of(before), trail_of(source)
            if is_given(given):
                # the trail says that it was set, also to what it was
                old["password"], new["password"] = before.password and "old", after.password and "new"
            entry = changed("source.update", source.id, source.name, old, new)
            await self._audit.record(by, entry)
        return source


async def _judged(
    given: Mapping[str, object], vault: PasswordVault, before: DataSource | None = None
) -> NewSource:
    """Return the source as it shall be, its password sealed.

    Raises:
        InvalidInput: with every fault.
        KeyFault: the password cannot be sealed, or not be opened.
    """
    about = {name: value for name, value in given.items() if name not in PASSWORD_FIELDS}
    draft = drafted_source(about, before)
    faults = [*draft.faults, *password_given_faults(given, vault.algo)]
    if before is not None and not is_given(given):
        faults += [
            FieldFault(field=name, message="comes with password or enc_password_b64")
            for name in ("enc_algo", "key_version")
            if given.get(name) is not None
        ]
        moves = password_faults(before, draft.value) if not draft.faults else ()
        if moves and not faults:
            raise PasswordRequired.of(*moves)
        faults += moves
    if faults:
        raise InvalidInput.of(*faults)
    if before is not None and not is_given(given):
        return replace(draft.value, password=before.password)
    return replace(draft.value, password=await sealed_password(vault, given, draft.value.binding))


def trail_of(source: DataSource) -> dict[str, object]:
    """Return what the audit trail keeps of a source: whether it has a password, never which."""
    kept = {each.name: getattr(source, each.name) for each in fields(NewSource) if each.name != "password"}
    return {**kept, "has_password": source.password is not None}


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
