"""Is the server there, of the right kind, and does it behave?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tidemill.cli.doctor.finding import Finding, error, ok, warn
from tidemill.cli.doctor.statements import SQL
from tidemill.errors import ConfigurationError
from tidemill.postgres import Database, Listener, Record, connect, embedded
from tidemill.settings import Settings

OLDEST, NEWEST = 15, 18
LISTEN_S = 10.0
LONG_TRANSACTION = timedelta(hours=1)
HELD_BACK = 1_000_000
"""Transactions that a slot or a standby may hold back: some ten minutes of a busy fleet."""
SKEW = timedelta(seconds=5)
SHORT_STATEMENT_S = 10.0
POOLER_TRIES = 10

_DIRECT = "set TIDEMILL_POOLED=true, and TIDEMILL_LISTEN_URL to a direct connection"


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
            f"behind a transaction pooler {_DIRECT}",
        )
    finally:
        await ear.close()
    return ok("listener", "notifications arrive")


async def pooler(settings: Settings, url: str) -> Finding:
    """No transaction pooler stands between without our knowing: statements that are kept would fail behind one.

    Two connections that the same server process answered prove one. None is proven by a pooler that does not.
    """
    if settings.pooled:
        return ok("pooler", "TIDEMILL_POOLED is set: nothing is kept from one transaction to the next")
    one, two = [await connect(url, name="tidemill doctor", pooled=True) for _ in range(2)]
    try:
        for _ in range(POOLER_TRIES):
            if await one.fetchval(SQL.backend) == await two.fetchval(SQL.backend):
                text = "two connections were answered by one process of the server: a transaction pooler is in the way"
                return error("pooler", text, _DIRECT)
    finally:
        await one.close(timeout=LISTEN_S)
        await two.close(timeout=LISTEN_S)
    return ok("pooler", "connections keep their sessions")


async def server(db: Database, settings: Settings) -> tuple[Record, Finding]:
    """What the server's, the database's and the role's settings make of our statements; the settings themselves."""
    row = await db.fetchrow(SQL.server)
    assert row is not None  # noqa: S101 - a SELECT without FROM always has a row
    return row, _settings(row, settings)


def _settings(row: Record, settings: Settings) -> Finding:
    reset = f"alter database {row['database']} reset, or alter role {row['role']} reset"
    if row["is_standby"]:
        text = "this is a standby: it takes no writes, so no job can be claimed"
        return error("server settings", text, "point TIDEMILL_DATABASE_URL to the primary")
    if row["is_read_only"]:
        text = "default_transaction_read_only is on: no job can be claimed"
        return error("server settings", text, f"{reset} default_transaction_read_only")
    if row["isolation"] != "read committed":
        text = f"default_transaction_isolation is {row['isolation']}: claims side by side fail instead of passing by"
        return error("server settings", text, f"{reset} default_transaction_isolation")
    if 0 < row["statement_timeout_s"] < SHORT_STATEMENT_S:
        text = f"statement_timeout is {row['statement_timeout_s']:g} s: it ends rescues and big finishes half way"
        return warn("server settings", text, f"{reset} statement_timeout; jobs have time-outs of their own")
    if row["jit"] and settings.pooled:
        text = "jit is on, and behind a pooler it cannot be turned off by us: short statements pay for compiling"
        return warn("server settings", text, f"alter role {row['role']} set jit = off")
    return ok("server settings", "nothing stands in the way")


async def examine(
    db: Database, settings: Settings, *, long_transaction: timedelta = LONG_TRANSACTION, held_back: int = HELD_BACK
) -> list[Finding]:
    """The clocks, and whoever keeps vacuum from its work."""
    return [await _clock(db, settings), await skew(db), await _oldest_transaction(db, long_transaction, held_back)]


async def _clock(db: Database, settings: Settings) -> Finding:
    moved: timedelta = await db.fetchval(SQL.clock)
    if moved:
        at_fault = error if settings.env == "production" else warn
        fix = "let it go back to the real time: select tidemill.reset_clock()"
        return at_fault("clock", f"Tidemill's clock was moved by {moved}", fix)
    return ok("clock", "Tidemill's clock is the real time")


async def skew(db: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Finding:
    """How far this host's clock is from the database's: no more is claimed than the round trip allows to be known.

    Leases and schedules go by the database's clock alone; tokens and the times in logs go by the host's.
    """
    bounds: list[tuple[timedelta, timedelta]] = []
    for _ in range(3):
        before = now()
        there: datetime = await db.fetchval(SQL.now)
        bounds.append((there - now(), there - before))
    least, most = max(low for low, _ in bounds), min(high for _, high in bounds)
    ahead = least if least > timedelta(0) else min(most, timedelta(0))
    known_to = f"known to {max(most - least, timedelta(0)) / timedelta(milliseconds=1):.0f} ms"
    if abs(ahead) > SKEW:
        text = (
            f"the database is {abs(ahead).total_seconds():.1f} s {'ahead of' if ahead > timedelta(0) else 'behind'} "
            f"this host ({known_to}): tokens are taken for expired, or for valid, and logs do not fit together"
        )
        return warn("clock skew", text, "synchronise both by NTP")
    return ok("clock skew", f"this host and the database agree ({known_to})")


async def _oldest_transaction(db: Database, limit: timedelta, held_back: int) -> Finding:
    row = await db.fetchrow(SQL.oldest_xmin, limit, held_back)
    if row is None:
        return ok("transactions", f"none is older than {limit}, no slot and no standby holds vacuum back")
    since = f"for {row['held']}, " if row["held"] is not None else ""
    text = f"{row['holder']} keeps vacuum from cleaning up: {since}{row['xids'] or 0:,} transactions. Claims get slower"
    return warn("transactions", text, row["fix"])
