"""A worker is killed in the middle of a stream; another one brings it to the end that it would have had."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest

from tests.chaos.processes import Process, until
from tests.sync.jobs.support import World, world
from tests.sync.records.worker_process import BATCHES, SIZE
from tidemill.engine.rescue import POISON_LIMIT
from tidemill.postgres import Database
from tidemill.sync.statements import SQL

ON = """
select count(*) filter (where finished_at is null) as open, coalesce(sum(attempt), 0) as attempts,
  coalesce(sum((metrics ->> 'batches')::int), 0) as batches,
  (array_agg(reason order by started_at desc))[1] as reason
from public.sync_run_logs
"""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "kills", [pytest.param(2, id="2 kills"), pytest.param(12, id="12 kills", marks=pytest.mark.chaos)]
)
async def test_records_are_the_same_whoever_is_killed(db: Database, tmp_path: Path, kills: int) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    rng = random.Random(seed)
    async with world(db) as w:
        job = await w.job({})
        await w.control(job, "run")
        with ExitStack() as stack:
            deaths = 0
            for n in range(kills):
                victim = Process("tests.sync.records.worker_process", tmp_path / f"{n}.log", {}, db.url)
                stack.enter_context(victim)
                await gets_on(w, job, rng.randint(1, 2 * BATCHES // kills), f"seed {seed}: victim {n}")
                victim.kill()
                if not await db.fetchval("select exists (select from sync_run_logs where finished_at is null)"):
                    break  # it was through before it could be killed
                deaths += 1
            stack.enter_context(Process("tests.sync.records.worker_process", tmp_path / "heir.log", {}, db.url))
            await gets_on(w, job, 1000, f"seed {seed}: heir")
        runs = await w.runs(job)
    assert (runs[-1]["status"], runs[-1]["reason"]) == ("completed", None), f"seed {seed}"
    # So many deaths are laid at a run's own door, and the next one goes on at its cursors.
    assert {(run["status"], run["reason"], run["attempt"]) for run in runs[:-1]} <= {("failed", "poison", POISON_LIMIT)}
    assert runs[-1]["attempt"] == 1 + deaths % POISON_LIMIT, f"seed {seed}"
    keyed = await db.fetch("select key, data from synced_records where stream = 'keyed'")
    assert {row["key"]: row["data"] for row in keyed} == {
        f"[{i}]": {"id": i, "same": i % SIZE % 3} for i in range(BATCHES * SIZE)
    }, f"seed {seed}"
    counted = await db.fetch(
        "select (data ->> 'third')::int as third, (data ->> 'same')::int as same, count(*) as n"
        " from synced_records where stream = 'keyless' group by 1, 2"
    )
    each = {same: 3 * sum(i % 3 == same for i in range(SIZE)) for same in range(3)}
    assert {(row["third"], row["same"]): row["n"] for row in counted} == {
        (third, same): each[same] for third in range(BATCHES // 3) for same in range(3)
    }, f"seed {seed}"
    await db.fetch(SQL.staged_prune, 1_000_000)
    assert await db.fetchval("select count(*) from tidemill.staged_record") == 0, f"seed {seed}"
    cursors = await db.fetch("select stream, cursor from connector_state order by 1")
    assert [tuple(row) for row in cursors] == [("keyed", str(BATCHES)), ("keyless", str(BATCHES))], f"seed {seed}"


async def gets_on(w: World, job: UUID, batches: int, what: str) -> None:
    """Until whoever works now has begun and brought so many batches, or all is done; deaths may cost several runs."""
    before = await w.db.fetchrow(ON)
    assert before is not None

    async def on() -> bool:
        now = await w.db.fetchrow(ON)
        assert now is not None
        if not now["open"]:
            if now["reason"] != "poison":
                return True
            await w.control(job, "run")
        return now["attempts"] > before["attempts"] and now["batches"] >= before["batches"] + batches

    await until(on, what=what)
