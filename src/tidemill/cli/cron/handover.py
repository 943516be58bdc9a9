"""Handing the schedule over to pg_cron, and taking it back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

from tidemill.app import SCHEDULED_SYNC, Rooms
from tidemill.cli.cron.statements import SQL
from tidemill.cli.exits import NotFound
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Database
from tidemill.settings import Settings

JOB = "tidemill-scheduled-sync"
PAUSED_BY = "pg_cron"
URL_NAME, SECRET_NAME = "TIDEMILL_BASE_URL", "CRON_SECRET"

_TABLE, _VAULT = "tidemill.setting", "Supabase Vault"
_ADDRESS = re.compile(r"https?://[^/?#\s@]+(/[^?#\s]*)?")


class Values(Protocol):
    """Where the server's address and the secret come from."""

    @property
    def url_given(self) -> str | None:
        """The address, if it was given."""
        ...

    @property
    def secret_given(self) -> str | None:
        """The secret, if it is set."""
        ...

    def url(self) -> str:
        """The address, asked for if need be."""
        ...

    def secret(self) -> str:
        """The secret, asked for if need be."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """What was done. ``values`` says for each value where it is read from; none is ever shown."""

    installed: bool
    job: str = JOB
    schedule: str | None = None
    values: dict[str, str] = field(default_factory=dict[str, str])
    warning: str | None = None


async def install(settings: Settings, given: Values) -> Done:
    """Store what the function needs, register the job and pause the built-in schedule; all or nothing.

    Raises:
        NotFound: pg_cron or pg_net is not in this database.
        InvalidInput: the address is not one.
    """
    async with Rooms.open(settings, name="tidemill cron") as app:
        zone = await require_extensions(app.db)
        in_vault = await _names_in_vault(app.db)
        stored = {row["name"] for row in await app.db.fetch(SQL.stored)}
        values: dict[str, str] = {}
        to_store: dict[str, str] = {}
        for name, value_given, ask in (
            (URL_NAME, given.url_given, given.url),
            (SECRET_NAME, given.secret_given, given.secret),
        ):
            values[name] = _VAULT if name in in_vault else _TABLE
            if name in in_vault or (name in stored and value_given is None):
                continue
            to_store[name] = ask()
        if URL_NAME in to_store:
            to_store[URL_NAME] = _address(to_store[URL_NAME])
        await app.declare_schedules()

        async def work(conn: Connection) -> None:
            for name, value in to_store.items():
                await conn.execute(SQL.store, name, value)
            await conn.execute(SQL.schedule_job, JOB, settings.sync_cron)
            await conn.execute(SQL.pause_built_in, SCHEDULED_SYNC, PAUSED_BY)

        await app.db.retrying(work)
    warning = None
    if zone.upper() not in ("GMT", "UTC", "ETC/UTC"):
        warning = f"pg_cron reads its schedules in {zone}, Tidemill in UTC: set cron.timezone = 'GMT'."
    return Done(True, schedule=settings.sync_cron, values=values, warning=warning)


async def remove(settings: Settings) -> Done:
    """Take the job out of pg_cron, forget what was stored for it, and let the built-in schedule fire again."""
    async with Rooms.open(settings, name="tidemill cron") as app:
        has_cron = await app.db.fetchval(SQL.has_cron)

        async def work(conn: Connection) -> None:
            if has_cron:
                await conn.execute(SQL.unschedule_job, JOB)
            await conn.execute(SQL.forget, [URL_NAME, SECRET_NAME])
            await conn.execute(SQL.resume_built_in, SCHEDULED_SYNC, PAUSED_BY)

        await app.db.retrying(work)
    return Done(False)


async def require_extensions(db: Database) -> str:
    """The zone in which pg_cron reads its schedules.

    Raises:
        NotFound: an extension is missing; the message says what to do.
    """
    row = await db.fetchrow(SQL.extensions)
    assert row is not None  # noqa: S101 - a SELECT without FROM always has a row
    instead = "Tidemill's own schedule needs neither: tidemill worker fires it."
    if not row["cron"]:
        raise NotFound(
            "pg_cron is not in this database. Add it to shared_preload_libraries, restart Postgres, and run: "
            f"create extension pg_cron (on Supabase: Database, Extensions). {instead}"
        )
    if not row["net"]:
        raise NotFound(f"pg_net is not in this database. Run: create extension pg_net. {instead}")
    return row["zone"]


async def _names_in_vault(db: Database) -> set[str]:
    if not await db.fetchval(SQL.has_vault):
        return set()
    return {row["name"] for row in await db.fetch(SQL.in_vault, [URL_NAME, SECRET_NAME])}


def _address(url: str) -> str:
    if not _ADDRESS.fullmatch(url):
        raise InvalidInput("--url", "must be an http or https address without user, query or fragment")
    return url.rstrip("/")
