from __future__ import annotations

from tidemill.engine.housekeeping import keep_house
from tidemill.postgres import Database


async def test_nodes_fires_pauses_and_batches_that_nobody_asks_for_any_more_are_forgotten(db: Database) -> None:
    await db.execute(
        """
        insert into tidemill.node (name, pid, expires_at)
        values ('gone', 1, clock_timestamp() - interval '2 hours'),
               ('late', 2, clock_timestamp() - interval '1 minute');
        insert into tidemill.schedule_fire (name, fire_at)
        values ('s', now() - interval '31 days'), ('s', now() - interval '29 days');
        insert into tidemill.scope (name, blocked_until, reason)
        values ('old', now() - interval '2 days', ''), ('new', now() + interval '1 hour', '');
        insert into tidemill.batch (state, closed_at, close_kind, close_queue, close_args)
        values ('closed', now() - interval '31 days', 1, 1, '{}'), ('sealed', null, 1, 1, '{}');
        """
    )
    await keep_house(db)
    left = await db.fetchrow(
        "select (select array_agg(name) from tidemill.node) as nodes,"
        " (select count(*) from tidemill.schedule_fire) as fires,"
        " (select array_agg(name) from tidemill.scope) as scopes,"
        " (select array_agg(state) from tidemill.batch) as batches"
    )
    assert left is not None
    assert dict(left) == {"nodes": ["late"], "fires": 1, "scopes": ["new"], "batches": ["sealed"]}


async def test_the_partitions_of_the_coming_month_are_there_before_it_begins(db: Database) -> None:
    await db.execute("select tidemill.advance_clock(interval '40 days')")
    await keep_house(db)
    month = await db.fetchval("select to_char(tidemill.now() + interval '1 month', 'YYYYMM')")
    made = await db.fetch("select relname from pg_class where relispartition and relname like '%' || $1", month)
    # History of jobs goes by the real clock, what is synced by tidemill.now().
    tables = {row["relname"].removesuffix(f"_{month}") for row in made}
    assert tables == {"workspace_threads_post_metrics", "workspace_threads_account_insights"}
