"""Is the schema current and closed to those who have no business in it?"""

from __future__ import annotations

from datetime import timedelta

from tidemill.cli.doctor.finding import Finding, error, ok, warn
from tidemill.cli.doctor.statements import SQL
from tidemill.engine.overview import Overview
from tidemill.postgres import Database, check

SHORTLY = timedelta(days=3)

_MAKE_PARTITIONS = "select * from tidemill.ensure_partitions()"


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


async def privileges(db: Database) -> Finding:
    """This role may do its work, and tenants may not come near it."""
    rows = await db.fetch(SQL.privileges)
    lacking = [row["lacking"] for row in rows if row["lacking"]]
    if lacking:
        text = f"this role lacks {_first(lacking)}: it sees no jobs, or cannot write them"
        return error("privileges", text, "log in as the role that ran the migrations, or grant that role to this one")
    given = [row["given"] for row in rows if row["given"]]
    if given:
        text = f"{_first(given)}: tenants have no business there"
        return error("privileges", text, "revoke all on schema tidemill from public, anon, authenticated")
    return ok("privileges", "this role may do its work, tenants have none in its schema")


async def examine(db: Database, seen: Overview) -> list[Finding]:
    """Row security and partitions."""
    return [await _row_security(db), _partitions(seen), await _default_partitions(db)]


async def _row_security(db: Database) -> Finding:
    bare = [row["name"] for row in await db.fetch(SQL.unforced)]
    if bare:
        return error(
            "row security",
            f"not enabled and forced on {_first(bare)}",
            f"alter table {bare[0]} enable row level security, force row level security",
        )
    return ok("row security", "enabled and forced on every table")


def _partitions(seen: Overview) -> Finding:
    missing = [table for table, ahead_s in seen.partitions.items() if ahead_s <= 0]
    if missing:
        text = f"missing for now: {', '.join(missing)}; rows go to the DEFAULT partition, where none is ever dropped"
        return warn("partitions", text, _MAKE_PARTITIONS)
    short = [table for table, ahead_s in seen.partitions.items() if ahead_s < SHORTLY.total_seconds()]
    if short:
        text = f"those of {', '.join(short)} end within {SHORTLY.days} days; workers make them once an hour"
        return warn("partitions", text, _MAKE_PARTITIONS)
    days = min(seen.partitions.values()) / 86_400
    return ok("partitions", f"made for {days:.0f} days to come")


async def _default_partitions(db: Database) -> Finding:
    used = [row["name"] for row in await db.fetch(SQL.default_rows)]
    if used:
        tables = ", ".join(used)
        text = f"{tables} took rows for want of a partition: they are read as any, but not dropped whole"
        return warn("default partitions", text, f"keep a worker running, it makes partitions ahead; {_MAKE_PARTITIONS}")
    return ok("default partitions", "empty")


def _first(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
