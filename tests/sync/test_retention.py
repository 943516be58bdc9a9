"""Logs are kept as long as it is said, and no open row is ever deleted."""

from __future__ import annotations

import pytest

from tests.sync.support import World, until, world
from tidemill.sync import retention

LOGS = ("sync_logs", "system_job_logs")


async def prune(w: World) -> None:
    """Have the job run to its end."""
    job = await w.app.engine.enqueue(retention.KIND)

    async def ended() -> bool:
        return await w.db.fetchval(
            "select exists (select from tidemill.job_run where id = $1 and outcome = 'done')", job
        )

    await until(ended, "the end of log retention")


async def age(w: World, days: int) -> None:
    """Have all that is logged so many days old."""
    for log in LOGS:
        await w.db.execute(f"update public.{log} set started_at = tidemill.now() - make_interval(days => $1)", days)


async def left(w: World) -> list[int]:
    return [await w.db.fetchval(f"select count(*) from public.{log}") for log in LOGS]


async def test_logs_are_kept_for_thirty_days(database_url: str) -> None:
    async with world(database_url, accounts=2, posts=1) as w:
        await w.run()
        await age(w, 29)
        await prune(w)
        assert await left(w) == [6, 1]
        await age(w, 31)
        newer = await w.tick()
        await prune(w)
        assert await left(w) == [6, 1]
        assert await w.db.fetchval("select id from public.system_job_logs") == newer.run_id


async def test_an_open_row_is_never_deleted(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=1) as w:
        await w.run()
        await age(w, 1000)
        for log in LOGS:
            await w.db.execute(
                f"update public.{log} set status = 'running', completed_at = null"
                f" where id = (select id from public.{log} limit 1)"
            )
        await prune(w)
        assert await left(w) == [1, 1]


async def test_many_old_rows_go_in_small_transactions(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    monkeypatch.setattr(retention, "MOST_CHUNKS", 2)
    async with world(database_url, accounts=4, posts=1) as w:
        await w.run()
        await age(w, 31)
        await prune(w)
        assert await left(w) == [0, 0]
