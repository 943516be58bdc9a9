"""Connections that cannot keep the promise, and jobs that cannot be written down."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from tidemill.engine import NewJob
from tidemill.engine.callers import enqueue_with, enqueue_with_sync
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

from .support import (
    asyncpg_connection,
    django_database,
    look,
    prepare,
    prepare_apart,
    psycopg_async,
    psycopg_sync,
    registry_of,
    sqlalchemy_connection,
    sqlalchemy_url,
)

REGISTRY = registry_of("mail")
JOBS = [NewJob(kind="mail")]
READY = "select count(*) from tidemill.job_ready"


async def test_a_connection_in_no_transaction_is_refused(db: Database) -> None:
    await prepare(db, REGISTRY)
    bare: Any = await asyncpg.connect(db.url)
    async with db.connection() as ours, await psycopg.AsyncConnection.connect(db.url, autocommit=True) as autocommit:
        for conn in (bare, ours, autocommit):
            with pytest.raises(InvalidInput, match=r"conn: is in no transaction.*conn.transaction"):
                await enqueue_with(conn, JOBS, REGISTRY)
        async with autocommit.transaction():
            assert await enqueue_with(autocommit, JOBS, REGISTRY) != [None]
    await bare.close()
    for driver in ("asyncpg", "psycopg"):
        engine = create_async_engine(sqlalchemy_url(db.url, driver), isolation_level="AUTOCOMMIT")
        async with engine.connect() as conn:
            with pytest.raises(InvalidInput, match=r"conn: is in no transaction.*AUTOCOMMIT"):
                await enqueue_with(conn, JOBS, REGISTRY)
        await engine.dispose()
    assert await db.fetchval(READY) == 1


def test_a_synchronous_connection_in_no_transaction_is_refused(database_url: str) -> None:
    prepare_apart(database_url, REGISTRY)
    with psycopg.connect(database_url, autocommit=True) as conn, django_database(database_url) as django_conn:
        for bare in (conn, django_conn):
            with pytest.raises(InvalidInput, match="conn: is in no transaction"):
                enqueue_with_sync(bare, JOBS, REGISTRY)
        django_conn.set_autocommit(False)
        enqueue_with_sync(django_conn, JOBS, REGISTRY)
        django_conn.rollback()
    engine = sqlalchemy.create_engine(sqlalchemy_url(database_url, "psycopg"))
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn,
        pytest.raises(InvalidInput, match="conn: is in no transaction"),
    ):
        enqueue_with_sync(conn, JOBS, REGISTRY)
    engine.dispose()
    assert look(database_url, READY) == 0


async def test_a_closed_connection_is_refused(db: Database) -> None:
    for opened in (asyncpg_connection, psycopg_async):
        async with opened(db.url) as caller:
            pass
        with pytest.raises(InvalidInput, match="conn: is closed"):
            await enqueue_with(caller.conn, JOBS, REGISTRY)
    for opened in (psycopg_sync, sqlalchemy_connection):
        with opened(db.url) as caller:
            pass
        with pytest.raises(InvalidInput, match="conn: is closed"):
            enqueue_with_sync(caller.conn, JOBS, REGISTRY)


async def test_the_wrong_sort_of_connection_is_told_where_to_go(db: Database) -> None:
    with psycopg_sync(db.url) as caller, pytest.raises(InvalidInput, match=r"conn: is synchronous.*enqueue_with_sync"):
        await enqueue_with(caller.conn, JOBS, REGISTRY)
    async with psycopg_async(db.url) as other:
        with pytest.raises(InvalidInput, match=r"conn: is asynchronous.*enqueue_with"):
            enqueue_with_sync(other.conn, JOBS, REGISTRY)


async def test_what_is_no_connection_or_leads_elsewhere_is_refused() -> None:
    for thing in (None, "postgresql://", object(), asyncpg, sqlite3.connect(":memory:")):
        with pytest.raises(InvalidInput, match=r"conn: .* cannot be enqueued on; give"):
            await enqueue_with(thing, JOBS, REGISTRY)
        with pytest.raises(InvalidInput, match=r"conn: .* cannot be enqueued on; give"):
            enqueue_with_sync(thing, JOBS, REGISTRY)
        if isinstance(thing, sqlite3.Connection):
            thing.close()
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as conn, pytest.raises(InvalidInput, match="conn: leads to a sqlite database"):
        enqueue_with_sync(conn, JOBS, REGISTRY)
    engine.dispose()


@pytest.mark.parametrize(
    ("job", "field"),
    [
        (NewJob(kind="nobody's"), "kind"),
        (NewJob(kind="mail", at=datetime(2040, 1, 1)), "at"),
        (NewJob(kind="mail", delay=float("nan")), "delay"),
        (NewJob(kind="mail", delay=1.0, at=datetime(2040, 1, 1, tzinfo=UTC)), "delay"),
        (NewJob(kind="mail", args={"a": "\0"}), "args"),
        (NewJob(kind="mail", args={"a": object()}), "args"),
        (NewJob(kind="mail", args={"a": "x" * 50_000_000}), "args"),
        (NewJob(kind="mail", key="\0"), "key"),
        (NewJob(kind="mail", key="k" * 10_000), "key"),
        (NewJob(kind="mail", priority=5000), "priority"),
        (NewJob(kind="mail", max_attempts=0), "max_attempts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_can_be_told_beforehand_leaves_the_callers_transaction_alive(
    db: Database, job: NewJob, field: str
) -> None:
    await prepare(db, REGISTRY)
    async with db.transaction() as conn:
        with pytest.raises(InvalidInput) as refused:
            await enqueue_with(conn, [*JOBS, job], REGISTRY)
        assert refused.value.field == field
        assert await conn.fetchval(READY) == 0


async def test_no_jobs_need_no_round_trip() -> None:
    assert await enqueue_with(None, [], REGISTRY) == []
    assert enqueue_with_sync(None, [], REGISTRY) == []


def test_none_of_the_libraries_is_imported_before_its_connection_comes() -> None:
    code = (
        "import sys, tidemill.engine.callers;"
        "print([m for m in ('psycopg', 'sqlalchemy', 'django') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "[]\n", ran.stderr
