"""Lends out the connections of a pool, each for the length of a block."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import asyncpg

from tidemill.postgres.connection import Connection

GOODBYE_S = 5.0
"""Seconds that the server gets to confirm the end of a statement that was given up, and then of its transaction. A
connection on which it does not is cut."""
_ACQUIRE_TIMEOUT = 30.0
_MOST_SPARE = 4
_LOANS_TO_LOOK_AFTER = 1000
"""After so many loans a connection goes back through the pool, which replaces those that are old or too many."""


class Lender:
    """Keeps a few connections at hand between two loans.

    Taking one out of asyncpg's pool and giving it back costs a task and two timers, more than a short statement does.
    The pool stays what opens, bounds, replaces and closes them.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._spare: list[Connection] = []
        self._waiting = 0
        """Blocks that wait for a connection of the pool."""
        self._loans = 0
        self._closed = False

    def lend(self) -> Loan:
        """A connection for the length of a block."""
        return Loan(self)

    def at_hand(self) -> Connection | None:
        """A connection that is kept, if there is one."""
        while self._spare:
            conn = self._spare.pop()
            if not is_lost(conn):
                return conn
        return None

    async def take(self) -> Connection:
        """A connection of the pool."""
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=_ACQUIRE_TIMEOUT)
        finally:
            self._waiting -= 1

    def keep(self, conn: Connection) -> bool:
        """Keep a connection at hand whose block went well; False if it has to go back to the pool."""
        self._loans += 1
        if (
            self._waiting
            or self._closed
            or len(self._spare) >= _MOST_SPARE
            or self._loans % _LOANS_TO_LOOK_AFTER == 0
            or is_lost(conn)
        ):
            return False
        self._spare.append(conn)
        return True

    async def give_back(self, conn: Connection) -> None:
        """Give a connection back to the pool, once the server has confirmed the end of what was given up on it."""
        try:
            await self._pool.release(conn, timeout=GOODBYE_S)
        except TimeoutError:  # it was cut, and what silenced it has likely silenced the others
            await self._pool.expire_connections()
            for conn in self._spare:
                if not is_lost(conn):
                    conn.terminate()
            self._spare.clear()

    async def close(self) -> None:
        """Give back what is at hand; nothing is kept from now on."""
        self._closed = True
        while self._spare:
            await self._pool.release(self._spare.pop(), timeout=GOODBYE_S)


class Loan:
    """One connection, for the length of a block."""

    __slots__ = ("_conn", "_lender")

    def __init__(self, lender: Lender) -> None:
        self._lender = lender

    async def __aenter__(self) -> Connection:
        self._conn = self._lender.at_hand() or await self._lender.take()
        return self._conn

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if error is None and self._lender.keep(self._conn):
            return
        was_lost = is_lost(self._conn)
        await self._lender.give_back(self._conn)
        if isinstance(error, asyncpg.InterfaceError) and was_lost:
            raise asyncpg.ConnectionDoesNotExistError(str(error)) from error


def is_lost(conn: Connection) -> bool:
    """Whether a connection that was lent is gone: the pool takes it back at once."""
    try:
        return conn.is_closed()
    except asyncpg.InterfaceError:
        return True
