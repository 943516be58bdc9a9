"""The fence for many jobs: who of them may still write."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.engine.job import Job
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection


async def fence_held(conn: Connection, jobs: Sequence[Job]) -> set[int]:
    """The ids of those jobs whose lease is still ours. It stays ours until the caller's transaction ends.

    The first statement of a transaction that writes for several jobs at once; :meth:`Context.transaction` is the one
    for a single job. Nothing may be written for a job that is missing from the answer.
    """
    rows = await conn.fetch(SQL.fence_held, [j.id for j in jobs], [j.token for j in jobs], [j.node for j in jobs])
    return {row["id"] for row in rows}
