"""A worker is killed in the middle of a stream; another one brings it to the end that it would have had."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.processes import Process, until
from tests.sync.jobs.support import world
from tests.sync.records.worker_process import BATCHES, SIZE
from tidemill.postgres import Database


@pytest.mark.parametrize(
    "kills", [pytest.param(2, id="2 kills"), pytest.param(12, id="12 kills", marks=pytest.mark.chaos)]
)
async def test_records_are_the_same_whoever_is_killed(db: Database, tmp_path: Path, kills: int) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    rng = random.Random(seed)
    # Half of the blows fall into the stream without a key, between two of its cursors.
    blows = sorted(rng.sample(range(1, 2 * BATCHES - 2), kills))
    async with world(db) as w:
        job = await w.job({})
        await w.control(job, "run")
        with ExitStack() as stack:
            for n, blow in enumerate(blows):
                victim = Process("tests.sync.records.worker_process", tmp_path / f"{n}.log", {}, db.url)
                stack.enter_context(victim)

                async def came(blow: int = blow) -> bool:
                    done = await db.fetchval("select (metrics ->> 'batches')::int from sync_run_logs")
                    return (done or 0) >= blow

                await until(came, what=f"seed {seed}: batch {blow}")
                victim.kill()
            stack.enter_context(Process("tests.sync.records.worker_process", tmp_path / "heir.log", {}, db.url))
            [run] = await w.ended(job)
    assert (run["status"], run["reason"]) == ("completed", None), f"seed {seed}"
    assert run["attempt"] == kills + 1, f"seed {seed}"
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
    assert await db.fetchval("select count(*) from tidemill.staged_record") == 0, f"seed {seed}"
    cursors = await db.fetch("select stream, cursor from connector_state order by 1")
    assert [tuple(row) for row in cursors] == [("keyed", str(BATCHES)), ("keyless", str(BATCHES))], f"seed {seed}"
