"""The rooms of one process, connected: made at the top and handed down."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tidemill.connectors import HttpClient, Limits, SharedGate
from tidemill.connectors.registry import Connectors
from tidemill.engine import Engine, Kind, Rate, Registry, Schedule, Schedules, Worker
from tidemill.engine.chain import closing_kind
from tidemill.engine.control import open_control
from tidemill.engine.housekeeping import Retention
from tidemill.engine.measures import Measures
from tidemill.errors import ConfigurationError, InvalidInput, SchemaOutOfDate
from tidemill.postgres import Database, Listener, check, database_url, migrate
from tidemill.settings import Settings
from tidemill.sync import QUEUE, Sync
from tidemill.sync.company import CompanyAccounts
from tidemill.sync.company_repair import CompanyRepair
from tidemill.sync.company_replay import CompanyReplay
from tidemill.sync.jobs import QUEUE as SYNC_JOBS
from tidemill.sync.jobs import TAP_QUEUE, ByProvider, SyncJobs, load_types
from tidemill.sync.records import RepairRecords, ReplayRecords, SyncRecords
from tidemill.vault import Keyring, Vault

SCHEDULED_SYNC = "scheduled-sync"
"""Name of the built-in schedule."""
LOG_RETENTION = "log-retention"
"""Name of the built-in schedule that deletes old logs, once an hour."""
SYNC_BUDGETS = {"threads:*": None}
"""Calls of the built-in connector are not counted unless somebody says so; the provider's word alone holds."""
SMALL_JOBS = 10
"""Jobs of any queue but the syncs' that run side by side in one process, unless its worker is told otherwise."""


CONNECTIONS = 20
"""For the handlers of one process, opened as they are needed. Fewer than there are jobs side by side: no handler keeps
one while it waits for anything but Postgres."""


@dataclass(frozen=True, slots=True)
class _SyncRooms:
    sync: Sync
    sync_jobs: SyncJobs
    connectors: Connectors
    vault: Vault
    http: HttpClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """All of Tidemill in one process.

    Attributes:
        url: the database in use; the embedded one where the settings name none.
        engine, schedules: durable jobs.
    """

    settings: Settings
    url: str
    db: Database
    engine: Engine
    schedules: Schedules
    _declared: tuple[Schedule, ...]
    _above: _SyncRooms | None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        kinds: Iterable[Kind] = (),
        schedules: Iterable[Schedule] = (),
        budgets: Mapping[str, Rate | None] | None = None,
        syncs: bool = True,
        name: str = "tidemill",
        limits: Limits | None = None,
    ) -> AsyncGenerator[Rooms]:
        """Connect everything, and take it down again at the end.

        The embedded server is started where the settings name no database, and its schema is brought up to date; a
        database of yours is only checked. ``kinds``, ``schedules`` and ``budgets`` are the application's own. Without
        ``syncs`` there are only jobs: no key and no provider needs to be set. ``limits`` replaces what the settings
        allow calls to providers.

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
            engine = Engine(
                db,
                Registry([closing_kind(), *kinds]),
                trace_tenants=settings.trace_tenants,
                budgets={**(SYNC_BUDGETS if syncs else {}), **(budgets or {})},
            )
            stack.push_async_callback(engine.close)
            yield cls(
                settings=settings,
                url=url,
                db=db,
                engine=engine,
                schedules=Schedules(db, engine),
                _declared=tuple(schedules),
                _above=await _sync_rooms(stack, settings, engine, limits) if syncs else None,
            )

    @property
    def sync(self) -> Sync:
        """The one door to syncs."""
        return self._sync_rooms.sync

    @property
    def sync_jobs(self) -> SyncJobs:
        """Tenants' own syncs."""
        return self._sync_rooms.sync_jobs

    @property
    def connectors(self) -> Connectors:
        """The connectors that this process has."""
        return self._sync_rooms.connectors

    @property
    def vault(self) -> Vault:
        """Sealed secrets."""
        return self._sync_rooms.vault

    @property
    def http(self) -> HttpClient:
        """The way out to providers."""
        return self._sync_rooms.http

    @property
    def _sync_rooms(self) -> _SyncRooms:
        if self._above is None:
            raise ConfigurationError("this application was opened for jobs alone; open it with syncs=True")
        return self._above

    async def declare_schedules(self) -> None:
        """Make the schedules in code known to the database; whoever paused one keeps it paused."""
        if self._above is not None:
            cron = self.settings.sync_cron
            await self.schedules.declare(Schedule(name=SCHEDULED_SYNC, kind="scheduled_sync", cron=cron))
            await self.schedules.declare(Schedule(name=LOG_RETENTION, kind="log_retention", cron="7 * * * *"))
        for schedule in self._declared:
            await self.schedules.declare(schedule)

    @asynccontextmanager
    async def worker(
        self,
        *,
        queues: Mapping[str, int] | None = None,
        accounts_at_once: int | None = None,
        measures: Measures | None = None,
    ) -> AsyncGenerator[Worker]:
        """A worker of this process, with its own small pool and its listener; run it with ``await worker.run()``.

        Args:
            queues: queue → jobs side by side; None takes every queue that the kinds use.
            accounts_at_once: accounts that are synced side by side; None takes what the settings say.
            measures: filled while it works.

        Raises:
            InvalidInput: when no kind uses one of the queues.
        """
        settings = self.settings
        every = dict.fromkeys(self.engine.registry.queues, SMALL_JOBS)
        if self._above is not None:
            every[QUEUE] = accounts_at_once or settings.sync_accounts_at_once
            every[SYNC_JOBS] = settings.sync_jobs_at_once
            every[TAP_QUEUE] = settings.taps
        for queue, most in (queues or {}).items():
            if queue not in every:
                raise InvalidInput("queues", f"no job is declared in {queue!r}; there are: {', '.join(sorted(every))}")
            if most < 1:
                raise InvalidInput("queues", f"{queue}: {most!r} is no number of jobs from 1 on")
        async with AsyncExitStack() as stack:
            control = await stack.enter_async_context(await open_control(self.url, pooled=settings.pooled))
            listener: Listener | None = None
            if settings.listen_url or not settings.pooled:
                listener = Listener(settings.listen_url or self.url)
            yield Worker(
                self.engine,
                control,
                queues=every if queues is None else queues,
                listener=listener,
                lease_ttl=settings.lease_ttl_s,
                schedules=self.schedules,
                sources=[self._above.sync_jobs.source] if self._above else (),
                retention=Retention(settings.job_history_days, settings.job_dead_days),
                measures=measures,
            )


async def _sync_rooms(stack: AsyncExitStack, settings: Settings, engine: Engine, limits: Limits | None) -> _SyncRooms:
    vault = Vault(Keyring.load(settings))
    gate = SharedGate(engine.budgets)
    limits = limits or Limits(calls_in_flight=settings.sync_calls_in_flight)
    http = await stack.enter_async_context(await HttpClient.open(gate=gate, limits=limits))
    connectors = Connectors.load(settings)
    sync = Sync(engine, connector=connectors["threads"], http=http, gate=gate, vault=vault, settings=settings)
    company = CompanyAccounts(engine)
    built_in = (
        ByProvider(SyncRecords(), threads=company),
        ByProvider(
            ReplayRecords(),
            threads=CompanyReplay(connectors["threads"], http, gate, vault, settings.threads_app_id or ""),
        ),
        ByProvider(RepairRecords(), threads=CompanyRepair()),
    )
    sync_jobs = SyncJobs(
        engine,
        types=load_types(settings, built_in),
        connectors=connectors,
        http=http,
        vault=vault,
        settings=settings,
    )
    for kind in (*sync.kinds(), company.closing_kind(), *sync_jobs.kinds()):
        engine.registry.add(kind)
    return _SyncRooms(sync, sync_jobs, connectors, vault, http)


async def _ready_schema(settings: Settings, url: str) -> None:
    state = await check(settings.listen_url or url)
    if not state.pending:
        return
    if settings.database_url:
        names = ", ".join(f"{m.version}_{m.name}" for m in state.pending)
        raise SchemaOutOfDate(f"the database lacks {names}; run: tidemill migrate")
    await migrate(url)
