"""Schedules: declared, due, fired once, whoever ticks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncpg.pool import PoolConnectionProxy

from tidemill.engine import Context, Engine, Kind, Registry
from tidemill.engine.schedules import CHUNK, Schedule, Schedules
from tidemill.engine.statements import SQL
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

from .support import history, working

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


async def _nothing(ctx: Context, args: dict[str, Any]) -> None:
    pass


def _engine(db: Database, *names: str) -> Engine:
    registry = Registry()
    for name in names or ("tide",):
        registry.add(Kind(name, _nothing))
    return Engine(db, registry)


@pytest.fixture
async def schedules(db: Database, monkeypatch: pytest.MonkeyPatch) -> Schedules:
    monkeypatch.setattr("tidemill.engine.schedules.LONGEST_S", 120.0)
    await _set_clock(db, NOON)
    return Schedules(db, _engine(db))


async def _set_clock(db: Database, at: datetime) -> None:
    await db.execute("select tidemill.set_clock($1)", at)


async def _row(db: Database, name: str = "tides") -> Any:
    return await db.fetchrow("select * from tidemill.schedule where name = $1", name)


async def _fires(db: Database) -> list[tuple[str, datetime]]:
    return [tuple(r) for r in await db.fetch("select name, fire_at from tidemill.schedule_fire order by name, fire_at")]


async def _jobs(db: Database) -> dict[int, dict[str, Any]]:
    return {row["id"]: row["args"] for row in await db.fetch("select id, args from tidemill.job_ready")}


TIDES = Schedule(name="tides", kind="tide", cron="*/15 * * * *", args={"moon": "full"})


async def test_a_due_fire_becomes_one_job_with_its_fire_time(db: Database, schedules: Schedules) -> None:
    await schedules.declare(TIDES)
    assert await schedules.tick() == NOON + QUARTER
    assert await _jobs(db) == {}

    await _set_clock(db, NOON + QUARTER)
    assert await schedules.tick() == NOON + 2 * QUARTER
    assert list((await _jobs(db)).values()) == [{"moon": "full", "fire_at": "2026-05-04T12:15:00+00:00"}]
    assert await db.fetchval("select job_id from tidemill.schedule_fire") in await _jobs(db)
    assert (await _row(db))["last_at"] == NOON + QUARTER

    await schedules.tick()
    assert len(await _jobs(db)) == 1


async def test_of_missed_fires_only_the_latest_is_made_up_for(db: Database, schedules: Schedules) -> None:
    await schedules.declare(TIDES)
    await _set_clock(db, NOON + timedelta(days=3, minutes=20))
    assert await schedules.tick() == NOON + timedelta(days=3, minutes=30)
    assert await _fires(db) == [("tides", NOON + timedelta(days=3, minutes=15))]
    assert len(await _jobs(db)) == 1


async def test_the_fields_are_read_in_the_schedules_zone(db: Database, schedules: Schedules) -> None:
    await schedules.declare(Schedule(name="tides", kind="tide", cron="0 9 * * *", timezone="Asia/Taipei"))
    assert (await _row(db))["next_at"] == datetime(2026, 5, 5, 1, 0, tzinfo=UTC)


async def test_declaring_the_same_again_keeps_the_plan_and_writes_nothing(db: Database, schedules: Schedules) -> None:
    await schedules.declare(TIDES)
    before = await _row(db)
    await _set_clock(db, NOON + 3 * QUARTER)
    await schedules.declare(TIDES)
    assert await _row(db) == before


async def test_new_arguments_keep_the_plan_and_a_new_cron_makes_one(db: Database, schedules: Schedules) -> None:
    await schedules.declare(TIDES)
    await _set_clock(db, NOON + 3 * QUARTER)
    await schedules.declare(Schedule(name="tides", kind="tide", cron=TIDES.spec["cron"], args={"moon": "new"}))
    row = await _row(db)
    assert (row["next_at"], row["args"]) == (NOON + QUARTER, {"moon": "new"})
    await schedules.declare(Schedule(name="tides", kind="tide", cron="0 * * * *"))
    assert (await _row(db))["next_at"] == NOON + timedelta(hours=1)


async def test_a_declaration_commits_or_rolls_back_with_the_callers_transaction(
    db: Database, schedules: Schedules
) -> None:
    async def give_up() -> None:
        async with db.transaction() as conn:
            await schedules.declare(TIDES, conn=conn)
            raise LookupError

    with pytest.raises(LookupError):
        await give_up()
    assert await _row(db) is None


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("kind", {"kind": "ebb"}),
        ("hour", {"cron": "0 25 * * *"}),
        ("timezone", {"timezone": "Mars/Olympus"}),
        ("overlap", {"overlap": "often"}),
        ("every", {"every": "1h"}),
        ("often", {"often": True}),
        ("name", {"name": "n" * 201}),
    ],
)
async def test_a_bad_declaration_is_refused_and_nothing_is_written(
    db: Database, schedules: Schedules, field: str, changed: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await schedules.declare(Schedule(**{"name": "tides", "kind": "tide", "cron": "0 1 * * *"} | changed))
    assert refused.value.field == field
    assert await _row(db) is None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("spec", {"cron": "0 0 15W * *"}),
        ("spec", {"cron": "0 0 * * *", "timezone": "Mars/Olympus"}),
        ("spec", {"cron": "0 0 * * *", "overlap": "often"}),
        ("spec", {"when": "often"}),
        ("spec", ["0 0 * * *"]),
        ("args", [1]),
        ("spec", {"rrule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}),
    ],
)
async def test_a_bad_row_gets_its_error_and_stops_nobody_else(
    db: Database, schedules: Schedules, column: str, value: object
) -> None:
    await schedules.declare(Schedule(name="a bad one", kind="tide", cron="*/15 * * * *"))
    await schedules.declare(TIDES)
    await db.execute(f"update tidemill.schedule set {column} = $1 where name = 'a bad one'", value)
    await _set_clock(db, NOON + QUARTER)
    assert await schedules.tick() == NOON + 2 * QUARTER
    assert await _fires(db) == [("tides", NOON + QUARTER)]
    assert (await _row(db, "a bad one"))["error"]
    assert (await _row(db))["error"] is None

    await schedules.declare(Schedule(name="a bad one", kind="tide", cron="*/15 * * * *"))
    row = await _row(db, "a bad one")
    assert (row["error"], row["next_at"]) == (None, NOON + 2 * QUARTER)


async def test_kinds_that_only_newer_processes_know_are_left_to_them(db: Database, schedules: Schedules) -> None:
    newer = Schedules(db, _engine(db, "tide", "ebb"))
    await newer.declare(Schedule(name="ebbs", kind="ebb", cron="*/15 * * * *"))
    await _set_clock(db, NOON + QUARTER)
    assert await schedules.tick() is None
    assert (await _row(db, "ebbs"))["error"] is None
    assert await newer.tick() == NOON + 2 * QUARTER
    assert await _fires(db) == [("ebbs", NOON + QUARTER)]


async def test_a_paused_schedule_waits_and_then_makes_up_for_its_latest_fire(
    db: Database, schedules: Schedules
) -> None:
    await schedules.declare(TIDES)
    assert await schedules.pause("tides", "pg_cron") == "pg_cron"
    assert await schedules.pause("tides", "an operator") == "pg_cron"
    await _set_clock(db, NOON + 5 * QUARTER)
    assert await schedules.tick() is None
    await schedules.declare(TIDES)
    assert await schedules.tick() is None

    await schedules.resume("tides")
    assert await schedules.tick() == NOON + 6 * QUARTER
    assert await _fires(db) == [("tides", NOON + 5 * QUARTER)]


async def test_pausing_or_resuming_what_does_not_exist_is_an_error(schedules: Schedules) -> None:
    with pytest.raises(InvalidInput, match="there is no schedule 'moon'"):
        await schedules.pause("moon", "me")
    with pytest.raises(InvalidInput, match="there is no schedule 'moon'"):
        await schedules.resume("moon")


async def test_a_clock_that_goes_back_fires_nothing_twice(db: Database, schedules: Schedules) -> None:
    await schedules.declare(TIDES)
    for at in (NOON + QUARTER, NOON - 10 * QUARTER, NOON + QUARTER):
        await _set_clock(db, at)
        await schedules.tick()
    await db.execute("update tidemill.schedule set next_at = $1", NOON + QUARTER)
    await schedules.tick()
    assert await _fires(db) == [("tides", NOON + QUARTER)]
    assert len(await _jobs(db)) == 1
    assert (await _row(db))["next_at"] == NOON + 2 * QUARTER


async def test_a_row_that_another_node_is_firing_is_not_waited_for(db: Database, schedules: Schedules) -> None:
    await schedules.declare(TIDES)
    await schedules.declare(Schedule(name="ebbs", kind="tide", cron="*/15 * * * *"))
    await _set_clock(db, NOON + QUARTER)
    async with asyncio.timeout(30), db.transaction() as other:
        await other.execute("select from tidemill.schedule where name = 'tides' for update")
        await schedules.tick()
    assert await _fires(db) == [("ebbs", NOON + QUARTER)]
    await schedules.tick()
    assert await _fires(db) == [("ebbs", NOON + QUARTER), ("tides", NOON + QUARTER)]


async def test_a_chunk_that_another_node_holds_keeps_nobody_from_the_rest(db: Database, schedules: Schedules) -> None:
    await _declare_many(db, 2 * CHUNK + 10, NOON)
    async with asyncio.timeout(60), db.transaction() as other:
        held = await other.fetch("select name from tidemill.schedule order by next_at limit $1 for update", CHUNK)
        assert await schedules.tick() == NOON
        assert len(await _fires(db)) == CHUNK + 10
    assert {name for name, _ in await _fires(db)}.isdisjoint({row["name"] for row in held})
    await schedules.tick()
    assert len(await _fires(db)) == 2 * CHUNK + 10


async def _declare_many(db: Database, count: int, next_at: datetime) -> None:
    await db.execute(
        "insert into tidemill.schedule (name, kind, spec, next_at)"
        " select 's' || n, 'tide', '{\"cron\": \"0 * * * *\"}', $2::timestamptz from generate_series(1, $1::int) n",
        count,
        next_at,
    )


async def test_a_definition_changed_between_reading_and_firing_is_not_fired(
    db: Database, schedules: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    await schedules.declare(TIDES)
    await _set_clock(db, NOON + QUARTER)
    retrying = db.retrying

    async def late(work: Any) -> Any:
        await db.execute("update tidemill.schedule set spec = '{\"cron\": \"0 0 1 1 *\"}', next_at = '2027-01-01Z'")
        return await retrying(work)

    monkeypatch.setattr(db, "retrying", late)
    assert await schedules.tick() == datetime(2027, 1, 1, tzinfo=UTC)
    assert await _fires(db) == []


async def test_a_schedule_that_fires_once_does_so_and_never_again(db: Database, schedules: Schedules) -> None:
    once = Schedule(name="once", kind="tide", at="2026-05-04T12:10:00Z")
    await schedules.declare(once)
    await _set_clock(db, NOON + QUARTER)
    assert await schedules.tick() is None
    assert await _fires(db) == [("once", NOON + timedelta(minutes=10))]
    before = await _row(db, "once")
    assert before["next_at"] is None
    await schedules.declare(once)
    assert await _row(db, "once") == before
    await schedules.tick()
    assert len(await _jobs(db)) == 1


async def test_a_schedule_by_hand_never_fires_but_runs(db: Database, schedules: Schedules) -> None:
    await schedules.declare(Schedule(name="by hand", kind="tide", args={"moon": "full"}))
    await _set_clock(db, NOON + QUARTER)
    assert await schedules.tick() is None
    job = await schedules.run("by hand")
    jobs = await _jobs(db)
    assert list(jobs) == [job]
    assert jobs[job]["moon"] == "full"
    assert datetime.fromisoformat(jobs[job]["fire_at"]) >= NOON + QUARTER
    assert await schedules.run("by hand") is None
    with pytest.raises(InvalidInput, match="there is no schedule 'moon'"):
        await schedules.run("moon")


@pytest.mark.parametrize(
    ("misfire", "expected"), [("latest", [3]), ("skip", []), ({"all": 2}, [2, 3]), ({"all": 9}, [1, 2, 3])]
)
async def test_what_was_missed_is_made_up_for_as_the_misfire_rule_says(
    db: Database, schedules: Schedules, misfire: Any, expected: list[int]
) -> None:
    await schedules.declare(Schedule(name="tides", kind="tide", every="15m", misfire=misfire, overlap="allow"))
    await _set_clock(db, NOON + 3 * QUARTER + timedelta(minutes=5))
    assert await schedules.tick() == NOON + 4 * QUARTER
    assert await _fires(db) == [("tides", NOON + n * QUARTER) for n in expected]
    assert sorted(job["fire_at"] for job in (await _jobs(db)).values()) == [
        (NOON + n * QUARTER).isoformat() for n in expected
    ]
    assert (await _row(db))["last_at"] == (NOON + expected[-1] * QUARTER if expected else None)


async def _end_jobs(db: Database) -> None:
    """What the end of a job does, as far as schedules see it."""
    await db.execute("delete from tidemill.job_ready")
    await db.execute("delete from tidemill.unique_key")


async def test_while_a_fires_job_has_not_ended_the_next_is_skipped(db: Database, schedules: Schedules) -> None:
    await schedules.declare(TIDES)
    for n in (1, 2):
        await _set_clock(db, NOON + n * QUARTER)
        await schedules.tick()
    assert len(await _jobs(db)) == 1
    fires = await db.fetch("select fire_at, job_id is null as skipped from tidemill.schedule_fire order by 1")
    assert [tuple(row) for row in fires] == [(NOON + QUARTER, False), (NOON + 2 * QUARTER, True)]

    await _end_jobs(db)
    await _set_clock(db, NOON + 3 * QUARTER)
    await schedules.tick()
    assert [job["fire_at"] for job in (await _jobs(db)).values()] == ["2026-05-04T12:45:00+00:00"]


async def test_with_overlap_allow_jobs_run_side_by_side(db: Database, schedules: Schedules) -> None:
    await schedules.declare(Schedule(name="tides", kind="tide", every="15m", overlap="allow"))
    for n in (1, 2):
        await _set_clock(db, NOON + n * QUARTER)
        await schedules.tick()
    assert len(await _jobs(db)) == 2


@pytest.mark.parametrize(("misfire", "expected"), [("latest", [1, 5]), ({"all": 3}, [1, 3, 4, 5])])
async def test_with_overlap_queue_fires_wait_their_turn_one_after_the_other(
    db: Database, schedules: Schedules, misfire: Any, expected: list[int]
) -> None:
    await schedules.declare(Schedule(name="tides", kind="tide", every="15m", overlap="queue", misfire=misfire))
    await _set_clock(db, NOON + QUARTER)
    await schedules.tick()
    await _set_clock(db, NOON + 5 * QUARTER)
    for _ in range(2):
        await schedules.tick()
        assert await _fires(db) == [("tides", NOON + QUARTER)]
    for done in range(1, len(expected)):
        await _end_jobs(db)
        for _ in range(2):
            await schedules.tick()
            assert await _fires(db) == [("tides", NOON + n * QUARTER) for n in expected[: done + 1]]
            assert len(await _jobs(db)) == 1
    await _end_jobs(db)
    assert await schedules.tick() == NOON + 6 * QUARTER
    assert await db.fetchval("select count(*) from tidemill.schedule_fire where job_id is null") == 0


async def test_with_overlap_replace_a_waiting_job_makes_room_for_the_newest_fires(
    db: Database, schedules: Schedules
) -> None:
    await schedules.declare(Schedule(name="tides", kind="tide", every="15m", overlap="replace"))
    await schedules.declare(Schedule(name="ebbs", kind="tide", every="15m"))
    for n in (1, 3):
        await _set_clock(db, NOON + n * QUARTER)
        assert await schedules.tick() == NOON + (n + 1) * QUARTER
    jobs = await _jobs(db)
    fires = await db.fetch("select fire_at, job_id from tidemill.schedule_fire where name = 'tides' order by fire_at")
    assert [row["fire_at"] for row in fires] == [NOON + QUARTER, NOON + 3 * QUARTER]
    assert sorted(job["fire_at"] for job in jobs.values()) == ["2026-05-04T12:15:00+00:00", "2026-05-04T12:45:00+00:00"]
    assert fires[1]["job_id"] in jobs
    assert await history(db) == [("tide", 0, "cancelled", "cancelled by the next fire of its schedule")]
    assert await db.fetchval("select id from tidemill.job_run") == fires[0]["job_id"]


async def test_with_overlap_replace_a_running_job_is_asked_to_stop_once_and_the_next_starts_when_it_has(
    db: Database,
) -> None:
    started: asyncio.Queue[str] = asyncio.Queue()
    stopped: list[str] = []
    may_stop = asyncio.Event()

    async def tide(ctx: Context, args: dict[str, Any]) -> None:
        started.put_nowait(args["fire_at"])
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await may_stop.wait()
            stopped.append(args["fire_at"])
            raise

    await _set_clock(db, NOON)
    kind = Kind("tide", tide)
    schedules = Schedules(db, Engine(db, Registry([kind])))
    await schedules.declare(Schedule(name="tides", kind="tide", every="15m", overlap="replace"))
    async with asyncio.timeout(60), working(db, kind, grace=0.5):
        await _set_clock(db, NOON + QUARTER)
        await schedules.tick()
        assert await started.get() == (NOON + QUARTER).isoformat()
        await _set_clock(db, NOON + 2 * QUARTER)
        for _ in range(2):
            assert await schedules.tick() == NOON + 2 * QUARTER
        assert await _fires(db) == [("tides", NOON + QUARTER)]
        assert await db.fetchval("select count(*) from tidemill.job_cancel") == 1
        may_stop.set()
        while await schedules.tick() == NOON + 2 * QUARTER:  # until the node has heard of it
            await asyncio.sleep(0.02)
        assert await started.get() == (NOON + 2 * QUARTER).isoformat()
        assert stopped == [(NOON + QUARTER).isoformat()]
    assert await _fires(db) == [("tides", NOON + QUARTER), ("tides", NOON + 2 * QUARTER)]


async def test_those_that_wait_their_turn_keep_nobody_else_waiting(db: Database, schedules: Schedules) -> None:
    await db.execute(
        "insert into tidemill.schedule (name, kind, spec, next_at)"
        ' select \'s\' || n, \'tide\', \'{"every": "15m", "overlap": "queue"}\', $2 from generate_series(1, $1::int) n',
        CHUNK + 10,
        NOON,
    )
    await schedules.tick()
    assert len(await _jobs(db)) == CHUNK + 10
    await schedules.declare(TIDES)
    await _set_clock(db, NOON + QUARTER)
    await schedules.tick()
    assert (await _row(db))["last_at"] == NOON + QUARTER
    assert len(await _jobs(db)) == CHUNK + 11


async def test_a_kind_with_keys_of_its_own_keeps_to_those(db: Database) -> None:
    registry = Registry()
    registry.add(Kind("tide", _nothing, unique=lambda args: args["moon"]))
    engine = Engine(db, registry)
    schedules = Schedules(db, engine)
    await _set_clock(db, NOON)
    await schedules.declare(TIDES)
    await engine.enqueue("tide", {"moon": "full"})
    await _set_clock(db, NOON + QUARTER)
    await schedules.tick()
    assert len(await _jobs(db)) == 1
    for overlap in ("queue", "replace"):
        with pytest.raises(InvalidInput, match="keys of their own"):
            await schedules.declare(
                Schedule(name="ebbs", kind="tide", args={"moon": "new"}, every="1h", overlap=overlap)
            )


async def test_a_row_whose_key_cannot_be_made_gets_its_error_and_stops_nobody_else(db: Database) -> None:
    registry = Registry()
    registry.add(Kind("tide", _nothing, unique=lambda args: args["moon"]))
    schedules = Schedules(db, Engine(db, registry))
    await _set_clock(db, NOON)
    await schedules.declare(TIDES)
    await schedules.declare(Schedule(name="a bad one", kind="tide", every="15m", args={"moon": "new"}))
    await db.execute("update tidemill.schedule set args = '{}' where name = 'a bad one'")
    await _set_clock(db, NOON + QUARTER)
    await schedules.tick()
    assert await _fires(db) == [("tides", NOON + QUARTER)]
    assert "KeyError" in (await _row(db, "a bad one"))["error"]


async def test_jitter_delays_the_job_and_leaves_the_fire_where_it_is(db: Database, schedules: Schedules) -> None:
    for n in range(20):
        await schedules.declare(Schedule(name=f"s{n}", kind="tide", cron="*/15 * * * *", jitter="10m"))
    await _set_clock(db, NOON + QUARTER)
    assert await schedules.tick() == NOON + 2 * QUARTER
    assert {at for _, at in await _fires(db)} == {NOON + QUARTER}
    starts = [row["run_at"] for row in await db.fetch("select run_at from tidemill.job_delayed")]
    assert len({*starts}) > 10
    assert all(NOON + QUARTER < at < NOON + QUARTER + timedelta(minutes=10) for at in starts)


async def test_a_tick_takes_as_few_statements_for_many_schedules_as_for_one(
    db: Database, schedules: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counted(real: Any) -> Any:
        def call(self: Any, query: str, *args: Any, **options: Any) -> Any:
            asked.append(query)
            return real(self, query, *args, **options)

        return call

    for verb in ("fetch", "fetchrow", "fetchval", "execute"):
        monkeypatch.setattr(PoolConnectionProxy, verb, counted(getattr(PoolConnectionProxy, verb)))

    async def statements(count: int, at: datetime) -> int:
        await db.execute(
            "insert into tidemill.schedule (name, kind, spec, next_at)"
            " select 's' || n || $2::timestamptz, 'tide', $3, $2::timestamptz"
            " from generate_series(1, $1::int) n",
            count,
            at,
            {"every": "15m", "misfire": {"all": 3}, "overlap": "allow"},
        )
        await schedules.tick()
        asked.clear()
        await _set_clock(db, at + 3 * QUARTER)
        await schedules.tick()
        return len(asked)

    one = await statements(1, NOON)
    await db.execute("delete from tidemill.schedule")
    assert await statements(CHUNK - 1, NOON + 3 * QUARTER) == one
    assert 0 < one < 15
    assert len(await _jobs(db)) > 3 * (CHUNK - 1)


@pytest.fixture
async def nodes(database_url: str) -> AsyncIterator[list[Schedules]]:
    async with AsyncExitStack() as stack:
        pools = [
            await stack.enter_async_context(await Database.open(database_url, max_size=3, name=f"node {n}"))
            for n in range(5)
        ]
        yield [Schedules(pool, _engine(pool)) for pool in pools]


async def test_five_nodes_ticking_at_once_fire_every_due_time_exactly_once(
    db: Database, nodes: list[Schedules]
) -> None:
    await _set_clock(db, NOON)
    total = CHUNK + 100  # more than one chunk
    await db.execute(
        "insert into tidemill.schedule (name, kind, spec, next_at)"
        " select 's' || n, 'tide', jsonb_build_object('cron', (n % 60) || ' * * * *', 'overlap', 'allow'),"
        " $2::timestamptz + make_interval(mins => n % 60)"
        " from generate_series(1, $1::int) n",
        total,
        NOON,
    )
    at = NOON
    for _ in range(8):
        at += timedelta(minutes=20)
        await _set_clock(db, at)
        await asyncio.gather(*(node.tick() for node in nodes))
        # Rows that two nodes met on were left to one of them; a last look finds nothing or what both left.
        while await nodes[0].tick() <= at:  # pyright: ignore[reportOptionalOperand]
            pass

    fires = await db.fetch("select name, fire_at, job_id from tidemill.schedule_fire")
    jobs = await _jobs(db)
    expected = {
        (f"s{n}", fire)
        for n in range(1, total + 1)
        for hour in range(3)
        if (fire := NOON + timedelta(hours=hour, minutes=n % 60)) <= at
    }
    assert {(row["name"], row["fire_at"]) for row in fires} == expected
    assert {row["job_id"] for row in fires} == jobs.keys()
    assert len(jobs) == len(expected)


async def test_three_nodes_that_tick_once_leave_nothing_of_what_is_due_at_one_instant(
    db: Database, nodes: list[Schedules], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.engine.schedules.LONGEST_S", 120.0)
    await _set_clock(db, NOON)
    await _declare_many(db, 2000, NOON)
    await asyncio.gather(*(node.tick() for node in nodes[:3]))
    fires = await db.fetch("select name, fire_at, job_id from tidemill.schedule_fire")
    assert {(row["name"], row["fire_at"]) for row in fires} == {(f"s{n}", NOON) for n in range(1, 2001)}
    assert len(fires) == 2000
    assert {row["job_id"] for row in fires} == (await _jobs(db)).keys()
    assert await db.fetchval("select count(*) from tidemill.schedule where next_at <= $1", NOON) == 0


async def test_a_tick_that_takes_long_stops_and_the_next_one_goes_on(
    db: Database, schedules: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.engine.schedules.LONGEST_S", 0.0)
    await _declare_many(db, 2, NOON)
    assert await schedules.tick() == NOON
    monkeypatch.undo()
    assert await schedules.tick() == NOON + timedelta(hours=1)


async def test_a_worker_ticks_by_itself(db: Database) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def tide(ctx: Context, args: dict[str, Any]) -> None:
        seen.put_nowait(args["fire_at"])

    await _set_clock(db, NOON)
    kind = Kind("tide", tide)
    registry = Registry()
    registry.add(kind)
    schedules = Schedules(db, Engine(db, registry))
    await schedules.declare(TIDES)
    async with working(db, kind, schedules=schedules):
        await _set_clock(db, NOON + QUARTER)
        async with asyncio.timeout(30):
            assert await seen.get() == "2026-05-04T12:15:00+00:00"


async def test_a_tick_reads_and_locks_what_is_due_and_not_what_sleeps(db: Database, schedules: Schedules) -> None:
    await db.execute(
        "insert into tidemill.schedule (name, kind, spec, next_at)"
        " select 'asleep ' || n, 'tide', '{\"cron\": \"0 0 1 1 *\"}', '2027-01-01Z' from generate_series(1, 100000) n"
    )
    await _declare_many(db, 1000, NOON)
    await db.execute("analyze tidemill.schedule")
    names, nows = [f"s{n}" for n in range(1, 1001)], [NOON] * 1000
    later = [NOON + timedelta(hours=1)] * 1000

    due = await _explained(db, SQL.schedule_due, ["tide"], 500, 0)
    assert "Index Scan using schedule_due" in due["text"]
    assert due["buffers"] < 4 * 500
    keys = [line for line in due["text"].splitlines() if " unique_key" in line]
    assert keys
    assert all("never executed" in line for line in keys), "a schedule that does not queue has its key looked up"
    earliest = await _explained(db, SQL.schedule_next, ["tide"])
    assert "using schedule_due" in earliest["text"]
    assert earliest["buffers"] < 20
    moved = await _explained(db, SQL.schedule_move, names, nows, later, nows)
    assert "Index Scan using schedule_pkey" in moved["text"]
    for found in (due, earliest, moved):
        assert not re.search("Seq Scan on schedule", found["text"]), found["text"]
    assert await db.fetchval("select count(*) from tidemill.schedule where last_at = $1", NOON) == 1000


async def _explained(db: Database, statement: str, *args: Any) -> dict[str, Any]:
    plan = await db.fetch("explain (analyze, buffers, costs off, timing off, summary off) " + statement, *args)
    lines = [row[0] for row in plan]
    [buffers] = re.findall(r"shared ([a-z0-9= ]+)", next(line for line in lines if "Buffers:" in line))
    read = sum(int(n) for n in re.findall(r"(?:hit|read)=(\d+)", buffers))
    return {"text": "\n".join(lines), "buffers": read}
