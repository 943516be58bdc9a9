"""The application, assembled: one object that holds every room, made at the top and handed down."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tidemill.connectors import HttpClient, Limits
from tidemill.connectors.threads import ThreadsConnector
from tidemill.engine import Engine, Registry, Schedule, Schedules, Worker
from tidemill.errors import SchemaOutOfDate
from tidemill.postgres import Database, Listener, check, database_url, migrate
from tidemill.settings import Settings
from tidemill.sync import QUEUE, FleetGate, Sync
from tidemill.vault import Keyring, Vault

SCHEDULED_SYNC = "scheduled-sync"
"""Name of the built-in schedule."""
SMALL_JOBS = 10
"""Jobs of the default queue side by side in one process: ticks, fan-outs, closings."""


CONNECTIONS = 20
"""For the handlers of one process, opened as they are needed. Fewer than there are jobs side by side: no handler keeps
one while it waits for anything but Postgres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidemill:
    """All of Tidemill in one process.

    Attributes:
        url: the database in use; the embedded one where the settings name none.
        engine, schedules, sync, vault, http: the rooms.
    """

    settings: Settings
    url: str
    db: Database
    engine: Engine
    schedules: Schedules
    sync: Sync
    vault: Vault
    http: HttpClient

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, *, name: str = "tidemill", limits: Limits | None = None
    ) -> AsyncGenerator[Tidemill]:
        """Connect everything, and take it down again at the end.

        The embedded server is started where the settings name no database, and its schema is brought up to date; a
        database of yours is only checked. ``limits`` replaces what the settings allow calls to providers.

        Raises:
            DatabaseUnavailable: when Postgres cannot be reached or started.
            SchemaOutOfDate: when ``tidemill migrate`` has to be run first.
            ConfigurationError: when a setting is missing or wrong.
        """
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(database_url(settings))
            await _ready_schema(settings, url)
            db = await stack.enter_async_context(
                await Database.open(url, max_size=CONNECTIONS, name=name, pooled=settings.pooled)
            )
            if settings.env == "production":
                await db.execute("select tidemill.lock_clock()")
            vault = Vault(Keyring.load(settings))
            registry = Registry()
            engine = Engine(db, registry)
            gate = FleetGate(engine.scopes)
            limits = limits or Limits(calls_in_flight=settings.sync_calls_in_flight)
            http = await stack.enter_async_context(await HttpClient.open(gate=gate, limits=limits))
            connector = ThreadsConnector.load(settings)
            sync = Sync(engine, connector=connector, http=http, gate=gate, vault=vault, settings=settings)
            for kind in sync.kinds():
                registry.add(kind)
            yield cls(
                settings=settings,
                url=url,
                db=db,
                engine=engine,
                schedules=Schedules(db, engine),
                sync=sync,
                vault=vault,
                http=http,
            )

    async def declare_schedules(self) -> None:
        """Make the built-in schedules known to the database; whoever paused one keeps it paused."""
        await self.schedules.declare(Schedule(name=SCHEDULED_SYNC, kind="scheduled_sync", cron=self.settings.sync_cron))

    @asynccontextmanager
    async def worker(self, *, accounts_at_once: int | None = None) -> AsyncGenerator[Worker]:
        """A worker of this process, with its own small pool and its listener; run it with ``await worker.run()``."""
        settings = self.settings
        async with AsyncExitStack() as stack:
            control = await stack.enter_async_context(
                await Database.open(self.url, max_size=4, name="tidemill-control", pooled=settings.pooled)
            )
            listener: Listener | None = None
            if settings.listen_url or not settings.pooled:
                listener = Listener(settings.listen_url or self.url)
            yield Worker(
                self.engine,
                control,
                queues={"default": SMALL_JOBS, QUEUE: accounts_at_once or settings.sync_accounts_at_once},
                listener=listener,
                lease_ttl=settings.lease_ttl_s,
                schedules=self.schedules,
            )


async def _ready_schema(settings: Settings, url: str) -> None:
    state = await check(settings.listen_url or url)
    if not state.pending:
        return
    if settings.database_url:
        names = ", ".join(f"{m.version}_{m.name}" for m in state.pending)
        raise SchemaOutOfDate(f"the database lacks {names}; run: tidemill migrate")
    await migrate(url)
