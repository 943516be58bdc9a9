"""Runs that hold a process: so many at a time in a worker, and the others wait without a run's time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.connectors.singer.support import CATALOG, SAY_SCHEMA, install_fake, record, state
from tests.sync.support import PATIENCE, until
from tidemill.app import Rooms
from tidemill.connectors import Spec
from tidemill.postgres import Database
from tidemill.settings import Settings

from .support import NOON, VAULT_KEYS, Sea, world

MOST = 2


class Taps:
    """Jobs whose taps say that they run, and go on when they are told."""

    def __init__(self, rooms: Rooms, folder: Path) -> None:
        self.rooms = rooms
        self.folder = folder
        self.jobs: list[UUID] = []

    async def add(self, company: UUID, provider: str = "singer", schedule: Any = None) -> UUID:
        """A job, by its number; one of another provider is given the same to do."""
        number = len(self.jobs)
        script = [SAY_SCHEMA, {"touch": self._file("runs", number)}, {"wait": self._file("go", number)}]
        config = {"executable": "tap-fake", "config": {"catalog": CATALOG, "script": [*script, record(1), state(1)]}}
        job: UUID = await self.rooms.db.fetchval(
            "with c as (insert into public.integration_connectors (company_id, provider, config) values ($1, $2, $3)"
            " returning company_id, id)"
            " insert into public.sync_jobs (company_id, connector_id, job_type, schedule)"
            " select company_id, id, 'sync', $4 from c returning id",
            company,
            provider,
            config,
            schedule or {},
        )
        self.jobs.append(job)
        return job

    async def ask(self, job: UUID) -> None:
        await self.rooms.db.execute("select public.sync_job_control($1, 'run')", job)

    def _file(self, what: str, number: int) -> str:
        return str(self.folder / f"{what}-{number}")

    def run(self) -> set[int]:
        """Those that have begun."""
        return {number for number in range(len(self.jobs)) if Path(self._file("runs", number)).exists()}

    def let_go(self, number: int) -> None:
        Path(self._file("go", number)).touch()

    async def rows(self) -> list[Any]:
        return await self.rooms.db.fetch(
            "select r.* from public.sync_run_logs r where r.job_id = any ($1) order by array_position($1, r.job_id)",
            self.jobs,
        )


@pytest.fixture
async def taps(db: Database, tmp_path: Path) -> AsyncIterator[Taps]:
    settings = Settings(
        database_url=db.url,
        env="test",
        vault_keys=VAULT_KEYS,
        taps=MOST,
        singer_taps={"tap-fake": install_fake(tmp_path)},
    )
    async with Rooms.open(settings) as rooms:
        yield Taps(rooms, tmp_path)


@asynccontextmanager
async def at_work(rooms: Rooms) -> AsyncIterator[None]:
    async with rooms.worker() as worker:
        task = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()
            async with asyncio.timeout(PATIENCE):
                await task


async def test_so_many_taps_run_at_a_time_and_the_others_wait_with_the_engine(taps: Taps) -> None:
    companies = [
        await taps.rooms.db.fetchval("insert into public.companies (code, name) values ($1, $1) returning id", code)
        for code in ("acme", "brim")
    ]
    for number in range(4):
        await taps.ask(await taps.add(companies[number % 2]))
    async with at_work(taps.rooms):

        async def begun(count: int) -> bool:
            rows = await taps.rows()
            waiting = sum(row["status"] == "pending" and row["engine_job"] is not None for row in rows)
            return len(taps.run()) == count and waiting == len(rows) - count

        await until(lambda: begun(MOST), "as many run as may")
        first = taps.run()
        waiting = [row for number, row in enumerate(await taps.rows()) if number not in first]
        assert {(row["status"], row["attempt"]) for row in waiting} == {("pending", 0)}
        jobs = [row["engine_job"] for row in waiting]
        leased = "select count(*) from tidemill.job_lease where id = any ($1)"
        assert await taps.rooms.db.fetchval(leased, jobs) == 0
        # What is no tap is not held up by them.
        plain = await taps.add(companies[0], provider="http")
        await taps.ask(plain)
        await until(lambda: _ended(taps, plain), "the run without a process ends")
        assert taps.run() == first
        taps.let_go(min(first))
        await until(lambda: begun_more(taps, first), "one ends and the next begins")
        assert len(taps.run()) == MOST + 1
        for number in range(4):
            taps.let_go(number)
        for job in taps.jobs[:4]:
            await until(lambda job=job: _ended(taps, job), "it ends")
    assert [row["status"] for row in (await taps.rows())[:4]] == ["completed"] * 4


async def begun_more(taps: Taps, than: set[int]) -> bool:
    return len(taps.run()) > len(than)


async def _ended(taps: Taps, job: UUID) -> bool:
    return bool(
        await taps.rooms.db.fetchval("select finished_at is not null from public.sync_run_logs where job_id = $1", job)
    )


class Deep(Sea):
    """One with a process."""

    spec = Spec(name="deep", title="The deep sea", process=True)


@pytest.mark.parametrize(("before", "after"), [("sea", "deep"), ("deep", "sea")])
async def test_a_run_whose_connector_has_become_another_is_skipped_so_that_the_bound_holds(
    db: Database, before: str, after: str
) -> None:
    async with world(db, connectors={"sea": Sea(), "deep": Deep()}) as w:
        await w.clock(NOON)
        job = await w.job({}, connector=await w.connector(await w.company(), before))
        await w.control(job, "run")
        await w.tick()
        assert await w.engine_jobs() == 1
        await w.db.execute("update public.integration_connectors set provider = $1", after)
        async with w.working():
            await w.ended(job)
            assert await w.said(job) == [("skipped", "connector_changed")]
            await w.control(job, "run")
            await w.ended(job, 2)
        assert sorted(await w.said(job)) == [("completed", None), ("skipped", "connector_changed")]
