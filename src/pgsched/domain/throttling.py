"""Failed logins: how long somebody has to wait after so many, without locking the owner out.

An account's failures count per network they come from: whoever tries somebody else's account makes only
himself wait. Where an account is tried from many networks together, each of them is made to wait from its
first failure on; a network that has not failed is never refused, whatever others do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

#: failures older than this are forgotten
WINDOW = timedelta(minutes=15)
#: failures of an account from one network that cost no wait
FREE_OF_ACCOUNT = 5
#: failures from one network, of whatever accounts, that cost no wait
FREE_OF_NETWORK = 20
#: failures of an account from everywhere after which a network waits from its first one on
UNDER_ATTACK = 50
#: wait after the first failure that is not free; doubles with each
FIRST_WAIT = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failures:
    """Failed logins inside the window, as counted for one try."""

    #: of this account from this network
    here: int = 0
    #: of this account from everywhere
    of_account: int = 0
    #: from this network, of whatever accounts
    of_network: int = 0
    #: when the last one of this account from this network was, UTC; None without one
    last_here: datetime | None = None
    #: when the last one from this network was, UTC; None without one
    last_of_network: datetime | None = None
    #: when they were counted, UTC
    now: datetime


def wait_for(failures: Failures) -> timedelta:
    """Say how long the next try has to wait, zero for not at all."""
    free = FREE_OF_ACCOUNT if failures.of_account < UNDER_ATTACK else 1
    waits = [
        _left(failures.here - free, failures.last_here, failures.now),
        _left(failures.of_network - FREE_OF_NETWORK, failures.last_of_network, failures.now),
    ]
    return max(waits)


def network_of(address: str | None) -> str | None:
    """Return what stands for where a try comes from: an IPv4 address, or an IPv6 network of 64 bits.

    Whoever has one IPv6 address has its whole /64. None for an unknown address.
    """
    if address is None:
        return None
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ip_network((ip, 64), strict=False))
    return str(ip)


def _left(too_many: int, last: datetime | None, now: datetime) -> timedelta:
    if too_many < 0 or last is None:
        return timedelta(0)
    wait = min(FIRST_WAIT * (1 << min(too_many, 20)), WINDOW)
    return max(last + wait - now, timedelta(0))
