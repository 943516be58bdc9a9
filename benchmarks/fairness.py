"""One tenant with a mountain of jobs beside many with a few.

    python -m benchmarks.fairness [--quick] [--server URL]

The mountain is enqueued first. Places are told as a share of all starts: the small tenants' own work is 7.4 % of all,
so the last of them cannot be done before that. One has a transaction open all the while, in which it has enqueued.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from benchmarks import ground
from benchmarks.bars import Bars, note
from benchmarks.claims import Claimed, Claims
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, connect

ALONE = "alone"
"""A queue with one tenant's jobs and nobody else's."""
BUSY = """
select extract(epoch from clock_timestamp() - query_start)::float8 as seconds, query,
  wait_event_type is not distinct from 'Lock' as waiting
from pg_stat_activity
where datname = current_database() and application_name = 'control' and state = 'active'
  and wait_event is distinct from 'ClientRead'
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.

    Attributes:
        each: jobs of a small tenant.
        claims: measured of each sort.
    """

    mountain: int = 500_000
    tenants: int = 2000
    each: int = 20
    claims: int = 60

    @property
    def small(self) -> int:
        """Jobs of all the small tenants."""
        return self.tenants * self.each

    @property
    def jobs(self) -> int:
        """All of them."""
        return self.mountain + self.small


QUICK = Sizes(mountain=20_000, tenants=80, claims=10)


@dataclass
class Seen:
    """What the worker's claims, finishes and heartbeats went through beside the open transaction."""

    looks: int = 0
    waits: int = 0
    longest_s: float = 0.0
    longest: str = ""


async def claims(url: str, many: int) -> tuple[list[Claimed], list[Claimed]]:
    """Claims from the queue of one tenant and from that of all, in turns; each is rolled back."""
    async with Claims.open(url, ALONE) as alone, Claims.open(url) as fair:
        for _ in range(5):  # until the server has settled on a plan
            await alone.look()
            await fair.look()
        pairs = [(await alone.look(), await fair.look()) for _ in range(many)]
    return [one for one, _ in pairs], [other for _, other in pairs]


@asynccontextmanager
async def watched(url: str) -> AsyncGenerator[Seen]:
    """Look every few milliseconds what the worker's claims, finishes and heartbeats are doing."""
    conn = await connect(url, name="benchmark")
    seen = Seen()

    async def look() -> None:
        while True:
            seen.looks += 1
            for row in await conn.fetch(BUSY):
                seen.waits += row["waiting"]
                if row["seconds"] > seen.longest_s:
                    seen.longest_s, seen.longest = row["seconds"], row["query"]
            await asyncio.sleep(0.005)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        conn.terminate()


async def run(url: str, sizes: Sizes, bars: Bars) -> None:
    """Fill the database, measure the claims, let a worker start what is to be seen."""
    mountain, tenants = uuid4(), [uuid4() for _ in range(sizes.tenants)]
    conn = await connect(url, name="benchmark")
    note(f"enqueueing {sizes.jobs} jobs")
    async with ground.engine(url, ALONE) as engine:
        await ground.enqueue(engine, [mountain] * (sizes.mountain // 5))
    async with ground.engine(url) as engine:
        first = await ground.enqueue(engine, [mountain] * sizes.mountain)
        await ground.enqueue(engine, _in_turn(tenants, sizes.each), first=first)
    await ground.analyze(conn)

    alone, fair = await claims(url, sizes.claims)
    note(f"a claim alone: {_told(alone)}; from all lanes: {_told(fair)}")
    bars.at_most("median claim from all lanes, of one tenant's alone", _ms(fair) / _ms(alone), 2.0)
    conn.terminate()

    starts, seen, open_s = await drain(url, sizes, tenants[-1])
    judge(starts, seen, open_s, sizes, bars)


async def drain(url: str, sizes: Sizes, caller: UUID) -> tuple[list[int], Seen, float]:
    """Numbers of jobs in the order of their starts; how long the caller's transaction was open beside them."""
    wanted = sizes.small + sizes.jobs * 2 // 100
    conn = await connect(url, name="benchmark")
    held: Connection = await connect(url, name="caller")
    await held.execute("set idle_in_transaction_session_timeout = 0")
    opened = time.monotonic()
    async with ground.engine(url) as engine, watched(url) as seen:
        async with held.transaction():
            job = await engine.enqueue(ground.KIND, {"number": -1}, tenant=caller, conn=held)
            async with ground.tidemill().worker(url, wanted, recorded=True) as worker:
                note(f"a worker starts {wanted} of them")
                worker.go()
                await worker.hear("handled", ground.PATIENCE_S)
                open_s = time.monotonic() - opened
                told = await worker.stop()
        # What the transaction enqueued is there as soon as it has committed.
        async with ground.tidemill().worker(url, 1, recorded=False) as worker:
            worker.go()
            await ground.until(conn, "select exists (select from tidemill.job_run where id = $1)", job)
            await worker.stop()
    conn.terminate()
    held.terminate()
    return [number for number, _ in told["starts"]], seen, open_s


def judge(starts: list[int], seen: Seen, open_s: float, sizes: Sizes, bars: Bars) -> None:
    """Hold what was seen to the bars."""
    at = {number: place for place, number in enumerate(starts, start=1)}
    # What has not been started at all stands behind everything.
    places = [at.get(number, sizes.jobs) for number in range(sizes.mountain, sizes.jobs)]
    by_tenant = [places[n : n + sizes.each] for n in range(0, sizes.small, sizes.each)]
    firsts, lasts = [min(of) for of in by_tenant], [max(of) for of in by_tenant]
    work = sizes.small / sizes.jobs
    note(f"the small tenants' work is {work:.1%} of all; first and last job of the caller: {firsts[-1]}, {lasts[-1]}")
    bars.at_most("latest first start of a small tenant, % of all starts", 100 * max(firsts) / sizes.jobs, 5.0)
    bars.at_most("latest last start of a small tenant, % of all starts", 100 * max(lasts) / sizes.jobs, 8.5)
    bars.at_most("jobs of the open transaction that were started", float(-1 in at), 0)
    which = next((name for name in dir(SQL) if getattr(SQL, name)[:200] == seen.longest[:200]), seen.longest[:60])
    note(f"{seen.looks} looks at the worker's statements: {seen.longest_s * 1000:.0f} ms at most ({which})")
    bars.at_most("claims and finishes seen waiting for a lock beside it", seen.waits, 0)
    bars.at_most("the longest of them, of the time it was open", seen.longest_s / open_s, 0.25)


def _in_turn(tenants: list[UUID], each: int) -> Iterator[UUID]:
    for tenant in tenants:
        yield from [tenant] * each


def _ms(claims: list[Claimed]) -> float:
    return statistics.median(claim.ms for claim in claims)


def _told(claims: list[Claimed]) -> str:
    return f"{_ms(claims):.1f} ms for {statistics.median(claim.jobs for claim in claims):.0f} jobs"


def main() -> int:
    """Print the bars; exit 1 if one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness")
    parser.add_argument("--quick", action="store_true", help="few jobs: to see that it runs")
    parser.add_argument("--server", metavar="URL", help="a superuser's; otherwise one is started")
    options = parser.parse_args()
    sizes, bars = QUICK if options.quick else Sizes(), Bars()

    async def measure(server_url: str) -> None:
        async with ground.database(server_url, "bench_fairness") as url:
            await run(url, sizes, bars)

    with ground.server(options.server) as server_url:
        asyncio.run(measure(server_url))
    print(
        f"{sizes.mountain} jobs of one tenant, {sizes.tenants} tenants with {sizes.each} each; one worker process, "
        "500 jobs side by side"
    )
    return bars.close()


if __name__ == "__main__":
    sys.exit(main())
