"""A batch's statements cost what the batch holds, not what the stream does, whatever the planner knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.conftest import made_database, run_apart
from tests.engine.test_plans import nodes
from tidemill.postgres import connect
from tidemill.sync.records.statements import SQL

STORED, GIVEN = 40_000, 1_000
COMPANY, CONNECTOR, RUN = (UUID(int=n) for n in (1, 2, 3))
TABLES = ("public.synced_records", "tidemill.staged_record")
_FILL = f"""
insert into public.companies (id, code, name) values ('{COMPANY}', 'c', 'c');
insert into public.integration_connectors (id, company_id, provider) values ('{CONNECTOR}', '{COMPANY}', 'sea');
insert into public.sync_jobs (id, company_id, connector_id, job_type)
  values ('{RUN}', '{COMPANY}', '{CONNECTOR}', 'sync');
insert into public.sync_run_logs (id, company_id, job_id, connector_id, job_type, trigger, status, finished_at)
  values ('{RUN}', '{COMPANY}', '{RUN}', '{CONNECTOR}', 'sync', 'manual', 'completed', now());
insert into public.synced_records
    (company_id, connector_id, stream, key, data, hash, version, first_seen_at, last_seen_at, changed_at)
  select '{COMPANY}', '{CONNECTOR}', 's', '[' || n || ']', jsonb_build_object('id', n), '', 1, now(), now(), now()
  from generate_series(1, {STORED}) n;
insert into tidemill.staged_record (run, stream, hash, ordinal, data)
  select '{RUN}', 's', sha256(n::text::bytea), n, '{{}}' from generate_series(1, {STORED}) n;
"""


@pytest.fixture(scope="module", params=["stale", "fresh"])
def full(request: pytest.FixtureRequest, server_url: str, owner_url: str, _template: str) -> Iterator[str]:
    """Many records, and statistics taken when there were none, or now."""

    async def work(url: str) -> None:
        conn = await connect(url, command_timeout=300)
        for table in TABLES:
            await conn.execute(f"alter table {table} set (autovacuum_enabled = off)")
            await conn.execute(f"vacuum analyze {table}")
        await conn.execute(_FILL)
        if request.param == "fresh":
            await conn.execute("analyze")
        await conn.close()

    with made_database(server_url, owner_url, "plans_", template=_template) as url:
        run_apart(work(url))
        yield url


KEYS = [f"[{n}]" for n in range(1, GIVEN + 1)]
PLACE = (COMPANY, CONNECTOR, "s")
STATEMENTS: dict[str, tuple[Any, ...]] = {
    "records_put": (*PLACE, KEYS, ['{"id": 1}'] * GIVEN, 1, "upsert", 5),
    "records_delete": (*PLACE, KEYS),
    "records_activate": (*PLACE, 2, ""),
    "staged_put": (*PLACE, RUN, None, None, None, "upsert", 5),
    "repair_hashes": (*PLACE, "", True, 5),
    "repair_streams": PLACE[:2],
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_no_statement_reads_a_table_whole(full: str, name: str) -> None:
    conn = await connect(full, command_timeout=120)
    try:
        await conn.execute("set plan_cache_mode = force_generic_plan")
        explain = f"explain (analyze, timing off, format json) {getattr(SQL, name)}"
        [root] = await conn.fetchval(explain, *STATEMENTS[name])
    finally:
        await conn.close()
    read = [node for node in nodes(root["Plan"]) if node["Node Type"] == "Seq Scan"]
    assert [n["Relation Name"] for n in read if n.get("Relation Name") in ("synced_records", "staged_record")] == []
    # Nothing is compared with everything: no node looks at more rows than all pages hold.
    looked = [n.get("Rows Removed by Join Filter", 0) + n.get("Rows Removed by Filter", 0) for n in nodes(root["Plan"])]
    assert max(looked) <= STORED
