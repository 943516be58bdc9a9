"""What is not due costs nothing: claims beside a million delayed jobs and a million ended ones.

    python -m benchmarks.not_due [--quick] [--server URL]

Two databases on one server: in one there is nothing but the jobs that are ready. Buffers are those that the server
counted for a claim of 500; the plan is what it keeps itself for a prepared statement. Drains take turns. Statistics go
stale on purpose: nobody but this program analyzes the tables concerned.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid4

from benchmarks import ground
from benchmarks.bars import Bars, note
from benchmarks.claims import Claimed, Claims
from benchmarks.steady import memory_trend
from tidemill.postgres import Connection, connect

HOT = ("job_ready", "job_lease")
STALE = Literal["fresh", "of the empty table", "of one tenant's jobs, gone", "of one tenant's jobs, still there"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.

    Attributes:
        beside: jobs that are delayed, and jobs that have ended.
        burst: jobs that are ready.
        claims: measured in each scene.
        trend_s: seconds over which memory is watched.
    """

    beside: int = 1_000_000
    burst: int = 100_000
    tenants: int = 2000
    claims: int = 60
    rounds: int = 3
    trend_s: float = 60.0


QUICK = Sizes(beside=20_000, burst=4000, tenants=200, claims=7, rounds=1, trend_s=3.0)


@dataclass(frozen=True, slots=True)
class Scene:
    """A burst of jobs, of many tenants or of none, and what the planner believes of the table then."""

    tenants: bool
    statistics: STALE

    @property
    def before(self) -> bool:
        """Whether jobs of no tenant stand before the burst and stay."""
        return self.statistics == "of one tenant's jobs, still there"

    def __str__(self) -> str:
        return f"{'many' if self.tenants else 'no'} tenants, statistics {self.statistics}"


SCENES = (
    Scene(False, "fresh"),
    Scene(True, "fresh"),
    Scene(False, "of the empty table"),
    Scene(True, "of the empty table"),
    Scene(False, "of one tenant's jobs, gone"),
    Scene(True, "of one tenant's jobs, gone"),
    Scene(True, "of one tenant's jobs, still there"),
)


class Stage:
    """A database in which scenes are set."""

    def __init__(self, url: str, conn: Connection, sizes: Sizes) -> None:
        self.url = url
        self._conn = conn
        self._sizes = sizes
        self._tenants = [uuid4() for _ in range(sizes.tenants)]

    async def fill(self) -> None:
        """Add what is not due."""
        for statement in (ground.SLEEPING, ground.ENDED):
            await self._conn.execute(statement, self._sizes.beside, ground.KIND, timeout=ground.PATIENCE_S)
        await ground.analyze(self._conn)

    async def keep_statistics(self) -> None:
        """From now on nobody but this program analyzes the hot tables."""
        for table in HOT:
            await self._conn.execute(f"alter table tidemill.{table} set (autovacuum_analyze_threshold = 2000000000)")

    async def set(self, scene: Scene, *, fresh: bool = False) -> None:
        """Make the jobs of a scene and the statistics that it has, or with ``fresh`` such as are true."""
        await self._conn.execute("truncate tidemill.job_ready, tidemill.job_lease")
        # An empty table leaves the old statistics in place.
        await self._conn.execute("delete from pg_statistic where starelid = 'tidemill.job_ready'::regclass")
        if scene.statistics == "of the empty table":
            await self._analyze()
        if scene.statistics.startswith("of one tenant's"):
            await self._enqueue([None] * self._sizes.burst)
            await self._analyze()
        if scene.statistics == "of one tenant's jobs, gone":
            await self._conn.execute("truncate tidemill.job_ready")
        tenants = self._tenants if scene.tenants else [None]
        await self._enqueue([tenants[n % len(tenants)] for n in range(self._sizes.burst)])
        if fresh or scene.statistics == "fresh":
            await self._analyze()

    async def claims(self, scene: Scene, *, fresh: bool = False) -> list[Claimed]:
        """What claims of a scene cost."""
        await self.set(scene, fresh=fresh)
        async with Claims.open(self.url) as claims:
            found = [await claims.explain() for _ in range(self._sizes.claims)]
        return [claim for claim in found if claim.jobs]

    async def drain(self, scene: Scene) -> float:
        """Jobs a second of one worker, from the first start to the last."""
        await self.set(scene)
        async with ground.tidemill().worker(self.url, self._sizes.burst, recorded=True) as worker:
            worker.go()
            await worker.hear("handled", ground.PATIENCE_S)
            await ground.until(self._conn, "select not exists (select from tidemill.job_lease)")
            starts = [at for _, at in (await worker.stop())["starts"]]
        return (len(starts) - 1) / (starts[-1] - starts[0])

    async def _analyze(self) -> None:
        await self._conn.execute("vacuum analyze tidemill.job_ready, tidemill.job_lease", timeout=ground.PATIENCE_S)

    async def _enqueue(self, tenants: list[UUID | None]) -> None:
        async with ground.engine(self.url) as engine:
            await ground.enqueue(engine, tenants)


async def buffers(empty: Stage, full: Stage, bars: Bars) -> None:
    """Each scene beside what is not due, against the same jobs alone with statistics that are true."""
    alone: dict[tuple[bool, bool], float] = {}
    for scene in SCENES:
        like = (scene.tenants, scene.before)
        if like not in alone:
            alone[like] = _buffers(await empty.claims(scene, fresh=True))
        found = _buffers(await full.claims(scene))
        note(f"{scene}: {found:.2f} buffers a job, alone {alone[like]:.2f}")
        bars.at_most(f"buffers of a claim, {scene}", found / alone[like], 1.2)


async def speed(empty: Stage, full: Stage, bars: Bars, many: int) -> None:
    """Drains in turns, so many of each."""
    plain, stale = Scene(False, "fresh"), Scene(False, "of the empty table")
    rounds: list[tuple[float, float]] = []
    for _ in range(many):
        rates = [await empty.drain(plain), await full.drain(plain), await full.drain(stale)]
        note(f"jobs/s alone, beside, beside with stale statistics: {', '.join(f'{rate:,.0f}' for rate in rates)}")
        rounds.append((rates[1] / rates[0], rates[2] / rates[0]))
    for name, ratios in zip(("fresh", "of the empty table"), zip(*rounds, strict=True), strict=True):
        bars.at_least(f"speed of a drain, statistics {name}", statistics.median(ratios), 0.75)


def _buffers(claims: list[Claimed]) -> float:
    """Of a job, in the median claim: one that takes less touches less."""
    return statistics.median(claim.buffers / claim.jobs for claim in claims)


async def measure(server_url: str, sizes: Sizes, bars: Bars) -> None:
    """All of it."""
    async with (
        ground.database(server_url, "bench_empty") as empty_url,
        ground.database(server_url, "bench_full") as full_url,
    ):
        conns = [await connect(url, name="benchmark") for url in (empty_url, full_url)]
        empty, full = Stage(empty_url, conns[0], sizes), Stage(full_url, conns[1], sizes)
        note(f"{sizes.beside} delayed and as many ended jobs")
        await full.fill()
        for stage in (empty, full):
            await stage.keep_statistics()
        await buffers(empty, full, bars)
        await speed(empty, full, bars, sizes.rounds)
        for conn in conns:
            await conn.execute("truncate tidemill.job_ready, tidemill.job_lease")
        bars.at_most("memory of a worker at the end, of a sixth in", await memory_trend(full_url, sizes.trend_s), 1.1)
        for conn in conns:
            conn.terminate()


def main() -> int:
    """Print the bars; exit 1 if one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.not_due")
    parser.add_argument("--quick", action="store_true", help="few jobs: to see that it runs")
    parser.add_argument("--server", metavar="URL", help="a superuser's; otherwise one is started")
    options = parser.parse_args()
    sizes, bars = QUICK if options.quick else Sizes(), Bars()
    with ground.server(options.server) as server_url:
        asyncio.run(measure(server_url, sizes, bars))
    print(
        f"{sizes.beside} delayed and {sizes.beside} ended jobs beside bursts of {sizes.burst}; one worker process; "
        f"medians of {sizes.claims} claims and of {sizes.rounds} drains"
    )
    return bars.close()


if __name__ == "__main__":
    sys.exit(main())
