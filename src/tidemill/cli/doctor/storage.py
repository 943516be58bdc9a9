"""Does vacuum keep up, and what do the engine's tables weigh?"""

from __future__ import annotations

from tidemill.cli.doctor.finding import Finding, error, ok, warn
from tidemill.cli.doctor.statements import SQL
from tidemill.postgres import Database, Record

MOST_DEAD = 10_000
"""Dead rows below which no table is worth a word: a claim passes over so many in about a millisecond."""
LARGE_BYTES = 1 << 30
"""Below a gigabyte nobody's disk minds, and what is empty is used again."""


async def examine(
    db: Database, server: Record, *, most_dead: int = MOST_DEAD, large_bytes: int = LARGE_BYTES
) -> list[Finding]:
    """Autovacuum, dead rows, bloat. Every claim passes over what vacuum has not removed."""
    rows = await db.fetch(SQL.vacuum, most_dead)
    return [_autovacuum(server, rows), _dead_rows(rows, most_dead), await _bloat(db, large_bytes)]


def _autovacuum(server: Record, rows: list[Record]) -> Finding:
    if not (server["autovacuum"] and server["track_counts"]):
        setting = "track_counts" if server["autovacuum"] else "autovacuum"
        text = f"{setting} is off: tables of jobs grow without end, and every claim gets slower"
        return error("autovacuum", text, f"alter system set {setting} = on; select pg_reload_conf()")
    off = [row["name"] for row in rows if row["is_off"]]
    if off:
        text = f"it is turned off for {', '.join(off)}: what was deleted there stays, and every claim passes over it"
        return error("autovacuum", text, f"alter table {off[0]} reset (autovacuum_enabled)")
    return ok("autovacuum", "on, for every table")


def _dead_rows(rows: list[Record], most: int) -> Finding:
    full = [row for row in rows if row["dead"] > max(5 * row["starts_at"], most)]
    if full:
        worst = full[0]
        last = f"last vacuumed {worst['last_vacuum']:%Y-%m-%d %H:%M:%SZ}" if worst["last_vacuum"] else "never vacuumed"
        text = (
            f"{worst['name']} has {worst['dead']:,} dead rows beside {worst['live']:,} live ones, five times what "
            f"starts autovacuum ({last}): claims and beats pass over them"
        )
        return warn("dead rows", text, f"see who holds them back under transactions, then: vacuum {worst['name']}")
    return ok("dead rows", "vacuum keeps up")


async def _bloat(db: Database, large_bytes: int) -> Finding:
    rows = await db.fetch(SQL.bloat, large_bytes)
    if rows:
        worst = rows[0]
        text = (
            f"{worst['name']} and its indexes take {worst['bytes'] / 1e6:,.0f} MB for {worst['live']:,} rows; "
            "the space is used again, but not given back"
        )
        return warn("bloat", text, f"in a quiet minute, since it locks the table: vacuum full {worst['name']}")
    return ok("bloat", "no table is much larger than its rows")
