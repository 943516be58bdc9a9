"""A server for tests, a template that is made once, and a copy of it for each test."""

from __future__ import annotations

import asyncio
import inspect
import os
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tidemill.errors import ConfigurationError
from tidemill.postgres import connect, embedded, migrate
from tidemill.settings import Settings
from tidemill.testing.statements import SQL

T = TypeVar("T")

PREFIX = "tidemill_test_"
"""Of the name of every database made here; the process's id follows."""
_FOLDER = "test"


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run to completion in a thread's own event loop: whoever asks may be within one, or be about to start one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextmanager
def server(url: str | None, root: Path) -> Generator[str]:
    """The server of this URL; without one an embedded server, shared by all processes of a run, and its superuser.

    The embedded one keeps its files in ``test`` below the settings' ``data_dir``, which is taken from ``root``: only a
    first run has to make them. It is not durable. Databases that a killed run left on it are dropped.

    Raises:
        DatabaseUnavailable: when there is no server to be had.
        ConfigurationError: when the URL or a setting makes no sense.
    """
    if url:
        yield url
        return
    attached = embedded.attach(root / Settings.load().data_dir / _FOLDER, durable=False)
    try:
        run_apart(_sweep(attached.url))
        yield attached.url
    finally:
        attached.release()


@contextmanager
def template(server_url: str, prepare: Callable[[str], object]) -> Generator[str]:
    """The name of a migrated database that ``prepare(url)`` has seen to, whose result is awaited if it can be.

    Raises:
        DatabaseUnavailable: when the server cannot be reached.
        ConfigurationError: when the role may not create databases.
        MigrationFailed: when Tidemill's tables cannot be made there.
    """
    with made_database(server_url) as url:
        run_apart(migrate(url))
        prepared = prepare(url)
        if inspect.isawaitable(prepared):
            run_apart(_awaited(cast("Awaitable[object]", prepared)))
        name = urlsplit(url).path.removeprefix("/")
        run_apart(_close(server_url, name))
        yield name


@contextmanager
def made_database(server_url: str, *, template: str = "template1") -> Generator[str]:
    """A database of its own, for as long as the block takes; its URL.

    Raises:
        DatabaseUnavailable: when the server cannot be reached.
        ConfigurationError: when the role may not create databases.
    """
    name = f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}"
    run_apart(_administer(server_url, SQL.create_database, name, template))
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        run_apart(_administer(server_url, SQL.drop_database, name))


async def _administer(url: str, statement: str, *names: str) -> None:
    """Run the statement that ``statement`` answers."""
    conn = await connect(url, name="tidemill tests")
    try:
        await conn.execute(await conn.fetchval(statement, *names))
    except asyncpg.InsufficientPrivilegeError as e:
        role = await conn.fetchval("select current_user")
        raise ConfigurationError(
            f"TIDEMILL_TEST_DATABASE_URL: {e}; let the role create databases: alter role {role} createdb"
        ) from e
    finally:
        await conn.close(timeout=10)


async def _close(server_url: str, name: str) -> None:
    await _administer(server_url, SQL.close_database, name)
    conn = await connect(server_url, name="tidemill tests")
    try:
        await conn.fetch(SQL.cut_connections, name)
    finally:
        await conn.close(timeout=10)


async def _sweep(url: str) -> None:
    """Drop what runs left behind whose process is gone. For a server that only this machine's processes use."""
    conn = await connect(url, name="tidemill tests")
    try:
        for row in await conn.fetch(SQL.databases, PREFIX):
            pid = row["datname"].removeprefix(PREFIX).partition("_")[0]
            if pid.isdecimal() and not _is_alive(int(pid)):
                # Another process of this run may be sweeping too.
                with suppress(asyncpg.InvalidCatalogNameError, asyncpg.ObjectInUseError):
                    await conn.execute(await conn.fetchval(SQL.drop_database, row["datname"]))
    finally:
        await conn.close(timeout=10)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


async def _awaited(value: Awaitable[object]) -> None:
    await value
