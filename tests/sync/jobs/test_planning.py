"""Planning: a row that anybody wrote gets its next fire at the next tick, or is told what is wrong with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidemill.errors import InvalidInput
from tidemill.postgres import Database
from tidemill.sync.jobs.knowing import FORGOTTEN_S
from tidemill.sync.jobs.schedule import read_schedule

from .support import NOON, QUARTERS, Scripted, World, world

QUARTER = timedelta(minutes=15)


async def test_a_new_job_gets_its_next_fire(w: World) -> None:
    job = await w.job()
    assert await w.tick() == pytest.approx(QUARTER.total_seconds(), abs=30)
    row = await w.row(job)
    assert (row["next_run_at"], row["status"], row["plan_error"]) == (NOON + QUARTER, "idle", None)
    assert row["planned_version"] == row["version"]


async def test_a_job_that_is_run_by_hand_has_no_next_fire(w: World) -> None:
    job = await w.job({})
    assert await w.tick() is None
    assert (await w.row(job))["next_run_at"] is None


async def test_local_times_are_the_schedules_else_the_companys_else_utc(w: World) -> None:
    connector = await w.connector(await w.company(zone="Asia/Taipei"))
    company = await w.job({"cron": "0 9 * * *"}, connector=connector)
    own = await w.job({"cron": "0 9 * * *", "timezone": "Europe/Paris"}, connector=connector)
    plain = await w.job({"cron": "0 9 * * *"})
    await w.tick()
    at = {job: (await w.row(job))["next_run_at"] for job in (company, own, plain)}
    assert at == {
        company: datetime(2026, 5, 5, 1, tzinfo=UTC),
        own: datetime(2026, 5, 5, 7, tzinfo=UTC),
        plain: datetime(2026, 5, 5, 9, tzinfo=UTC),
    }


async def test_a_company_that_moves_has_its_jobs_planned_anew(w: World) -> None:
    job = await w.job({"cron": "0 9 * * *"})
    await w.tick()
    await w.db.execute("update public.companies set timezone = 'Asia/Taipei'")
    await w.tick()
    assert (await w.row(job))["next_run_at"] == datetime(2026, 5, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "column", "value"),
    [
        ("schedule.cron: hour", "schedule", {"cron": "0 25 * * *"}),
        ("schedule.cron: day of month", "schedule", {"cron": "0 0 30 2 *"}),
        ("schedule.timezone", "schedule", {"cron": "0 0 * * *", "timezone": "Mars/Olympus"}),
        ("schedule.every", "schedule", {"every": "soon"}),
        ("schedule.often", "schedule", {"often": True}),
        ("schedule.misfire", "schedule", {"every": "1h", "misfire": {"all": 3}}),
        ("schedule", "schedule", ["0 0 * * *"]),
        ("schedule", "schedule", "0 0 * * *"),
        ("payload", "payload", [1]),
        ("payload.bad", "payload", {"bad": 1}),
    ],
)
async def test_a_row_that_cannot_be_planned_says_why_until_it_is_mended(
    w: World, field: str, column: str, value: Any
) -> None:
    bad, good = await w.job(**{"code": 1, column: value}), await w.job(code=2)
    await w.tick()
    row = await w.row(bad)
    assert (row["status"], row["next_run_at"]) == ("error", None)
    assert row["plan_error"].startswith(f"{field}: ")
    assert (await w.row(good))["next_run_at"] == NOON + QUARTER

    await w.edit(bad, column, QUARTERS if column == "schedule" else {})
    await w.tick()
    row = await w.row(bad)
    assert (row["status"], row["next_run_at"], row["plan_error"]) == ("idle", NOON + QUARTER, None)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"cron": "0 25 * * *"}, "schedule.cron: hour: "),
        ({"rrule": "FREQ=DAILY;COUNT=3"}, "schedule.rrule: COUNT: "),
        ({"cron": "0 9 * * *", "x" * 60: 1}, f"schedule.{'x' * 50}: "),
        ({"cron": "0 9 * * *", "": 1}, "schedule: '' "),
        ({"every": "1h"}, "company.timezone: "),
        ([], "schedule: "),
    ],
    ids=range(6),
)
def test_a_schedule_is_refused_in_the_same_words_whoever_reads_it(schedule: Any, said: str) -> None:
    with pytest.raises(InvalidInput) as of_text:
        read_schedule(json.dumps(schedule), "Mars/Olympus" if "every" in schedule else None)
    with pytest.raises(InvalidInput) as of_object:
        read_schedule(schedule, "Mars/Olympus" if "every" in schedule else None)
    assert str(of_text.value) == str(of_object.value)
    assert str(of_text.value).startswith(said)


async def test_json_nested_too_deeply_to_be_read_is_that_rows_trouble_alone(w: World) -> None:
    deep = await w.job(code=1)
    await w.db.execute(  # whatever the table itself refuses
        "do $$ declare c text; begin for c in select conname from pg_constraint"
        " where conrelid = 'public.sync_jobs'::regclass and contype = 'c'"
        " and pg_get_constraintdef(oid) like '%payload%'"
        " loop execute format('alter table public.sync_jobs drop constraint %I', c); end loop; end $$"
    )
    await w.db.execute(
        "update public.sync_jobs set payload = (repeat('[', 3000) || repeat(']', 3000))::jsonb where id = $1", deep
    )
    good = await w.job(code=2)
    await w.tick()
    why = await w.db.fetchval("select plan_error from public.sync_jobs where id = $1", deep)
    assert why == "payload: is nested too deeply"
    assert (await w.row(good))["next_run_at"] == NOON + QUARTER


async def test_a_type_that_fails_to_check_is_that_rows_trouble_alone(db: Database) -> None:
    class Broken(Scripted):
        def check(self, payload: Any) -> None:
            raise KeyError("oops")

    async with world(db, Broken(name="broken"), Scripted()) as w:
        await w.clock(NOON)
        broken, good = await w.job(code=1, job_type="broken"), await w.job(code=2)
        await w.tick()
        assert "KeyError" in (await w.row(broken))["plan_error"]
        assert (await w.row(good))["plan_error"] is None


async def test_a_companys_zone_that_is_none_is_told_as_the_companys(w: World) -> None:
    job = await w.job(connector=await w.connector(await w.company(zone="Mars/Olympus")))
    await w.tick()
    assert (await w.row(job))["plan_error"].startswith("company.timezone: ")
    await w.db.execute("update public.companies set timezone = null")
    await w.tick()
    assert (await w.row(job))["plan_error"] is None


async def test_what_is_planned_stands_over_an_edit_unless_an_earlier_fire_lies_before_it(w: World) -> None:
    job = await w.job({"cron": "0 * * * *"})
    await w.tick()
    await w.edit(job, "name", "tides")
    await w.tick()
    assert (await w.row(job))["next_run_at"] == NOON + timedelta(hours=1)
    await w.edit(job, "schedule", QUARTERS)
    await w.tick()
    assert (await w.row(job))["next_run_at"] == NOON + QUARTER


async def test_a_fire_that_is_due_while_its_job_is_edited_is_not_lost(w: World) -> None:
    job = await w.job()
    await w.tick()
    await w.clock(NOON + QUARTER)
    await w.edit(job, "schedule", {"cron": "*/5 * * * *"})
    await w.tick()
    assert [run["fire_at"] for run in await w.runs(job)] == [NOON + QUARTER]


async def test_a_single_fire_that_came_before_it_was_planned_is_not_lost_and_happens_once(w: World) -> None:
    job = await w.job({"at": (NOON + timedelta(seconds=1)).isoformat()})
    await w.clock(NOON + timedelta(seconds=3))
    await w.tick()
    await w.edit(job, "name", "once")
    await w.tick()
    assert [run["fire_at"] for run in await w.runs(job)] == [NOON + timedelta(seconds=1)]
    assert (await w.row(job))["next_run_at"] is None


async def test_types_that_only_newer_processes_know_are_left_to_them(db: Database, w: World) -> None:
    async with world(db, Scripted(name="replay")) as newer:
        await newer.tick()
    job = await w.job(job_type="replay")
    await w.tick()
    row = await w.row(job)
    assert (row["planned_version"], row["plan_error"]) == (None, None)
    async with world(db, Scripted(name="replay")) as newer:
        await newer.tick()
        await newer.clock(NOON + QUARTER)
    assert await w.tick() is None
    assert await w.runs(job) == []
    async with world(db, Scripted(name="replay")) as newer:
        await newer.tick()
    assert len(await w.runs(job)) == 1


async def test_a_job_of_a_type_that_no_worker_knows_is_told_so_until_one_comes_that_does(
    db: Database, w: World
) -> None:
    job = await w.job(job_type="replay")
    await w.tick()
    row = await w.row(job)
    assert (row["status"], row["next_run_at"]) == ("error", None)
    assert row["plan_error"] == "job_type: no worker knows 'replay'; known: sync"
    async with world(db, Scripted(name="replay")) as newer:
        await newer.tick()
    row = await w.row(job)
    assert (row["status"], row["next_run_at"], row["plan_error"]) == ("idle", NOON + QUARTER, None)


async def test_a_type_corrected_is_planned_and_what_was_wrong_with_the_old_one_is_forgotten(w: World) -> None:
    job = await w.job(job_type="snyc")
    await w.tick()
    await w.edit(job, "job_type", "sync")
    assert (await w.row(job))["plan_error"] is None
    await w.tick()
    assert (await w.row(job))["next_run_at"] == NOON + QUARTER


async def test_a_type_whose_last_worker_has_gone_is_told_after_a_while_and_no_fire_is_lost(db: Database) -> None:
    async with world(db, Scripted(name="replay")) as newer:
        await newer.clock(NOON)
        job = await newer.job(job_type="replay")
        await newer.tick()
    async with world(db) as w:
        await w.tick()
        assert (await w.row(job))["status"] == "idle"  # a worker that is replaced is not missed
    await db.execute(
        "update tidemill.sync_job_type set known_at = known_at - make_interval(secs => $1) where name = 'replay'",
        FORGOTTEN_S,
    )
    async with world(db) as w:
        await w.tick()
        assert ((await w.row(job))["status"], (await w.row(job))["next_run_at"]) == ("error", NOON + QUARTER)
        await w.clock(NOON + QUARTER)
        assert await w.tick() is None
    async with world(db, Scripted(name="replay")) as newer:
        await newer.tick()
    assert [run["fire_at"] for run in await w.runs(job)] == [NOON + QUARTER]


async def test_a_job_made_while_its_company_is_suspended_rests_until_that_is_active_again(w: World) -> None:
    job = await w.job(connector=await w.connector(await w.company(status="suspended")))
    await w.tick()
    row = await w.row(job)
    assert (row["status"], row["next_run_at"], row["suspended_at"] is None) == ("paused", NOON + QUARTER, False)
    await w.db.execute("update public.companies set status = 'active'")
    assert (await w.row(job))["status"] == "idle"
