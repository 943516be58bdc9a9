"""What an admin may do, and what everybody else gets who tries the same: rows met, or the refusal."""

from __future__ import annotations

import pytest

from tests.schema.attack.tables import REFUSED, SERVERS, TENANTS
from tests.schema.attack.world import World, tries
from tidemill.postgres import Connection

BROKEN_KEY = "23503"

# {m}: the company of member and admin; {o}: the other one.
ROWS = [
    # statement, member, admin, other admin
    ("update sync_jobs set priority = 5", "0", "1", "1"),
    ("update sync_jobs set priority = 5 where id = '{m.job}'", "0", "1", "0"),
    ("update sync_jobs set priority = 5 where id = '{o.job}'", "0", "0", "1"),
    ("update sync_jobs set priority = 5 where company_id = '{m.id}'", "0", "1", "0"),
    ("update sync_jobs set connector_id = '{o.connector}' where id = '{m.job}'", "0", BROKEN_KEY, "0"),
    ("update sync_jobs set company_id = company_id", REFUSED, REFUSED, REFUSED),
    ("update sync_jobs set status = 'idle'", REFUSED, REFUSED, REFUSED),
    ("update sync_jobs as a set priority = b.priority from sync_jobs as b where b.id = '{m.job}'", "0", "1", "0"),
    ("select from sync_jobs where id = '{m.job}' for update", "0", "1", "0"),
    ("delete from sync_jobs where id = '{m.job}'", "0", "1", "0"),
    ("delete from sync_jobs", "0", "1", "1"),
    (
        "insert into sync_jobs (company_id, connector_id, job_type) values ('{m.id}', '{m.connector}', 'sync')",
        REFUSED,
        "1",
        REFUSED,
    ),
    (
        "insert into sync_jobs (company_id, connector_id, job_type) values ('{m.id}', '{o.connector}', 'sync')",
        REFUSED,
        BROKEN_KEY,
        REFUSED,
    ),
    (
        "insert into sync_jobs (connector_id, job_type) values ('{m.connector}', 'sync')",
        REFUSED,
        REFUSED,
        REFUSED,
    ),
    (
        "insert into sync_jobs (id, company_id, connector_id, job_type) "
        "values ('{o.job}', '{m.id}', '{m.connector}', 'sync') on conflict (id) do update set priority = 9",
        REFUSED,
        REFUSED,
        REFUSED,
    ),
    (
        "merge into sync_jobs as j using (values ('{o.job}'::uuid), ('{m.job}')) as v (id) on j.id = v.id "
        "when matched then update set priority = 9",
        REFUSED,
        "1",
        "1",
    ),
    ("update integration_connectors set name = 'changed' where id = '{m.connector}'", "0", "1", "0"),
    ("update integration_connectors set company_id = '{o.id}'", REFUSED, REFUSED, REFUSED),
    ("update integration_connectors set last_synced_at = now()", REFUSED, REFUSED, REFUSED),
    ("delete from integration_connectors where id = '{m.connector}'", "0", BROKEN_KEY, "0"),
    (
        "insert into integration_connectors (company_id, provider) values ('{m.id}', 'http')",
        REFUSED,
        "1",
        REFUSED,
    ),
    ("update sync_notifications set read_at = now()", "0", "1", "1"),
    ("update sync_notifications set message = 'never mind'", REFUSED, REFUSED, REFUSED),
    ("delete from sync_notifications", REFUSED, REFUSED, REFUSED),
    ("update sync_run_logs set status = 'completed'", REFUSED, REFUSED, REFUSED),
    ("delete from sync_run_logs", REFUSED, REFUSED, REFUSED),
    ("update synced_records set data = '{{}}'", REFUSED, REFUSED, REFUSED),
    ("select id, checksum from connector_credentials where company_id = '{m.id}'", "0", "1", "0"),
    ("select secret_ciphertext from connector_credentials", REFUSED, REFUSED, REFUSED),
    ("update connector_credentials set version = 9", REFUSED, REFUSED, REFUSED),
    ("select cursor from connector_state", REFUSED, REFUSED, REFUSED),
    ("select stream from connector_state where company_id = '{m.id}'", "1", "1", "0"),
    ("select from sync_job_control('{m.job}', 'run')", REFUSED, "1", "TM004"),
    ("select from sync_job_control('{m.job}', 'pause')", REFUSED, "1", "TM004"),
    ("select from sync_job_control('{m.job}', 'cancel')", REFUSED, "1", "TM004"),
    ("select from sync_job_control('{m.job}', 'resume')", REFUSED, "1", "TM004"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:70])
async def test_the_rows_that_a_statement_meets(conn: Connection, world: World, row: tuple[str, str, str, str]) -> None:
    statement, *expected = row
    asked = statement.format(m=world.mine, o=world.theirs)
    answers: list[str] = []
    for person in TENANTS:
        async with world.acting(conn, person):
            answers += [answer for _, answer in await tries(conn, [asked])]
    assert answers == expected
    async with world.acting(conn, "anon"):
        assert await tries(conn, [asked]) == [(asked, REFUSED)]


@pytest.mark.parametrize("person", SERVERS)
async def test_a_server_reaches_both_companies_whether_it_bypasses_row_security_or_not(
    conn: Connection, world: World, person: str
) -> None:
    async with world.acting(conn, person):
        said = await tries(
            conn,
            [
                "update sync_jobs set priority = 5",
                "update integration_connectors set status = 'inactive'",
                "update sync_run_logs set reason = 'none'",
                f"select from sync_job_control('{world.mine.job}', 'run')",
                f"select from sync_job_control('{world.theirs.job}', 'pause')",
                "delete from companies where code in ('mine', 'theirs')",
            ],
        )
    assert [answer for _, answer in said] == ["2", "2", "2", "1", "1", "2"]
