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


async def test_of_replaced_secrets_the_newest_two_versions_are_kept(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    async with world(database_url, accounts=1, posts=1, connected=False) as w:
        await w.db.execute(
            "with c as (insert into companies (code, name) values ('c', 'c') returning id),"
            " i as (insert into integration_connectors (company_id, provider)"
            " select id, p from c, unnest(array['a', 'b']) p returning *)"
            " insert into connector_credentials (company_id, connector_id, version, secret_ciphertext, checksum)"
            " select i.company_id, i.id, v, 'x', 'x'"
            " from i, generate_series(1, case i.provider when 'a' then 7 else 2 end) v"
        )
        await prune(w)
        left = await w.db.fetch(
            "select i.provider, array_agg(c.version::int order by c.version) as versions"
            " from connector_credentials c join integration_connectors i on i.id = c.connector_id group by 1 order by 1"
        )
        assert [tuple(row) for row in left] == [("a", [6, 7]), ("b", [1, 2])]
