"""What a sync job's run writes of records, as further paths of :mod:`tests.engine.fenced`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.engine.fenced import Home, Path, begin_run, files, sync_job
from tests.sync.records.desk import Scripted, batch, steps
from tidemill.connectors import Stream
from tidemill.engine import Job
from tidemill.sync.jobs import JobType, Run
from tidemill.sync.records import RepairRecords, ReplayRecords, SyncRecords

RECORDS = "sync/records/sql/"
KEYED = Stream(name="keyed", key=("id",), cursor="id", window=True)
KEYLESS = Stream(name="keyless", key=())
SPAN = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
_begun: dict[int, Run] = {}
"""By job: what its handler was given when it was begun."""


async def run_begun(h: Home) -> Job:
    job = await sync_job(h)
    run = (await begin_run(h, job)).run
    connector = Scripted()
    full = {"version": 1, "activate": 1, "cursor": "1"}
    connector.add(KEYED, steps(batch({"id": 1}, deletes=["2"], **full)))
    connector.add(KEYLESS, steps(batch({"id": 1}, **full)))
    _begun[job.id] = replace(run, connector=connector, provider="scripted")
    return job


async def run_of(h: Home, job: Job, job_type: JobType, payload: dict[str, Any] | None = None) -> object:
    return await job_type.run(replace(_begun[job.id], ctx=h.context(job), payload=payload or {}, actions=[]))


async def sync(h: Home, job: Job) -> object:
    return await run_of(h, job, SyncRecords())


async def replay(h: Home, job: Job) -> object:
    return await run_of(h, job, ReplayRecords(), {"window": SPAN, "streams": ["keyed"]})


async def run_to_repair(h: Home) -> Job:
    """Beside it: a run that nobody will end, and a record without a cursor, whose digest is wrong."""
    job = await run_begun(h)
    run = _begun[job.id]
    await h.db.execute(
        "insert into public.sync_run_logs (company_id, job_id, connector_id, job_type, trigger, status, engine_job)"
        " values ($1, $2, $3, 'sync', 'manual', 'running', 424242)",
        run.company,
        run.job,
        run.connector_id,
    )
    await h.db.execute(
        "insert into public.synced_records"
        " (company_id, connector_id, stream, key, data, hash, first_seen_at, last_seen_at, changed_at)"
        " values ($1, $2, 'keyed', '[1]', '{}', '', now(), now(), now())",
        run.company,
        run.connector_id,
    )
    return job


async def repair(h: Home, job: Job) -> object:
    return await run_of(h, job, RepairRecords())


PATHS = {
    "records are synced": Path(
        run_begun,
        sync,
        files(
            RECORDS,
            "records_put",
            "records_delete",
            "records_activate",
            "staged_add",
            "staged_put",
            "staged_drop",
            "state_move",
            "run_progress",
        ),
    ),
    "records are replayed": Path(
        run_begun, replay, files(RECORDS, "records_put", "run_cursor_move", "run_cursor_drop", "run_progress")
    ),
    "records are repaired": Path(
        run_to_repair,
        repair,
        files(
            RECORDS,
            "repair_staged",
            "repair_stuck_runs",
            "repair_settle",
            "repair_hashes",
            "state_move",
            "run_progress",
        ),
    ),
}
