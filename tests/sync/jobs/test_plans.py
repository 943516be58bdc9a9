"""What a tick asks costs what is due, not what there is, whatever the planner knows of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.sync.plans import FILL_S, SIZES, faults, filled, wrong_plans
from tidemill.postgres import Connection, connect
from tidemill.sync.jobs.statements import SQL

DUE = 100
"""Of all these sync jobs."""
TABLES = ("public.sync_jobs", "public.sync_run_logs")

_FILL = """
insert into public.companies (code, name) select 'c' || n, 'c' from generate_series(1, 50) n;
insert into public.integration_connectors (company_id, provider) select id, 'sea' from public.companies;
insert into public.sync_jobs (company_id, connector_id, job_type, schedule, next_run_at, planned_version)
  select c.id, i.id, case when g.n % 10 = 0 then 'unknown' else 'sync' end, '{{"every": "1d"}}',
    now() + case when g.n <= 100 then interval '-1 s' else interval '1 hour' * (1 + g.n % 100) end, 1
  from generate_series(1, {rows}) g (n)
  join (select id, row_number() over () as n from public.companies) c on c.n = 1 + g.n % 50
  join public.integration_connectors i on i.company_id = c.id;
insert into public.sync_jobs (company_id, connector_id, job_type, schedule, planned_version)
  select j.company_id, j.connector_id, j.job_type, '{{}}', null
  from (select distinct on (company_id) * from public.sync_jobs) j, generate_series(1, 2);
insert into public.sync_jobs (company_id, connector_id, job_type, schedule)
  select j.company_id, j.connector_id, 'unknown', '{{}}'
  from (select distinct on (company_id) * from public.sync_jobs) j, generate_series(1, 100);
insert into public.sync_run_logs
    (company_id, job_id, connector_id, job_type, trigger, started_at, fire_at, status, finished_at, engine_job)
  select j.company_id, j.id, j.connector_id, j.job_type, 'schedule', now(), now(), 'completed', now(), 1
  from public.sync_jobs j;
insert into public.sync_run_logs (company_id, job_id, connector_id, job_type, trigger)
  select j.company_id, j.id, j.connector_id, j.job_type, 'manual' from public.sync_jobs j
  where job_type = 'sync' order by id limit 50;
"""


@pytest.fixture(scope="module", params=SIZES)
def crowd(request: pytest.FixtureRequest, server_url: str, owner_url: str, _template: str) -> Iterator[str]:
    """Sync jobs that sleep, and some that are due."""
    with filled(request.param, TABLES, _FILL, server_url, owner_url, _template) as url:
        yield url


async def questions(conn: Connection) -> dict[str, tuple[list[Any], int]]:
    """Statement → its parameters, and how many rows it is about."""
    due = [
        (row["id"], row["next_run_at"])
        for row in await conn.fetch("select id, next_run_at from public.sync_jobs where next_run_at <= now()")
    ]
    jobs, seen = [job for job, _ in due], [at for _, at in due]
    asked = [
        (row["id"], row["job_id"])
        for row in await conn.fetch("select id, job_id from public.sync_run_logs where status = 'pending'")
    ]
    runs, held = [run for run, _ in asked], [job for _, job in asked]
    many, ones = len(jobs), [1] * len(jobs)
    first = "00000000-0000-0000-0000-000000000000"
    nothing = [None] * many
    place = await conn.fetchrow("select company_id, id from public.integration_connectors limit 1")
    assert place is not None
    return {
        "look": ([["sync"]], DUE),
        "type_known": ([["replay", "sync"], 10], 2),
        "type_unknown": ([60, 200], 200),
        "unplanned": (["sync", 200, first], 200),
        "plan_write": ([jobs, ones, seen, nothing, seen, nothing], many),
        "due": ([["sync"], 500], DUE),
        "due_rows": ([jobs], many),
        "fire_move": ([jobs, seen, ones, seen, [False] * many], many),
        "fire_runs": ([jobs, jobs, seen, [True] * many], many),
        "plan_fail": ([jobs, seen, ones, ["x"] * many], many),
        "attach": ([runs, [1] * len(runs), held], len(runs)),
        "asked": ([["sync"], 500], len(runs)),
        "asked_rows": ([runs, held], len(runs)),
        "asked_skip": ([runs, "x"], len(runs)),
        "jobs_hold": ([held], len(held)),
        "run_look": ([runs[0]], 1),
        "run_open": ([runs[0]], 1),
        "run_start": ([runs[0]], 1),
        "run_held": ([runs[0]], 1),
        "run_note": ([runs[0], "x"], 1),
        "settle": ([held], len(held)),
        "end_connectors": ([runs], len(runs)),
        "end_jobs": ([runs], len(runs)),
        "end_runs": (
            [
                runs,
                ["failed"] * len(runs),
                [None] * len(runs),
                [None] * len(runs),
                [None] * len(runs),
                [None] * len(runs),
            ],
            len(runs),
        ),
        "end_summary": ([jobs, seen, ["failed"] * many, nothing, ones, seen], many),
        "end_disable": ([held, runs, ["x"] * len(runs)], len(runs)),
        "end_settle": ([held], len(held)),
        "newest_credentials": ([first, first], 1),
        "store_credentials": ([*place, b"x", "x", None], 1),
        "reseal_credentials": ([first, b"x", b"y", "y"], 1),
    }


@pytest.mark.timeout(2 * FILL_S)
async def test_no_statement_reads_what_sleeps(crowd: str) -> None:
    conn = await connect(crowd)
    asked = await questions(conn)
    conn.terminate()
    assert asked.keys() == set(dir(SQL))
    wrong = await wrong_plans(crowd, [(SQL, asked)], TABLES)
    assert not wrong, "\n".join(wrong)


async def test_a_plan_that_reads_what_sleeps_is_found(crowd: str) -> None:
    conn = await connect(crowd, command_timeout=120)
    [found] = await conn.fetchval("explain (analyze, buffers, format json) select count(payload) from public.sync_jobs")
    conn.terminate()
    assert [why.split()[0] for why in faults(found["Plan"], 1, TABLES)] == ["reads", "uses"]
