"""Where calls may go whose address a tenant chose: to the public Internet, and to what the operator allows.

The check is made where a socket is opened, on the very address that it will be connected to. So it does not matter how
an address was spelt, what a name resolved to a moment ago, or what it resolves to next.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from tidemill.errors import ConfigurationError
from tidemill.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 8192
"""Characters of an URL that is called."""

_WELL_KNOWN = frozenset({80, 443})
_HOST = re.compile(r"^(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_REFUSED: tuple[Network, ...] = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocols' own
    ipaddress.IPv4Network("168.63.129.16/32"),  # a cloud's own services, at an address that looks public
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays
    ipaddress.IPv6Network("2001::/23"),  # protocols' own, Teredo among them: it wraps IPv4 addresses
    ipaddress.IPv6Network("3fff::/20"),  # documentation
)


class EgressRefused(OSError):
    """A socket was to be connected to an address that calls may not go to.

    It does not tell the address: what an inside name resolves to is not the tenant's to know.
    """

    def __init__(self) -> None:
        super().__init__("the host is not on the public Internet, and the operator does not allow it")


@dataclass(frozen=True, slots=True)
class Egress:
    """What the operator allows besides the public Internet."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def load(cls, settings: Settings) -> Egress:
        """From the settings.

        Raises:
            ConfigurationError: an entry is neither a network nor a host's name.
        """
        return cls.of(settings.egress_allow)

    @classmethod
    def of(cls, allowed: Iterable[str]) -> Egress:
        """From networks (``10.1.0.0/16``, ``127.0.0.1``) and names of hosts (``api.internal``)."""
        networks: list[Network] = []
        hosts: set[str] = set()
        for entry in allowed:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                hosts.add(_host(entry))
        return cls(tuple(networks), frozenset(hosts))

    def permits(self, address: Address) -> bool:
        """Whether a socket may be connected to ``address``."""
        inner = _unwrapped(address)
        if any(candidate in network for network in self.networks for candidate in (address, inner)):
            return True
        return _is_public(inner)

    def refusal(self, url: URL) -> str | None:
        """Why ``url`` may not be called, as far as that shows without asking for its host's addresses; else None."""
        literal = _literal(url.raw_host or "")
        if literal is not None and not self.permits(literal):
            return f"is refused: {EgressRefused()}"
        return wrong_with(url)

    def connector(self, resolver: AbstractResolver | None = None) -> aiohttp.TCPConnector:
        """An aiohttp connector whose sockets go nowhere else; ``resolver`` defaults to the system's."""
        return aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, resolver=resolver, socket_factory=self._socket)

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Called by aiohttp for each address that it is about to connect to, whatever way it came by it."""
        family, kind, protocol, _, target = info
        try:
            permitted = self.permits(ipaddress.ip_address(target[0]))
        except ValueError:  # a spelling that only the C library would read
            permitted = False
        if not permitted:
            raise EgressRefused
        return socket.socket(family, kind, protocol)


def wrong_with(url: URL) -> str | None:
    """Why nobody may call ``url``, whatever the operator allows; None when nothing is wrong with it."""
    if url.scheme not in ("http", "https") or not url.raw_host:
        return "must begin with http:// or https:// and name a host"
    if url.user is not None or url.password is not None:
        return "must not hold a user or a password: they are secrets"
    if url.port is None or (url.port < 1024 and url.port not in _WELL_KNOWN):
        return f"port {url.port} is not one of 80, 443, or 1024 and above"
    if _literal(url.raw_host) is None and not _HOST.match(url.raw_host):
        return "has a host that cannot be a name"
    return f"is longer than {MAX_URL} characters" if len(str(url)) > MAX_URL else None


def _host(entry: str) -> str:
    name = entry.lower()
    if not _HOST.match(name) or _literal(name) is not None:
        raise ConfigurationError(
            f"TIDEMILL_EGRESS_ALLOW: {entry!r} is neither a network such as 10.1.0.0/16 nor the name of a host"
        )
    return name


def _literal(host: str) -> Address | None:
    """The address that ``host`` spells, also in the C library's old ways (``127.1``, ``0x7f000001``); else None."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to by way of a translator."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    special = address.is_multicast or address.is_reserved or any(address in network for network in _REFUSED)
    return address.is_global and not special
