"""The fleet at a glance: what it counts, and that looking does not cost more where there is more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.engine.support import until, working
from tidemill.engine import Context, Kind
from tidemill.engine.overview import MOST_LISTED, QueueState, overview, recent_runs
from tidemill.engine.statements import SQL
from tidemill.postgres import Database

NAMES = """\
with q as (insert into tidemill.queue (name) values ('mail'), ('idle') returning id, name)
insert into tidemill.kind (name, queue) select 'letter', id from q where name = 'mail'
"""
JOBS = """\
insert into tidemill.{table} (id, queue, lane, rank, kind, attempt, max_attempts, enqueued_at, args {more})
select i, (select id from tidemill.queue where name = 'mail'), i % 50, i,
  (select id from tidemill.kind where name = 'letter'), i % 2, 5,
  clock_timestamp() - i * interval '1 second', '{{}}' {values}
from generate_series(1, $1::int) i
"""
DEAD = """\
insert into tidemill.job_dead (id, queue, kind, priority, attempt, crashes, max_attempts, args, died_at)
select i, (select id from tidemill.queue where name = 'mail'), 1, 0, 1, 0, 1, '{}', now()
from generate_series(1, $1::int) i
"""
RUNS = """\
insert into tidemill.job_run (id, queue, kind, attempt, crashes, outcome, node, started_at, finished_at)
select i, 1, 1, 1, 0, case when i % 10 = 0 then 'failed' else 'done' end, 1, $2::timestamptz,
  $2::timestamptz + i * interval '1 ms'
from generate_series(1, $1::int) i
"""
SCHEDULES = """\
insert into tidemill.schedule (name, kind, spec, next_at, paused_by, error)
select 's' || i, 'letter', '{"every": "1h"}', clock_timestamp() + i * interval '1 minute',
  case when i % 1000 = 1 then 'ann' end, case when i % 1000 = 2 then 'no such zone' end
from generate_series(1, $1::int) i
"""
NODE = """\
insert into tidemill.node (name, pid, expires_at, ttl, version, queues)
values ('host', 7, clock_timestamp() + interval '10 seconds', interval '15 seconds', '1.2', '{mail}') returning id
"""
ACCESSES = ("Shared Hit Blocks", "Shared Read Blocks")


async def fill(db: Database, jobs: int) -> None:
    await db.execute(NAMES)
    node = await db.fetchval(NODE)
    await db.execute(JOBS.format(table="job_ready", more="", values=""), jobs)
    await db.execute(JOBS.format(table="job_delayed", more=", run_at", values=", now() + i * interval '1 hour'"), jobs)
    lease = JOBS.format(table="job_lease", more=", token, node, claimed_at", values=f", 1, {node}, now()")
    await db.execute(lease, jobs)
    await db.execute(DEAD, jobs)
    await db.execute(RUNS, jobs, datetime.now(UTC) - timedelta(minutes=5))
    await db.execute(SCHEDULES, jobs)
    await db.execute("analyze")


def named(queues: list[QueueState], name: str) -> QueueState:
    return next(queue for queue in queues if queue.name == name)


async def test_each_job_is_counted_in_one_state_of_its_queue(db: Database) -> None:
    await fill(db, 11)
    seen = await overview(db)
    mail, idle = named(seen.queues, "mail"), named(seen.queues, "idle")
    assert (mail.ready, mail.running, mail.delayed, mail.retrying, mail.dead) == (11, 11, 5, 6, 11)
    assert mail.more == []
    assert mail.oldest_s is not None
    assert 11 <= mail.oldest_s < 60
    assert (idle.ready, idle.dead, idle.oldest_s) == (0, 0, None)
    [node] = seen.nodes
    assert (node.host, node.pid, node.version, node.is_alive, node.jobs, node.queues) == (
        "host", 7, "1.2", True, 11, ["mail"],
    )  # fmt: skip
    assert node.beat_at is not None
    assert timedelta(0) < seen.at - node.beat_at < timedelta(minutes=1)


async def test_a_count_that_stops_says_so_and_the_longest_wait_is_found_in_every_lane(db: Database) -> None:
    await fill(db, 30)
    mail = named((await overview(db, most=10)).queues, "mail")
    assert (mail.ready, mail.running, mail.dead) == (10, 10, 10)
    assert (mail.more, mail.delayed + mail.retrying) == (["ready", "running", "delayed", "retrying", "dead"], 11)
    assert mail.oldest_s is not None
    assert mail.oldest_s >= 30  # in the last of 30 lanes


async def test_what_is_of_a_paused_kind_does_not_wait(db: Database) -> None:
    await fill(db, 3)
    await db.execute("update tidemill.kind set paused_at = now(), paused_by = 'ann' where name = 'letter'")
    await db.execute("update tidemill.queue set paused_at = now(), paused_by = 'bob' where name = 'idle'")
    seen = await overview(db)
    assert (named(seen.queues, "mail").ready, named(seen.queues, "mail").oldest_s) == (3, None)
    assert [(kind.name, kind.paused_by) for kind in seen.paused_kinds] == [("letter", "ann")]
    assert named(seen.queues, "idle").paused_by == "bob"


async def test_a_job_that_was_delayed_waits_from_when_it_was_due(db: Database) -> None:
    async def never(ctx: Context, args: dict[str, Any]) -> None:
        raise AssertionError("its queue is paused")

    async with working(db, Kind("later", never)) as (engine, _):
        await db.execute("update tidemill.queue set paused_at = now()")
        await engine.enqueue("later", delay=7200)
        await db.execute("select tidemill.advance_clock('2 hours 1 minute')")
        await until(lambda: db.fetchval("select exists (select from tidemill.job_ready)"), what="its promotion")
        [queue] = (await overview(db)).queues
    assert queue.oldest_s is not None
    assert 60 <= queue.oldest_s < 3600


async def test_schedules_locks_scopes_and_partitions_are_told(db: Database) -> None:
    await db.execute(SCHEDULES, 4)
    await db.execute("update tidemill.schedule set next_at = now() - interval '1 hour' where name = 's3'")
    await db.execute("select tidemill.acquire_lock('tide', 'me', interval '1 minute')")
    await db.execute(
        "insert into tidemill.budget (scope, blocked_until, reason)"
        " values ('threads:app:1', tidemill.now() + interval '1 hour', 'told so'),"
        " ('threads:app:2', tidemill.now() - interval '1 hour', 'over')"
    )
    seen = await overview(db)
    assert [(s.state, s.name, s.note) for s in seen.schedules] == [
        ("broken", "s2", "no such zone"), ("late", "s3", None), ("paused", "s1", "ann"), ("planned", "s4", None),
    ]  # fmt: skip
    assert [(lock.name, lock.owner) for lock in seen.locks] == [("tide", "me")]
    assert [(scope.name, scope.reason) for scope in seen.scopes] == [("threads:app:1", "told so")]
    assert set(seen.partitions) == {
        "job_run", "workspace_threads_post_metrics", "workspace_threads_account_insights",
    }  # fmt: skip
    assert all(ahead_s > 86_400 for ahead_s in seen.partitions.values())
    await db.execute("select tidemill.advance_clock('3 years')")
    moved = (await overview(db)).partitions
    assert {table for table, ahead_s in moved.items() if ahead_s == 0} == set(moved) - {"job_run"}


async def test_attempts_of_the_last_hour_are_told_by_outcome_and_older_ones_left_out(db: Database) -> None:
    now = datetime.now(UTC)
    await db.execute(RUNS, 20, now - timedelta(hours=3))
    await db.execute(RUNS, 100, now - timedelta(minutes=5))
    found = await recent_runs(db, now - timedelta(hours=1))
    assert (found.outcomes, found.since) == ({"done": 90, "failed": 10}, now - timedelta(hours=1))


async def test_where_very_much_ended_the_latest_is_told_and_since_when(db: Database) -> None:
    now = datetime.now(UTC)
    await db.execute(RUNS, 20_000, now - timedelta(minutes=5))
    found = await recent_runs(db, now - timedelta(hours=1), most_blocks=4)
    assert now - timedelta(minutes=5) < found.since < now
    assert 0 < sum(found.outcomes.values()) < 1000
    assert found.outcomes["done"] > found.outcomes["failed"] > 0


async def test_looking_reads_no_more_where_there_is_a_hundred_times_as_much(db: Database) -> None:
    await fill(db, 20_000)
    for statement, arguments in (
        (SQL.overview_queues, (100,)),
        (SQL.overview_nodes, (100, MOST_LISTED)),
        (SQL.overview_schedules, (100, 60.0)),
        (SQL.overview_runs, (datetime(2020, 1, 1, tzinfo=UTC), 4)),
    ):
        [[plans]] = await db.fetch(f"explain (analyze, buffers, format json) {statement}", *arguments)
        # 100 of each state and a probe for each of 50 lanes; a whole table has more rows, and is read by none.
        assert sum(plans[0]["Plan"][name] for name in ACCESSES) < 900, plans
        assert max(_rows(plans[0]["Plan"])) <= 600, plans


def _rows(node: dict[str, Any]) -> list[float]:
    inner = [rows for child in node.get("Plans", ()) for rows in _rows(child)]
    return [node["Actual Rows"] * node["Actual Loops"], *inner]
