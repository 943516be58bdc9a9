"""How often one caller may call."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill.postgres import Database, Statements
from tidemill.web.problems import Problem

__all__ = ["RateLimit", "count_call"]

_SQL = Statements("tidemill.web.sql")


@dataclass(frozen=True)
class RateLimit:
    """Calls that one user may make of one endpoint in a window of seconds."""

    calls: int
    window_s: int = 60


async def count_call(db: Database, key: str, limit: RateLimit) -> None:
    """Count one call.

    Raises:
        Problem: 429, when it is one too many in this window.
    """
    counted = await db.fetchrow(_SQL.rate_limit, key, limit.calls, limit.window_s)
    if counted is None or not counted["allowed"]:
        wait = min(counted["retry_after"], limit.window_s) if counted else limit.window_s
        raise Problem(
            429, "RATE_LIMITED", f"Too many requests; try again in {wait} s.", headers={"Retry-After": str(wait)}
        )
