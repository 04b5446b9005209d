"""Grants: who is given a restricted query, and which of its rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from pgsched.application.ports.audit import Audit, Transactions
from pgsched.application.ports.grants import Grants, HeldGrant
from pgsched.application.ports.repositories import Jobs
from pgsched.domain.audience import Grant
from pgsched.domain.audit import Actor, changed
from pgsched.domain.errors import FieldFault, InvalidInput
from pgsched.domain.grants import MOST_GRANTS, WrittenGrant, grantee, written_grants

#: what becomes of the grants that are, given those that were written
_Decide = Callable[[Sequence[Grant], Sequence[Grant]], list[Grant]]


class ChangeGrants:
    """Finds those whom a query is given to and keeps the grants; each change at once, with its trail."""

    def __init__(
        self,
        grants: Grants,
        jobs: Jobs,
        transactions: Transactions,
        audit: Audit,
        allowed_roles: Collection[str],
    ) -> None:
        self._grants = grants
        self._jobs = jobs
        self._transactions = transactions
        self._audit = audit
        self._allowed_roles = allowed_roles

    async def replace(self, key: str | int, given: Mapping[str, object], by: Actor) -> Sequence[HeldGrant]:
        """Put the grants that are written in the place of all there are.

        Raises:
            NotFound: there is no such query.
            InvalidInput: with a fault for each entry that is wrong, or names nobody.
        """
        return await self._change(key, given, by, lambda _, written: list(written))

    async def give(self, key: str | int, given: Mapping[str, object], by: Actor) -> Sequence[HeldGrant]:
        """Add the grants that are written; who has one already gets this one in its place.

        Raises as ``replace`` does.
        """

        def decide(held: Sequence[Grant], written: Sequence[Grant]) -> list[Grant]:
            new = {grantee(grant) for grant in written}
            return [*(grant for grant in held if grantee(grant) not in new), *written]

        return await self._change(key, given, by, decide)

    async def take(self, key: str | int, given: Mapping[str, object], by: Actor) -> Sequence[HeldGrant]:
        """Take away the grants of those who are written, whatever their filters.

        Raises as ``replace`` does, and InvalidInput when somebody has no grant.
        """

        def decide(held: Sequence[Grant], written: Sequence[Grant]) -> list[Grant]:
            gone = {grantee(grant) for grant in written}
            if missing := gone - {grantee(grant) for grant in held}:
                faults = [FieldFault(field=kind, message=f"{who} has no grant") for kind, who in missing]
                raise InvalidInput.of(*faults)
            return [grant for grant in held if grantee(grant) not in gone]

        return await self._change(key, given, by, decide)

    async def _change(
        self, key: str | int, given: Mapping[str, object], by: Actor, decide: _Decide
    ) -> Sequence[HeldGrant]:
        job = await self._jobs.get(key)
        written, faults = written_grants(given)
        found = [await self._found(entry, faults) for entry in written]
        wanted = [grant for grant in found if grant is not None]
        seen: set[tuple[str, str | int]] = set()
        for entry, grant in zip(written, found, strict=True):
            if grant is not None and grantee(grant) in seen:
                faults.append(FieldFault(field=entry.place, message=f"{entry.key} is there more than once"))
            elif grant is not None:
                seen.add(grantee(grant))
        if faults:
            raise InvalidInput.of(*faults)
        # One at a time, in every process: what is read here is still so when it is written.
        async with self._transactions.begin(rights=True):
            before = await self._grants.of(job.id)
            after = decide([each.grant for each in before], wanted)
            if len(after) > MOST_GRANTS:
                message = f"there can be {MOST_GRANTS} grants on a query"
                raise InvalidInput.of(FieldFault(field="users", message=message))
            await self._grants.replace(job.id, after)
            held = await self._grants.of(job.id)
            old, new = trail_of(before), trail_of(held)
            if old != new:
                await self._audit.record(by, changed("grant.update", job.id, job.spec.name, old, new))
        return held

    async def _found(self, entry: WrittenGrant, faults: list[FieldFault]) -> Grant | None:
        """Return the grant of an entry; None, and a fault, when it names nobody or several."""
        noun = entry.kind.removesuffix("s")
        if entry.kind == "roles":
            if entry.key in self._allowed_roles:
                return Grant(role=str(entry.key), row_filter=entry.row_filter)
            known = ", ".join(self._allowed_roles)
            message = f"there is no role {entry.key}; the roles are {known}"
            faults.append(FieldFault(field=entry.place, message=message))
            return None
        look = self._grants.users if entry.kind == "users" else self._grants.tokens
        those = await look(entry.key)
        if len(those) != 1:
            several = f"several {entry.kind} are called {entry.key}; give the id"
            message = several if those else f"there is no {noun} {entry.key}"
            faults.append(FieldFault(field=entry.place, message=message))
            return None
        if entry.kind == "users":
            return Grant(user_id=those[0].id, row_filter=entry.row_filter)
        return Grant(token_id=those[0].id, row_filter=entry.row_filter)


def trail_of(held: Sequence[HeldGrant]) -> dict[str, object]:
    """Return what the audit trail keeps of the grants on a query, by who has them."""
    return {
        f"{kind} {each.email or each.name}{f' ({who})' if kind == 'tokens' else ''}": {
            "row_filter": each.grant.row_filter
        }
        for each in held
        for kind, who in [grantee(each.grant)]
    }
