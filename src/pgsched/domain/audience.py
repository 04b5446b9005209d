"""Who reads: the one place that decides which queries a caller may see, and how much of an error."""

from __future__ import annotations

from dataclasses import dataclass

from pgsched.domain.jobs import Visibility


@dataclass(frozen=True, kw_only=True, slots=True)
class Audience:
    """What a caller may read."""

    #: the visibilities whose queries it may read
    visibilities: frozenset[Visibility]
    #: whether it reads errors whole, or the source's primary message alone
    whole_errors: bool = False


#: editors, admins and the command line: everything
EVERYTHING = Audience(visibilities=frozenset(Visibility), whole_errors=True)


def anonymous(*, public_read: bool) -> Audience:
    """Return what somebody without a login may read."""
    return Audience(visibilities=frozenset({Visibility.PUBLIC} if public_read else ()))
