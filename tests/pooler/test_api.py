"""The JSON API behind a pooler, all of its requests over one connection to the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.engine.support import until
from tests.pooler.conftest import Pool
from tests.web.api.day import every_operation
from tests.web.api.world import MEMBER, T0, Client, Company, served
from tidemill.postgres import Database

TURNS = 6
WHO = (
    "select current_setting('role') as role, public.current_company_id() as company, auth.uid() as uid,"
    " current_setting('enable_sort') as sorts, current_setting('lock_timeout') as waits, pg_backend_pid() as pid"
)
WAITING = """\
select pid from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and wait_event_type = 'Lock'
"""


@pytest.fixture
async def companies(db: Database) -> list[Company]:
    return [await Company().create(db) for _ in range(2)]


@asynccontextmanager
async def behind(url: str) -> AsyncIterator[tuple[Client, Database]]:
    """The API over a pool of several clients of the pooler, and one client more."""
    async with (
        await Database.open(url, max_size=4, pooled=True) as pooled,
        await Database.open(url, max_size=1, pooled=True) as other,
        served(pooled) as nobody,
    ):
        yield nobody, other


async def nothing_is_left(other: Database) -> None:
    """The next client of the connection is nobody, and has the server's own settings."""
    row = await other.fetchrow(WHO)
    assert row is not None
    assert tuple(row)[:5] == ("none", None, None, "on", "0")


async def test_companies_in_turns_on_one_connection_never_see_one_another(pool: Pool, companies: list[Company]) -> None:
    mine, theirs = companies
    async with behind(pool(1)) as (nobody, other):

        async def be(company: Company, foreign: Company) -> None:
            admin, member = nobody.as_(company.token()), nobody.as_(company.token(MEMBER))
            for turn in range(TURNS // 3):
                await every_operation(admin, company, turn)
                for path in (f"/connectors/{foreign.connector}", f"/sync-jobs/{foreign.job}", f"/runs/{foreign.run}"):
                    assert (await admin("GET", path)).code == "NOT_FOUND"
                assert (await member("POST", f"/sync-jobs/{company.job}/run")).code == "FORBIDDEN"

        async def be_the_next() -> None:
            for _ in range(TURNS):
                await nothing_is_left(other)

        async with asyncio.timeout(120):
            await asyncio.gather(be(mine, theirs), be(theirs, mine), be_the_next())
        await nothing_is_left(other)


async def test_a_page_goes_on_for_its_own_company_whoever_asked_in_between(
    pool: Pool, companies: list[Company], db: Database
) -> None:
    for company in companies:
        await company.add_records(db, 9, stream="many")
    async with behind(pool(1)) as (nobody, _):
        after: dict[Any, str] = {}
        seen: dict[Any, list[int]] = {company.id: [] for company in companies}
        for _ in range(3):
            for company in companies:
                path = f"/records?connector_id={company.connector}&stream=many&limit=3"
                if company.id in after:
                    path += f"&after={after[company.id]}"
                page = (await nobody.as_(company.token())("GET", path)).body
                seen[company.id] += [record["data"]["id"] for record in page["items"]]
                after[company.id] = page["next"] or ""
        assert list(seen.values()) == [list(range(1, 10))] * 2


async def test_a_cursor_of_another_company_shows_nothing_of_it(
    pool: Pool, companies: list[Company], db: Database
) -> None:
    mine, theirs = companies
    await db.execute("update public.sync_run_logs set started_at = $2 where id = $1", theirs.run, T0)
    async with behind(pool(1)) as (nobody, _):
        await nobody.as_(theirs.token())("POST", f"/sync-jobs/{theirs.job}/run")
        await nobody.as_(mine.token())("POST", f"/sync-jobs/{mine.job}/run")
        forged = (await nobody.as_(theirs.token())("GET", "/runs?limit=1")).body["next"]
        items = (await nobody.as_(mine.token())("GET", f"/runs?after={forged}")).body["items"]
        assert {item["company_id"] for item in items} <= {str(mine.id)}


@pytest.mark.parametrize("end", ["the client goes", "the statement is cancelled", "the connection is killed"])
async def test_a_request_that_dies_midway_leaves_no_claim_and_no_change(
    pool: Pool, companies: list[Company], db: Database, end: str
) -> None:
    company, other_company = companies
    async with behind(pool(1)) as (nobody, other):
        admin = nobody.as_(company.token())
        path, change = f"/connectors/{company.connector}", {"name": "half done"}
        async with db.transaction() as blocker:
            await blocker.execute(
                "select from public.integration_connectors where id = $1 for update", company.connector
            )
            request = asyncio.create_task(
                nobody.session.patch(
                    f"/api/v1{path}",
                    json=change,
                    headers={"Authorization": f"Bearer {company.token()}", "If-Match": "*"},
                )
            )

            async def waits() -> bool:
                return await db.fetchval(WAITING) is not None

            await until(waits, what="the request's wait for the row")
            if end == "the client goes":
                request.cancel()
            else:
                how = "pg_cancel_backend" if "cancelled" in end else "pg_terminate_backend"
                assert await db.fetchval(f"select {how}(pid) from ({WAITING}) as w")
                response = await request
                assert response.status == 503, await response.text()
                assert (await response.json())["code"] == "UNAVAILABLE"
        if end == "the client goes":
            with pytest.raises(asyncio.CancelledError):
                await request
        # The one connection serves the next, who is himself: another company, and then nobody.
        theirs = await nobody.as_(other_company.token())("GET", "/connectors")
        assert [item["company_id"] for item in theirs.body["items"]] == [str(other_company.id)]
        await nothing_is_left(other)
        if end != "the client goes":  # a request that was sent is carried out, whether or not its client waits
            assert (await admin("GET", path)).body["name"] == "The shop"
