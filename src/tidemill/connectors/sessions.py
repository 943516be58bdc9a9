"""Pools of connections: one for addresses that the operator chose, one for those that tenants chose."""

from __future__ import annotations

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from tidemill.connectors.egress import Egress


class Sessions:
    """The pools of one process. ``resolver`` is that of guarded calls; None takes the system's."""

    def __init__(self, *, proxy_from_env: bool, resolver: AbstractResolver | None) -> None:
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60)  # the client's slots bound it
        self._open = _session(connector, proxy_from_env)
        self._resolver = resolver
        self._guarded: dict[Egress, aiohttp.ClientSession] = {}

    def to(self, url: URL, egress: Egress | None) -> aiohttp.ClientSession:
        """The pool for a call of ``url``: a guarded one, unless none is asked for or the operator allows the host."""
        if egress is None or url.host in egress.hosts:
            return self._open
        if egress not in self._guarded:
            self._guarded[egress] = _session(egress.connector(self._resolver), proxy_from_env=False)
        return self._guarded[egress]

    async def close(self) -> None:
        """Close all connections."""
        for session in (self._open, *self._guarded.values()):
            await session.close()


def _session(connector: aiohttp.TCPConnector, proxy_from_env: bool) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "User-Agent": "tidemill"},
        trust_env=proxy_from_env,
    )
    # aiohttp would by itself repeat a GET whose pooled connection breaks: past gate, tally and deadline.
    # It has no public switch for that; a test counts what arrives.
    session._retry_connection = False  # pyright: ignore[reportPrivateUsage]
    return session
