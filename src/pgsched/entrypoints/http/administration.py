"""What the endpoints of admins and editors need of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgsched.application.dry_run import DryRun
    from pgsched.application.grants import ChangeGrants
    from pgsched.application.jobs import AddJob, CancelRun, ChangeJob, RequestRun
    from pgsched.application.ledger import ExplainInstants
    from pgsched.application.ports.execution import SqlGuard
    from pgsched.application.ports.grants import Grants
    from pgsched.application.ports.repositories import Jobs, Sources
    from pgsched.application.removal import RemoveJob, RemoveSource
    from pgsched.application.sources import AddSource, ChangeSource, InspectSource


@dataclass(frozen=True, kw_only=True, slots=True)
class Administration:
    """The use-cases and ports by their names."""

    sources: Sources
    jobs: Jobs
    guard: SqlGuard
    add_source: AddSource
    change_source: ChangeSource
    remove_source: RemoveSource
    inspect_source: InspectSource
    add_job: AddJob
    change_job: ChangeJob
    remove_job: RemoveJob
    dry_run: DryRun
    request_run: RequestRun
    cancel_run: CancelRun
    grants: Grants
    change_grants: ChangeGrants
    explain_instants: ExplainInstants
