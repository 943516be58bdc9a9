"""Moments of a run that are held fast: it walks into a lock of ours with its own transaction open."""

from __future__ import annotations

import random
from types import TracebackType
from typing import Self

from tests.chaos.processes import until
from tidemill.postgres import Connection, Database, connect

_MEASURING = "select exists (select from sync_logs where status = 'running' and job_type = 'sync_metrics')"

# What to lock, and when: once so many steps' rows are final, or a query says so; None: before the run is triggered.
_LOCKS: dict[str, tuple[str, range | str | None]] = {
    "opening": ("lock table public.system_job_logs in share mode", None),
    "fanning out": ("lock table public.sync_logs in share mode", None),
    "writing posts": ("lock table public.workspace_threads_posts in share mode", None),
    "writing snapshots": ("lock table public.workspace_threads_post_metrics in share mode", None),
    "writing snapshots of known posts": ("select from public.workspace_threads_posts for update", _MEASURING),
    "writing insights": ("lock table public.workspace_threads_account_insights in share mode", None),
    "finishing a job": ("lock table tidemill.job_run in share mode", None),
    "ending a step": ("lock table public.sync_logs in share mode", range(3, 20)),
    "finishing an account": ("lock table tidemill.job_run in share mode", range(8, 20)),
    "counting an account": ("select from tidemill.batch where state = 'sealed' for update", range(3, 12)),
    "closing": ("select from public.system_job_logs where status = 'running' for update", range(3, 20)),
}
MOMENTS = tuple(_LOCKS)


class Held:
    """Has the run stop at a moment until the block ends."""

    def __init__(self, db: Database, moment: str, rng: random.Random) -> None:
        self._db = db
        self._moment = moment
        self._lock, self._when = _LOCKS[moment]
        self._steps = rng.choice(self._when) if isinstance(self._when, range) else 0
        self._holder: Connection | None = None

    async def reached(self) -> None:
        """Wait until the run stands still at the moment."""
        if self._when is not None:
            await until(self._so_far, what=f"the time for {self._moment!r}", pause=0.002)
            await self._take()
        await until(self._someone_waits, what=f"a stop at {self._moment!r}", pause=0.002)

    async def _take(self) -> None:
        self._holder = await connect(self._db.url, name="chaos holder")
        await self._holder.execute("begin")
        await self._holder.execute(self._lock)

    async def _so_far(self) -> bool:
        if isinstance(self._when, str):
            return await self._db.fetchval(self._when)
        return await self._db.fetchval(
            "select count(*) >= $1 from sync_logs l join system_job_logs r on r.id = l.run_id"
            " where r.status = 'running' and l.status not in ('pending', 'running')",
            self._steps,
        )

    async def _someone_waits(self) -> bool:
        return await self._db.fetchval(
            "select exists (select from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock' and state = 'active')"
        )

    async def __aenter__(self) -> Self:
        if self._when is None:
            await self._take()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._holder is not None:
            self._holder.terminate()
