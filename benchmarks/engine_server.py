"""The server of the engine benchmark, seen from outside of the contenders: databases, counters, CPU, statements."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tidemill.postgres import Connection, connect
from tidemill.postgres.embedded import EmbeddedServer

DATABASE = "bench_engine"
_STATEMENT = re.compile(rb"LOG:  (?:statement|execute [^:]*): ")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of one moment: seconds of CPU of all server processes, bytes of WAL ever written."""

    at: float
    cpu_s: float
    wal_bytes: int

    @classmethod
    async def take(cls, conn: Connection, postmaster: int) -> Self:
        wal = await conn.fetchval("select pg_current_wal_insert_lsn() - '0/0'")
        return cls(time.monotonic(), _cpu_of_family(postmaster), int(wal))


class Watch:
    """Asks the database again and again whether jobs wait or run there."""

    def __init__(self, conn: Connection, busy: str) -> None:
        self._conn = conn
        self._busy = busy

    async def is_busy(self) -> bool:
        """Whether a job waits or runs."""
        return await self._conn.fetchval(self._busy)

    async def until_idle(self, *, timeout: float) -> float:
        """The time when no job was left.

        Raises:
            TimeoutError: some are.
        """
        async with asyncio.timeout(timeout):
            while await self.is_busy():  # noqa: ASYNC110 - another process ends it
                await asyncio.sleep(0.005)
            return time.monotonic()


class Server:
    """A connection to the maintenance database, and one database at a time for the contender whose turn it is."""

    def __init__(self, embedded: EmbeddedServer, conn: Connection, postmaster: int) -> None:
        self._conn = conn
        self._postmaster = postmaster
        self._log = embedded.place / "postgres.log"
        self.url = urlunsplit(urlsplit(embedded.url)._replace(path=f"/{DATABASE}"))

    @classmethod
    @asynccontextmanager
    async def open(cls, embedded: EmbeddedServer) -> AsyncGenerator[Server]:
        """Connect; the connection's own statements are never logged."""
        conn = await connect(embedded.url, name="benchmark")
        try:
            await conn.execute("set log_statement = 'none'")
            backend = await conn.fetchval("select pg_backend_pid()")
            yield cls(embedded, conn, _parent(backend))
        finally:
            conn.terminate()

    @asynccontextmanager
    async def database(self) -> AsyncGenerator[str]:
        """A fresh database; dropped at the end."""
        await self._conn.execute(f"drop database if exists {DATABASE} with (force)")
        await self._conn.execute(f"create database {DATABASE}")
        try:
            yield self.url
        finally:
            await self._conn.execute(f"drop database if exists {DATABASE} with (force)")

    async def settle(self) -> None:
        """Fresh statistics and a checkpoint, so that no contender pays for another's work."""
        conn = await connect(self.url, name="benchmark")
        await conn.execute("vacuum analyze", timeout=600)
        await conn.close(timeout=10)
        await self._conn.execute("checkpoint", timeout=600)

    async def read(self) -> Reading:
        """The counters now."""
        return await Reading.take(self._conn, self._postmaster)

    @asynccontextmanager
    async def watch(self, busy: str) -> AsyncGenerator[Watch]:
        """Be connected and ready to ask, so that asking costs no time later."""
        conn = await connect(self.url, name="benchmark")
        try:
            yield Watch(conn, busy)
        finally:
            conn.terminate()

    @asynccontextmanager
    async def holding(self, statement: str) -> AsyncGenerator[None]:
        """Inside, a transaction is open that has run ``statement``."""
        conn = await connect(self.url, name="benchmark")
        try:
            await conn.execute(f"set idle_in_transaction_session_timeout = 0; begin; {statement}")
            yield
        finally:
            conn.terminate()

    async def commits(self) -> int:
        """Transactions committed in the database, once nobody is connected: a backend reports its last when it ends."""
        async with asyncio.timeout(_PATIENCE_S):
            while await self._conn.fetchval(  # noqa: ASYNC110 - other processes end it
                "select exists (select from pg_stat_activity where datname = $1 and backend_type = 'client backend')",
                DATABASE,
            ):
                await asyncio.sleep(0.05)
        return await self._conn.fetchval("select xact_commit from pg_stat_database where datname = $1", DATABASE)

    async def statements(self, seconds: float) -> float:
        """Statements a second that clients send within the next ``seconds``, BEGIN and COMMIT included."""
        await self._log_statements("all")
        offset = self._log.stat().st_size
        started = time.monotonic()
        await asyncio.sleep(seconds)
        sent, passed = len(_STATEMENT.findall(_since(self._log, offset))), time.monotonic() - started
        await self._log_statements("none")
        return sent / passed

    async def _log_statements(self, which: str) -> None:
        await self._conn.execute(f"alter system set log_statement = '{which}'")
        await self._conn.execute("select pg_reload_conf()")
        await asyncio.sleep(0.2)


def _since(log: Path, offset: int) -> bytes:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read()


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a process, its threads and the children that it has waited for; 0 once it is gone."""
    try:
        fields = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(field) for field in fields[11:15]) * _TICK_S


def _cpu_of_family(postmaster: int) -> float:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return cpu_of(postmaster) + sum(cpu_of(pid) for pid in pids if _parent(pid) == postmaster)


def _parent(pid: int) -> int:
    try:
        return int(_stat(pid)[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the third (state) on; the second may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
