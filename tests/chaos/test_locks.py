"""One run at a time; and the lock of a run that nobody works on any more frees itself."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from tests.chaos.processes import PATIENCE, ROOT, until
from tests.chaos.snapshot import left_over
from tests.chaos.world import LEASE_S, NOW, PERIOD, SLOT, World, run_of, trigger
from tidemill.postgres import Database

SLOTS = 5


class Door:
    """A process that triggers runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def said(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self._process.stdout.readline()).decode().strip()

    def knock(self, request_key: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{request_key}\n".encode())


@asynccontextmanager
async def door(world: World, db: Database) -> AsyncGenerator[Door]:

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos.tick_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, **world.environment(db.url)},
        process_group=0,
    )
    try:
        opened = Door(process)
        assert await opened.said() == "open"
        yield opened
    finally:
        process.kill()
        await process.communicate()


async def test_of_two_ticks_at_once_from_two_processes_exactly_one_runs(world: World) -> None:
    async with world.database("new") as db, door(world, db) as one, door(world, db) as other:
        with world.worker(db.url, "ticked"):
            for n in range(SLOTS):
                slot = SLOT + n * PERIOD
                await db.fetchval("select tidemill.set_clock($1)", NOW + n * PERIOD)
                one.knock(f"one-{n}")
                other.knock(f"other-{n}")
                answers = [json.loads(await one.said()), json.loads(await other.said())]
                assert sorted(answer["skipped"] for answer in answers) == [False, True]
                assert {answer["reason"] for answer in answers if answer["skipped"]} <= {
                    "already_running",
                    "already_ran",
                }
                await world.closed(db, n + 1)
                statuses = [
                    row["status"]
                    for row in await db.fetch("select status from system_job_logs where sync_batch_at = $1", slot)
                ]
                assert len(statuses) == 2
                assert statuses.count("skipped") == 1
        assert await left_over(db) == {}


async def test_a_run_whose_every_worker_died_frees_its_lock_and_is_ended_at_its_deadline(world: World) -> None:
    async with world.database("new") as db:
        with world.worker(db.url, "victim") as victim:
            await victim.until_said("ready")
            await trigger(db, SLOT)
            await until(lambda: _under_way(db), what="a run under way", pause=0.002)
            victim.kill()
        died = await db.fetchval("select clock_timestamp()")
        locked_until = await db.fetchval("select locked_until from system_job_locks where job_type = 'scheduled_sync'")
        assert locked_until <= died + timedelta(seconds=LEASE_S + 1)  # what it had sent may come a moment later
        await until(lambda: _free(db), what="a free lock")

        await db.fetchval("select tidemill.set_clock($1)", NOW + PERIOD)
        with world.worker(db.url, "heir"):
            # The tick comes before anybody has ended the old run.
            await trigger(db, SLOT + PERIOD)
            await world.closed(db, 2)
        old, new = await run_of(db, SLOT), await run_of(db, SLOT + PERIOD)
        assert await left_over(db) == {}

        closed = await db.fetchrow("select status, error_message, metadata from system_job_logs where id = $1", old)
        assert closed is not None
        assert closed["status"] in ("partial", "failed")
        assert closed["error_message"] == "the next slot began before every account was through"
        reasons = {
            row["reason"]: row["n"]
            for row in await db.fetch(
                "select reason, count(*) as n from sync_logs where run_id = $1 and status = 'skipped' group by 1", old
            )
        }
        assert reasons["deadline"] > 0
        assert set(reasons) <= {"deadline", "token_expired", "token_invalid"}
        # Nothing of the old run stands in the new one's way.
        held = await db.fetchval("select count(*) from sync_logs where run_id = $1 and reason = 'already_running'", new)
        assert held == 0
        synced = await db.fetchval(
            "select count(*) from sync_logs where run_id = $1 and job_type = 'sync_posts' and status = 'completed'", new
        )
        assert synced == 7


async def _under_way(db: Database) -> bool:
    return await db.fetchval(
        "select exists (select from sync_logs where status = 'running')"
        " and exists (select from sync_logs where status = 'completed')"
    )


async def _free(db: Database) -> bool:
    return await db.fetchval("select not exists (select from system_job_locks where locked_until > clock_timestamp())")
