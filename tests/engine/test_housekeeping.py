"""What is kept for how long, and who sees to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.engine.support import until
from tidemill.engine import housekeeping
from tidemill.engine.housekeeping import EVERY_S, POSTPONED_S, Retention, keep_house
from tidemill.engine.look import find_job
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, Database, connect

KEEPERS = {
    "batch": "housekeeping, when closed; upkeep closes it at its deadline",
    "budget": "as many as are declared or set; housekeeping, when it is there by use or for a pause",
    "clock": "one row",
    "edge_call": "trigger_edge_function",
    "flow": "the claim that finds it empty; housekeeping",
    "flow_wake": "the claim that hears of it",
    "idempotency_key": "the next request with a key",
    "job_cancel": "heed_cancels",
    "job_dead": "housekeeping",
    "job_delayed": "the job's end",
    "job_limit": "as many as are declared or set",
    "job_lease": "the attempt's end",
    "job_progress": "the worker at the attempt's end; housekeeping",
    "job_rate": "the claim that goes by it; housekeeping",
    "job_ready": "the job's end",
    "job_run": "housekeeping, by partition",
    "kind": "as many as are declared",
    "node": "node_leave; housekeeping",
    "queue": "as many as are declared",
    "run_cursor": "the run's end; the run's own row takes it along",
    "schedule": "as many as are declared",
    "schedule_fire": "housekeeping",
    "schema_migrations": "one row a file",
    "setting": "an operator",
    "staged_record": "the next cursor or attempt; repair and log_retention, when the run is over",
    "sync_job_type": "as many as workers were ever started with",
    "tenant_weight": "as many as are set",
    "unique_key": "the job's end",
}
"""Who keeps each table of ours from growing for ever."""

RUN = """\
insert into tidemill.job_run (id, queue, kind, attempt, crashes, outcome, node, started_at, finished_at)
select nextval('tidemill.job_id'), tidemill.intern_queue('q'), tidemill.intern_kind('k'), 1, 0, 'done', 1, at, at
from unnest($1::timestamptz[]) as at
returning id
"""
DEAD = """\
insert into tidemill.job_dead (id, queue, kind, priority, attempt, crashes, max_attempts, args, died_at)
select nextval('tidemill.job_id'), 1, 1, 0, 1, 0, 1, '{}', clock_timestamp() - make_interval(days => d)
from unnest($1::int[]) d
"""


WEEK = timedelta(weeks=1)


async def partitions(db: Database) -> list[tuple[datetime, datetime]]:
    rows = await db.fetch("select starts_at, ends_at from tidemill.partitions_of('tidemill.job_run')")
    return [(row["starts_at"], row["ends_at"]) for row in rows]


async def old_partition(db: Database, name: str, ended_days_ago: int) -> datetime:
    """A partition of two weeks in the past; an instant in its middle."""
    end = datetime.now(UTC) - timedelta(days=ended_days_ago)
    await db.execute(
        f"create table tidemill.{name} partition of tidemill.job_run"
        f" for values from ('{end - timedelta(days=14)}') to ('{end}')"
    )
    return end - timedelta(days=7)


async def test_every_table_of_ours_has_somebody_who_keeps_it_small(db: Database) -> None:
    """A new table without one fails here: say in KEEPERS who prunes it, and prove it below."""
    tables = await db.fetch(
        "select relname from pg_class where relnamespace = 'tidemill'::regnamespace and relkind in ('r', 'p')"
        " and not relispartition"
    )
    assert {row["relname"] for row in tables} == KEEPERS.keys()


async def test_nodes_fires_pauses_and_batches_that_nobody_asks_for_any_more_are_forgotten(db: Database) -> None:
    await db.execute(
        """
        insert into tidemill.node (name, pid, expires_at)
        values ('gone', 1, clock_timestamp() - interval '2 hours'),
               ('late', 2, clock_timestamp() - interval '1 minute');
        insert into tidemill.schedule_fire (name, fire_at)
        values ('s', now() - interval '31 days'), ('s', now() - interval '29 days');
        insert into tidemill.budget (scope, blocked_until, reason)
        values ('old', now() - interval '2 days', ''), ('new', now() + interval '1 hour', '');
        insert into tidemill.budget (scope, leased, updated_at)
        values ('unused', '{1}', now() - interval '3 days'), ('used', '{1}', now() - interval '1 day');
        insert into tidemill.budget (scope, set_by, updated_at) values ('set', 'ops', now() - interval '3 days');
        insert into tidemill.batch (state, closed_at, close_kind, close_queue, close_args)
        values ('closed', now() - interval '31 days', 1, 1, '{}'), ('sealed', null, 1, 1, '{}');
        """
    )
    await keep_house(db)
    left = await db.fetchrow(
        "select (select array_agg(name) from tidemill.node) as nodes,"
        " (select count(*) from tidemill.schedule_fire) as fires,"
        " (select array_agg(scope order by scope) from tidemill.budget) as budgets,"
        " (select array_agg(state) from tidemill.batch) as batches"
    )
    assert left is not None
    assert dict(left) == {"nodes": ["late"], "fires": 1, "budgets": ["new", "set", "used"], "batches": ["sealed"]}


async def test_the_partitions_of_the_coming_month_are_there_before_it_begins(db: Database) -> None:
    await db.execute("select tidemill.advance_clock(interval '40 days')")
    await keep_house(db)
    month = await db.fetchval("select to_char(tidemill.now() + interval '1 month', 'YYYYMM')")
    made = await db.fetch("select relname from pg_class where relispartition and relname like '%' || $1", month)
    # History of jobs goes by the real clock, what is synced by tidemill.now().
    tables = {row["relname"].removesuffix(f"_{month}") for row in made}
    assert tables == {"workspace_threads_post_metrics", "workspace_threads_account_insights"}


async def test_history_goes_by_whole_partitions_once_all_of_them_is_old_enough(db: Database) -> None:
    gone = await old_partition(db, "job_run_202401", 75)
    kept = await old_partition(db, "job_run_202402", 59)
    [old], [young] = await db.fetch(RUN, [gone]), await db.fetch(RUN, [kept - timedelta(days=6)])
    stray, recent = await db.fetch(RUN, [gone - timedelta(days=100), datetime.now(UTC)])
    assert await keep_house(db, Retention(history_days=60)) == EVERY_S
    assert await find_job(db, old["id"]) is None
    assert await find_job(db, stray["id"]) is None, "from the DEFAULT partition"
    assert await find_job(db, young["id"]) is not None, "its partition has younger rows"
    assert await find_job(db, recent["id"]) is not None
    assert await db.fetchval("select to_regclass('tidemill.job_run_202401')") is None
    assert await db.fetchval("select to_regclass('tidemill.job_run_202402')") is not None


async def test_at_any_time_history_is_kept_as_long_as_asked_and_at_most_a_partition_longer(db: Database) -> None:
    await db.fetch("select tidemill.ensure_partitions('4 months')")
    made = await partitions(db)
    longest = max(end - start for start, end in made)
    first, last = made[0][0], made[-1][1]
    await db.fetch(RUN, [first + timedelta(hours=12 * n) for n in range(int((last - first) / timedelta(hours=12)))])
    all_of_it = [r["at"] for r in await db.fetch("select finished_at as at from tidemill.job_run order by 1")]
    assert longest == WEEK
    # Every boundary, the instants beside it, and steps of four days between.
    instants = {first + timedelta(days=4 * n) for n in range(int((last - first).days / 4))}
    instants |= {end + timedelta(microseconds=d) for _, end in made[:-1] for d in (-1, 0, 1)}
    for before in sorted(instants):
        await db.fetch("select tidemill.detach_history($1)", before)
        await db.fetch("select tidemill.drop_detached_history()")
        left = [r["at"] for r in await db.fetch("select finished_at as at from tidemill.job_run order by 1")]
        assert left == all_of_it[len(all_of_it) - len(left) :], "only the oldest go"
        assert [at for at in all_of_it if at >= before] == [at for at in left if at >= before], "nothing too early"
        assert left[0] > before - longest, "nothing much too late"
    assert len(await partitions(db)) == 1


async def test_there_is_a_partition_for_now_and_at_least_one_ahead_without_a_gap(db: Database) -> None:
    await db.execute(
        "do $$ declare p regclass; begin"
        " for p in select partition from tidemill.partitions_of('tidemill.job_run') loop"
        " execute format('drop table %s', p); end loop; end $$"
    )
    await keep_house(db)
    made = await partitions(db)
    now = await db.fetchval("select clock_timestamp()")
    assert made[0][0] <= now < made[0][1]
    assert len(made) >= 2
    assert all(before[1] == after[0] for before, after in pairwise(made))


async def taken_by(db: Database, *times: datetime) -> list[str]:
    """The partition that takes each of these rows."""
    await db.fetch(RUN, list(times))
    rows = await db.fetch(
        "select r.tableoid::regclass::text as name from tidemill.job_run r"
        " join unnest($1::timestamptz[]) with ordinality t (at, n) on r.finished_at = t.at order by t.n",
        list(times),
    )
    return [row["name"].removeprefix("tidemill.job_run_") for row in rows]


async def drop_current(db: Database) -> datetime:
    """Have no partition for now; when the one that there was began."""
    (start, _), *_ = await partitions(db)
    await db.execute(f"drop table tidemill.job_run_{start:%Gw%V}")
    return start


async def test_a_week_takes_its_rows_up_to_the_last_instant_and_the_next_begins_there(db: Database) -> None:
    made = await partitions(db)
    tick = timedelta(microseconds=1)
    names = [f"{start:%Gw%V}" for start, _ in made]
    assert await taken_by(db, *(start for start, _ in made)) == names
    assert await taken_by(db, *(end - tick for _, end in made)) == names
    assert await taken_by(db, made[0][0] - tick, made[-1][1]) == ["default", "default"]


async def test_a_row_that_comes_while_its_week_is_being_made_is_kept(db: Database) -> None:
    week = await drop_current(db)
    async with db.transaction() as maker:
        await maker.fetch("select tidemill.ensure_partitions()")
        pid = await maker.fetchval("select pg_backend_pid()")
        writer = asyncio.create_task(taken_by(db, datetime.now(UTC)))
        waits = "select exists (select from pg_stat_activity where $1 = any (pg_blocking_pids(pid)))"
        await until(lambda: db.fetchval(waits, pid), what="the writer waits")
    assert await writer == [f"{week:%Gw%V}"]


async def test_a_week_of_which_there_are_rows_already_stays_where_they_are_and_writes_go_on(db: Database) -> None:
    week, now = await drop_current(db), datetime.now(UTC)
    assert await taken_by(db, now) == ["default"]
    assert await keep_house(db) == EVERY_S
    assert await taken_by(db, week, now + timedelta(seconds=1)) == ["default", "default"]
    assert await taken_by(db, week + WEEK) == [f"{week + WEEK:%Gw%V}"], "the next week is as it should be"


async def test_no_write_fails_for_a_clock_that_was_ahead_and_is_set_back(db: Database) -> None:
    now, names = datetime.now(UTC), list[str]()
    # By the clock that was ahead, all there is was old: taken out, and dropped only after the clock was set back.
    await db.fetch("select tidemill.detach_history(clock_timestamp() + interval '1 year')")
    for n in range(3):
        names += await taken_by(db, now + timedelta(seconds=n))
        assert await keep_house(db) == EVERY_S
    assert names == ["default"] * 3
    assert await taken_by(db, now - timedelta(days=400)) == ["default"]
    [(first, _), *_] = await partitions(db)
    assert first > now, "of the weeks to come there is one each again"


async def test_a_partition_of_another_length_is_left_alone_and_writes_go_on(db: Database) -> None:
    last = (await partitions(db))[-1][1]
    seam = last + timedelta(days=10)
    await db.execute(
        f"create table tidemill.job_run_by_hand partition of tidemill.job_run for values from ('{last}') to ('{seam}')"
    )
    rows = await db.fetch("select * from tidemill.ensure_partitions('3 months') where parent = 'tidemill.job_run'")
    outcomes = {row["partition"].removeprefix("tidemill.job_run_"): row["outcome"] for row in rows}
    assert [outcomes[f"{last + n * WEEK:%Gw%V}"] for n in range(3)] == ["overlaps", "overlaps", "created"]
    assert await taken_by(db, last, seam, last + 2 * WEEK) == ["by_hand", "default", f"{last + 2 * WEEK:%Gw%V}"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns"])
async def test_partitions_are_read_rightly_in_every_zone_and_style_of_dates(database_url: str, zone: str) -> None:
    conn: Connection = await connect(database_url)
    try:
        utc = await conn.fetch("select * from tidemill.partitions_of('tidemill.job_run')")
        await conn.execute(f"set timezone = '{zone}'")
        await conn.execute("set datestyle = 'German'")
        assert await conn.fetch("select * from tidemill.partitions_of('tidemill.job_run')") == utc
        assert utc
    finally:
        await conn.close()


async def test_history_that_is_being_read_is_dropped_later_and_jobs_go_on_ending(db: Database) -> None:
    await old_partition(db, "job_run_202401", 40)
    async with db.transaction() as reader:
        await reader.fetch("select count(*) from tidemill.job_run")
        assert await keep_house(db) == POSTPONED_S
        assert await db.fetch(RUN, [datetime.now(UTC)])
        assert await db.fetchval("select to_regclass('tidemill.job_run_202401')") is not None
    assert await keep_house(db) == EVERY_S
    assert await db.fetchval("select to_regclass('tidemill.job_run_202401')") is None


async def test_what_a_process_detached_before_it_died_is_dropped_by_the_next(db: Database) -> None:
    await old_partition(db, "job_run_202401", 40)
    await db.fetch("select tidemill.detach_history(clock_timestamp() - interval '30 days')")
    assert await db.fetchval("select to_regclass('tidemill.job_run_202401')") is not None
    await keep_house(db)
    assert await db.fetchval("select to_regclass('tidemill.job_run_202401')") is None


async def test_any_number_of_processes_may_keep_house_at_once(db: Database) -> None:
    for n in range(1, 4):
        await old_partition(db, f"job_run_20240{n}", 40 + 15 * n)
    await db.execute(DEAD, [100] * 500)
    pauses = await asyncio.gather(*(keep_house(db) for _ in range(4)))
    if POSTPONED_S in pauses:  # as its next round would be
        assert await keep_house(db) == EVERY_S
    assert await db.fetchval("select count(*) from tidemill.job_dead") == 0
    assert await db.fetchval("select count(*) from pg_class where relname like 'job_run_2024__'") == 0


@pytest.mark.parametrize(("days", "left"), [(90, [1, 89]), (2, [1]), (0, [1, 89, 91, 400])])
async def test_dead_jobs_are_kept_as_long_as_is_set(db: Database, days: int, left: list[int]) -> None:
    await db.execute(DEAD, [1, 89, 91, 400])
    await keep_house(db, Retention(dead_days=days))
    age = "round(extract(epoch from clock_timestamp() - died_at) / 86400)::int"
    ages = await db.fetch(f"select {age} as age from tidemill.job_dead order by 1")
    assert [row["age"] for row in ages] == left


async def test_much_is_deleted_in_pieces_and_what_one_round_leaves_by_the_next(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "CHUNK", 10)
    monkeypatch.setattr(housekeeping, "MOST_CHUNKS", 3)
    await db.execute(DEAD, [100] * 35)
    assert await keep_house(db) == POSTPONED_S
    assert await db.fetchval("select count(*) from tidemill.job_dead") == 5
    assert await keep_house(db) == EVERY_S
    assert await db.fetchval("select count(*) from tidemill.job_dead") == 0


async def test_progress_of_attempts_that_nobody_runs_is_forgotten(db: Database) -> None:
    await db.execute(
        """
        insert into tidemill.job_lease (id, queue, rank, kind, max_attempts, enqueued_at, args, token, node, claimed_at)
        select n, 1, 1, 1, 1, now(), '{}', 7, 1, now() from generate_series(1, 2) n;
        insert into tidemill.job_progress (job, token, done) values (1, 7, 1), (2, 6, 1), (3, 7, 1);
        """
    )
    await keep_house(db)
    assert [row["job"] for row in await db.fetch("select job from tidemill.job_progress")] == [1]


async def test_lanes_and_rates_of_limits_that_nothing_waits_for_are_forgotten(db: Database) -> None:
    await db.execute(
        """
        insert into tidemill.flow (lane, queue, kind, counted, parked_by)
        values (-1, 1, 1, '{}', 'empty'), (-2, 1, 1, '{}', 'empty'), (-3, 1, 1, '{}', '7:'), (-4, 1, 1, '{}', null);
        insert into tidemill.job_lease
          (id, queue, lane, rank, kind, max_attempts, enqueued_at, args, token, node, claimed_at)
        values (1, 1, -2, 1, 1, 1, now(), '{}', 7, 1, now());
        insert into tidemill.job_rate (name, slot, begun)
        values ('1:', tidemill.now() - interval '49 hours', 1), ('1:', tidemill.now() - interval '24 hours', 1);
        """
    )
    await keep_house(db)
    assert [row["lane"] for row in await db.fetch("select lane from tidemill.flow order by lane")] == [-4, -3, -2]
    assert await db.fetchval("select count(*) from tidemill.job_rate") == 1


async def test_a_lane_that_a_claim_looks_at_is_left_alone(db: Database) -> None:
    await db.execute(
        "insert into tidemill.flow (lane, queue, kind, counted, parked_by) values (-1, 1, 1, '{}', 'empty')"
    )
    async with db.transaction() as claim:
        await claim.execute("select from tidemill.flow for update")
        await keep_house(db)
    assert await db.fetchval("select count(*) from tidemill.flow") == 1


async def test_a_jobs_history_is_looked_up_by_index_in_every_partition(db: Database) -> None:
    await db.fetch("select tidemill.ensure_partitions('8 months')")
    made = await partitions(db)
    await db.fetch(RUN, [start + timedelta(minutes=n) for start, _ in made for n in range(2000)])
    await db.execute("analyze tidemill.job_run")
    [[[plan]]] = await db.fetch(f"explain (analyze, buffers, format json) {SQL.look_attempts}", 7, 200)
    scans = [node for node in nodes(plan["Plan"]) if node.get("Relation Name", "").startswith("job_run_2")]
    assert {node["Relation Name"] for node in scans} == {f"job_run_{start:%Gw%V}" for start, _ in made}
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Bitmap Heap Scan"}
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] <= 4 * (len(made) + 1)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)
