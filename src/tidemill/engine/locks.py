"""Named locks with an owner and a short lease (``public.system_job_locks``)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tidemill.engine.statements import SQL
from tidemill.postgres import Connection


@dataclass(frozen=True, slots=True)
class LockAnswer:
    """Whether the lock was taken; ``locked_until`` tells when the present holder's lease ends otherwise."""

    acquired: bool
    locked_until: datetime | None
    fence: int | None


async def acquire(conn: Connection, name: str, *, owner: str, ttl: timedelta, batch: UUID | None = None) -> LockAnswer:
    """Take the lock if it is free. With ``batch``, any node renews it for as long as that batch is open."""
    row = await conn.fetchrow(SQL.lock_acquire, name, owner, ttl, batch)
    return LockAnswer(row["acquired"], row["locked_until"], row["fence"]) if row else LockAnswer(False, None, None)


async def release(conn: Connection, name: str, *, owner: str) -> bool:
    """Free the lock if ``owner`` still holds it."""
    return bool(await conn.fetchval(SQL.lock_release, name, owner))
