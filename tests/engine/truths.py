"""What must hold of the engine's tables whenever no transaction is open, whatever has happened."""

from __future__ import annotations

from collections.abc import Iterable

from tidemill.postgres import Connection, Database

LIVE = """
    select id, kind, key, batch, args from tidemill.job_ready
    union all select id, kind, key, batch, args from tidemill.job_delayed
    union all select id, kind, key, batch, args from tidemill.job_lease
"""
TERMINAL = "('done', 'partial', 'skipped', 'cancelled', 'failed', 'dead')"

_TRUTHS = {
    "a job is in two places": f"""
        select id from (select id from ({LIVE}) live union all select id from tidemill.job_dead) j
        group by id having count(*) > 1""",
    "a key is held for a job that does not live": f"""
        select u.* from tidemill.unique_key u left join ({LIVE}) j on (j.id, j.kind, j.key) = (u.job, u.kind, u.key)
        where j.id is null""",
    "a live job does not hold its key": f"""
        select j.id, j.key from ({LIVE}) j
        left join tidemill.unique_key u on (j.id, j.kind, j.key) = (u.job, u.kind, u.key)
        where j.key is not null and u.job is null""",
    "a lease is of a node that is not known": """
        select id, node from tidemill.job_lease l where not exists (select from tidemill.node n where n.id = l.node)""",
    "a batch has miscounted": f"""
        select b.id, b.state, b.total, b.finished, b.counts, ended.jobs as ended, ended.counts as truly,
          live.jobs as live
        from tidemill.batch b
        cross join lateral (
          select coalesce(sum(n), 0)::int as jobs, coalesce(jsonb_object_agg(outcome, n), '{{}}') as counts
          from (
            select outcome, count(*) as n from tidemill.job_run where batch = b.id and outcome in {TERMINAL} group by 1
          ) o
        ) ended
        cross join lateral (select count(*) as jobs from ({LIVE}) j where j.batch = b.id) live
        where b.finished <> ended.jobs or b.counts <> ended.counts or b.total <> ended.jobs + live.jobs""",
    "a drained batch does not close": """
        select id from tidemill.batch where state = 'sealed' and finished >= total""",
    "a batch closes while jobs of it live": f"""
        select b.id, b.state, j.id as job from tidemill.batch b join ({LIVE}) j on j.batch = b.id
        where b.state in ('closing', 'closed')""",
    "a batch has two closing jobs": f"""
        select b.id from tidemill.batch b join ({LIVE}) j on j.kind = b.close_kind and j.args ->> 'batch' = b.id::text
        group by b.id having count(*) > 1 or min(b.state) in ('open', 'sealed')""",
    "a job ended twice": f"""
        select id from tidemill.job_run where outcome in {TERMINAL} and outcome <> 'dead'
        group by id having count(*) > 1""",
    "a job that ended for good is still somewhere": f"""
        select j.id from (select id from ({LIVE}) live union all select id from tidemill.job_dead) j
        join tidemill.job_run r on r.id = j.id where r.outcome in {TERMINAL} and r.outcome <> 'dead'""",
    "a dead letter has no death in its history": """
        select id from tidemill.job_dead d
        where not exists (select from tidemill.job_run r where r.id = d.id and r.outcome = 'dead')""",
    "an attempt is in the history twice": """
        select id, node, started_at from tidemill.job_run where node <> 0 group by 1, 2, 3 having count(*) > 1""",
}
_LOST = f"""
    select id from unnest($1::bigint[]) as known (id)
    except select id from ({LIVE}) live
    except select id from tidemill.job_dead
    except select id from tidemill.job_run where outcome in {TERMINAL}
"""


_ALL = " union all ".join(
    f"select '{name}' as truth, to_jsonb(x)::text as shown from ({query}) x"
    for name, query in {**_TRUTHS, "a job is lost": _LOST}.items()
)


async def untrue(db: Database | Connection, jobs: Iterable[int] = ()) -> list[str]:
    """What does not hold, with the rows that show it, empty when all is well; ``jobs`` must not be lost."""
    return [f"{row['truth']}: {row['shown']}" for row in await db.fetch(_ALL, list(jobs))]
