"""Is the schema current and closed to those who have no business in it?"""

from __future__ import annotations

from tidemill.cli.doctor.finding import Finding, error, ok, warn
from tidemill.cli.doctor.statements import SQL
from tidemill.postgres import Database, check


def is_usable(state: Finding) -> bool:
    """Whether the tables that the other checks read are there."""
    return state.level != "error" or "pending" not in state.text


async def migrations(url: str) -> Finding:
    """Every migration of this version is applied, unchanged."""
    state = await check(url)
    if state.pending:
        return error("schema", f"{len(state.pending)} migrations are pending", "run: tidemill migrate")
    if state.drifted:
        return error(
            "schema",
            f"migration {state.drifted[0]} is not the file that was applied here",
            "restore that file; tidemill migrate says more",
        )
    if state.unknown:
        return warn("schema", f"a newer Tidemill applied {state.unknown[-1]}", "bring this program up to date")
    return ok("schema", f"all {len(state.applied)} migrations are applied")


async def examine(db: Database) -> list[Finding]:
    """Row security and partitions."""
    return [await _row_security(db), await _partitions(db)]


async def _row_security(db: Database) -> Finding:
    bare = [row["name"] for row in await db.fetch(SQL.unforced)]
    if bare:
        return error(
            "row security",
            f"not enabled and forced on {', '.join(bare[:5])}{' and others' if len(bare) > 5 else ''}",
            f"alter table {bare[0]} enable row level security, force row level security",
        )
    return ok("row security", "enabled and forced on every table")


async def _partitions(db: Database) -> Finding:
    missing = [row["name"] for row in await db.fetch(SQL.missing_partitions)]
    if missing:
        return warn(
            "partitions",
            f"missing for this month: {', '.join(missing)}; rows go to the default partition",
            "select * from tidemill.ensure_partitions()",
        )
    return ok("partitions", "this month's exist")
