"""Whatever the order in which a tick, a run's end, a rescue and people meet over a sync job, its rows stay true."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import combinations_with_replacement
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace

from tests.engine.by_hand import claim, let_die, new_node
from tests.engine.interleaving import interleave, stepped, watching
from tests.engine.truths import LIVE, untrue
from tidemill.connectors import Connector
from tidemill.engine import Context, Engine, Job
from tidemill.engine.cancel import cancel_jobs
from tidemill.engine.finish import Ending, finish_all
from tidemill.engine.rescue import POISON_LIMIT, rescue_orphans
from tidemill.engine.statements import SQL
from tidemill.errors import LeaseLost
from tidemill.postgres import Connection, Database
from tidemill.sync.jobs.asked import Asked
from tidemill.sync.jobs.firing import Firing
from tidemill.sync.jobs.lane import KIND
from tidemill.sync.jobs.planning import Planning

from .support import NOON, QUARTERS, World, world

ALLOWED = (LeaseLost, asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)
NEVER = float("inf")
NO_TAPS: dict[str, Connector] = {}
"""So that each job runs in the ordinary queue."""
TABLES = (
    *("public.companies", "public.integration_connectors", "public.sync_jobs", "public.sync_run_logs"),
    *("public.sync_notifications", "tidemill.job_ready", "tidemill.job_delayed", "tidemill.job_lease"),
    *("tidemill.job_dead", "tidemill.job_run", "tidemill.job_cancel", "tidemill.unique_key", "tidemill.flow"),
    *("tidemill.flow_wake", "tidemill.node"),
)
TRUTHS = {
    "the state of a sync job is not that of its runs": """
        select j.id, j.run_state from public.sync_jobs j cross join lateral (
          select bool_or(status = 'running') as running, bool_or(status = 'pending') as queued
          from public.sync_run_logs r where r.job_id = j.id) s
        where j.run_state <> case when s.running then 'running' when s.queued then 'queued' else 'idle' end""",
    "a run waits for a job that does not live": f"""
        select r.id, r.engine_job from public.sync_run_logs r
        where r.status in ('pending', 'running') and r.engine_job is not null
          and r.engine_job not in (select id from ({LIVE}) live)""",
    "a run runs that the engine was never given": """
        select id from public.sync_run_logs where status = 'running' and engine_job is null""",
    "a job lives for a run that knows of none or another": f"""
        select j.id, r.id as run, r.engine_job from ({LIVE}) j
        join public.sync_run_logs r on r.id = (j.args ->> 'run')::uuid
        where r.engine_job is distinct from j.id""",
    "two runs of a sync job are with the engine": """
        select job_id from public.sync_run_logs r join public.sync_jobs j on j.id = r.job_id
        where r.status in ('pending', 'running') and r.engine_job is not null and j.schedule ->> 'overlap' <> 'allow'
        group by 1 having count(*) > 1""",
    "a fire has passed without its run, and without the rest after a failure": """
        select j.id, j.next_run_at from public.sync_jobs j
        join kept.sync_jobs k on k.id = j.id and k.version = j.version
        where j.next_run_at > k.next_run_at and j.failures = k.failures and not exists (
          select from public.sync_run_logs r where r.job_id = j.id and r.fire_at = k.next_run_at)""",
    "a fire has its run and is to come again": """
        select j.id from public.sync_jobs j join kept.sync_jobs k on k.id = j.id and k.next_run_at = j.next_run_at
        join public.sync_run_logs r on r.job_id = j.id and r.fire_at = k.next_run_at""",
}
_UNTRUE = " union all ".join(
    f"select '{name}' as truth, to_jsonb(x)::text as shown from ({query}) x" for name, query in TRUTHS.items()
)


@dataclass
class Scene:
    """A sync job in some state, kept as a copy to start each order from."""

    world: World
    keeper: Connection
    job: UUID
    holder: int = 0
    leased: list[Job] = field(default_factory=list[Job])

    def on(self, db: Database) -> Engine:
        """The engine, on an actor's database."""
        engine = Engine(db, self.world.engine.registry)
        engine.names = self.world.engine.names
        return engine

    async def keep(self) -> None:
        copies = (f"create table kept.{t.partition('.')[2]} as select * from {t};" for t in TABLES)
        await self.world.db.execute("create schema kept;" + "".join(copies))

    async def restore(self) -> None:
        db = self.world.db
        copies = (
            f"delete from {t}; insert into {t} overriding system value select * from kept.{t.partition('.')[2]};"
            for t in TABLES
        )
        # Without triggers, by who may say so: they would plan the rows anew.
        await self.keeper.execute("begin; set local session_replication_role = replica;" + "".join(copies) + "commit")
        places = {row["id"]: row["place"] for row in await db.fetch(SQL.places, [job.id for job in self.leased])}
        self.leased = [replace(job, place=places[job.id]) for job in self.leased]


async def scene(w: World, keeper: Connection, name: str, overlap: str) -> Scene:
    """A sync job whose fire is due and that was asked for a run.

    In ``running`` a node holds a run of it as well, in ``orphaned`` one that is gone, the last of several.
    """
    await w.clock(NOON)
    s = Scene(w, keeper, await w.job({**QUARTERS, "overlap": overlap}))
    await w.engine.names.learn(w.db, [KIND], ["sync_jobs"])
    await Planning(w.db, w.jobs.types).plan(NEVER)
    if name != "due":
        await w.control(s.job, "run")
        await Asked(w.db, w.engine, w.jobs.types, NO_TAPS).take_up(NEVER)
        s.holder = (await new_node(w.db)).id
        s.leased = await claim(w.engine, s.holder, "sync_jobs")
        assert len(s.leased) == 1
    if name == "orphaned":
        await w.db.execute("update tidemill.job_lease set crashes = $1", POISON_LIMIT - 1)
        await let_die(w.db, s.holder)
    await w.control(s.job, "run")
    await w.clock(NOON + timedelta(minutes=15))
    await s.keep()
    return s


# What actors do ------------------------------------------------------------------------------------------------------


async def fire(s: Scene, db: Database) -> object:
    return await Firing(db, s.on(db), s.world.jobs.types, NO_TAPS).fire(NEVER)


async def take_up(s: Scene, db: Database) -> object:
    return await Asked(db, s.on(db), s.world.jobs.types, NO_TAPS).take_up(NEVER)


async def work(s: Scene, db: Database) -> object:
    """The run from its beginning to its end, and the engine's ending of its job."""
    engine = s.on(db)
    [job] = s.leased
    outcome = await engine.registry[KIND].handler(Context(job, engine, deadline=0), job.args)
    return type(outcome).__name__, await finish_all(db, engine.registry, [Ending(job, "done")])


async def rescue(s: Scene, db: Database) -> object:
    return await rescue_orphans(s.on(db), db)


async def cancel(s: Scene, db: Database) -> object:
    return len(await cancel_jobs(s.on(db), [job.id for job in s.leased], by="ops"))


async def delete(s: Scene, db: Database) -> object:
    async with db.transaction() as conn:
        return await conn.execute("delete from public.sync_jobs where id = $1", s.job)


async def edit(s: Scene, db: Database) -> object:
    async with db.transaction() as conn:
        return await conn.execute("update public.sync_jobs set payload = '{\"a\": 1}' where id = $1", s.job)


async def control(action: str, s: Scene, db: Database) -> object:
    try:
        async with db.transaction() as conn:
            return tuple(await conn.fetchrow("select * from public.sync_job_control($1, $2)", s.job, action) or ())
    except asyncpg.PostgresError as e:
        if (e.sqlstate or "").startswith("TM"):
            return f"refused: {e}"  # it was deleted
        raise


Act = Callable[[Scene, Database], Awaitable[object]]
PEOPLE: dict[str, Act] = {
    "ask": partial(control, "run"),
    "pause": partial(control, "pause"),
    "stop": partial(control, "cancel"),
    "edit": edit,
    "delete": delete,
}
ACTS: dict[str, dict[str, Act]] = {
    "due": {"fire": fire, "take up": take_up, **PEOPLE},
    "running": {"fire": fire, "take up": take_up, "work": work, "cancel": cancel, **PEOPLE},
    "orphaned": {"fire": fire, "take up": take_up, "work": work, "rescue": rescue, **PEOPLE},
}
"""Scene → actor → what it does there."""


@pytest.fixture
async def watcher(superuser_url: str) -> AsyncIterator[Connection]:
    async with watching(superuser_url) as conn:
        yield conn


async def all_of(
    db: Database, watcher: Connection, name: str, overlap: str, at_once: int, switches: int | None
) -> Counter[str]:
    """Every order of so many actors of a scene; how often each kind of thing happened."""
    met: Counter[str] = Counter()
    async with world(db) as w, stepped(db.url, at_once) as dbs:
        s = await scene(w, watcher, name, overlap)
        for acts in combinations_with_replacement(ACTS[name], at_once):
            works = [partial(ACTS[name][act], s) for act in acts]
            async for run in interleave(dbs, works, watcher, before=s.restore, switches=switches):
                told = f"{name}, {overlap}: {acts} in the order {run.order} came to {run.outcomes}"
                for outcome in run.outcomes:
                    assert not isinstance(outcome, Exception) or isinstance(outcome, ALLOWED), told
                wrong = [f"{row['truth']}: {row['shown']}" for row in await db.fetch(_UNTRUE)]
                assert wrong + await untrue(db) == [], told
                met["orders"] += 1
                met["waited"] += run.waited
                met["deadlocks"] += any(isinstance(o, asyncpg.DeadlockDetectedError) for o in run.outcomes)
    logging.getLogger(__name__).info("%s, %s, %s at once: %s", name, overlap, at_once, dict(met))
    return met


@pytest.mark.parametrize("name", ACTS)
async def test_two_at_once_in_every_order_of_one_switch(db: Database, watcher: Connection, name: str) -> None:
    met = await all_of(db, watcher, name, "queue", 2, switches=1)
    assert met["waited"] > 0, "nobody ever waited for a lock, so nothing was tried"


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("overlap", ["skip", "queue", "replace", "allow"])
@pytest.mark.parametrize("name", ACTS)
async def test_two_at_once_in_every_order_of_two_switches(
    db: Database, watcher: Connection, name: str, overlap: str
) -> None:
    await all_of(db, watcher, name, overlap, 2, switches=2)
