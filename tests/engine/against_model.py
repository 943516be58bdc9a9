"""Whether the database is as the model says."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.engine.model import Model
from tests.engine.truths import untrue
from tidemill.postgres import Database

_CONTENT = """
with waiting as (
  select 'ready' as state, id, kind, queue, key, tenant, batch, max_attempts, attempt, crashes, rank, args
  from tidemill.job_ready
  union all
  select 'delayed', id, kind, queue, key, tenant, batch, max_attempts, attempt, crashes, rank, args
  from tidemill.job_delayed
), jobs as (
  select state, id, kind, queue, key, tenant, batch, max_attempts, attempt, crashes, rank, 0::bigint as token,
    0::bigint as node, args from waiting
  union all select 'lease', id, kind, queue, key, tenant, batch, max_attempts, attempt, crashes, rank, token, node, args
    from tidemill.job_lease
  union all select 'job_dead', id, kind, queue, key, tenant, batch, max_attempts, attempt, crashes, 0, 0, 0, args
    from tidemill.job_dead
)
select k.name as kind, q.name as queue, j.state, j.id, j.key, j.tenant, j.batch, j.max_attempts, j.attempt, j.crashes,
  j.rank, j.token, j.node, j.args
from jobs j join tidemill.kind k on k.id = j.kind join tidemill.queue q on q.id = j.queue
"""
_COLUMNS = ("state", "kind", "queue", "key", "tenant", "batch", "max_attempts", "attempt", "crashes")


async def content_of(db: Database) -> list[Any]:
    """Every job that is in a table."""
    return await db.fetch(_CONTENT)


async def compare(db: Database, model: Model, content: list[Any]) -> None:
    """Fail where the database is not as the model says, or some truth about it is not true."""
    rows = {
        r["id"]: (*(r[name] for name in _COLUMNS), (r["token"], r["node"]) if r["state"] == "lease" else None)
        for r in content
    }
    assert rows == model.rows()
    histories: dict[int, Counter[tuple[int, int, str]]] = {}
    for r in await db.fetch("select id, attempt, crashes, outcome from tidemill.job_run"):
        histories.setdefault(r["id"], Counter())[r["attempt"], r["crashes"], r["outcome"]] += 1
    assert histories == model.histories()
    batches = await db.fetch("select id, state, total, finished, counts from tidemill.batch")
    assert {r["id"]: tuple(r)[1:] for r in batches} == model.groups()
    assert {r["job"] for r in await db.fetch("select job from tidemill.job_cancel")} == model.asked
    assert await untrue(db, [job.id for job in model.jobs.values() if job.state != "ended"]) == []
