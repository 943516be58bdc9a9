"""Companies whose clients share one connection to the server: each sees and moves its own, whoever came before."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID

import asyncpg
import pytest

from tests.pooler.conftest import Pool
from tests.schema.companies import Company, make_company
from tidemill.postgres import Database, tenant_session

TURNS = 20
SEEN = "select company_id from public.sync_jobs"
CONTROL = "select status, already from public.sync_job_control($1, $2)"


async def _companies(db: Database) -> list[Company]:
    async with db.connection() as conn:
        return [await make_company(conn, code) for code in ("north", "south", "west")]


async def test_companies_that_take_turns_on_one_connection_see_and_change_only_their_own(
    pool: Pool, db: Database
) -> None:
    """Some of them leave by an error, which must not leave their claims behind either."""
    companies = await _companies(db)
    url = pool(1)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await Database.open(url, max_size=1, pooled=True)) for _ in range(5)]

        async def be(client: Database, company: Company) -> None:
            for turn in range(TURNS):
                claims = company.admin if turn % 3 else company.member
                try:
                    async with tenant_session(client, claims) as conn:
                        assert [row[0] for row in await conn.fetch(SEEN)] == [company.id]
                        changed = await conn.execute("update public.sync_jobs set priority = $1", turn)
                        assert changed == f"UPDATE {1 if turn % 3 else 0}"
                        if turn % 4 == 0:
                            await conn.fetchval("select 1 / 0")
                except asyncpg.DivisionByZeroError:
                    assert turn % 4 == 0

        async def be_nobody(client: Database) -> None:
            for _ in range(TURNS):
                async with tenant_session(client, {}) as conn:
                    assert await conn.fetch(SEEN) == []

        async def be_the_server(client: Database) -> None:
            for _ in range(TURNS):
                row = await client.fetchrow("select current_setting('role'), public.current_company_id()")
                assert row is not None
                assert tuple(row) == ("none", None)
                assert len(await client.fetch(SEEN)) == len(companies)

        async with asyncio.timeout(120):
            await asyncio.gather(*map(be, clients, companies), be_nobody(clients[3]), be_the_server(clients[4]))
    assert await db.fetchval("select array_agg(distinct priority) from public.sync_jobs") == [TURNS - 1]


async def test_the_control_of_sync_jobs_takes_nobody_for_the_client_before(pool: Pool, db: Database) -> None:
    mine, theirs, _ = await _companies(db)
    url = pool(1)
    async with (
        await Database.open(url, max_size=1, pooled=True) as tenant,
        await Database.open(url, max_size=1, pooled=True) as server,
    ):

        async def control(claims: dict[str, object], job: UUID, action: str) -> tuple[str, bool]:
            async with tenant_session(tenant, claims) as conn:
                row = await conn.fetchrow(CONTROL, job, action)
                assert row is not None
                return row[0], row[1]

        for _ in range(3):
            # After a server, a tenant is no server; after an admin, a member is no admin, nor of another company.
            assert (await server.fetchrow(CONTROL, theirs.job, "pause")) is not None
            assert (await control(mine.admin, mine.job, "pause"))[0] == "paused"
            for claims, state in ((mine.member, "42501"), (theirs.admin, "TM004"), ({}, "42501")):
                with pytest.raises(asyncpg.PostgresError) as met:
                    await control(claims, mine.job, "resume")
                assert met.value.sqlstate == state
            assert (await control(mine.admin, mine.job, "resume"))[0] == "idle"
            await server.fetchrow(CONTROL, mine.job, "run")
            assert (
                await server.fetchval("select trigger from public.sync_run_logs where status = 'pending'") == "operator"
            )
            await server.fetchrow(CONTROL, mine.job, "cancel")
