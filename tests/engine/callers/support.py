"""Each library an application may hold its connection in, behind one face: run, commit, roll back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import django
import django.conf
import django.db
import psycopg
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from tests.conftest import run_apart
from tidemill.engine import Kind, Registry
from tidemill.engine.declare import declare_kinds
from tidemill.postgres import Database

ORDERS = "create table if not exists public.orders (id int primary key)"
INSERT = "insert into public.orders values (1)"


async def never(ctx: Any, args: Any) -> None:
    raise AssertionError("no worker runs here")


def registry_of(*names: str) -> Registry:
    registry = Registry()
    for name in names:
        registry.add(Kind(name, never))
    return registry


async def prepare(db: Database, registry: Registry) -> None:
    """An application's table, and its kinds declared."""
    await db.execute(ORDERS)
    await declare_kinds(db, registry)


def prepare_apart(url: str, registry: Registry) -> None:
    async def work() -> None:
        async with await Database.open(url) as db:
            await prepare(db, registry)

    run_apart(work())


def look(url: str, sql: str) -> Any:
    """One value, seen from a connection of its own: what is committed."""
    with psycopg.connect(url) as conn:
        row = conn.execute(sql.encode()).fetchone()
        assert row is not None
        return row[0]


def sqlalchemy_url(url: str, driver: str) -> sqlalchemy.URL:
    return sqlalchemy.make_url(url).set(drivername=f"postgresql+{driver}", query={})


@dataclass(frozen=True)
class AsyncCaller:
    """An open transaction; ``conn`` is what an application would hand over."""

    conn: Any
    run: Callable[[str], Awaitable[Any]]
    commit: Callable[[], Awaitable[Any]]
    rollback: Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Caller:
    conn: Any
    run: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]


# Asynchronous --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def asyncpg_connection(url: str) -> AsyncGenerator[AsyncCaller]:
    conn: Any = await asyncpg.connect(url)
    try:
        transaction = conn.transaction()
        await transaction.start()
        yield AsyncCaller(conn, conn.execute, transaction.commit, transaction.rollback)
    finally:
        await conn.close()


@asynccontextmanager
async def asyncpg_pool(url: str) -> AsyncGenerator[AsyncCaller]:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        yield AsyncCaller(conn, conn.execute, transaction.commit, transaction.rollback)


@asynccontextmanager
async def our_own(url: str) -> AsyncGenerator[AsyncCaller]:
    """With the codecs that our connections have for JSON."""
    async with await Database.open(url) as db, db.connection() as conn:
        transaction: Any = conn.transaction()
        await transaction.start()
        yield AsyncCaller(conn, conn.execute, transaction.commit, transaction.rollback)


@asynccontextmanager
async def psycopg_async(url: str) -> AsyncGenerator[AsyncCaller]:
    async with await psycopg.AsyncConnection.connect(url) as conn:
        yield AsyncCaller(conn, conn.execute, conn.commit, conn.rollback)


@asynccontextmanager
async def psycopg_async_with_factories(url: str) -> AsyncGenerator[AsyncCaller]:
    """Other placeholders and other rows than the ordinary ones."""
    async with await psycopg.AsyncConnection.connect(
        url, cursor_factory=psycopg.AsyncRawCursor, row_factory=psycopg.rows.dict_row
    ) as conn:
        yield AsyncCaller(conn, conn.execute, conn.commit, conn.rollback)


def _sqlalchemy_connection(driver: str) -> Callable[[str], Any]:
    @asynccontextmanager
    async def opened(url: str) -> AsyncGenerator[AsyncCaller]:
        engine = create_async_engine(sqlalchemy_url(url, driver))
        try:
            async with engine.connect() as conn:
                yield AsyncCaller(conn, lambda sql: conn.execute(sqlalchemy.text(sql)), conn.commit, conn.rollback)
        finally:
            await engine.dispose()

    return opened


def _sqlalchemy_session(driver: str) -> Callable[[str], Any]:
    @asynccontextmanager
    async def opened(url: str) -> AsyncGenerator[AsyncCaller]:
        engine = create_async_engine(sqlalchemy_url(url, driver))
        try:
            async with AsyncSession(engine) as session:
                yield AsyncCaller(
                    session, lambda sql: session.execute(sqlalchemy.text(sql)), session.commit, session.rollback
                )
        finally:
            await engine.dispose()

    return opened


ASYNC_CALLERS: dict[str, Callable[[str], Any]] = {
    "asyncpg": asyncpg_connection,
    "asyncpg from a pool": asyncpg_pool,
    "our own": our_own,
    "psycopg": psycopg_async,
    "psycopg with factories": psycopg_async_with_factories,
    "SQLAlchemy connection on asyncpg": _sqlalchemy_connection("asyncpg"),
    "SQLAlchemy connection on psycopg": _sqlalchemy_connection("psycopg"),
    "SQLAlchemy session on asyncpg": _sqlalchemy_session("asyncpg"),
    "SQLAlchemy session on psycopg": _sqlalchemy_session("psycopg"),
}


# Synchronous ---------------------------------------------------------------------------------------------------------


@contextmanager
def psycopg_sync(url: str) -> Generator[Caller]:
    with psycopg.connect(url) as conn:
        yield Caller(conn, lambda sql: conn.execute(sql.encode()), conn.commit, conn.rollback)


@contextmanager
def sqlalchemy_connection(url: str) -> Generator[Caller]:
    engine = sqlalchemy.create_engine(sqlalchemy_url(url, "psycopg"))
    with engine.connect() as conn:
        yield Caller(conn, lambda sql: conn.execute(sqlalchemy.text(sql)), conn.commit, conn.rollback)
    engine.dispose()


@contextmanager
def sqlalchemy_session(url: str) -> Generator[Caller]:
    engine = sqlalchemy.create_engine(sqlalchemy_url(url, "psycopg"))
    with Session(engine) as session:
        yield Caller(session, lambda sql: session.execute(sqlalchemy.text(sql)), session.commit, session.rollback)
    engine.dispose()


@contextmanager
def sqlalchemy_scoped_session(url: str) -> Generator[Caller]:
    """What Flask applications hold."""
    engine = sqlalchemy.create_engine(sqlalchemy_url(url, "psycopg"))
    session = scoped_session(sessionmaker(engine))
    yield Caller(session, lambda sql: session.execute(sqlalchemy.text(sql)), session.commit, session.rollback)
    session.remove()
    engine.dispose()


@contextmanager
def django_database(url: str) -> Generator[Any]:
    """``django.db.connection`` on this database, in autocommit as Django leaves it."""
    if not django.conf.settings.configured:
        django.conf.settings.configure(DATABASES={}, LOGGING_CONFIG=None)
        django.setup()
    to = psycopg.conninfo.conninfo_to_dict(url)
    config = {
        "ENGINE": "django.db.backends.postgresql",
        **{name: to.get(key) for name, key in (("NAME", "dbname"), ("USER", "user"), ("PASSWORD", "password"))},
        **{name: to.get(key) for name, key in (("HOST", "host"), ("PORT", "port"))},
    }
    handler = django.db.connections
    handler.settings["default"] = handler.configure_settings({"default": config})["default"]
    try:
        yield django.db.connection
    finally:
        handler["default"].close()
        del handler["default"]


@contextmanager
def django_atomic(url: str) -> Generator[Caller]:
    with django_database(url) as conn:
        atomic = django.db.transaction.atomic()
        atomic.__enter__()

        def roll_back() -> None:
            django.db.transaction.set_rollback(True)
            atomic.__exit__(None, None, None)

        yield Caller(conn, lambda sql: conn.cursor().execute(sql), lambda: atomic.__exit__(None, None, None), roll_back)


CALLERS: dict[str, Callable[[str], Any]] = {
    "psycopg": psycopg_sync,
    "SQLAlchemy connection": sqlalchemy_connection,
    "SQLAlchemy session": sqlalchemy_session,
    "SQLAlchemy scoped session": sqlalchemy_scoped_session,
    "Django": django_atomic,
}
