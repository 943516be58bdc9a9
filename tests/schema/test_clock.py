"""Tidemill's clock: what moves it, what holds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tidemill.postgres import Connection, connect

FAR = datetime(2031, 3, 29, 23, 0, tzinfo=UTC)
SOON = timedelta(minutes=1)


async def test_the_clock_starts_at_the_real_time(conn: Connection) -> None:
    assert await conn.fetchval("select tidemill.now() between clock_timestamp() - interval '1 s' and clock_timestamp()")


async def test_a_clock_that_was_set_runs_on_from_there_for_everybody(conn: Connection, shared_url: str) -> None:
    at = await conn.fetchval("select tidemill.set_clock($1)", FAR)
    assert FAR <= at < FAR + SOON
    other = await connect(shared_url)
    try:
        seen = await other.fetchval("select tidemill.now()")
    finally:
        other.terminate()
    assert at < seen < FAR + SOON


async def test_the_clock_moves_on_within_one_statement(conn: Connection) -> None:
    first, second = (await conn.fetchrow("select tidemill.now() as a, tidemill.now() as b from pg_sleep(0.002)")) or (
        None,
        None,
    )
    assert first < second


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Apia"])
async def test_no_time_zone_bends_the_clock(conn: Connection, zone: str) -> None:
    """A day over the night the clocks change is 23 hours in Berlin's calendar."""
    await conn.execute("select set_config('timezone', $1, false)", zone)
    await conn.execute("select tidemill.set_clock($1)", FAR)
    at = await conn.fetchval("select tidemill.advance_clock('1 day')")
    assert FAR + timedelta(days=1) <= at < FAR + timedelta(days=1) + SOON


async def test_the_clock_can_go_back_and_be_reset(conn: Connection) -> None:
    await conn.execute("select tidemill.set_clock('1999-12-31 00:00+00')")
    assert (await conn.fetchval("select tidemill.now()")).year == 1999
    await conn.execute("select tidemill.reset_clock()")
    await test_the_clock_starts_at_the_real_time(conn)


@pytest.mark.parametrize("call", ["tidemill.set_clock(now())", "tidemill.advance_clock('1 hour')"])
async def test_a_locked_clock_refuses_to_move(conn: Connection, call: str) -> None:
    await conn.execute("select tidemill.lock_clock()")
    await conn.execute("select tidemill.lock_clock()")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="production"):
        await conn.execute(f"select {call}")
    await test_the_clock_starts_at_the_real_time(conn)


async def test_a_clock_that_was_moved_cannot_be_locked_before_it_is_reset(conn: Connection) -> None:
    await conn.execute("select tidemill.advance_clock('1 hour')")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="no production database"):
        await conn.execute("select tidemill.lock_clock()")
    await conn.execute("select tidemill.reset_clock()")
    await conn.execute("select tidemill.lock_clock()")


async def test_the_clock_is_one_row_and_never_set_to_nothing(conn: Connection) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await conn.execute("insert into tidemill.clock default values")
    with pytest.raises(asyncpg.PostgresError):
        await conn.execute("select tidemill.set_clock(null)")


async def test_written_as_a_sub_select_the_clock_is_an_index_condition(conn: Connection) -> None:
    await conn.execute("""
        insert into public.system_job_logs (job_type, started_at)
        select 'scheduled_sync', now() - n * interval '1 h' from generate_series(1, 3000) n;
        analyze public.system_job_logs
    """)
    plan = await conn.fetch(
        "explain (costs off) select * from public.system_job_logs "
        "where started_at > (select tidemill.now()) - interval '3 h'"
    )
    assert any("Index Cond" in r[0] for r in plan)
