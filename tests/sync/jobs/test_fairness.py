"""A company's crowd does not stand before the few of another."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from tests.sync.support import until
from tidemill.postgres import Database

from .support import NOON, World, world

FIRST_STARTS = 1_000


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "crowd", [pytest.param(5_000, id="5000"), pytest.param(50_000, id="50000", marks=pytest.mark.chaos)]
)
async def test_beside_a_company_with_thousands_of_due_jobs_anothers_ten_all_start_among_the_first(
    db: Database, crowd: int
) -> None:
    async with world(db) as w:
        await w.clock(NOON)
        await make(w, "crowd", crowd, connectors=50)
        few = await make(w, "few", 10, connectors=10)
        while (await w.db.fetchval("select count(*) from public.sync_jobs where planned_version is null")) > 0:
            await w.tick()
        await w.clock(NOON + timedelta(hours=1))

        async def started() -> bool:
            return few <= set(w.type.ran)

        async with w.working():
            await until(started, "the start of the ten")
        assert max(w.type.ran.index(job) for job in few) < FIRST_STARTS


async def make(w: World, code: str, jobs: int, *, connectors: int) -> set[UUID]:
    """Jobs that are all due at one o'clock; those of the crowd are more urgent to their own company."""
    company = await w.company(code)
    for _ in range(connectors):
        await w.connector(company)
    rows = await w.db.fetch(
        "insert into public.sync_jobs (company_id, connector_id, job_type, schedule, priority)"
        " select $1, i.id, 'sync', '{\"cron\": \"0 * * * *\"}', case when $2 > 10 then 10 else 0 end"
        " from generate_series(1, $2::int) g (n) join ("
        "   select id, row_number() over (order by id) as n from public.integration_connectors where company_id = $1"
        " ) i on i.n = 1 + g.n % $3 returning id",
        company,
        jobs,
        connectors,
        timeout=300,
    )
    return {row["id"] for row in rows}
