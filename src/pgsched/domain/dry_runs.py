"""How many dry runs there may be at once: each is somebody's wait and a source's work."""

from __future__ import annotations

from typing import Final

from pgsched.domain.errors import TooManyRequests

#: dry runs at once of one user, and against one source, over all processes
OF_USER: Final = 2
OF_SOURCE: Final = 4
#: seconds after which one may be over
_RETRY_AFTER_S: Final = 2


def ensure_place(*, of_user: int, of_source: int) -> None:
    """Refuse one more beside those that are under way.

    Raises:
        TooManyRequests: the user, or the source, has as many as may be.
    """
    if of_user >= OF_USER:
        raise TooManyRequests(f"you have {OF_USER} dry runs under way", retry_after_s=_RETRY_AFTER_S)
    if of_source >= OF_SOURCE:
        message = f"{OF_SOURCE} dry runs are under way at this source"
        raise TooManyRequests(message, retry_after_s=_RETRY_AFTER_S)
