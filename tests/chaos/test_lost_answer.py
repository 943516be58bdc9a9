"""A claim that Postgres commits after its worker lost the connection takes no job out of the world."""

from __future__ import annotations

from typing import Any

from tests.engine.support import history, quiet, until, working
from tests.postgres.proxy import Proxy
from tidemill.engine import Context, Engine, Kind
from tidemill.postgres import Database, connect


async def _work(ctx: Context, args: dict[str, Any]) -> None:
    return None


async def test_a_job_whose_claim_was_committed_but_not_answered_is_run(db: Database) -> None:
    async def claim_waits() -> bool:
        return await db.fetchval(
            "select exists (select from pg_stat_activity where datname = current_database()"
            " and application_name = 'control' and wait_event_type = 'Lock')"
        )

    kind = Kind("chaos.lost", _work)
    async with (
        Proxy(db.url) as proxy,
        await Database.open(proxy.url) as far,
        working(far, kind, lease_ttl=5.0) as (engine, worker),
    ):
        holder = await connect(db.url)
        await holder.execute("begin")
        async with db.transaction() as conn:
            job = await Engine(db, engine.registry).enqueue("chaos.lost", conn=conn)
            # The claim will wait for us in the middle of its work: somebody else is about to hold the job.
            await holder.execute(
                "insert into tidemill.job_lease"
                " (id, queue, rank, kind, max_attempts, enqueued_at, args, token, node, claimed_at)"
                " values ($1, 1, 0, 1, 1, now(), '{}', 0, 0, now())",
                job,
            )
        await until(claim_waits, what="a claim that waits")
        await proxy.refuse()
        await proxy.accept()
        holder.terminate()
        await quiet(db)
        assert await history(db) == [("chaos.lost", 1, "done", None)]
        assert await db.fetchval("select id from tidemill.job_run") == job
        assert worker.lost == 0
