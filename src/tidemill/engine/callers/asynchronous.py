"""One statement on an asynchronous connection of the application's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.engine.callers.recognise import Family, colons, family_of, pyformat, refuse_autocommit, refuse_closed
from tidemill.engine.callers.synchronous import check_psycopg, check_sqlalchemy
from tidemill.errors import InvalidInput

Rows = list[tuple[Any, ...]]


async def fetch_on(conn: Any, sql: str, args: Sequence[Any]) -> Rows:
    """Run one statement with parameters ``$1``, ``$2``, … in the caller's transaction; all its rows.

    The transaction is neither committed nor rolled back. What the library raises comes as it is.

    Args:
        conn: a connection of asyncpg or psycopg, or a connection or session of SQLAlchemy, in a transaction.
        sql: one statement, each parameter cast to its type.
        args: the parameters.

    Raises:
        InvalidInput: ``conn`` is nothing of that, is closed, or is in no transaction.
    """
    named = {f"p{n}": arg for n, arg in enumerate(args, start=1)}
    match family_of(conn):
        case Family.ASYNCPG:
            refuse_closed(conn.is_closed())
            refuse_autocommit(not conn.is_in_transaction(), "use async with conn.transaction()")
            return [tuple(row) for row in await conn.fetch(sql, *args)]
        case Family.PSYCOPG_ASYNC:
            return await _on_psycopg(conn, sql, named)
        case Family.SQLALCHEMY_ASYNC:
            return await _on_sqlalchemy(conn, sql, named)
        case Family.SQLALCHEMY_ASYNC_SESSION:
            return await _on_sqlalchemy(await conn.connection(), sql, named)
        case family:
            raise InvalidInput(
                "conn",
                f"is synchronous ({family.value}) and would block the event loop; use enqueue_with_sync in a thread",
            )


async def _on_psycopg(conn: Any, sql: str, named: Mapping[str, Any]) -> Rows:
    from psycopg import AsyncCursor
    from psycopg.rows import tuple_row

    check_psycopg(conn, "use async with conn.transaction()")
    # Made by its class: the connection's own factories may read other placeholders and give other rows.
    async with AsyncCursor(conn, row_factory=tuple_row) as cursor:
        await cursor.execute(pyformat(sql).encode(), named)
        return await cursor.fetchall()


async def _on_sqlalchemy(conn: Any, sql: str, named: Mapping[str, Any]) -> Rows:
    from sqlalchemy import text

    refuse_closed(conn.closed)
    check_sqlalchemy(conn.sync_connection)
    return [tuple(row) for row in await conn.execute(text(colons(sql)), named)]
