"""The end of runs: their rows, what they mean for their jobs, and who waited for them; in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
import structlog

from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Record
from tidemill.sync.jobs.rules import Rules
from tidemill.sync.jobs.schedule import read_schedule
from tidemill.sync.jobs.statements import SQL

LONGEST_REASON = 100
LONGEST_ERROR = 2000
MOST_BYTES = 256 * 1024
"""Of what a run tells of itself, metrics and actions each."""

Status = Literal["completed", "partial", "failed", "skipped"]

_log = structlog.get_logger("tidemill.sync")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ends.

    Attributes:
        status: None for a run that was taken off, which says nothing of whether its job works: ``partial`` if it had
            begun, else ``skipped``.
        error: redacted.
        metrics, actions: None leaves what stands.
    """

    run: UUID
    status: Status | None
    reason: str | None = None
    error: str | None = None
    metrics: Mapping[str, Any] | None = None
    actions: Sequence[Mapping[str, Any]] | None = None


@dataclass(slots=True)
class _Summary:
    """What a job's row tells after its runs."""

    row: Record
    last_run_at: datetime | None
    last_run_status: str | None
    last_error: str | None
    failures: int
    next_run_at: datetime | None
    failed_run: UUID | None = None

    @classmethod
    def of(cls, row: Record) -> _Summary:
        last = (row["last_run_at"], row["last_run_status"], row["last_error"])
        return cls(row, *last, row["failures"], row["next_run_at"])

    def add(self, row: Record, end: RunEnd, status: Status) -> None:
        self.last_run_at = max(row["started_at"], self.last_run_at or row["started_at"])
        self.last_run_status = status
        if status == "failed":
            self.failures += 1
            self.last_error = end.error or end.reason
            self.failed_run = end.run
        elif end.status in ("completed", "partial"):
            self.failures = 0
            self.last_error = None

    def rest(self, rules: Rules) -> None:
        """Push the next fire behind the rest that a failure is followed by."""
        if self.failed_run is None or self.next_run_at is None:
            return
        until = self.row["now"] + rules.rest_after(self.failures)
        if self.next_run_at >= until:
            return
        try:
            later = read_schedule(self.row["schedule"], self.row["zone"]).next(until)
        except InvalidInput:
            return  # it was edited meanwhile; planning tells what is wrong
        self.next_run_at = later or self.next_run_at  # the last fire there is stays


async def end_runs(conn: Connection, ends: Sequence[RunEnd], rules: Rules) -> set[UUID]:
    """End runs in the caller's transaction; those that were still open. What is over or gone is left alone."""
    by_run = {end.run: end for end in ends}
    await conn.fetch(SQL.end_connectors, list(by_run))
    rows = await conn.fetch(SQL.end_jobs, list(by_run))
    if not rows:
        return set()
    summaries: dict[UUID, _Summary] = {}
    statuses: dict[UUID, Status] = {}
    for row in rows:
        end = by_run[row["run"]]
        status: Status = end.status or ("partial" if row["status"] == "running" else "skipped")
        statuses[row["run"]] = status
        summaries.setdefault(row["job"], _Summary.of(row)).add(row, end, status)
    ended = [by_run[run] for run in statuses]
    await conn.execute(
        SQL.end_runs,
        list(statuses),
        list(statuses.values()),
        [end.reason and end.reason[:LONGEST_REASON] for end in ended],
        [end.error and end.error[:LONGEST_ERROR] for end in ended],
        [_json(end.metrics) for end in ended],
        [_json(end.actions) for end in ended],
    )
    await _write(conn, summaries, rules)
    return set(statuses)


async def _write(conn: Connection, summaries: Mapping[UUID, _Summary], rules: Rules) -> None:
    for summary in summaries.values():
        summary.rest(rules)
    each = summaries.values()
    await conn.execute(
        SQL.end_summary,
        list(summaries),
        [s.last_run_at for s in each],
        [s.last_run_status for s in each],
        [s.last_error for s in each],
        [s.failures for s in each],
        [s.next_run_at for s in each],
    )
    failing = {
        job: f"switched off after {s.failures} runs that failed in a row; the last one: {s.last_error}"
        for job, s in summaries.items()
        if s.failed_run is not None and s.failures >= rules.most_failures and s.row["disabled_reason"] is None
    }
    if failing:
        await conn.execute(
            SQL.end_disable, list(failing), [summaries[job].failed_run for job in failing], list(failing.values())
        )
        for job, why in failing.items():
            _log.warning("sync_job_disabled", job=str(job), company=str(summaries[job].row["company_id"]), reason=why)
    await conn.execute(SQL.end_settle, list(summaries))


def _json(told: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> str | None:
    """What Postgres can keep of it: bounded, without NUL; None for nothing."""
    if told is None:
        return None
    text = msgspec.json.encode(told, order="deterministic").decode().replace("\\u0000", "\ufffd")
    if len(text) <= MOST_BYTES:
        return text
    short = {"truncated": True, "bytes": len(text)}
    return msgspec.json.encode(short if isinstance(told, Mapping) else [short]).decode()
