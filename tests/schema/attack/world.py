"""Two tenants in one database, whoever may come to it, and a function that tries statements and undoes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from tests.schema.companies import Company, make_company
from tests.schema.conftest import Tenant, acting, make_tenant
from tidemill.postgres import Connection

TRIES = """
create schema attack;
grant usage on schema attack to public;
create function attack.tries(statements text[]) returns text[] language plpgsql as $$
declare
    answers text[] := '{}';
    statement text;
    met bigint;
begin
    foreach statement in array statements loop
        begin
            execute statement;
            get diagnostics met = row_count;
            raise exception using errcode = 'TM999', message = met::text;
        exception when others then
            answers := answers || case sqlstate when 'TM999' then sqlerrm else sqlstate end;
        end;
    end loop;
    return answers;
end
$$;
"""
"""The answer to each: how many rows it met, or the SQLSTATE of its refusal. Nothing stays of any."""

OF_A_WORKSPACE = [
    "insert into public.workspace_threads_post_metrics (workspace_id, workspace_threads_post_id, sync_batch_at) "
    "values ($1, $2, date_trunc('hour', now()))",
    "insert into public.workspace_threads_post_metrics_deltas "
    "(workspace_id, workspace_threads_post_id, sync_batch_at, period_start, period_end) "
    "values ($1, $2, date_trunc('hour', now()), now() - interval '1 h', now())",
]
OF_AN_ACCOUNT = [
    "insert into public.workspace_threads_account_insights "
    "(workspace_id, workspace_threads_account_id, sync_batch_at) values ($1, $2, date_trunc('hour', now()))",
    "insert into public.workspace_threads_account_insights_deltas "
    "(workspace_id, workspace_threads_account_id, sync_batch_at, period_end) "
    "values ($1, $2, date_trunc('hour', now()), now())",
    "insert into public.workspace_threads_account_views_days "
    "(workspace_id, workspace_threads_account_id, sync_batch_at, end_time, views) values ($1, $2, now(), now(), 7)",
]


@dataclass(frozen=True)
class Person:
    """A role of the database and the claims that it comes with."""

    role: str
    claims: object = None


@dataclass(frozen=True)
class World:
    """Two tenants, each a company and a workspace with one user in both, and a row in every table of theirs."""

    mine: Company
    theirs: Company
    workspaces: tuple[Tenant, Tenant]
    server: str

    @property
    def persons(self) -> dict[str, Person]:
        """Whoever may come, by name; the strangest guest is anon with an admin's claims."""
        return {
            "anon": Person("anon", self.mine.admin),
            "member": Person("authenticated", self.mine.member),
            "admin": Person("authenticated", self.mine.admin),
            "other admin": Person("authenticated", self.theirs.admin),
            "service_role": Person("service_role", {"role": "service_role"}),
            "server without BYPASSRLS": Person(self.server, {"role": "service_role"}),
        }

    def ids(self, name: str) -> set[UUID]:
        """What the rows that a person may see are led by: company, workspace or user."""
        of_mine = {self.mine.id, self.mine.user, self.workspaces[0].workspace}
        of_theirs = {self.theirs.id, self.theirs.user, self.workspaces[1].workspace}
        return {"anon": set[UUID](), "member": of_mine, "admin": of_mine, "other admin": of_theirs}.get(
            name, of_mine | of_theirs
        )

    @asynccontextmanager
    async def acting(self, conn: Connection, name: str) -> AsyncGenerator[None]:
        """A transaction as that person; nothing of it stays."""
        person = self.persons[name]
        async with acting(conn, person.role, person.claims):
            yield


async def make_world(conn: Connection, server: str) -> World:
    """The two tenants; ``server`` is a role that has service_role's rights but not its BYPASSRLS."""
    await conn.execute(TRIES)
    workspaces = await make_tenant(conn, "north"), await make_tenant(conn, "south")
    for tenant in workspaces:
        # The company's user is the workspace's owner, and sees what he alone has joined.
        for statement in OF_A_WORKSPACE:
            await conn.execute(statement, tenant.workspace, tenant.post)
        for statement in OF_AN_ACCOUNT:
            await conn.execute(statement, tenant.workspace, tenant.account)
    mine, theirs = [
        await make_company(conn, code, of=t.owner) for code, t in zip(("mine", "theirs"), workspaces, strict=True)
    ]
    return World(mine, theirs, workspaces, server)


async def tries(conn: Connection, statements: Iterable[str]) -> list[tuple[str, str]]:
    """Each statement with its answer: a number of rows, or an SQLSTATE."""
    asked: Sequence[str] = list(statements)
    answers = await conn.fetchval("select attack.tries($1)", asked)
    return list(zip(asked, answers, strict=True))
