"""Who asks, by which name: forwarded headers of trusted proxies, and the Host names that are answered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s/?#@,]+)(?::[0-9]{0,5})?", re.ASCII)

#: headers of proxies
FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """The client of a request, as far as it can be believed."""

    #: its address, None on a socket without addresses
    address: str | None
    #: ``http`` or ``https``, as the client sees it
    scheme: str
    #: names the request was sent to: Host, and X-Forwarded-Host where a trusted proxy says so
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerPolicy:
    """Which proxies are believed, and which Host names are answered."""

    #: networks of proxies whose forwarded headers count; none: nobody's do
    proxies: Sequence[IPv4Network | IPv6Network]
    #: in small letters, IPv6 without brackets, ``*`` for any; None for any
    hosts: frozenset[str] | None

    def peer(self, address: str | None, scheme: str, headers: Mapping[bytes, bytes]) -> Peer:
        """Say who asks. X-Forwarded-For is walked from the right, past every trusted proxy."""
        hosts = [_text(headers, b"host")]
        if address is not None and address.startswith("::ffff:"):
            address = _address(address) or address
        if not headers.keys().isdisjoint(FORWARDED) and self.trusts(address):
            for hop in reversed(_text(headers, b"x-forwarded-for").split(",")):
                if (named := _address(hop.strip())) is None:
                    break
                address = named
                if not self.trusts(named):
                    break
            proto = _last(headers, b"x-forwarded-proto").lower()
            scheme = proto if proto in ("http", "https") else scheme
            if host := _last(headers, b"x-forwarded-host"):
                hosts.append(host)
        return Peer(address=address, scheme=scheme, hosts=tuple(hosts))

    def trusts(self, address: str | None) -> bool:
        """Whether an address is a trusted proxy's."""
        if address is None or not self.proxies:
            return False
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self.proxies)

    def answers(self, peer: Peer) -> bool:
        """Whether the request was sent to a name that is answered.

        With a proxy before us the name it was asked by must be one. Then Host, which the proxy may have set
        to its own name for us, may also be an address or a name without dots, but no foreign domain: a page
        that rebinds its domain to this machine can send X-Forwarded-Host, not another Host.
        """
        if "," in peer.hosts[0]:
            return False  # more than one Host
        if self.hosts is None or "*" in self.hosts:
            return True
        *own, asked = (_bare(host) for host in peer.hosts)
        return asked in self.hosts and all(name in self.hosts or _is_local(name) for name in own)


def _is_local(name: str) -> bool:
    return _address(name) is not None or (name != "" and "." not in name)


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


def _last(headers: Mapping[bytes, bytes], name: bytes) -> str:
    """Return the value that the nearest proxy added."""
    return _text(headers, name).rpartition(",")[2].strip()


def _bare(host: str) -> str:
    """Return a Host header's name or address without port and brackets, empty when it is none."""
    match = _HOST.fullmatch(host)
    if match is None:
        return ""
    name = match[1].lower().removesuffix(".")
    return _address(name) or name


def _address(text: str) -> str | None:
    """Return an IP address in its usual form, from a bare one, ``[v6]``, ``[v6]:port`` or ``v4:port``."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return _plain(text)
    except ValueError:
        return None


def _plain(text: str) -> str:
    """Return an address in its usual form: one of IPv4 inside IPv6, as sockets of both have it, is IPv4."""
    ip = ip_address(text)
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return str(mapped or ip)
