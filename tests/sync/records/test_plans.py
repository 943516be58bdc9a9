"""A batch's statements cost what the batch holds, not what the stream does, and logs go by the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.sync.plans import FILL_S, SIZES, filled, wrong_plans
from tidemill.sync.records.statements import SQL
from tidemill.sync.statements import SQL as RETENTION

GIVEN, PAGE, CHUNK = 1_000, 5_000, 1_000
COMPANY, CONNECTOR, JOB, RUN, LIVE, NEW = (UUID(int=n) for n in range(1, 7))
TABLES = (
    *("public.synced_records", "public.connector_state", "public.sync_run_logs", "public.sync_logs"),
    *("public.system_job_logs", "tidemill.staged_record", "tidemill.run_cursor"),
)
OTHERS = 50
"""Connectors beside the one that is asked about, with as many runs each."""
_FILL = f"""
insert into public.companies (id, code, name) values ('{COMPANY}', 'c', 'c');
insert into public.integration_connectors (id, company_id, provider) values ('{CONNECTOR}', '{COMPANY}', 'sea');
insert into public.integration_connectors (id, company_id, provider)
  select ('00000000-0000-0000-0001-' || lpad(n::text, 12, '0'))::uuid, '{COMPANY}', 'sea'
  from generate_series(1, {OTHERS}) n;
insert into public.sync_jobs (id, company_id, connector_id, job_type)
  select case id when '{CONNECTOR}' then '{JOB}'::uuid else id end, company_id, id, 'sync'
  from public.integration_connectors;
insert into public.sync_run_logs
    (id, company_id, job_id, connector_id, job_type, trigger, status, started_at, finished_at)
  select case n when 0 then '{RUN}'::uuid else gen_random_uuid() end, '{COMPANY}', j.id, j.connector_id, 'sync',
    'manual', 'completed', now() - n * interval '1 minute', now() - n * interval '1 minute'
  from (select *, row_number() over (order by id <> '{JOB}') - 1 as turn from public.sync_jobs) j
  join generate_series(0, {{rows}} - 1) n on n % ({OTHERS} + 1) = j.turn;
insert into public.sync_run_logs (id, company_id, job_id, connector_id, job_type, trigger, status, engine_job)
  values ('{LIVE}', '{COMPANY}', '{JOB}', '{CONNECTOR}', 'sync', 'manual', 'running', 1);
insert into public.synced_records
    (company_id, connector_id, stream, key, data, hash, version, first_seen_at, last_seen_at, changed_at)
  select '{COMPANY}', '{CONNECTOR}', 's', '[' || n || ']', jsonb_build_object('id', n), '', 1, now(), now(), now()
  from generate_series(1, {{rows}}) n;
insert into tidemill.staged_record (run, stream, hash, ordinal, data)
  select run, 's', sha256(n::text::bytea), n, '{{{{}}}}'
  from generate_series(1, {{rows}}) n, unnest(array['{RUN}', '{LIVE}']::uuid[]) run;
insert into public.connector_state (company_id, connector_id, stream, cursor, version)
  values ('{COMPANY}', '{CONNECTOR}', 's', '1', 1);
insert into tidemill.run_cursor (run, stream, cursor) values ('{RUN}', 's', '1');
insert into public.system_job_logs (job_type, status, started_at, completed_at)
  select 'scheduled_sync', 'completed', now() - n * interval '1 minute', now() from generate_series(1, {{rows}}) n;
insert into public.workspaces (id, name) values ('{RUN}', 'w');
insert into public.workspace_threads_accounts (id, workspace_id, threads_user_id, username)
  values ('{RUN}', '{RUN}', '1', 'w');
insert into public.sync_logs
    (workspace_threads_account_id, workspace_id, run_id, job_type, status, started_at, completed_at)
  select '{RUN}', '{RUN}', gen_random_uuid(), 'sync_posts', 'completed', now() - n * interval '1 minute', now()
  from generate_series(1, {{rows}}) n;
"""


@pytest.fixture(scope="module", params=SIZES)
def full(request: pytest.FixtureRequest, server_url: str, owner_url: str, _template: str) -> Iterator[str]:
    """Many records, staged ones and logs."""
    with filled(request.param, TABLES, _FILL, server_url, owner_url, _template) as url:
        yield url


KEYS = [f"[{n}]" for n in range(1, GIVEN + 1)]
RECORDS = ['{"id": 1}'] * GIVEN
PLACE = (COMPANY, CONNECTOR, "s")
QUESTIONS: dict[str, tuple[tuple[Any, ...], int]] = {
    "records_put": ((*PLACE, KEYS, RECORDS, 1, "upsert", 5), GIVEN),
    "records_delete": ((*PLACE, KEYS), GIVEN),
    "records_activate": ((*PLACE, 2, ""), PAGE),
    "staged_add": ((RUN, "t", RECORDS, 0, 1), GIVEN),
    "staged_put": ((*PLACE, RUN, None, None, None, "upsert", 5), PAGE),
    "staged_drop": ((NEW, "s"), 1),
    "repair_hashes": ((*PLACE, "", True, 5), 2_000),
    "repair_run_state": (PLACE[:2], 1),
    "repair_settle": (([JOB],), 1),
    "repair_streams": (PLACE[:2], 1),
    "repair_stuck_runs": ((*PLACE[:2], NEW, True, 5), 1),
    "run_cursor_drop": ((RUN,), 1),
    "run_cursor_move": ((RUN, "s", "2"), 1),
    "run_cursor_read": ((RUN, "s"), 1),
    "run_progress": ((RUN, {}, []), 1),
    "run_read": ((RUN,), 1),
    "run_window": ((RUN, COMPANY, CONNECTOR), OTHERS),
    "state_move": ((*PLACE, "2", 1, True), 1),
    "state_read": (PLACE, 1),
}
"""Statement → its parameters, and how many rows it is about."""
EXEMPT = {"repair_staged": "counts all that ended runs left staged, to tell it"}
PRUNING: dict[str, tuple[tuple[Any, ...], int]] = {
    "logs_prune": ((30, CHUNK), 3 * CHUNK),
    "staged_prune": ((CHUNK,), CHUNK),
}


@pytest.mark.timeout(2 * FILL_S)
async def test_no_statement_reads_more_than_its_page(full: str) -> None:
    assert QUESTIONS.keys() | EXEMPT.keys() == set(dir(SQL))
    wrong = await wrong_plans(full, [(SQL, QUESTIONS), (RETENTION, PRUNING)], TABLES)
    assert not wrong, "\n".join(wrong)
