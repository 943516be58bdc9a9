"""Companies with sync jobs, a job type that does what a test says, and workers that run them."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tests.sync.support import at_work, until
from tidemill.connectors import Batch, Connector, HttpClient, Spec, Stream, Window
from tidemill.connectors import Context as ReadContext
from tidemill.engine import Done, Engine, Outcome, Registry, Worker
from tidemill.engine.control import open_control
from tidemill.errors import InvalidInput
from tidemill.postgres import Database, Listener
from tidemill.settings import Settings
from tidemill.sync.jobs import Run, SyncJobs
from tidemill.vault import Keyring, Vault

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
"""A Monday."""
VAULT_KEYS = "test:" + base64.urlsafe_b64encode(bytes(32)).decode()
QUARTERS = {"cron": "*/15 * * * *"}
PROVIDER = "sea"


class Sea:
    """A connector that has nothing to read."""

    spec = Spec(name=PROVIDER, title="The sea", secrets=("token",))

    async def streams(self, ctx: ReadContext) -> Sequence[Stream]:
        return []

    async def check(self, ctx: ReadContext) -> None:
        return None

    async def read(self, ctx: ReadContext, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        raise InvalidInput("stream", f"there is no stream {stream!r}")
        yield


async def nothing(run: Run) -> Outcome:
    return Done({"tides": 1})


@dataclass
class Scripted:
    """A job type; ``does`` is what its runs do, and takes no payload with ``bad`` in it."""

    does: Callable[[Run], Awaitable[Any]] = nothing
    name: str = "sync"
    ran: list[UUID] = field(default_factory=list[UUID])
    """The sync jobs whose runs began, in order."""

    def check(self, payload: Mapping[str, Any]) -> None:
        if "bad" in payload:
            raise InvalidInput("bad", "is not to be had")

    async def run(self, run: Run) -> Any:
        self.ran.append(run.job)
        return await self.does(run)


@dataclass
class World:
    """A database with companies, and one process that may work in it."""

    db: Database
    engine: Engine
    jobs: SyncJobs
    type: Scripted
    vault: Vault

    async def company(self, code: str = "acme", *, zone: str | None = None, status: str = "active") -> UUID:
        return await self.db.fetchval(
            "insert into public.companies (code, name, timezone, status) values ($1, $1, $2, $3) returning id",
            code,
            zone,
            status,
        )

    async def connector(self, company: UUID, provider: str = PROVIDER) -> UUID:
        return await self.db.fetchval(
            "insert into public.integration_connectors (company_id, provider) values ($1, $2) returning id",
            company,
            provider,
        )

    async def job(self, schedule: Any = QUARTERS, *, connector: UUID | None = None, **columns: Any) -> UUID:
        """A sync job; its company and connector are made for it, unless ``connector`` is given."""
        connector = connector or await self.connector(await self.company(f"c{columns.pop('code', '')}"))
        given = {"connector_id": connector, "job_type": "sync", "schedule": schedule, **columns}
        names, marks = ", ".join(given), ", ".join(f"${n}" for n in range(2, len(given) + 2))
        return await self.db.fetchval(
            f"insert into public.sync_jobs (company_id, {names})"
            f" select company_id, {marks} from public.integration_connectors where id = $1 returning id",
            connector,
            *given.values(),
        )

    async def edit(self, job: UUID, column: str, value: Any) -> None:
        await self.db.execute(f"update public.sync_jobs set {column} = $2 where id = $1", job, value)

    async def control(self, job: UUID, action: str, key: str | None = None) -> Any:
        return await self.db.fetchrow("select * from public.sync_job_control($1, $2, $3)", job, action, key)

    async def row(self, job: UUID) -> Any:
        return await self.db.fetchrow("select * from public.sync_jobs where id = $1", job)

    async def runs(self, job: UUID) -> list[Any]:
        return await self.db.fetch(
            "select * from public.sync_run_logs where job_id = $1 order by fire_at nulls last, started_at", job
        )

    async def said(self, job: UUID) -> list[tuple[str, str | None]]:
        return [(run["status"], run["reason"]) for run in await self.runs(job)]

    async def clock(self, at: datetime) -> None:
        """Move Tidemill's clock, and have whoever ticks look at it."""
        await self.db.execute("select tidemill.set_clock($1)", at)
        await self.db.execute("select pg_notify('tidemill_due', '')")

    async def tick(self) -> float | None:
        return await self.jobs.source.tick()

    async def engine_jobs(self) -> int:
        return await self.db.fetchval(
            "select (select count(*) from tidemill.job_ready) + (select count(*) from tidemill.job_delayed)"
            " + (select count(*) from tidemill.job_lease)"
        )

    async def ended(self, job: UUID, runs: int = 1) -> list[Any]:
        """The job's runs, once so many of them have ended and none is open."""

        async def done() -> list[Any] | None:
            found = await self.runs(job)
            open_ = [run for run in found if run["finished_at"] is None]
            return found if len(found) >= runs and not open_ else None

        return await until(done, f"the end of {runs} runs")

    @asynccontextmanager
    async def working(self, **options: Any) -> AsyncGenerator[Worker]:
        """A worker of this process until the block ends."""
        control = await open_control(self.db.url, name="control")
        worker = Worker(
            self.engine,
            control,
            queues=dict.fromkeys(self.engine.registry.queues, 20),
            listener=Listener(self.db.url),
            sources=[self.jobs.source],
            **options,
        )
        try:
            async with at_work(worker):
                yield worker
        finally:
            await control.close()


@asynccontextmanager
async def world(
    db: Database, *types: Any, connectors: Mapping[str, Connector] | None = None, **settings: Any
) -> AsyncGenerator[World]:
    """One process's view of a database; at NOON unless the clock was moved before."""
    known = types or (Scripted(),)
    chosen = Settings(database_url=db.url, env="test", vault_keys=VAULT_KEYS, **settings)
    vault = Vault(Keyring.load(chosen))
    async with await HttpClient.open() as http:
        engine = Engine(db, Registry())
        jobs = SyncJobs(
            engine,
            types={t.name: t for t in known},
            connectors=connectors or {PROVIDER: Sea()},
            http=http,
            vault=vault,
            settings=chosen,
        )
        for kind in jobs.kinds():
            engine.registry.add(kind)
        yield World(db, engine, jobs, known[0], vault)
