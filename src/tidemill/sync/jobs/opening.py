"""The beginning of an attempt: whether the run may go on here and now, and what it needs to know."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import msgspec

from tidemill.connectors import Connector, HttpClient, Scopes
from tidemill.connectors import Context as ReadContext
from tidemill.engine import Context, Outcome, Skip, Snooze
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Database, Record
from tidemill.sync.jobs.credentials import newest
from tidemill.sync.jobs.endings import RunEnd
from tidemill.sync.jobs.job_type import JobType
from tidemill.sync.jobs.lane import kind_of
from tidemill.sync.jobs.run import Run
from tidemill.sync.jobs.statements import SQL
from tidemill.sync.jobs.written import below, read_payload
from tidemill.vault import Secret, Vault, VaultError

UNKNOWN_TYPE_S = 30.0
FIRST_WAIT_S, LAST_WAIT_S = 0.5, 15.0
"""Between two looks whether another run of the connector has ended; longer the longer it waits."""


@dataclass(frozen=True, slots=True)
class Began:
    """A run that goes on here."""

    type: JobType
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Begins attempts of runs."""

    types: Mapping[str, JobType]
    connectors: Mapping[str, Connector]
    http: HttpClient
    vault: Vault
    budget_s: float

    async def __call__(self, ctx: Context, conn: Connection, run_id: UUID) -> Began | RunEnd | Outcome:
        """Begin, or say how it ends, or what the engine's job comes to instead; in a fenced transaction."""
        looked = await conn.fetchrow(SQL.run_look, run_id)
        row = None if looked is None else await conn.fetchrow(SQL.run_open, run_id)
        if looked is None or row is None:
            return Skip("gone")
        if row["status"] not in ("pending", "running"):
            return Skip("ended")
        if row["job_type"] not in self.types:
            return Snooze(UNKNOWN_TYPE_S, f"no job type {row['job_type']!r} here")  # newer processes know it
        provider = looked["provider"]
        if not looked["is_company_active"]:
            return RunEnd(run=run_id, status=None, reason="company_suspended")
        if not looked["is_connector_active"]:
            return RunEnd(run=run_id, status=None, reason="connector_inactive")
        if provider in self.connectors and kind_of(provider, self.connectors) != ctx.job.kind:
            return RunEnd(run=run_id, status=None, reason="connector_changed")  # to one of which few run at a time
        if row["is_busy"]:
            wait = min(max(row["age_s"] / 10, FIRST_WAIT_S), LAST_WAIT_S)
            return Snooze(wait, "another run of the connector")
        return await self._begin(ctx, conn, run_id, row, looked)

    async def _begin(self, ctx: Context, conn: Connection, run_id: UUID, row: Record, looked: Record) -> Began | RunEnd:
        provider = looked["provider"]
        if provider not in self.connectors:
            why = f"provider: there is no connector {provider!r} here; known: {', '.join(sorted(self.connectors))}"
            return RunEnd(run=run_id, status="failed", reason="unknown_provider", error=why)
        job_type = self.types[row["job_type"]]
        try:
            payload = read_payload(row["payload"])
            job_type.check(payload)
        except InvalidInput as e:
            return RunEnd(run=run_id, status="failed", reason="bad_payload", error=str(below("payload", e)))
        try:
            secrets = await newest(conn, self.vault, row["company_id"], row["connector_id"])
        except VaultError as e:
            return RunEnd(run=run_id, status="failed", reason="credentials_unreadable", error=str(e))
        config = cast("dict[str, Any]", msgspec.json.decode(looked["config"]))
        attempt = await conn.fetchval(SQL.run_start, run_id)
        await conn.execute(SQL.settle, [row["job_id"]])
        read = read_context(
            http=self.http,
            db=ctx.db,
            provider=provider,
            connector=row["connector_id"],
            config=config,
            secrets=secrets,
            seconds=self.budget_s,
            log=ctx.log.bind(run=str(run_id), provider=provider),
        )
        run = Run(
            ctx=ctx,
            id=run_id,
            job=row["job_id"],
            company=row["company_id"],
            attempt=attempt,
            provider=provider,
            connector_id=row["connector_id"],
            config=config,
            payload=payload,
            trigger=row["trigger"],
            fire_at=row["fire_at"],
            connector=self.connectors[provider],
            read=read,
        )
        return Began(job_type, run)


def read_context(
    *,
    http: HttpClient,
    db: Database,
    provider: str,
    connector: UUID,
    config: Mapping[str, Any],
    secrets: Mapping[str, Secret],
    seconds: float,
    log: Any,
) -> ReadContext:
    """What a company's connector is given for one piece of work of so many seconds; it is its own app and account."""
    scope = str(connector)
    return ReadContext(
        http=http,
        token=secrets.get("token", Secret("")),
        scopes=Scopes.of(provider, scope, scope),
        clock=lambda: db.fetchval("select tidemill.now()"),
        deadline=time.monotonic() + seconds,
        log=log,
        config=config,
        secrets=secrets,
    )
