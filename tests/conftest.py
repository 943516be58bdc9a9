"""A migrated database of its own for every test that asks for one, on a real server."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest

from tidemill.postgres import Database, connect, migrate

T = TypeVar("T")

pytest_plugins = ["pytester"]


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


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A superuser's URL of a server: TIDEMILL_TEST_SERVER, or an embedded one for the length of the run."""
    if given := os.environ.get("TIDEMILL_TEST_SERVER"):
        yield given
        return
    from tidemill.postgres import embedded

    with tempfile.TemporaryDirectory(prefix="tidemill-tests-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o711)  # the account that the server runs as when root runs the tests must reach it
        server = embedded.attach(Path(directory) / ".tidemill", durable=False)
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
    owner = urlsplit(owner_url).username
    whose = f'owner "{owner}"' if owner else ""
    run_apart(administer(server_url, f"create database {name} template {template} {whose}"))
    try:
        yield with_database(owner_url, name)
    finally:
        run_apart(administer(server_url, f"drop database if exists {name} with (force)"))


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
async def db(database_url: str) -> AsyncIterator[Database]:
    """An open pool on this test's database."""
    async with await Database.open(database_url, name="tidemill tests") as database:
        yield database
