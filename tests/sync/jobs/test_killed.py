"""Processes are killed while they plan, fire and run: each fire happens once, none is missed, and runs go on."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.chaos.processes import Process, until
from tidemill.engine.recurrence import recurrence
from tidemill.postgres import Database

from .support import NOON, World, world

MIDNIGHT = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
"""Before a night in which Europe's clocks are put forward."""
DAY = timedelta(days=1)
STILL_S = 60.0
STATE = """
select jsonb_build_object(
  'runs', (
    select jsonb_object_agg(status, n) from (select status, count(*) as n from public.sync_run_logs group by 1) s),
  'unplanned', (select count(*) from public.sync_jobs where planned_version is distinct from version),
  'due', (select count(*) from public.sync_jobs where next_run_at <= (select tidemill.now())),
  'ready', (select count(*) from tidemill.job_ready), 'delayed', (select count(*) from tidemill.job_delayed),
  'leased', (select count(*) from tidemill.job_lease))::text
"""
"""What must change for it to go on."""
LEFT = """
select count(*) from pg_stat_activity where application_name = 'victim' and datname = current_database()
"""
ZONES = ("Asia/Taipei", "Europe/Paris", None, "America/New_York", "Asia/Kathmandu")


def worker(url: str, folder: Path, name: str) -> Process:
    return Process("tests.sync.jobs.worker_process", folder / f"{name}.log", {}, url)


async def test_a_run_whose_worker_is_killed_goes_on_where_its_last_commit_was(db: Database, tmp_path: Path) -> None:
    await db.execute("create table beads (run uuid, n int, attempt int)")

    async def threaded(n: int) -> bool:
        return await db.fetchval("select count(*) from beads") >= n

    async def gone() -> bool:
        return await db.fetchval(LEFT) == 0

    async with world(db) as w:
        await w.clock(NOON)
        job = await w.job({}, payload={"beads": 15})
        await w.control(job, "run")
        with worker(db.url, tmp_path, "victim") as victim:
            await until(lambda: threaded(4), what="four beads")
            victim.kill()
            await until(gone, what="the end of its sessions")
        done = await db.fetchval("select count(*) from beads")
        with worker(db.url, tmp_path, "heir"):
            [run] = await w.ended(job)
    assert (run["status"], run["attempt"], run["metrics"]) == ("completed", 2, {"beads": 15})
    beads = [tuple(row) for row in await db.fetch("select n, attempt from beads order by n")]
    assert beads == [(n, 1 if n < done else 2) for n in range(15)]


@dataclass(frozen=True)
class Made:
    """A sync job of the virtual day."""

    id: UUID
    company: int
    spec: dict[str, Any]
    zone: str | None

    def fires(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """By the recurrence alone."""
        plan = recurrence(self.spec, self.zone or "UTC")
        at = plan.next(begin)
        while at is not None and at <= end:
            yield at
            at = plan.next(at)


def spec(rng: random.Random) -> dict[str, Any]:
    """Most sleep through the day, as most do."""
    hour, minute = rng.randrange(24), rng.choice((0, 0, 30))
    at = (MIDNIGHT + timedelta(hours=rng.randrange(1, 25))).isoformat()
    return rng.choices(
        (
            {},
            {"cron": f"{minute} {hour} 1 1 *"},
            {"cron": f"{minute} {hour} * * *"},
            {"cron": f"0 {hour} * * *", "timezone": "Europe/Paris", "jitter": "1s"},
            {"at": at},
            {"rrule": f"FREQ=WEEKLY;BYDAY=SU;BYHOUR={hour};BYMINUTE={minute};BYSECOND=0"},
            {"every": "6h", "overlap": "queue", "misfire": {"all": 10}},
            {"cron": "0 */4 * * *", "overlap": "allow", "misfire": {"all": 10}},
        ),
        (35, 40, 12, 3, 3, 3, 2, 2),
    )[0]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("jobs", "companies", "kills"),
    [
        pytest.param(5_000, 50, 3, id="5000"),
        pytest.param(100_000, 500, 20, id="100000", marks=pytest.mark.chaos),
    ],
)
async def test_over_a_day_each_fire_happens_once_and_none_is_missed_whoever_is_killed(
    db: Database, tmp_path: Path, jobs: int, companies: int, kills: int
) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    rng = random.Random(seed)
    made = [Made(uuid4(), n % companies, spec(rng), ZONES[n % companies % len(ZONES)]) for n in range(jobs)]
    wanted = {(job.id, at) for job in made for at in job.fires(MIDNIGHT, MIDNIGHT + DAY)}
    steps = sorted({at for _, at in wanted})
    fires = Counter(at for _, at in wanted)
    blows = set(rng.sample(range(len(steps)), kills))
    async with world(db) as w:
        await w.clock(MIDNIGHT)
        await populate(w, made, companies)
        with ExitStack() as stack:
            crew = [stack.enter_context(worker(db.url, tmp_path, f"crew-{n}")) for n in range(2)]
            await while_it_moves(db, lambda: all_planned(db), "the plans")
            expected = 0
            for n, at in enumerate(steps):
                await w.clock(at)
                if n in blows:
                    crew.pop(0).kill()
                    crew.append(stack.enter_context(worker(db.url, tmp_path, f"crew-{n + 2}")))
                expected += fires[at]
                await while_it_moves(db, lambda e=expected: fired(db, e), f"seed {seed}: {expected} fires at {at}")
            await w.clock(MIDNIGHT + DAY + timedelta(seconds=1))
            await while_it_moves(db, lambda: all_ended(db), f"seed {seed}: the end of all runs")
    rows = await db.fetch("select job_id, fire_at, status, reason from public.sync_run_logs")
    assert len(rows) == len(wanted), f"seed {seed}"
    assert {(row["job_id"], row["fire_at"]) for row in rows} == wanted, f"seed {seed}"
    assert {(row["status"], row["reason"]) for row in rows} == {("completed", None)}, f"seed {seed}"
    drifted = await db.fetchval("select count(*) from public.sync_jobs where status <> 'idle' or failures <> 0")
    assert drifted == 0, f"seed {seed}"


async def populate(w: World, made: list[Made], companies: int) -> None:
    await w.db.execute(
        "insert into public.companies (code, name, timezone)"
        " select 'c' || n, 'c', ($2::text[])[1 + n % cardinality($2)] from generate_series(0, $1 - 1) n",
        companies,
        list(ZONES),
    )
    await w.db.execute(
        "insert into public.integration_connectors (company_id, provider, name)"
        " select c.id, 'sea', n::text from public.companies c, generate_series(0, 9) n"
    )
    await w.db.execute(
        "insert into public.sync_jobs (id, company_id, connector_id, job_type, schedule)"
        " select j.id, c.id, i.id, 'sync', j.schedule from unnest($1::uuid[], $2::int[], $3::jsonb[])"
        " with ordinality as j (id, company, schedule, n) join public.companies c on c.code = 'c' || j.company"
        " join public.integration_connectors i on i.company_id = c.id and i.name = ((j.n / $4::int) % 10)::text",
        [job.id for job in made],
        [job.company for job in made],
        [job.spec for job in made],
        companies,
        timeout=300,
    )


async def all_planned(db: Database) -> bool:
    return await db.fetchval(
        "select not exists (select from public.sync_jobs where planned_version is distinct from version)"
    )


async def while_it_moves(db: Database, check: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask until it is true, however long that takes, as long as anything moves."""
    loop = asyncio.get_running_loop()
    before, since = "", loop.time()
    while not await check():
        state = await db.fetchval(STATE)
        if state != before:
            before, since = state, loop.time()
        elif loop.time() - since > STILL_S:
            raise AssertionError(f"{what}: nothing has moved for {STILL_S} s: {state}")
        await asyncio.sleep(0.05)


async def fired(db: Database, expected: int) -> bool:
    """Whether so many runs are there; what waits for the run before it has until the next step."""
    there = await db.fetchval("select count(*) from public.sync_run_logs")
    waiting = await db.fetchval(
        "select count(*) from public.sync_jobs where next_run_at <= (select tidemill.now()) and run_state <> 'idle'"
    )
    return there + waiting >= expected


async def all_ended(db: Database) -> bool:
    return await db.fetchval(
        "select not exists (select from public.sync_run_logs where status in ('pending', 'running'))"
        " and not exists (select from public.sync_jobs where next_run_at <= (select tidemill.now()))"
    )
