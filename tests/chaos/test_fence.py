"""A worker that is stopped past its lease and then continued commits nothing, says so once, and works on."""

from __future__ import annotations

import random

import pytest

from tests.chaos.moments import Held
from tests.chaos.processes import CONTINUE, STOP, Process, until
from tests.chaos.snapshot import snapshot
from tests.chaos.world import PERIOD, SLOT, History, World, trigger
from tidemill.postgres import Database

ONE_BY_ONE = {"TIDEMILL_SYNC_ACCOUNTS_AT_ONCE": "1"}
ALL_AT_ONCE = {"TIDEMILL_SYNC_ACCOUNTS_AT_ONCE": "8"}


@pytest.mark.parametrize("settings", [ONE_BY_ONE, ALL_AT_ONCE], ids=["one", "many"])
async def test_a_worker_stopped_between_two_commits_of_an_account_commits_nothing_more(
    world: World, settings: dict[str, str]
) -> None:
    async with world.database("new") as db:
        with world.worker(db.url, "zombie", **settings) as zombie:
            await zombie.until_said("ready")
            await trigger(db, SLOT)
            await until(lambda: _first_commit(db), what="the first commit of an account's metrics", pause=0.001)
            zombie.signal(STOP)
            await _is_outlived(world, db, zombie, "new")


@pytest.mark.parametrize(
    ("moment", "state"),
    [
        # Its statement had run, and the transaction waits for the next one.
        ("writing snapshots of known posts", "idle in transaction"),
        # Its statement was parsed and is waited for: Postgres does not count that as idle.
        ("writing snapshots", "active"),
        # The end of a job was written, and not committed: the batch is locked, too. This takes Postgres longer to end.
        pytest.param("counting an account", "idle in transaction", marks=pytest.mark.chaos),
    ],
)
async def test_a_worker_stopped_inside_a_transaction_commits_nothing_more(
    world: World, moment: str, state: str
) -> None:
    async with world.database("known") as db:
        with world.worker(db.url, "zombie", **ONE_BY_ONE) as zombie:
            await zombie.until_said("ready")
            async with Held(db, moment, random.Random(0)) as held:
                await trigger(db, SLOT)
                await held.reached()
                zombie.signal(STOP)
            await until(lambda: _waits_for_its_client(db, state), what=f"a transaction left {state}")
            await _is_outlived(world, db, zombie, "known")


async def _is_outlived(world: World, db: Database, zombie: Process, history: History) -> None:
    runs = len(await db.fetch("select from system_job_logs"))
    held = await db.fetch("select from tidemill.job_lease")
    with world.worker(db.url, "heir") as heir:
        await world.closed(db, runs)
        await world.verify(db, history)
        before = await snapshot(db)
        zombie.signal(CONTINUE)
        await until(lambda: _said_lost(zombie), what="a word of the lost leases")
        heir.kill()
    await until(lambda: _alone(db), what="a new incarnation")
    assert await snapshot(db) == before
    # It does the next slot alone, after whatever it still had in hand.
    await db.fetchval("select tidemill.advance_clock($1)", PERIOD)
    await trigger(db, SLOT + PERIOD)
    await world.closed(db, runs + 1)
    after = await snapshot(db)
    for table in ("sync_logs", "workspace_threads_post_metrics", "workspace_threads_post_metrics_deltas"):
        assert all(row in after[table] for row in before[table]), table
    told = [job for line in zombie.said("leases_lost", "lease_lost") for job in line.get("jobs", [line.get("job")])]
    assert len(told) == len(set(told)) == len(held), zombie.last_words()
    assert not zombie.said("job_failed"), zombie.last_words()
    assert zombie.is_running()


async def _first_commit(db: Database) -> bool:
    return await db.fetchval(
        "select exists (select from sync_logs where status = 'running' and job_type = 'sync_metrics'"
        " and (metadata ->> 'metrics_updated')::int > 0)"
    )


async def _waits_for_its_client(db: Database, state: str) -> bool:
    return await db.fetchval(
        "select exists (select from pg_stat_activity where datname = current_database()"
        " and state = $1 and wait_event = 'ClientRead' and xact_start is not null"
        " and application_name in ('chaos', 'tidemill-control'))",
        state,
    )


async def _said_lost(process: Process) -> bool:
    return bool(process.said("leases_lost", "lease_lost"))


async def _alone(db: Database) -> bool:
    """Whether one node, the youngest, is alive."""
    return await db.fetchval(
        "select count(*) = 1 and max(id) = (select max(id) from tidemill.node) from tidemill.node"
        " where expires_at > clock_timestamp()"
    )
