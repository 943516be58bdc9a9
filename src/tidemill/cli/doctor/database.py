"""Is the server there, of the right kind, and does it behave?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tidemill.cli.doctor.finding import Finding, error, ok, warn
from tidemill.cli.doctor.statements import SQL
from tidemill.errors import ConfigurationError
from tidemill.postgres import Database, Listener, embedded
from tidemill.settings import Settings

OLDEST, NEWEST = 15, 18
LISTEN_S = 10.0
LONG_TRANSACTION = timedelta(hours=1)
SKEW = timedelta(seconds=5)


def embedded_state(settings: Settings) -> list[Finding]:
    """Whether the embedded server runs already, and where; nothing when a database of one's own is used."""
    if settings.database_url is not None:
        return []
    try:
        server = embedded.find(settings.data_dir)
    except ConfigurationError as e:
        return [error("embedded", str(e), "run as the user who made the folder, or name another with --data-dir")]
    if server is None:
        return [ok("embedded", f"the server of {settings.data_dir} was asleep; it starts when a command needs it")]
    place = f"Postgres {server.version} on port {server.port}, data in {server.place}, keeper {server.keeper_pid}"
    return [ok("embedded", place)]


async def version(db: Database) -> Finding:
    """The server's version is one that Tidemill is tested with."""
    number = int(await db.fetchval(SQL.version))
    major = number // 10_000
    if major < OLDEST:
        return error("version", f"Postgres {major}", f"use Postgres {OLDEST} to {NEWEST}")
    if major > NEWEST:
        return warn("version", f"Postgres {major}", f"it is newer than what was tested ({OLDEST} to {NEWEST})")
    return ok("version", f"Postgres {major}.{number % 10_000}")


async def listener(settings: Settings, url: str) -> Finding:
    """A notification comes back, so that jobs start at once and not at the next poll."""
    if settings.pooled and not settings.listen_url:
        return warn("listener", "jobs are found by polling", "set TIDEMILL_LISTEN_URL to a direct (session) connection")
    heard = asyncio.Event()
    ear = Listener(settings.listen_url or url, deadline=LISTEN_S)
    ear.on("tidemill_job", lambda _: heard.set())
    await ear.start()
    try:
        await asyncio.wait_for(heard.wait(), LISTEN_S)
    except TimeoutError:
        return error(
            "listener",
            "no notification comes back",
            "behind a transaction pooler set TIDEMILL_POOLED=true and TIDEMILL_LISTEN_URL to a direct connection",
        )
    finally:
        await ear.close()
    return ok("listener", "notifications arrive")


async def examine(db: Database, settings: Settings, *, long_transaction: timedelta = LONG_TRANSACTION) -> list[Finding]:
    """The clock, and whoever keeps vacuum from its work."""
    return [await _clock(db, settings), await _oldest_transaction(db, long_transaction)]


async def _clock(db: Database, settings: Settings) -> Finding:
    row = await db.fetchrow(SQL.clock)
    assert row is not None  # noqa: S101 - the migration put its one row there
    moved: timedelta = row["offset"]
    if moved:
        at_fault = error if settings.env == "production" else warn
        fix = "let it go back to the real time: select tidemill.reset_clock()"
        return at_fault("clock", f"Tidemill's clock was moved by {moved}", fix)
    skew = abs(row["real_now"] - datetime.now(UTC))
    if skew > SKEW:
        text = f"this host and the database differ by {skew.total_seconds():.0f} s"
        return warn("clock", text, "synchronise both by NTP")
    return ok("clock", "Tidemill's clock is the real time")


async def _oldest_transaction(db: Database, limit: timedelta) -> Finding:
    row = await db.fetchrow(SQL.oldest_xmin, limit)
    if row is None:
        return ok("transactions", f"none is older than {limit}")
    return warn(
        "transactions",
        f"{row['holder']} has been open for {row['age']} and keeps vacuum from cleaning up",
        row["fix"],
    )
