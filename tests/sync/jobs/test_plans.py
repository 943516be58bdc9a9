"""What a tick asks costs what is due, not what there is, whatever the planner knows of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import made_database, run_apart
from tests.engine.test_plans import nodes
from tidemill.postgres import Connection, connect
from tidemill.sync.jobs.statements import SQL

SLEEPING, DUE, UNKNOWN = 30_000, 100, 5_000
TABLES = ("sync_jobs", "sync_run_logs")
PER_ROW = 4
"""Rows of a table that are read for each one that is asked for; indexes are read in vain never."""
BUFFERS = 400
"""For catalogs and the upper pages of indexes."""
BUFFERS_PER_ROW = 80

_FILL = f"""
insert into public.companies (code, name) select 'c' || n, 'c' from generate_series(1, 50) n;
insert into public.integration_connectors (company_id, provider) select id, 'sea' from public.companies;
insert into public.sync_jobs (company_id, connector_id, job_type, schedule, next_run_at, planned_version)
  select c.id, i.id, case when g.n % 10 = 0 then 'unknown' else 'sync' end, '{{"every": "1d"}}',
    now() + case when g.n <= {DUE} then interval '-1 s' else interval '1 hour' * (1 + g.n % 100) end, 1
  from generate_series(1, {SLEEPING}) g (n)
  join (select id, row_number() over () as n from public.companies) c on c.n = 1 + g.n % 50
  join public.integration_connectors i on i.company_id = c.id;
insert into public.sync_jobs (company_id, connector_id, job_type, schedule, planned_version)
  select j.company_id, j.connector_id, j.job_type, '{{}}', null
  from (select distinct on (company_id) * from public.sync_jobs) j, generate_series(1, 2);
insert into public.sync_jobs (company_id, connector_id, job_type, schedule)
  select j.company_id, j.connector_id, 'unknown', '{{}}'
  from (select distinct on (company_id) * from public.sync_jobs) j, generate_series(1, {UNKNOWN} / 50);
insert into public.sync_run_logs
    (company_id, job_id, connector_id, job_type, trigger, started_at, fire_at, status, finished_at, engine_job)
  select j.company_id, j.id, j.connector_id, j.job_type, 'schedule', now(), now(), 'completed', now(), 1
  from public.sync_jobs j;
insert into public.sync_run_logs (company_id, job_id, connector_id, job_type, trigger)
  select j.company_id, j.id, j.connector_id, j.job_type, 'manual' from public.sync_jobs j
  where job_type = 'sync' order by id limit 50;
"""


@pytest.fixture(scope="module", params=["stale", "fresh"])
def crowd(request: pytest.FixtureRequest, server_url: str, owner_url: str, _template: str) -> Iterator[str]:
    """A full database whose statistics were taken when it was empty, or now."""

    async def work(url: str) -> None:
        conn = await connect(url, command_timeout=300)
        await conn.execute("".join(f"alter table public.{t} set (autovacuum_enabled = off);" for t in TABLES))
        await conn.execute("analyze")
        await conn.execute(_FILL)
        if request.param == "fresh":
            await conn.execute("analyze")
        await conn.close()

    with made_database(server_url, owner_url, template=_template) as url:
        run_apart(work(url))
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


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_no_statement_reads_what_sleeps(crowd: str, mode: str) -> None:
    conn = await connect(crowd)
    wrong: list[str] = []
    try:
        await conn.execute("select set_config('plan_cache_mode', $1, false)", mode)
        asked = await questions(conn)
        assert asked.keys() == set(dir(SQL))
        for name, (args, rows) in asked.items():
            transaction: Any = conn.transaction()
            await transaction.start()
            [found] = await conn.fetchval(
                f"explain (analyze, buffers, timing off, format json) {getattr(SQL, name)}", *args
            )
            await transaction.rollback()
            wrong += [f"{name}: {why}" for why in faults(found["Plan"], rows)]
    finally:
        conn.terminate()
    assert not wrong, "\n".join(wrong)


def faults(plan: dict[str, Any], rows: int) -> Iterator[str]:
    for node in nodes(plan):
        if node.get("Relation Name") not in TABLES:
            continue
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        read = (node["Actual Rows"] + removed) * node["Actual Loops"]
        if read > PER_ROW * rows + 20:
            yield f"reads {read} rows of {node['Relation Name']} for {rows}"
    used = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    if used > BUFFERS + BUFFERS_PER_ROW * rows:
        yield f"uses {used} buffers for {rows} rows"


async def test_a_plan_that_reads_what_sleeps_is_found(crowd: str) -> None:
    conn = await connect(crowd)
    [found] = await conn.fetchval("explain (analyze, buffers, format json) select count(payload) from public.sync_jobs")
    conn.terminate()
    assert [why.split()[0] for why in faults(found["Plan"], 1)] == ["reads", "uses"]
