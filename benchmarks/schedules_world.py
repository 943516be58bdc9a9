"""What the schedule benchmark is measured on: schedules of many expressions and zones, due and asleep."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any

from tidemill.engine import Context, Engine, Kind, Registry
from tidemill.engine.recurrence import Plan, recurrence
from tidemill.engine.schedules import Schedules
from tidemill.postgres import Connection, Database

JITTER = "5m"
EXPRESSIONS = [
    *(f"{minute} * * * *" for minute in range(0, 60, 5)),
    *(f"*/{step} * * * *" for step in (2, 5, 10, 15, 20, 30)),
    *(f"{minute} {hour} * * *" for hour in range(24) for minute in (0, 20, 40)),
    *(f"{minute} {hour} * * mon-fri" for hour in range(24) for minute in (10, 30, 50)),
    *(f"0 {hour} 1,15 * *" for hour in range(24)),
    *(f"45 {hour} * * sat#1" for hour in range(24)),
]
ZONES = [
    "Africa/Cairo", "Africa/Johannesburg", "America/Chicago", "America/Los_Angeles", "America/New_York",
    "America/Santiago", "America/Sao_Paulo", "Asia/Dubai", "Asia/Kolkata", "Asia/Shanghai", "Asia/Taipei",
    "Asia/Tehran", "Asia/Tokyo", "Australia/Lord_Howe", "Australia/Sydney", "Europe/Berlin", "Europe/Dublin",
    "Europe/London", "Pacific/Auckland", "UTC",
]  # fmt: skip

_FILL = """
insert into tidemill.schedule (name, kind, args, spec, next_at)
select * from unnest($1::text[], $2::text[], $3::text[]::jsonb[], $4::text[]::jsonb[], $5::timestamptz[])
"""
_SLEEPERS = """
insert into tidemill.schedule (name, kind, args, spec, next_at)
select 'asleep ' || n, 'tide', '{"tenant": 1}', '{"cron": "0 9 * * *", "timezone": "Asia/Taipei", "jitter": "5m"}',
  tidemill.now() + interval '1 day' + n * interval '1 second'
from generate_series(1, $1::int) n
"""
_EMPTY = "truncate tidemill.job_ready, tidemill.job_delayed, tidemill.unique_key, tidemill.schedule_fire"
_DUE_AGAIN = """
update tidemill.schedule s set next_at = u.at, last_at = null
from unnest($1::text[], $2::timestamptz[]) as u (name, at) where s.name = u.name
"""
_FOUND = """
select
  (select count(distinct name) from tidemill.schedule_fire where job_id is not null)::int as fired,
  (select count(distinct job_id) from tidemill.schedule_fire)::int as jobs_told,
  ((select count(*) from tidemill.job_ready) + (select count(*) from tidemill.job_delayed))::int as jobs,
  (select count(*) from tidemill.unique_key)::int as keys,
  (select count(*) from tidemill.schedule where last_at is not null)::int as moved
"""

# The writes of a tick and nothing else: no fence, no lock, no look at what is due; all that is computed is given.
_BARE = """
with asked as materialized (
  select nextval('tidemill.job_id') as id, tidemill.now() as at, u.*
  from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[]::jsonb[], $6::timestamptz[])
    as u (name, fire_at, following_at, key, args, start_at)
), moved as (
  update tidemill.schedule s set next_at = a.following_at, last_at = a.fire_at, updated_at = clock_timestamp()
  from asked a where s.name = a.name
), held as (
  insert into tidemill.unique_key (kind, key, job) select $7, key, id from asked
), fired as (
  insert into tidemill.schedule_fire (name, fire_at, job_id) select name, fire_at, id from asked
), ready as (
  insert into tidemill.job_ready (id, queue, rank, kind, max_attempts, key, enqueued_at, args)
  select id, $8, (extract(epoch from at) * 1000)::bigint, $7, 20, key, at, args from asked where start_at <= at
)
insert into tidemill.job_delayed (id, queue, rank, kind, max_attempts, key, enqueued_at, args, run_at)
select id, $8, (extract(epoch from at) * 1000)::bigint, $7, 20, key, at, args, start_at from asked where start_at > at
"""


async def _nothing(ctx: Context, args: dict[str, Any]) -> None:
    pass


def engine_of(db: Database) -> Engine:
    """An application that knows the one kind that all schedules are of."""
    registry = Registry()
    registry.add(Kind("tide", _nothing))
    return Engine(db, registry)


async def until_none_is_due(schedules: Schedules) -> None:
    """Tick until all that is due now has been fired."""
    now = datetime.now(UTC)
    while (following := await schedules.tick()) is not None and following <= now:
        pass


class World:
    """A database with schedules in it, and what a tick would have to write now."""

    def __init__(self, db: Database, due: int) -> None:
        self.db = db
        self.engine = engine_of(db)
        self.schedules = Schedules(db, self.engine)
        kinds = itertools.cycle(itertools.product(ZONES, EXPRESSIONS))
        self._specs = [
            {"cron": cron, "timezone": zone, "jitter": JITTER} for zone, cron in itertools.islice(kinds, due)
        ]
        self._names = [f"tenant {n:06}, tides" for n in range(due)]
        self._args = [{"tenant": n, "moon": "full"} for n in range(due)]
        self._plans: list[Plan] = [recurrence(spec) for spec in self._specs]

    async def fill(self, asleep: int) -> None:
        """All schedules; ``asleep`` more that are due in a day or later."""
        columns = [[json.dumps(value) for value in values] for values in (self._args, self._specs)]
        kinds, nows = ["tide"] * len(self._names), [datetime.now(UTC)] * len(self._names)
        await self.db.execute(_FILL, self._names, kinds, *columns, nows)
        await self.db.execute(_SLEEPERS, asleep, timeout=600)
        await self.engine.names.learn(self.db, ["tide"], ["default"])
        await self.reset()

    async def reset(self) -> None:
        """As before the first tick: all that was due is due again, with its latest fire, and nothing has been fired."""
        await self.db.execute(_EMPTY)
        now = await self.db.fetchval("select tidemill.now()")
        self._fires = [plan.slot(now) or now for plan in self._plans]
        await self.db.execute(_DUE_AGAIN, self._names, self._fires, timeout=600)
        for table in ("schedule", "schedule_fire", "job_ready", "job_delayed", "unique_key"):
            await self.db.execute(f"vacuum analyze tidemill.{table}", timeout=600)
        await self.db.execute("checkpoint", timeout=600)

    def planned(self, now: datetime) -> list[Any]:
        """The arguments of the bare statement: what the tick has to find out by itself."""
        plans = list(zip(self._names, self._plans, self._fires, self._args, strict=True))
        return [
            self._names,
            self._fires,
            [plan.next(now) for plan in self._plans],
            [f"schedule:{name}" for name in self._names],
            [json.dumps({**args, "fire_at": fire.isoformat()}) for _, _, fire, args in plans],
            [plan.start(name, fire) for name, plan, fire, _ in plans],
            self.engine.names.kind("tide"),
            self.engine.names.queue("default"),
        ]

    async def verify(self) -> None:
        """Everything was fired once, and has its job and its key."""
        found = await self.db.fetchrow(_FOUND)
        assert found is not None
        wanted = len(self._names)
        assert set(found.values()) == {wanted}, dict(found)


async def bare(conn: Connection, planned: list[Any]) -> None:
    """One set-based statement that writes what a tick writes."""
    await conn.execute(_BARE, *planned, timeout=600)
