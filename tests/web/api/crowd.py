"""A database full of companies, one of them large, and how each statement of the API is asked there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tidemill.postgres import Connection

BIG = frozenset(
    {
        "connector_credentials",
        "idempotency_key",
        "integration_connectors",
        "sync_jobs",
        "sync_notifications",
        "sync_run_logs",
        "synced_records",
    }
)
"""Tables that grow with the companies and their use."""
LARGE = UUID("00000000-0000-4000-8000-000000000000")
"""The company that has a fifth of all rows, on twenty connectors."""
SMALL = UUID("00000000-0000-4000-8000-000000000002")
LONG_JOB_RUNS = 2000
PAGE = 51
"""A page of the usual length, and the one row more that says whether any follow."""

# Rows of all companies are interleaved, as they would have come. Triggers are off: what they do is asked elsewhere.
_FILL = """
set local session_replication_role = replica;
insert into public.companies (id, code, name)
  select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'c' || n, 'c'
  from generate_series(0, {companies}) n;
create temporary table place on commit drop as
  select n, ('00000000-0000-4000-8000-' || lpad(company::text, 12, '0'))::uuid as company_id, spot
  from generate_series(1, {rows}) n
  cross join lateral (
    select case when n % 5 = 0 then 0 else 1 + n % {companies} end, case when n % 5 = 0 then n / 5 % 20 else 0 end
  ) as of (company, spot);
insert into public.integration_connectors (company_id, provider, name)
  select company_id, case spot when 1 then 'rare' else 'shop' end, 'n' || spot
  from (select distinct company_id, spot from place) as p;
create temporary table home on commit drop as
  select p.*, i.id as connector_id, gen_random_uuid() as job_id
  from place as p join public.integration_connectors as i on i.company_id = p.company_id and i.name = 'n' || p.spot;
insert into public.connector_credentials (company_id, connector_id, version, secret_ciphertext, checksum)
  select company_id, id, v, 'sealed', 'sum' from public.integration_connectors, generate_series(1, 3) v;
insert into public.sync_jobs
    (id, company_id, connector_id, job_type, schedule, name, planned_version, next_run_at, status, run_state,
     plan_error)
  select job_id, company_id, connector_id, 'sync', '{{"every": "1d"}}', 'n' || n, 1, now() + interval '1 hour',
    case when n <= 15 then 'error' when n <= 1000 then 'running' else 'idle' end,
    case when n between 16 and 1000 then 'running' else 'idle' end, case when n <= 15 then 'schedule: no' end
  from home;
insert into public.sync_run_logs
    (company_id, job_id, connector_id, job_type, trigger, started_at, fire_at, status, finished_at, engine_job)
  select company_id, job_id, connector_id, 'sync', 'schedule', timestamptz '2026-01-01Z' + n * interval '1 s', now(),
    case when n <= 15 then 'failed' when n <= 1000 then 'running' else 'completed' end,
    case when n not between 16 and 1000 then now() end, 1
  from home;
insert into public.sync_run_logs
    (company_id, job_id, connector_id, job_type, trigger, started_at, fire_at, status, finished_at, engine_job)
  select company_id, job_id, connector_id, 'sync', 'schedule', timestamptz '2026-01-01Z' + m * interval '1 min',
    now() - m * interval '1 min', 'completed', now(), 1
  from home, generate_series(1, {long_job_runs}) m where n = 30;
insert into public.synced_records
    (company_id, connector_id, stream, key, data, hash, first_seen_at, last_seen_at, changed_at)
  select company_id, connector_id, case when n % 2 = 0 then 'orders' else 'items' end, '[' || n || ']', '{{"id": 1}}',
    'h', now(), now(), timestamptz '2026-01-01Z' + n / 100 * interval '1 s'
  from home;
insert into public.sync_notifications (company_id, kind, message, created_at, read_at)
  select company_id, 'job_disabled', 'm', timestamptz '2026-01-01Z' + n / 10000 * interval '1 s',
    case when n > 15 then now() end
  from home;
insert into tidemill.idempotency_key (company_id, user_id, key, request)
  select company_id, company_id, 'k' || n, 'r' from home;
"""


async def fill(conn: Connection, rows: int) -> None:
    """So many sync jobs, runs, records, notifications and keys, behind the planner's back.

    Args:
        conn: a superuser's.
        rows: of each.
    """
    for table in BIG:
        schema = "tidemill" if table == "idempotency_key" else "public"
        await conn.execute(f"alter table {schema}.{table} set (autovacuum_enabled = off)")
    await conn.execute("analyze")
    async with conn.transaction():
        made = _FILL.format(rows=rows, companies=rows // 20, long_job_runs=LONG_JOB_RUNS)
        await conn.execute(made, timeout=900)


_JOB = """
select id, connector_id from public.sync_jobs where company_id = $1 order by name <> 'n30', name limit 1
"""
_RUN = "select id from public.sync_run_logs where company_id = $1 order by started_at limit 1"
_NOTE = "select id from public.sync_notifications where company_id = $1 order by created_at limit 1"
_CONNECTORS = "select count(*) from public.integration_connectors where company_id = $1"
_JOBS = "select count(*) from public.sync_jobs where connector_id = $1"
_RUNS = "select count(*) from public.sync_run_logs where connector_id = $1"
_OPEN = "select count(*) from public.sync_run_logs where company_id = $1 and status = 'running'"


@dataclass(frozen=True)
class Asked:
    """How a statement is asked.

    Attributes:
        args: its parameters.
        rows: how many rows it is about.
        reads: whether it is asked by a GET alone.
        engine: whether the engine's role asks; else a tenant does.
        own: rows of the company that it may read besides. Of several filters an index serves one, the rest is looked
            for among what that leaves; a job's state is looked for among the open runs.
    """

    args: Sequence[Any]
    rows: int = 1
    reads: bool = False
    engine: bool = False
    own: int = 0


async def questions(conn: Connection, company: UUID) -> Mapping[str, Sequence[Asked]]:
    """Statement → the ways in which a company's admin may have it asked."""
    row = await conn.fetchrow(_JOB, company)
    assert row is not None
    job, connector = row["id"], row["connector_id"]
    run, note, connectors, open_runs = [
        await conn.fetchval(query, company) for query in (_RUN, _NOTE, _CONNECTORS, _OPEN)
    ]
    of_job = Asked((job,))
    of_connector = Asked((connector,), own=connectors)
    lists = _lists(job, connector, open_runs, [await conn.fetchval(query, connector) for query in (_JOBS, _RUNS)])
    return {
        **lists,
        "company_zone": [Asked(())],
        "company_active": [Asked(())],
        "connector_get": [of_connector],
        "connector_lock": [of_connector],
        "connector_update": [Asked((connector, None, None, True, "new", "inactive", {}), own=connectors)],
        "credential_state": [Asked((company, connector))],
        "job_get": [of_job],
        "job_lock": [of_job],
        "job_update": [Asked((job, None, None, True, "new", None, {"every": "1h"}, 3))],
        "job_delete": [of_job],
        "job_control": [Asked((job, action), 9) for action in ("pause", "resume", "run", "cancel")],
        "run_get": [Asked((run,))],
        "notification_get": [Asked((note,))],
        "notification_read": [Asked((note,))],
        "take_key": [Asked((company, key, b"r"), 12, engine=True) for key in ("k30", "new")],
        "kept_answer": [Asked((company, "k30"), engine=True)],
        "keep_answer": [Asked((company, "k30", 200, {}, b""), engine=True)],
    }


def _lists(job: UUID, connector: UUID, open_runs: int, of_connector: list[int]) -> dict[str, list[Asked]]:
    middle, at = UUID("80000000-0000-4000-8000-000000000000"), datetime(2026, 1, 1, 4, tzinfo=UTC)
    ids, times = (None, middle), ((None, None), (at, middle))
    jobs, runs = of_connector

    def page(*args: Any, own: int = 0) -> Asked:
        return Asked((*args, PAGE), PAGE, reads=True, own=own)

    return {
        "connector_list": [page(of, after) for of in (None, "shop", "none") for after in ids],
        "job_list": [
            page(of, status, after, own=jobs if of and status else 0)
            for of in (None, connector)
            for status in (None, "idle", "error", "paused")
            for after in ids
        ],
        "job_list_open": [
            Asked((of, status, after, PAGE), 2 * open_runs, reads=True)
            for of in (None, connector)
            for status in ("running", "queued")
            for after in ids
        ],
        "run_list": [
            page(*of, status, *after, own=runs if any(of) and status else 0)
            for of in ((None, None), (job, None), (None, connector), (job, connector))
            for status in (None, "failed", "running", "pending", "completed")
            for after in times
        ],
        "record_list": [
            page(connector, stream, since, *after)
            for stream in ("orders", "none")
            for since in (None, at)
            for after in ((None, None), (at, "[500]"))
        ],
        "notification_list": [page(unread, *after) for unread in (False, True) for after in times],
    }


EXEMPT = {
    "become_engine": "settings alone",
    "become_tenant_again": "settings alone",
    "clock": "one row",
    "connector_insert": "it is new: nothing is looked for",
    "job_insert": "it is new: nothing is looked for",
    "connector_delete": "refused while it has jobs; what goes with it is its own",
}
"""Statements that are not asked, and why."""
