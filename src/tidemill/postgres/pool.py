"""The pool: `Database` is what every other room holds."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Self, TypeVar, cast

import asyncpg

from tidemill.postgres.connection import (
    COMMAND_TIMEOUT,
    IDLE_TRANSACTION_S,
    Connection,
    Record,
    connect,
    naming_failures,
)
from tidemill.postgres.lending import GOODBYE_S, Lender, is_lost
from tidemill.postgres.statements import Statements

T = TypeVar("T")

_sql = Statements("tidemill.postgres.sql")
_CLOSE_TIMEOUT = 10.0
_TRIES = 6  # the first and five more
_QUERIES_PER_CONNECTION = 5_000_000  # then it is replaced, so that a backend's caches do not grow for ever


class Database:
    """A pool of connections that keep no session state, safe behind a transaction pooler.

    It survives a restart of the server: a call that was under way raises `DatabaseUnavailable`, the next one
    connects again (trying for a few seconds while the server refuses).

    It survives a network that falls silent, too: a statement that is not answered in time is given up, its connection
    is cut if the server does not confirm that either, and then all others of the pool are replaced before their next
    use, since what silenced one has likely silenced them.
    """

    def __init__(self, pool: Any, *, url: str, pooled: bool) -> None:
        self._pool = pool
        self._lender = Lender(pool)
        self.url = url
        self.pooled = pooled

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        max_size: int = 10,
        name: str = "tidemill",
        pooled: bool = False,
        command_timeout: float = COMMAND_TIMEOUT,
    ) -> Database:
        """Open a pool and make sure that the server answers.

        Args:
            url: ``postgresql://…``.
            max_size: connections at most; they are opened when first needed.
            name: shown as ``application_name``.
            pooled: whether ``url`` is a transaction pooler (pgbouncer, Supavisor).
            command_timeout: seconds a statement may take unless it is given its own time-out.

        Raises:
            DatabaseUnavailable: when the server cannot be reached or refuses the login.
            ConfigurationError: when the URL makes no sense.
        """

        async def connected(*_: object, **__: object) -> Connection:
            return await connect(url, name=name, pooled=pooled, command_timeout=command_timeout)

        pool: Any = await cast(Any, asyncpg).create_pool(
            url,
            min_size=0,
            max_size=max_size,
            max_queries=_QUERIES_PER_CONNECTION,
            connect=connected,
            reset=_keep_as_it_is,
        )
        database = cls(pool, url=url, pooled=pooled)
        try:
            await database.fetchval("select 1")
        except BaseException:
            pool.terminate()
            raise
        return database

    async def close(self) -> None:
        """Close every connection; those still in use after ten seconds are cut."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._lender.close()
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def fetch(self, sql: str, *args: Any, timeout: float | None = None) -> list[Record]:
        """Run one statement; all its rows."""
        with naming_failures:
            async with self._lender.lend() as conn:
                return await conn.fetch(sql, *args, timeout=timeout)

    async def fetchrow(self, sql: str, *args: Any, timeout: float | None = None) -> Record | None:
        """Run one statement; its first row, or None."""
        with naming_failures:
            async with self._lender.lend() as conn:
                return await conn.fetchrow(sql, *args, timeout=timeout)

    async def fetchval(self, sql: str, *args: Any, timeout: float | None = None) -> Any:
        """Run one statement; the first column of its first row, or None."""
        with naming_failures:
            async with self._lender.lend() as conn:
                return await conn.fetchval(sql, *args, timeout=timeout)

    async def execute(self, sql: str, *args: Any, timeout: float | None = None) -> str:
        """Run one statement (or, without arguments, several in one implicit transaction); its command tag."""
        with naming_failures:
            async with self._lender.lend() as conn:
                return await conn.execute(sql, *args, timeout=timeout)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """Lend one connection; each statement on it is a transaction of its own.

        Raises:
            DatabaseUnavailable: also out of the body, when the connection is lost or stays silent in it.
        """
        with naming_failures:
            async with self._lender.lend() as conn:
                yield conn

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Lend one connection inside a READ COMMITTED transaction: commits at the end, rolls back on any exception.

        Raises:
            DatabaseUnavailable: as for :meth:`connection`. Raised by the commit itself it leaves open whether the
                server committed.
        """
        with naming_failures:
            async with self._lender.lend() as conn:
                transaction: Any = conn.transaction(isolation="read_committed")
                try:
                    await transaction.start()
                    if self.pooled:  # elsewhere the session has it
                        await conn.execute(_sql.bound_silence, f"{IDLE_TRANSACTION_S}s")
                    yield conn
                except BaseException:
                    await _roll_back(conn, transaction)
                    raise
                await transaction.commit()

    async def retrying(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction, again (at most five times) when Postgres broke a deadlock or a conflict.

        ``work`` must have no effect outside its transaction. The last 40001 or 40P01 is raised as it came.
        """
        for remaining in reversed(range(_TRIES)):
            try:
                async with self.transaction() as conn:
                    return await work(conn)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
                if not remaining:
                    raise
            await asyncio.sleep(random.uniform(0.0, 0.02 * 2 ** (_TRIES - remaining)))  # noqa: S311 - jitter
        raise AssertionError("unreachable")


async def _keep_as_it_is(conn: object) -> None:
    """No reset on release: no session state is ever set, and a round trip per use is what it would cost."""


async def _roll_back(conn: Connection, transaction: Any) -> None:
    """End a transaction that failed, if need be with its connection: what made it fail is all there is to tell."""
    try:
        async with asyncio.timeout(GOODBYE_S):
            await transaction.rollback()
    except Exception:  # noqa: BLE001 - whatever it is, without the connection there is no transaction
        if not is_lost(conn):
            conn.terminate()
