"""What the endpoints for accounts, sessions, tokens and the audit trail need of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgsched.application.accounts import AddAccount, ChangeAccount, DeleteAccount, SetPassword
    from pgsched.application.login import EndSession, LogIn
    from pgsched.application.ports.access import Sessions, Tokens
    from pgsched.application.ports.audit import Audit
    from pgsched.application.ports.repositories import Accounts
    from pgsched.application.ports.timing import Clock
    from pgsched.application.tokens import AddToken, DeleteToken


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The use-cases and ports by their names."""

    clock: Clock
    accounts: Accounts
    sessions: Sessions
    tokens: Tokens
    audit: Audit
    log_in: LogIn
    end_session: EndSession
    add_account: AddAccount
    change_account: ChangeAccount
    delete_account: DeleteAccount
    set_password: SetPassword
    add_token: AddToken
    delete_token: DeleteToken
    #: names of the roles that exist (ALLOWED_ROLES)
    allowed_roles: tuple[str, ...]
    #: seconds that a session lives at most (SESSION_MAX_HOURS)
    session_max_s: int
