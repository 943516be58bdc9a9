"""A database with two tenants in it, for all attacks: none leaves anything."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import administer, drop_database, make_database, run_apart, with_database
from tests.schema.attack.world import World, make_world
from tests.schema.conftest import Owner
from tidemill.postgres import Connection, connect


@pytest.fixture(scope="session")
def server_role(server_url: str) -> Iterator[str]:
    """A role that has service_role's rights but not its BYPASSRLS, as on a host that does not give that."""
    role = f"tm_server_{os.getpid()}_{secrets.token_hex(3)}"
    run_apart(administer(server_url, f"create role {role} nologin nobypassrls in role service_role"))
    yield role
    run_apart(administer(server_url, f"drop role {role}"))


@pytest.fixture(scope="session")
def stage(owner: Owner, server_url: str, server_role: str) -> Iterator[tuple[str, World]]:
    """A database with both tenants in it."""
    name = f"tm_attacked_{os.getpid()}_{secrets.token_hex(3)}"
    run_apart(administer(server_url, f"grant {server_role} to {owner.role}"))
    make_database(server_url, name, template=owner.template, owner=owner.role)
    url = with_database(owner.url, name)

    async def fill() -> World:
        conn = await connect(url, name="tidemill tests")
        try:
            world = await make_world(conn, server_role)
            await conn.execute("analyze")
            return world
        finally:
            conn.terminate()

    yield url, run_apart(fill())
    drop_database(server_url, name)


@pytest.fixture
def world(stage: tuple[str, World]) -> World:
    return stage[1]


@pytest.fixture
async def conn(stage: tuple[str, World]) -> AsyncIterator[Connection]:
    connection = await connect(stage[0], name="tidemill tests")
    yield connection
    connection.terminate()
