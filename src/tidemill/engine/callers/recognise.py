"""Which library a connection belongs to, and how that one writes parameters."""

from __future__ import annotations

import re
from enum import Enum

from tidemill.errors import InvalidInput


class Family(Enum):
    """What a connection turned out to be."""

    ASYNCPG = "asyncpg"
    PSYCOPG = "psycopg"
    PSYCOPG_ASYNC = "psycopg, asynchronous"
    SQLALCHEMY = "SQLAlchemy connection"
    SQLALCHEMY_SESSION = "SQLAlchemy session"
    SQLALCHEMY_ASYNC = "SQLAlchemy connection, asynchronous"
    SQLALCHEMY_ASYNC_SESSION = "SQLAlchemy session, asynchronous"
    DJANGO = "Django"


_TYPES = {
    ("asyncpg", "Connection"): Family.ASYNCPG,
    ("asyncpg", "PoolConnectionProxy"): Family.ASYNCPG,
    ("psycopg", "Connection"): Family.PSYCOPG,
    ("psycopg", "AsyncConnection"): Family.PSYCOPG_ASYNC,
    ("sqlalchemy", "Connection"): Family.SQLALCHEMY,
    ("sqlalchemy", "Session"): Family.SQLALCHEMY_SESSION,
    ("sqlalchemy", "scoped_session"): Family.SQLALCHEMY_SESSION,
    ("sqlalchemy", "AsyncConnection"): Family.SQLALCHEMY_ASYNC,
    ("sqlalchemy", "AsyncSession"): Family.SQLALCHEMY_ASYNC_SESSION,
    ("sqlalchemy", "async_scoped_session"): Family.SQLALCHEMY_ASYNC_SESSION,
    ("django", "BaseDatabaseWrapper"): Family.DJANGO,
    ("django", "ConnectionProxy"): Family.DJANGO,
}
"""Library and name of a class, which a connection's own class may be derived from."""


def family_of(conn: object) -> Family:
    """What ``conn`` is.

    Raises:
        InvalidInput: it is none of what can be enqueued on.
    """
    for cls in type(conn).__mro__:
        if family := _TYPES.get((cls.__module__.partition(".")[0], cls.__name__)):
            return family
    raise InvalidInput(
        "conn",
        f"a {type(conn).__module__}.{type(conn).__qualname__} cannot be enqueued on; give a connection of asyncpg, "
        "psycopg 3 or Django, or a connection or session of SQLAlchemy",
    )


def pyformat(sql: str) -> str:
    """``$1`` as ``%(p1)s``: psycopg, Django."""
    return re.sub(r"\$(\d+)", r"%(p\1)s", sql.replace("%", "%%"))


def colons(sql: str) -> str:
    """``$1`` as ``:p1``: SQLAlchemy's ``text()``."""
    return re.sub(r"\$(\d+)", r":p\1", sql.replace(":", r"\:"))


def refuse_closed(closed: bool) -> None:
    """Raise InvalidInput if so."""
    if closed:
        raise InvalidInput("conn", "is closed")


def refuse_autocommit(autocommit: bool, remedy: str) -> None:
    """Raise InvalidInput if so: the job would be there even if the caller's data is rolled back."""
    if autocommit:
        raise InvalidInput("conn", f"is in no transaction, so the job would not commit with your data: {remedy}")


def refuse_other_database(name: str) -> None:
    """Raise InvalidInput unless it is Postgres."""
    if name != "postgresql":
        raise InvalidInput("conn", f"leads to a {name} database; jobs live in Postgres")
