"""The migrated schema, owned once by a superuser and once by a plain role, and a small world of tenants in it."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from tests.conftest import administer, drop_database, make_database, run_apart, with_database
from tidemill.postgres import Connection, connect, migrate

SUPERUSER = "superuser"
PLAIN_OWNER = "plain owner"
API_ROLES = ("anon", "authenticated", "service_role")

CLEAN = """
delete from public.workspaces;
delete from public.companies;
delete from auth.users;
delete from public.system_job_logs;
delete from public.rate_limit_counters;
delete from tidemill.setting;
delete from tidemill.edge_call;
update tidemill.clock set locked = false, "offset" = '0';
drop schema if exists net, vault cascade;
"""


def as_role(url: str, role: str, password: str) -> str:
    """The same server and database, another role."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))


@dataclass(frozen=True)
class Owner:
    """Who owns the schema, and the migrated database that tests are cloned from."""

    kind: str
    role: str
    url: str
    template: str


@pytest.fixture(scope="session", params=[SUPERUSER, PLAIN_OWNER])
def owner(request: pytest.FixtureRequest, server_url: str, _template: str) -> Iterator[Owner]:
    """Row security binds a plain owner, since it is FORCEd; a superuser passes it by. Both must do the same."""
    if request.param == SUPERUSER:
        yield Owner(SUPERUSER, urlsplit(server_url).username or "postgres", server_url, _template)
        return
    role = f"tm_owner_{os.getpid()}_{secrets.token_hex(3)}"
    password = secrets.token_hex(8)
    name = f"tm_owned_{os.getpid()}_{secrets.token_hex(3)}"
    run_apart(
        administer(server_url, f"create role {role} login nosuperuser nobypassrls createrole password '{password}'")
    )
    # The other template has made the API roles; from PostgreSQL 16 on only an administrator may lend those of others.
    run_apart(administer(server_url, f"grant anon, authenticated, service_role to {role}"))
    make_database(server_url, name, owner=role)
    url = as_role(server_url, role, password)
    try:
        run_apart(migrate(with_database(url, name)))
        yield Owner(PLAIN_OWNER, role, url, name)
    finally:
        drop_database(server_url, name)
        run_apart(administer(server_url, f"drop role {role}"))


@pytest.fixture
def owned_url(owner: Owner, server_url: str) -> Iterator[str]:
    """A fresh migrated database, as its owner."""
    name = f"tm_{os.getpid()}_{secrets.token_hex(4)}"
    make_database(server_url, name, template=owner.template, owner=owner.role)
    yield with_database(owner.url, name)
    drop_database(server_url, name)


@pytest.fixture(scope="session")
def shared_url(owner: Owner, server_url: str) -> Iterator[str]:
    """One migrated database for all tests that only add rows, as its owner; `conn` leaves it empty."""
    name = f"tm_shared_{os.getpid()}_{secrets.token_hex(3)}"
    make_database(server_url, name, template=owner.template, owner=owner.role)
    yield with_database(owner.url, name)
    drop_database(server_url, name)


@pytest.fixture
async def conn(shared_url: str) -> AsyncIterator[Connection]:
    """A connection as the owner of the schema. What a test wrote is gone after it."""
    connection = await connect(shared_url, name="tidemill tests")
    yield connection
    await connection.execute(CLEAN)
    connection.terminate()


@pytest.fixture
async def fresh(owned_url: str) -> AsyncIterator[Connection]:
    """Likewise, on a database of the test's own."""
    connection = await connect(owned_url, name="tidemill tests")
    yield connection
    connection.terminate()


@asynccontextmanager
async def acting(conn: Connection, role: str, claims: object = None) -> AsyncIterator[Connection]:
    """A transaction as an API role with these claims (text is taken as it is); rolled back at the end."""
    transaction: Any = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(f"set local role {role}")
        if claims is not None:
            text = claims if isinstance(claims, str) else msgspec.json.encode(claims).decode()
            await conn.execute("select set_config('request.jwt.claims', $1, true)", text)
        yield conn
    finally:
        await transaction.rollback()


def user(user_id: UUID, **claims: object) -> dict[str, object]:
    """What a signed-in user's token says."""
    return {"sub": str(user_id), "role": "authenticated", **claims}


async def refused(conn: Connection, sql: str, *args: Any) -> bool:
    """Whether Postgres denies the statement for want of a privilege or by row security."""
    try:
        async with conn.transaction():
            await conn.execute(sql, *args)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False


@dataclass(frozen=True)
class Tenant:
    """One workspace with a row in every table a tenant may read."""

    workspace: UUID
    account: UUID
    post: UUID
    token: UUID
    log: UUID
    owner: UUID
    editor: UUID
    viewer: UUID
    invited: UUID


async def make_tenant(conn: Connection, name: str) -> Tenant:
    """A workspace of four people (one only invited) and one account with a token, a post and a log row."""
    t = Tenant(*(uuid4() for _ in range(9)))
    people = {t.owner: "owner", t.editor: "editor", t.viewer: "viewer", t.invited: "editor"}
    await conn.executemany(
        "insert into auth.users (id, email) values ($1, $2)", [(p, f"{p}@example.org") for p in people]
    )
    await conn.execute(
        "insert into public.profiles (id, email) select id, email from auth.users on conflict do nothing"
    )
    await conn.execute(
        "insert into public.workspaces (id, name, created_by_user_id) values ($1, $2, $3)", t.workspace, name, t.owner
    )
    await conn.executemany(
        "insert into public.workspace_members (workspace_id, user_id, role, joined_at) "
        "values ($1, $2, $3, case when $4 then now() end)",
        [(t.workspace, person, role, person != t.invited) for person, role in people.items()],
    )
    await conn.execute(
        "insert into public.workspace_threads_accounts (id, workspace_id, threads_user_id, username) "
        "values ($1, $2, $3, $4)",
        t.account,
        t.workspace,
        f"{name}-user",
        name,
    )
    await conn.execute(
        "insert into public.workspace_threads_tokens "
        "(id, workspace_threads_account_id, authorized_by_user_id, access_token_encrypted, expires_at) "
        "values ($1, $2, $3, 'sealed', tidemill.now() + interval '60 days')",
        t.token,
        t.account,
        t.owner,
    )
    await conn.execute(
        "insert into public.workspace_threads_posts "
        "(id, workspace_id, workspace_threads_account_id, threads_post_id, published_at) "
        "values ($1, $2, $3, $4, now())",
        t.post,
        t.workspace,
        t.account,
        f"{name}-post",
    )
    await conn.execute(
        "insert into public.sync_logs (id, workspace_id, workspace_threads_account_id, run_id, job_type, status) "
        "values ($1, $2, $3, gen_random_uuid(), 'sync_posts', 'running')",
        t.log,
        t.workspace,
        t.account,
    )
    await conn.execute("insert into public.system_job_logs (job_type, status) values ('scheduled_sync', 'running')")
    return t
