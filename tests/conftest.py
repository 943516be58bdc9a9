"""A migrated database of its own for every test that asks for one, on a real server."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from tidemill.postgres import Database, connect, migrate

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 4 << 30
"""Bytes: every process of a run has a server, which takes 150 MB and may take a gigabyte of WAL."""
FOLDER = "tidemill-tests-"

pytest_plugins = ["pytester"]

# Many tests start processes of Tidemill's. Each would compile it anew, which takes as long as all else at its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes says more of the machine than of the code.
settings.register_profile("tidemill", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tidemill")

LONGEST = (
    "tests/chaos/test_kill_worker.py",
    "tests/chaos/test_kill_postgres.py",
    "tests/connectors/singer/test_real_taps.py",
    "tests/test_benchmarks.py",
    "tests/testing/test_projects.py",
    "tests/cli/test_demo.py",
    "tests/cli/test_cron.py",
    "tests/sync/jobs/test_killed.py",
    "tests/chaos/test_fence.py",
    "tests/chaos/test_locks.py",
    "tests/chaos/test_ledger.py",
    "tests/test_wheel.py",
    "tests/sync/test_errors.py",
    "tests/test_docs.py",
    "tests/engine/test_life.py",
    "tests/engine/test_limits.py",
    "tests/sync/jobs/test_runs.py",
    "tests/engine/test_recurrence_oracle.py",
    "tests/web/api/test_openapi.py",
    "tests/schema/test_gates.py",
)
"""Files that take longest, by and large the longest first."""


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run to completion in a thread's own event loop, so that no fixture is tied to a test's loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def with_database(url: str, name: str) -> str:
    """The same server and role, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def administer(url: str, statement: str) -> None:
    """Run one statement on a connection of its own."""
    conn = await connect(url, name="tidemill tests")
    try:
        await conn.execute(statement)
    finally:
        await conn.close(timeout=10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: one that begins last keeps all other processes waiting for its end."""
    if gone := [name for name in LONGEST if not (ROOT / name).exists()]:
        raise pytest.UsageError(f"tests/conftest.py: LONGEST names {', '.join(gone)}, which is not there")
    first = {name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.nodeid.partition("::")[0], len(first)))


@contextmanager
def server_folder() -> Iterator[Path]:
    """Where a server that need not be durable keeps its data: in memory where that has room, else on disk."""
    in_memory = MEMORY.is_dir()
    if in_memory:
        _sweep_memory()
        in_memory = shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED
    with tempfile.TemporaryDirectory(
        prefix=f"{FOLDER}{os.getpid()}-", dir=MEMORY if in_memory else None, ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o711)  # the account that the server runs as when root runs the tests must reach it
        yield Path(folder)


def _sweep_memory() -> None:
    """Remove what killed runs have left: unlike a full disk, full memory is felt by everybody."""
    for folder in MEMORY.glob(f"{FOLDER}*"):
        pid = folder.name.removeprefix(FOLDER).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


@cache
def _administrator(url: str) -> psycopg.Connection[Any]:
    """One connection for a whole run: a thousand databases are made and dropped on it."""
    return psycopg.connect(url, autocommit=True)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A superuser's URL of a server: TIDEMILL_TEST_SERVER, or an embedded one for the length of the run."""
    with _given_server() as url, closing(_administrator(url)):
        yield url


@contextmanager
def _given_server() -> Iterator[str]:
    if given := os.environ.get("TIDEMILL_TEST_SERVER"):
        yield given
        return
    from tidemill.postgres import embedded

    with server_folder() as folder:
        server = embedded.attach(folder / ".tidemill", durable=False, linger=0.1)
        try:
            yield server.url
        finally:
            server.release()
            server.wait_until_stopped()


@pytest.fixture(scope="session")
def owner_url(server_url: str) -> str:
    """Who owns and migrates the tests' databases: TIDEMILL_TEST_OWNER, a role of that server, or the superuser."""
    return os.environ.get("TIDEMILL_TEST_OWNER") or server_url


@contextmanager
def made_database(server_url: str, owner_url: str, kind: str = "", *, template: str = "template1") -> Iterator[str]:
    """A database of the owner's, cloned from a template; gives its URL as the owner, and drops it at the end."""
    name = f"tm_{kind}{os.getpid()}_{secrets.token_hex(4)}"
    make_database(server_url, name, template=template, owner=urlsplit(owner_url).username)
    try:
        yield with_database(owner_url, name)
    finally:
        drop_database(server_url, name)


def make_database(server_url: str, name: str, *, template: str = "template1", owner: str | None = None) -> None:
    """Clone a template by its files: a tenth of the time that it takes to log every page of six hundred files."""
    statement = sql.SQL("create database {} template {} strategy file_copy").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    whose = sql.SQL(" owner {}").format(sql.Identifier(owner)) if owner else sql.SQL("")
    _administrator(server_url).execute(statement + whose)


def drop_database(server_url: str, name: str) -> None:
    """Drop it, whoever is still connected."""
    statement = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    _administrator(server_url).execute(statement)


@pytest.fixture(scope="session")
def _template(server_url: str, owner_url: str) -> Iterator[str]:
    with made_database(server_url, owner_url, "template_") as url:
        run_apart(migrate(url))
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def empty_database_url(server_url: str, owner_url: str) -> Iterator[str]:
    """A fresh database without any migration; dropped at the end."""
    with made_database(server_url, owner_url) as url:
        yield url


@pytest.fixture
def database_url(server_url: str, owner_url: str, _template: str) -> Iterator[str]:
    """A fresh migrated database, cloned from the run's template; dropped at the end."""
    with made_database(server_url, owner_url, template=_template) as url:
        yield url


@pytest.fixture
def superuser_url(database_url: str, server_url: str) -> str:
    """This test's database as the server's superuser, for what an owner may not arrange."""
    return with_database(server_url, urlsplit(database_url).path.removeprefix("/"))


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """An open pool on this test's database."""
    async with await Database.open(database_url, name="tidemill tests") as database:
        yield database
