"""One statement on a synchronous connection of the application's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.engine.callers.recognise import (
    Family,
    colons,
    family_of,
    pyformat,
    refuse_autocommit,
    refuse_closed,
    refuse_other_database,
)
from tidemill.errors import InvalidInput

Rows = list[tuple[Any, ...]]


def fetch_on_sync(conn: Any, sql: str, args: Sequence[Any]) -> Rows:
    """Run one statement with parameters ``$1``, ``$2``, … in the caller's transaction; all its rows.

    The transaction is neither committed nor rolled back. What the library raises comes as it is.

    Args:
        conn: a connection of psycopg or Django, or a connection or session of SQLAlchemy, in a transaction.
        sql: one statement, each parameter cast to its type.
        args: the parameters.

    Raises:
        InvalidInput: ``conn`` is nothing of that, is closed, or is in no transaction.
    """
    named = {f"p{n}": arg for n, arg in enumerate(args, start=1)}
    match family_of(conn):
        case Family.PSYCOPG:
            return _on_psycopg(conn, sql, named)
        case Family.SQLALCHEMY:
            return _on_sqlalchemy(conn, sql, named)
        case Family.SQLALCHEMY_SESSION:
            return _on_sqlalchemy(conn.connection(), sql, named)
        case Family.DJANGO:
            return _on_django(conn, sql, named)
        case family:
            raise InvalidInput("conn", f"is asynchronous ({family.value}); use enqueue_with")


def _on_psycopg(conn: Any, sql: str, named: Mapping[str, Any]) -> Rows:
    from psycopg import Cursor
    from psycopg.rows import tuple_row

    check_psycopg(conn, "use with conn.transaction()")
    # Made by its class: the connection's own factories may read other placeholders and give other rows.
    with Cursor(conn, row_factory=tuple_row) as cursor:
        cursor.execute(pyformat(sql).encode(), named)
        return cursor.fetchall()


def _on_sqlalchemy(conn: Any, sql: str, named: Mapping[str, Any]) -> Rows:
    from sqlalchemy import text

    check_sqlalchemy(conn)
    return [tuple(row) for row in conn.execute(text(colons(sql)), named)]


def _on_django(conn: Any, sql: str, named: Mapping[str, Any]) -> Rows:
    refuse_other_database(conn.vendor)
    refuse_autocommit(not conn.in_atomic_block and conn.get_autocommit(), "use with transaction.atomic()")
    with conn.cursor() as cursor:
        cursor.execute(pyformat(sql), named)
        return [tuple(row) for row in cursor.fetchall()]


def check_psycopg(conn: Any, remedy: str) -> None:
    """Refuse a psycopg connection, of either sort, on which a statement would commit by itself."""
    from psycopg.pq import TransactionStatus

    refuse_closed(conn.closed)
    refuse_autocommit(conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE, remedy)


def check_sqlalchemy(conn: Any) -> None:
    """Refuse a SQLAlchemy connection on which a statement would commit by itself; asks the driver, not the server."""
    refuse_closed(conn.closed or conn.invalidated)
    refuse_other_database(conn.dialect.name)
    refuse_autocommit(conn.connection.dbapi_connection.autocommit, "use another isolation_level than AUTOCOMMIT")
