"""Workers, network and Postgres fail in every way at once; what each job writes is written once all the same."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.conftest import KeptServer
from tests.chaos.faults import Crew, plan
from tests.chaos.feeder import Feeder
from tests.chaos.ledger import TABLES, phases
from tests.chaos.processes import until
from tests.conftest import administer, with_database
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database, connect, migrate

FEEDERS = 3
CALM_S = 120.0
"""Within which all is done once everything is well again: ten times what it needs."""
POISON = 0.01
"""Share of jobs that may be unlucky five times in a row: they die, and are told dead."""


@pytest.fixture
async def ledger(kept_server: KeptServer) -> AsyncIterator[str]:
    """A database on a server that loses nothing."""
    name = f"tm_ledger_{secrets.token_hex(4)}"
    await administer(kept_server.url, f"create database {name}")
    url = with_database(kept_server.url, name)
    await migrate(url)
    await administer(url, TABLES)
    await administer(kept_server.url, "checkpoint")
    try:
        yield url
    finally:
        await administer(kept_server.url, f"drop database if exists {name} with (force)")


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seconds", [12, pytest.param(600, marks=pytest.mark.chaos)])
async def test_whatever_fails_each_job_ends_once_and_what_it_writes_is_written_once(
    kept_server: KeptServer, ledger: str, seed: int, tmp_path: Path, seconds: int
) -> None:
    rng = random.Random(f"{seed}:{seconds}")
    async with Crew(kept_server, ledger, tmp_path) as crew:
        troubles = plan(rng, seconds)
        try:
            async with await Database.open(crew.feeder.url, command_timeout=1.0, name="chaos feeder") as far:
                feeders = [Feeder(far, random.Random(f"{seed}:{n}"), f"{n}") for n in range(FEEDERS)]
                for worker in crew:
                    await worker.until_said("ready")
                harrying = asyncio.create_task(crew.harry(troubles))
                await asyncio.gather(harrying, *(feeder.feed(harrying) for feeder in feeders))
            loose = {name: answered for feeder in feeders for name, answered in feeder.loose.items()}
            await until(lambda: _answers(ledger), what="the last restart of Postgres")
            async with await Database.open(ledger, name="chaos tests") as db:
                await crew.well(db)
                await _calm(db)
                told = await _check(db, loose)
            assert all(worker.is_running() for worker in crew)
        except BaseException as e:
            happened = "\n".join(crew.done)
            e.add_note(f"TIDEMILL_CHAOS_SEED={seed}; what happened:\n{happened}")
            for worker in crew:
                e.add_note(worker.last_words())
            raise
    kinds = Counter(trouble.what for trouble in troubles)
    unanswered = sum(feeder.unanswered for feeder in feeders)
    print(f"TIDEMILL_CHAOS_SEED={seed}: {told}, {unanswered} calls unanswered, {dict(kinds)}")  # noqa: T201


async def _answers(url: str) -> bool:
    try:
        conn = await connect(url, name="chaos tests")
    except DatabaseUnavailable:
        return False
    await conn.close(timeout=10)
    return True


async def _calm(db: Database) -> None:
    async def calm() -> bool:
        return not await _left(db)

    try:
        await until(calm, what="the end of all jobs", patience=CALM_S, pause=0.2)
    except AssertionError as e:
        e.add_note(str(await _left(db)))
        e.add_note(str(await db.fetch("select pid, state, wait_event, query from pg_stat_activity where query <> ''")))
        raise


async def _left(db: Database) -> dict[str, list[tuple[object, ...]]]:
    """What must be gone once no job is left."""
    queries = {
        "ready": "select id, kind, attempt, crashes from tidemill.job_ready limit 20",
        "delayed": "select id, kind, attempt, crashes, run_at from tidemill.job_delayed limit 20",
        "leased": "select l.id, l.kind, l.attempt, l.crashes, l.node, n.expires_at from tidemill.job_lease l"
        " left join tidemill.node n on n.id = l.node limit 20",
        "keys": "select * from tidemill.unique_key limit 20",
        "cancels": "select * from tidemill.job_cancel limit 20",
        "batches": "select id, state, total, finished, counts from tidemill.batch where state <> 'closed' limit 20",
    }
    rows = {what: [tuple(row) for row in await db.fetch(query)] for what, query in queries.items()}
    return {what: found for what, found in rows.items() if found}


async def _check(db: Database, loose: dict[str, bool]) -> str:
    """All that was promised, from what the database says; in short, what there was."""
    fed = {row["name"]: row["sort"] for row in await db.fetch("select name, sort from chaos_fed")}
    dead = {row["name"] for row in await db.fetch("select args ->> 'name' as name from tidemill.job_dead")}
    reasons = {row["reason"] for row in await db.fetch("select reason from tidemill.job_dead")}
    assert reasons <= {"poison"}
    assert len(dead) <= POISON * len(fed)

    written: dict[str, Counter[int]] = {}
    for row in await db.fetch("select name, phase from chaos_ledger"):
        written.setdefault(row["name"], Counter())[row["phase"]] += 1
    assert {name: rows for name, rows in written.items() if max(rows.values()) > 1} == {}
    complete = {name for name, rows in written.items() if set(rows) == phases(name.split()[0])}
    stopped = {name for name, sort in fed.items() if sort == "cancel"}
    answered = {name for name, was_answered in loose.items() if was_answered}
    assert (set(fed) | answered) - complete - stopped - dead == set()
    assert set(written) - set(fed) - set(loose) == set()

    # Every job that there was has one end, and those that were enqueued with a note are those that there are.
    ends = await db.fetch(
        "select id, count(*) filter (where outcome not in ('retry', 'crashed')) as n from tidemill.job_run group by id"
    )
    assert [tuple(row) for row in ends if row["n"] != 1] == []
    assert (
        await db.fetch("select job from chaos_fed where job is not null except select id from tidemill.job_run") == []
    )
    outcomes = Counter(row["outcome"] for row in await db.fetch("select outcome from tidemill.job_run"))
    assert set(outcomes) <= {"done", "retry", "crashed", "cancelled", "dead"}

    batches = await db.fetch("select total, finished, counts from tidemill.batch")
    members = await db.fetch(
        "select batch, count(*) as n from tidemill.job_run"
        " where batch is not null and outcome not in ('retry', 'crashed') group by 1"
    )
    assert [tuple(row) for row in batches if not row["total"] == row["finished"] == sum(row["counts"].values())] == []
    assert Counter(row["total"] for row in batches) == Counter(row["n"] for row in members)
    return f"{len(ends)} jobs, {dict(outcomes)}, {len(batches)} batches"
