"""The server's clock is set a day ahead and a day back while schedules fire and jobs run."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.faketime import LIBRARY, FakedServer, faked_server
from tests.conftest import run_apart
from tests.engine.support import until, working
from tidemill.engine import Context, Engine, Kind, Registry
from tidemill.engine.schedules import Schedule, Schedules
from tidemill.postgres import Database, migrate

HALF_PAST = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EACH = 20
RULES: dict[str, Any] = {"latest": "latest", "skip": "skip", "all": {"all": 3}}
NAMES = [f"{rule} {n}" for rule in RULES for n in range(EACH)]
LEASE_TTL = 3.0

_ENDS = """
select id, count(*) filter (where outcome not in ('retry', 'crashed')) as ends from tidemill.job_run group by id
"""
_LIVE = """
select id from tidemill.job_ready
union all select id from tidemill.job_delayed
union all select id from tidemill.job_lease
"""
_CRASHED = "select exists (select from tidemill.job_run where id = $1 and outcome = 'crashed')"


@pytest.fixture
def server() -> Iterator[FakedServer]:
    if LIBRARY is None and os.environ.get("CI") != "true":
        pytest.skip("libfaketime is not installed")
    with faked_server() as faked:
        run_apart(migrate(faked.url))
        yield faked


class Mill:
    """Two nodes, and jobs of two kinds: ``tide`` ends at once, ``watch`` runs until it is told to end."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.begun = asyncio.Event()
        self.end = asyncio.Event()
        self.kinds = (Kind("tide", self._tide), Kind("watch", self._watch))
        registry = Registry(self.kinds)
        self.engine = Engine(db, registry)
        self.schedules = Schedules(db, self.engine)

    async def _tide(self, ctx: Context, args: dict[str, Any]) -> None:
        pass

    async def _watch(self, ctx: Context, args: dict[str, Any]) -> None:
        self.begun.set()
        await self.end.wait()

    @asynccontextmanager
    async def nodes(self) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for _ in range(2):
                options: dict[str, Any] = {"lease_ttl": LEASE_TTL, "schedules": self.schedules}
                await stack.enter_async_context(working(self.db, *self.kinds, **options))
            yield

    async def held(self) -> int:
        """A job that runs now and goes on until :meth:`let_go`."""
        self.begun.clear()
        self.end.clear()
        job = await self.engine.enqueue("watch")
        async with asyncio.timeout(30):
            await self.begun.wait()
        return job

    async def let_go(self) -> None:
        """Have it end; wait until all jobs have."""
        self.end.set()

        async def none() -> bool:
            return not await self.db.fetch(_LIVE)

        await until(none, what="the end of all jobs")

    async def looked(self) -> None:
        """Wait until both nodes have renewed themselves by the clock as it is now."""

        async def by_this_clock() -> bool:
            expiries = await self.db.fetch("select expires_at - clock_timestamp() as left from tidemill.node")
            alive = [row for row in expiries if timedelta(0) < row["left"] <= timedelta(seconds=LEASE_TTL)]
            return len(alive) == 2

        await until(by_this_clock, what="a heartbeat of both nodes")
        await self.schedules.tick()

    async def fired(self) -> dict[str, list[datetime]]:
        rows = await self.db.fetch("select name, fire_at from tidemill.schedule_fire order by fire_at")
        return {name: [row["fire_at"] for row in rows if row["name"] == name] for name in NAMES}

    async def until_planned_for(self, at: datetime) -> None:
        async def planned() -> bool:
            return not await self.db.fetchval("select count(*) from tidemill.schedule where next_at <> $1", at)

        await until(planned, what=f"all schedules planned for {at}")


def _expected(**by_rule: list[datetime]) -> dict[str, list[datetime]]:
    return {name: by_rule[name.split()[0]] for name in NAMES}


async def test_a_clock_set_a_day_ahead_and_back_loses_and_doubles_neither_fires_nor_jobs(server: FakedServer) -> None:
    async with await Database.open(server.url, max_size=10) as db:
        mill = Mill(db)
        await db.execute("select tidemill.set_clock($1)", HALF_PAST)
        for name in NAMES:
            rule = RULES[name.split()[0]]
            await mill.schedules.declare(
                Schedule(name=name, kind="tide", cron="0 * * * *", misfire=rule, overlap="allow")
            )
        async with mill.nodes():
            watched = [await mill.held()]
            await mill.looked()
            assert await mill.fired() == _expected(latest=[], skip=[], all=[])

            server.jump(DAY)
            await mill.until_planned_for(HALF_PAST + DAY + HOUR / 2)
            await mill.looked()
            missed = [HALF_PAST + DAY - n * HOUR - HOUR / 2 for n in (2, 1, 0)]
            assert await mill.fired() == _expected(latest=missed[-1:], skip=[], all=missed)
            await mill.let_go()

            watched.append(await mill.held())
            server.jump(timedelta(0))
            await mill.looked()
            assert await mill.fired() == _expected(latest=missed[-1:], skip=[], all=missed)
            await mill.let_go()

            watched.append(await mill.held())
            server.jump(DAY + HOUR / 2 + HOUR / 100)
            await mill.until_planned_for(HALF_PAST + DAY + 3 * HOUR / 2)
            await mill.looked()
            due = HALF_PAST + DAY + HOUR / 2
            assert await mill.fired() == _expected(latest=[*missed[-1:], due], skip=[due], all=[*missed, due])
            await mill.let_go()

        # Ahead, the leases had run out by the new clock, and the jobs were run again; back, their nodes renewed them.
        assert [await db.fetchval(_CRASHED, job) for job in watched] == [True, False, True]
        jobs = [row["job_id"] for row in await db.fetch("select job_id from tidemill.schedule_fire")]
        ends = {row["id"]: row["ends"] for row in await db.fetch(_ENDS)}
        assert Counter(jobs).most_common(1)[0][1] == 1
        assert ends == dict.fromkeys([*jobs, *watched], 1)
        assert await db.fetchval("select count(*) from tidemill.unique_key") == 0
