"""Three workers are killed, stopped and continued at random; what each job writes is written once all the same."""

from __future__ import annotations

import asyncio
import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.ledger_process import KIND, LEASE_S, PHASES, TABLE, write
from tests.chaos.processes import CONTINUE, STOP, Process
from tests.engine.support import history, quiet
from tidemill.engine import Engine, Kind, NewJob, Registry
from tidemill.postgres import Database

WORKERS = 3
JOBS_A_SECOND = 60
MOST_WAITING = 100
"""More are not enqueued until these are done, however slow the machine: what is tested is not its speed."""


class Crew:
    """The workers, and what is done to them."""

    def __init__(self, url: str, directory: Path, rng: random.Random, stack: ExitStack) -> None:
        self._url, self._directory, self._rng, self._stack = url, directory, rng, stack
        self._crew = [self._hire() for _ in range(WORKERS)]
        self.kills = self.stops = 0

    def _hire(self) -> Process:
        log = self._directory / "ledger.log"
        return self._stack.enter_context(Process("tests.chaos.ledger_process", log, {"CHAOS_DATABASE_URL": self._url}))

    async def harry(self, seconds: float) -> None:
        """Make trouble for so long, then let them all work."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            await asyncio.sleep(self._rng.uniform(0.1, 1.5))
            n = self._rng.randrange(WORKERS)
            if self._rng.random() < 0.5:
                self.kills += 1
                self._crew[n].kill()
                self._crew[n] = self._hire()
            else:
                self.stops += 1
                self._crew[n].signal(STOP)
                await asyncio.sleep(self._rng.choice((0.3 * LEASE_S, 1.6 * LEASE_S)) * self._rng.uniform(0.8, 1.2))
                self._crew[n].signal(CONTINUE)
        assert all(worker.is_running() for worker in self._crew), self._crew[0].last_words()


async def _feed(db: Database, harrying: asyncio.Task[None]) -> set[int]:
    registry = Registry()
    registry.add(Kind(KIND, write))
    engine = Engine(db, registry)
    fed: set[int] = set()
    while not harrying.done():
        if await db.fetchval("select count(*) from tidemill.job_ready") >= MOST_WAITING:
            await asyncio.sleep(0.1)
            continue
        jobs = await engine.enqueue_many([NewJob(kind=KIND) for _ in range(JOBS_A_SECOND // 10)])
        fed |= {job for job in jobs if job is not None}
        await asyncio.sleep(0.1)
    return fed


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seconds", [20, pytest.param(600, marks=pytest.mark.chaos)])
async def test_what_a_job_writes_is_written_exactly_once(db: Database, seed: int, tmp_path: Path, seconds: int) -> None:
    await db.execute(TABLE)
    with ExitStack() as stack:
        crew = Crew(db.url, tmp_path, random.Random(f"{seed}:{seconds}"), stack)
        harrying = asyncio.create_task(crew.harry(seconds))
        fed = await _feed(db, harrying)
        await harrying
        try:
            await quiet(db)
        except AssertionError as e:
            e.add_note(await _left(db))
            raise
    told = f"TIDEMILL_CHAOS_SEED={seed}: {len(fed)} jobs, {crew.kills} kills, {crew.stops} stops"
    print(told)  # noqa: T201 - shown when the test fails, or with -s
    written = {
        (row["job"], row["phase"]): row["n"]
        for row in await db.fetch("select job, phase, count(*) as n from chaos_ledger group by 1, 2")
    }
    assert written == {(job, phase): 1 for job in fed for phase in range(PHASES)}, told
    ends = [outcome for _, _, outcome, _ in await history(db)]
    assert set(ends) <= {"done", "crashed"}, told
    assert ends.count("done") == len(fed), told
    assert not await db.fetchval("select exists (select from tidemill.job_dead)")


async def _left(db: Database) -> str:
    rows = await db.fetch(
        "select 'ready' as at, id, attempt, crashes, null::bigint as node, null::timestamptz as until"
        " from tidemill.job_ready"
        " union all select 'delayed', id, attempt, crashes, null, run_at from tidemill.job_delayed"
        " union all select 'leased', l.id, attempt, crashes, l.node, n.expires_at"
        " from tidemill.job_lease l left join tidemill.node n on n.id = l.node limit 20"
    )
    sessions = await db.fetch(
        "select pid, state, wait_event, state_change, left(query, 80) as query from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    return "\n".join(str(tuple(row)) for row in [*rows, *sessions])
