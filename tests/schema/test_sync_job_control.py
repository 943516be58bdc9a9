"""public.sync_job_control: the door for run, pause, resume and cancel, and who may go through it."""

from __future__ import annotations

import asyncio
import os
import secrets
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.conftest import administer
from tests.schema.companies import Company, make_company
from tests.schema.conftest import acting, as_role
from tidemill.postgres import Connection, connect

CONTROL = "select status, run_id, already from public.sync_job_control($1, $2, $3)"
Said = tuple[str, UUID | None, bool]


@pytest.fixture
async def company(conn: Connection) -> Company:
    return await make_company(conn, "north")


async def control(conn: Connection, job: UUID | None, action: str | None, key: str | None = None) -> Said:
    row = await conn.fetchrow(CONTROL, job, action, key)
    assert row is not None
    return tuple(row)


async def refusal(conn: Connection, job: UUID | None, action: str | None, key: str | None = None) -> tuple[str, str]:
    """The SQLSTATE and the message."""
    with pytest.raises(asyncpg.PostgresError) as met:
        async with conn.transaction():
            await control(conn, job, action, key)
    return str(met.value.sqlstate), str(met.value)


async def test_a_run_is_asked_for_once_while_it_is_open(conn: Connection, company: Company) -> None:
    async with acting(conn, "authenticated", company.admin):
        status, run, already = await control(conn, company.job, "run")
        assert (status, already) == ("queued", False)
        assert await control(conn, company.job, "run") == ("queued", run, True)
        row = await conn.fetchrow("select * from public.sync_run_logs where id = $1", run)
    assert row is not None
    said = (row["status"], row["trigger"], row["requested_by"], row["company_id"], row["connector_id"], row["job_type"])
    assert said == ("pending", "manual", company.user, company.id, company.connector, "sync")
    assert (row["engine_job"], row["fire_at"], row["finished_at"]) == (None, None, None)


async def test_a_request_made_again_is_answered_by_its_run_whatever_came_after(
    conn: Connection, company: Company
) -> None:
    async with acting(conn, "authenticated", company.admin):
        _, first, _ = await control(conn, company.job, "run", "monday")
    async with acting(conn, "service_role"):
        _, first, _ = await control(conn, company.job, "run", "monday")
        await conn.execute(
            "update public.sync_run_logs set status = 'failed', finished_at = now() where id = $1", first
        )
        await conn.execute("update public.sync_jobs set disabled_reason = 'it failed', run_state = 'idle'")
        assert await control(conn, company.job, "run", "monday") == ("disabled", first, True)
        assert (await refusal(conn, company.job, "run", "tuesday"))[0] == "TM003"
        await control(conn, company.job, "resume")
        _, second, already = await control(conn, company.job, "run", "tuesday")
        assert (second != first, already) == (True, False)


async def test_two_who_ask_at_once_get_one_run(conn: Connection, company: Company, shared_url: str) -> None:
    others = [await connect(shared_url, name="tidemill tests") for _ in range(4)]
    try:
        said = await asyncio.gather(*(control(other, company.job, "run") for other in others))
    finally:
        for other in others:
            other.terminate()
    assert len({run for _, run, _ in said}) == 1
    assert sorted(already for _, _, already in said) == [False, True, True, True]


async def test_pause_and_resume_say_what_was_so_before(conn: Connection, company: Company) -> None:
    await conn.execute("update public.sync_jobs set next_run_at = '2030-01-01', planned_version = version")
    async with acting(conn, "authenticated", company.admin):
        assert await control(conn, company.job, "pause") == ("paused", None, False)
        assert await control(conn, company.job, "pause") == ("paused", None, True)
        assert await control(conn, company.job, "resume") == ("idle", None, False)
        assert await control(conn, company.job, "resume") == ("idle", None, True)
        row = await conn.fetchrow("select next_run_at is null, planned_version = version from public.sync_jobs")
        assert row is not None
        assert tuple(row) == (False, True), "what it missed is its schedule's to say"


async def test_a_job_that_was_switched_off_begins_anew(conn: Connection, company: Company) -> None:
    await conn.execute(
        "update public.sync_jobs "
        "set disabled_reason = 'ten failures', failures = 10, next_run_at = now(), planned_version = version"
    )
    async with acting(conn, "authenticated", company.admin):
        assert await refusal(conn, company.job, "run") == ("TM003", "action: the job is disabled; resume it first")
        assert await control(conn, company.job, "resume") == ("idle", None, False)
        row = await conn.fetchrow(
            "select failures, next_run_at, planned_version, disabled_reason from public.sync_jobs"
        )
        assert row is not None
        assert tuple(row) == (0, None, None, None)


async def test_cancel_ends_what_waits_and_asks_what_the_engine_has_to_stop(conn: Connection, company: Company) -> None:
    async with acting(conn, "authenticated", company.admin):
        assert await control(conn, company.job, "cancel") == ("idle", None, True)
        _, waiting, _ = await control(conn, company.job, "run")
        assert await control(conn, company.job, "cancel") == ("idle", None, False)
        row = await conn.fetchrow(
            "select status, reason, finished_at is null from public.sync_run_logs where id = $1", waiting
        )
        assert row is not None
        assert tuple(row) == ("skipped", "cancelled", False)
    async with acting(conn, "service_role"):
        _, taken_up, _ = await control(conn, company.job, "run")
        await conn.execute("update public.sync_run_logs set engine_job = 77 where id = $1", taken_up)
        for _ in range(2):
            assert (await control(conn, company.job, "cancel"))[0] == "queued"
        await conn.execute("reset role")
        asked = await conn.fetch("select job, asked_by from tidemill.job_cancel")
        assert [tuple(row) for row in asked] == [(77, "operator")]


@pytest.mark.parametrize("action", [None, "", "Run", "delete", "x" * 500])
async def test_another_word_is_refused_by_name(conn: Connection, company: Company, action: str | None) -> None:
    state, said = await refusal(conn, company.job, action)
    assert state == "TM003"
    assert said.startswith("action: ")
    assert len(said) < 150


@pytest.mark.parametrize("key", ["", "k" * 201])
async def test_a_key_of_no_length_or_too_much_is_refused_by_name(conn: Connection, company: Company, key: str) -> None:
    state, said = await refusal(conn, company.job, "run", key)
    assert (state, said.partition(":")[0]) == ("TM003", "request_key")


@pytest.mark.parametrize("action", ["run", "pause", "resume", "cancel"])
async def test_admins_of_the_company_and_servers_alone_control_it(
    conn: Connection, company: Company, action: str
) -> None:
    other = await make_company(conn, "south")
    async with acting(conn, "anon", company.admin):
        assert (await refusal(conn, company.job, action))[0] == "42501"
    async with acting(conn, "authenticated", company.member):
        state, said = await refusal(conn, company.job, action)
        assert (state, said) == ("42501", f"only an admin of the company may {action} a sync job")
    for stranger in (other.admin, {"app_metadata": {"role_keys": ["Vibot.admin"]}}):
        async with acting(conn, "authenticated", stranger):
            # The same words for a job of somebody else and for none.
            for job in (company.job, uuid4(), None):
                assert await refusal(conn, job, action) == ("TM004", "job: there is no such sync job")
    for role, claims in (("authenticated", company.admin), ("service_role", None)):
        async with acting(conn, role, claims):
            assert (await control(conn, company.job, action))[2] in (True, False)
    assert (await control(conn, company.job, "run"))[2] is False


async def test_a_server_with_a_users_claims_is_still_a_server(conn: Connection, company: Company) -> None:
    async with acting(conn, "service_role", company.member):
        _, run, _ = await control(conn, company.job, "run")
        row = await conn.fetchrow("select trigger, requested_by from public.sync_run_logs where id = $1", run)
        assert row is not None
        assert tuple(row) == ("operator", company.user)


@pytest.mark.parametrize(("granted", "may"), [("authenticated", False), ("service_role", True)])
async def test_a_login_that_never_sets_a_role_has_the_rights_it_was_granted(
    conn: Connection, company: Company, server_url: str, shared_url: str, granted: str, may: bool
) -> None:
    """Inheriting what tenants may do makes nobody a server; inheriting what servers may do does."""
    role, password = f"tm_login_{os.getpid()}_{secrets.token_hex(3)}", secrets.token_hex(8)
    await administer(server_url, f"create role {role} login password '{password}' in role {granted}")
    login = await connect(as_role(shared_url, role, password), name="tidemill tests")
    try:
        if may:
            assert await control(login, company.job, "pause") == ("paused", None, False)
        else:
            assert (await refusal(login, company.job, "pause"))[0] == "42501"
    finally:
        login.terminate()
        await administer(server_url, f"drop role {role}")


async def test_a_stranger_does_not_wait_for_another_companys_job(
    conn: Connection, company: Company, shared_url: str
) -> None:
    other = await make_company(conn, "south")
    holder = await connect(shared_url, name="tidemill tests")
    try:
        async with holder.transaction():
            await holder.execute("select from public.sync_jobs where id = $1 for update", company.job)
            async with acting(conn, "authenticated", other.admin):
                await conn.execute("set local lock_timeout = '5 s'")
                assert (await refusal(conn, company.job, "run"))[0] == "TM004"
    finally:
        holder.terminate()


async def test_two_runs_of_a_job_that_end_side_by_side_leave_it_idle(
    conn: Connection, company: Company, shared_url: str
) -> None:
    """Each sees the other's run as open until it has waited for the other."""
    add = (
        "insert into public.sync_run_logs (company_id, job_id, connector_id, job_type, status, trigger) "
        "values ($1, $2, $3, 'sync', 'running', 'schedule') returning id"
    )
    runs = [await conn.fetchval(add, company.id, company.job, company.connector) for _ in range(2)]
    await conn.execute("select tidemill.settle_sync_jobs(array[$1::uuid])", company.job)
    assert await conn.fetchval("select status from public.sync_jobs") == "running"
    end = "update public.sync_run_logs set status = 'completed', finished_at = now() where id = $1"
    settle = "select tidemill.settle_sync_jobs(array[$1::uuid])"
    one, two = [await connect(shared_url, name="tidemill tests") for _ in range(2)]
    try:
        first, second = one.transaction(), two.transaction()
        await first.start()
        await second.start()
        await one.execute(end, runs[0])
        await two.execute(end, runs[1])
        await one.execute(settle, company.job)
        pid = await two.fetchval("select pg_backend_pid()")
        waiting = asyncio.create_task(two.execute(settle, company.job))
        async with asyncio.timeout(30):
            while not await conn.fetchval("select cardinality(pg_blocking_pids($1)) > 0", pid):
                assert not waiting.done(), "it settled beside the other"
                await asyncio.sleep(0.005)
        await first.commit()
        await waiting
        await second.commit()
    finally:
        one.terminate()
        two.terminate()
    assert await conn.fetchval("select status from public.sync_jobs") == "idle"
