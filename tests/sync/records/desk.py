"""A company's connector, its runs, and a claimed job of the engine in whose name they write: real lease, real fence."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from tests.engine.by_hand import claim, new_node
from tidemill.connectors import Batch, HttpClient, Scopes, Spec, Stream, Window
from tidemill.connectors import Context as ReadContext
from tidemill.engine import Context, Engine, Job, Kind, Outcome, Registry
from tidemill.postgres import Database
from tidemill.sync.jobs import JobType, Run
from tidemill.sync.records import RepairRecords, ReplayRecords, SyncRecords
from tidemill.vault import Secret

AT = datetime(2026, 6, 10, 9, 0, tzinfo=UTC)
Step = Batch | Exception
Script = Callable[[str | None, Window], Iterable[Step]]


def batch(*records: Any, cursor: str | None = None, **rest: Any) -> Batch:
    return Batch(records=records, observed_at=AT, cursor_after=cursor, **rest)


class Scripted:
    """A connector that yields what its scripts say; an exception among the batches is raised there."""

    spec = Spec(name="scripted", title="Scripted")

    def __init__(self, *streams: Stream) -> None:
        self.scripts: dict[str, Script] = {}
        self.known: dict[str, Stream] = {}
        self.asked: list[tuple[str, str | None, Window]] = []
        for stream in streams:
            self.add(stream, steps())

    def add(self, stream: Stream, script: Script) -> None:
        self.known[stream.name], self.scripts[stream.name] = stream, script

    async def streams(self, ctx: ReadContext) -> Sequence[Stream]:
        return list(self.known.values())

    async def check(self, ctx: ReadContext) -> None: ...

    async def read(self, ctx: ReadContext, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        self.asked.append((stream, cursor, window))
        for step in self.scripts[stream](cursor, window):
            if isinstance(step, Exception):
                raise step
            yield step


def steps(*steps: Step) -> Script:
    return lambda cursor, window: steps


TYPES: dict[str, JobType] = {t.name: t for t in (SyncRecords(), ReplayRecords(), RepairRecords())}


async def nothing(ctx: Context, args: dict[str, Any]) -> Outcome:
    raise AssertionError("it is claimed by hand")


@dataclass
class Desk:
    db: Database
    engine: Engine
    job: Job
    http: HttpClient
    company: UUID
    connector_id: UUID
    sync_job: UUID
    connector: Scripted = field(default_factory=Scripted)

    @classmethod
    @asynccontextmanager
    async def open(cls, db: Database) -> AsyncGenerator[Desk]:
        engine = Engine(db, Registry([Kind("sync_job", nothing, queue="sync_jobs", max_attempts=3)]))
        await engine.names.learn(db, ["sync_job"], ["sync_jobs"])
        node = await new_node(db)
        await engine.enqueue("sync_job", {})
        [job] = await claim(engine, node.id, "sync_jobs")
        async with await HttpClient.open() as http:
            desk = cls(db, engine, job, http, uuid4(), uuid4(), uuid4())
            await desk.settle_in()
            yield desk
        await db.execute("delete from tidemill.job_lease where id = $1", job.id)
        await engine.close()

    async def settle_in(self) -> None:
        """A company of its own, with one connector and one sync job; earlier ones are left behind."""
        self.company, self.connector_id, self.sync_job = uuid4(), uuid4(), uuid4()
        await self.db.execute(
            "insert into companies (id, code, name) values ($1, $2, 'a company')", self.company, self.company.hex
        )
        await self.db.execute(
            "insert into integration_connectors (id, company_id, provider) values ($1, $2, 'scripted')",
            self.connector_id,
            self.company,
        )
        await self.db.execute(
            "insert into sync_jobs (id, company_id, connector_id, job_type) values ($1, $2, $3, 'sync')",
            self.sync_job,
            self.company,
            self.connector_id,
        )

    async def open_run(self, job_type: str = "sync", payload: Mapping[str, Any] | None = None) -> UUID:
        run = await self.db.fetchval(
            "insert into sync_run_logs "
            " (company_id, job_id, connector_id, job_type, payload, engine_job, trigger, status, started_at)"
            " values ($1, $2, $3, $4, $5, $6, 'manual', 'running', tidemill.now()) returning id",
            self.company,
            self.sync_job,
            self.connector_id,
            job_type,
            dict(payload or {}),
            self.job.id,
        )
        await self.settle()
        return run

    async def settle(self) -> None:
        """As whoever opens or closes a run does."""
        await self.db.execute("select tidemill.settle_sync_jobs(array[$1::uuid])", self.sync_job)

    async def close_run(self, run: UUID, status: str = "completed") -> None:
        await self.db.execute(
            "update sync_run_logs set status = $2, finished_at = tidemill.now() where id = $1", run, status
        )
        await self.settle()

    def attempt(
        self,
        run: UUID,
        job_type: str = "sync",
        payload: Mapping[str, Any] | None = None,
        *,
        ctx: Context | None = None,
        attempt: int = 1,
        seconds: float = 600,
        secrets: Mapping[str, Secret] | None = None,
    ) -> Run:
        job = replace(self.job, attempt=attempt)
        read = ReadContext(
            http=self.http,
            token=Secret(""),
            scopes=Scopes("scripted:app"),
            clock=lambda: AT,
            deadline=time.monotonic() + seconds,
            log=None,
            secrets=secrets or {},
        )
        return Run(
            ctx=ctx or Context(job, self.engine, deadline=0),
            id=run,
            job=self.sync_job,
            company=self.company,
            attempt=attempt,
            provider="scripted",
            connector_id=self.connector_id,
            config={},
            payload=dict(payload or {}),
            trigger="manual",
            fire_at=None,
            connector=self.connector,
            read=read,
        )

    async def run(
        self, job_type: str = "sync", payload: Mapping[str, Any] | None = None, **options: Any
    ) -> tuple[Outcome, Run]:
        """A whole run of one attempt."""
        TYPES[job_type].check(payload or {})
        attempt = self.attempt(await self.open_run(job_type, payload), job_type, payload, **options)
        outcome = await TYPES[job_type].run(attempt)
        await self.close_run(attempt.id)
        return outcome, attempt

    async def records(self, stream: str | None = None) -> dict[tuple[str, str], tuple[Any, bool]]:
        """(stream, key) → (data, whether it is there)."""
        rows = await self.db.fetch(
            "select stream, key, data, deleted_at is null as live from synced_records"
            " where company_id = $1 and connector_id = $2 and ($3::text is null or stream = $3)",
            self.company,
            self.connector_id,
            stream,
        )
        return {(r["stream"], r["key"]): (r["data"], r["live"]) for r in rows}

    async def cursor(self, stream: str) -> str | None:
        return await self.db.fetchval(
            "select cursor from connector_state where connector_id = $1 and stream = $2", self.connector_id, stream
        )

    async def metrics(self, run: UUID) -> dict[str, Any]:
        return await self.db.fetchval("select metrics from sync_run_logs where id = $1", run)

    async def staged(self) -> int:
        return await self.db.fetchval(
            "select count(*) from tidemill.staged_record s join sync_run_logs r on r.id = s.run"
            " where r.connector_id = $1",
            self.connector_id,
        )
