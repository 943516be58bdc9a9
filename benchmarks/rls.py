"""What row security costs a tenant: his own sync jobs among everybody's, against the owner who names the company.

The same statements run in turns on one connection, once as ``authenticated`` with an admin's claims and once as the
owner, whom row security lets pass, with the company as a literal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from benchmarks import ground
from benchmarks.bars import Bars, note
from tidemill.postgres import Connection, connect

COMPANIES = """
with made as (
    insert into public.companies (code, name) select 'c' || n, 'c' || n from generate_series(1, $1::int) n returning id
)
insert into public.integration_connectors (company_id, provider) select id, 'http' from made
"""
# Interleaved, as they would have come: a company's jobs stand in many pages.
JOBS = """
insert into public.sync_jobs (company_id, connector_id, job_type, name, schedule, next_run_at, planned_version)
select c.company_id, c.id, 'sync', 'job ' || n, '{"every": "15m"}', now() + n * interval '1 s', 1
from generate_series($1::int, $2::int) n cross join public.integration_connectors c
"""
COLUMNS = "id, connector_id, name, job_type, schedule, status, priority, next_run_at, last_run_at, last_error"
QUERIES = {
    "listing all": f"select {COLUMNS} from public.sync_jobs{{where}}",
    "the first 50": f"select {COLUMNS} from public.sync_jobs{{where}} order by next_run_at limit 50",
    "counting": "select count(*) from public.sync_jobs{where}",
}
CHUNK = 50


@dataclass(frozen=True)
class Sizes:
    """How many, and how often."""

    companies: int = 1000
    jobs: int = 1000
    rounds: int = 200


QUICK = Sizes(companies=50, rounds=20)


@asynccontextmanager
async def tenant(conn: Connection, company: UUID) -> AsyncGenerator[None]:
    """The connection as an admin of the company, for a transaction."""
    claims = {"company_id": str(company), "app_metadata": {"role_keys": ["Vibot.admin"]}}
    async with conn.transaction():
        await conn.execute("set local role authenticated")
        await conn.execute("select set_config('request.jwt.claims', $1, true)", json.dumps(claims))
        yield


async def timed(conn: Connection, query: str) -> float:
    """Seconds of the statement, rows fetched."""
    started = time.perf_counter()
    rows = await conn.fetch(query)
    took = time.perf_counter() - started
    assert rows, "it found nothing"
    return took


def nodes(plan: dict[str, Any]) -> Generator[dict[str, Any]]:
    """A plan's nodes, from the top down."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def judge_plan(conn: Connection, name: str, query: str, bars: Bars) -> None:
    """How the statement was carried out, which no noise touches."""
    explained = await conn.fetchval(f"explain (analyze, format json) {query}")
    found = list(nodes(explained[0]["Plan"]))
    once = [n["Actual Loops"] for n in found if n.get("Parent Relationship") == "InitPlan"]
    reads = [n for n in found if n.get("Relation Name") == "sync_jobs" or "Index Name" in n]
    led = [n for n in reads if "company_id" in n.get("Index Cond", "")]
    bars.at_least(f"reads by an index that the company leads, {name}", len(led), 1)
    bars.at_most(f"sequential scans, {name}", sum(n["Node Type"] == "Seq Scan" for n in found), 0)
    bars.at_most(
        f"rows of others that were looked at, {name}", sum(n.get("Rows Removed by Filter", 0) for n in found), 0
    )
    bars.at_least(f"policy functions that were planned as sub-queries, {name}", len(once), 1)
    bars.at_most(f"evaluations of each of them, {name}", max(once, default=0), 1)


async def measure(server_url: str, sizes: Sizes, bars: Bars) -> None:
    """All of it."""
    async with ground.database(server_url, "bench_rls") as url:
        conn = await connect(url, name="benchmark")
        note(f"{sizes.companies * sizes.jobs} sync jobs")
        await conn.execute(COMPANIES, sizes.companies)
        await conn.execute("set session_replication_role = replica")  # no triggers: each key would be looked up
        for first in range(1, sizes.jobs + 1, CHUNK):
            await conn.execute(JOBS, first, min(first + CHUNK - 1, sizes.jobs), timeout=ground.PATIENCE_S)
        await ground.analyze(conn)
        company = await conn.fetchval(
            "select id from public.companies order by id limit 1 offset $1", sizes.companies // 2
        )
        literal = f" where company_id = '{company}'"
        for name, query in QUERIES.items():
            asked, named = query.format(where=""), query.format(where=literal)
            async with tenant(conn, company):
                await judge_plan(conn, name, asked, bars)
            pairs: list[tuple[float, float]] = []
            for _ in range(sizes.rounds):
                async with tenant(conn, company):
                    theirs = await timed(conn, asked)
                async with conn.transaction():
                    pairs.append((theirs, await timed(conn, named)))
            under, owner = (statistics.median(times) for times in zip(*pairs, strict=True))
            note(f"{name}: {under * 1000:.2f} ms under row security, {owner * 1000:.2f} ms as the owner")
            bars.at_most(f"time of {name}, of the owner's", under / owner, 2)
        conn.terminate()


def main() -> int:
    """Print the bars; exit 1 if one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rls")
    parser.add_argument("--quick", action="store_true", help="50,000 jobs: to see that it runs")
    parser.add_argument("--server", metavar="URL", help="a superuser's; otherwise one is started")
    options = parser.parse_args()
    sizes, bars = QUICK if options.quick else Sizes(), Bars()
    with ground.server(options.server) as server_url:
        asyncio.run(measure(server_url, sizes, bars))
    print(f"{sizes.jobs} sync jobs of a company among {sizes.companies * sizes.jobs}; medians of {sizes.rounds} turns")
    return bars.close()


if __name__ == "__main__":
    sys.exit(main())
