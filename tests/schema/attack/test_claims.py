"""Forged, odd and borrowed claims open nothing, and what one tenant prepared serves the next only his own."""

from __future__ import annotations

from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from tests.schema.attack.tables import LED_BY, REFUSED
from tests.schema.attack.world import World, tries
from tests.schema.companies import ADMIN
from tests.schema.conftest import acting, user
from tidemill.postgres import Connection

NOBODY = UUID("00000000-0000-4000-8000-00000000ffff")
"""Stands in a forged claim for the id of the company under attack."""

NO_COMPANY: list[object] = [
    None,
    "",
    "null",
    "[]",
    '"text"',
    "7",
    {},
    {"company_id": None},
    {"company_id": ""},
    {"company_id": "acme"},
    {"company_id": 7},
    {"company_id": True},
    {"company_id": [str(NOBODY)]},
    {"company_id": {"id": str(NOBODY)}},
    {"company_id": f" {NOBODY}"},
    {"company_id": f"{{{NOBODY}}}"},
    {"company_id": str(NOBODY).replace("-", "")},
    {"company_id": f"{NOBODY}' or true --"},
    {"COMPANY_ID": str(NOBODY)},
    {"app_metadata": {"company_id": str(NOBODY)}},
    {"user_metadata": {"company_id": str(NOBODY)}},
    {"claims": {"company_id": str(NOBODY)}},
    {"role": "service_role"},
    {"role": "postgres", "is_admin": True},
    {"role": ["service_role"]},
    [{"company_id": str(NOBODY)}],
]
COMPANY_TABLES = sorted(
    {"companies", "integration_connectors", "sync_jobs", "sync_run_logs", "synced_records", "sync_notifications"}
)


def forged(claims: object, company: UUID, **more: object) -> str:
    """The claims as text, the stand-in replaced, and whatever else if they are an object."""
    if isinstance(claims, dict):
        claims = {**more, **claims}
    text = claims if isinstance(claims, str) else msgspec.json.encode(claims).decode()
    return text.replace(str(NOBODY), str(company)).replace(NOBODY.hex, company.hex)


@pytest.mark.parametrize("claims", NO_COMPANY, ids=repr)
async def test_claims_that_name_no_company_at_the_top_see_and_change_nothing(
    conn: Connection, world: World, claims: object
) -> None:
    text = "" if claims is None else forged(claims, world.mine.id, app_metadata={"role_keys": [ADMIN]})
    statements = [f"select from {table}" for table in COMPANY_TABLES]
    statements += ["select company_id from connector_credentials", "select company_id from connector_state"]
    statements += ["update sync_jobs set priority = 9", "delete from sync_jobs", "delete from integration_connectors"]
    async with acting(conn, "authenticated", text):
        assert {answer for _, answer in await tries(conn, statements)} == {"0"}
        # By the role or as one that is not there, as the roles in the claims may be.
        asked = f"select from sync_job_control('{world.mine.job}', 'pause')"
        assert (await tries(conn, [asked]))[0][1] in {REFUSED, "TM004"}
        asked = f"insert into integration_connectors (company_id, provider) values ('{world.mine.id}', 'http')"
        assert (await tries(conn, [asked]))[0][1] == REFUSED


NO_ADMIN: list[dict[str, object]] = [
    {},
    {"app_metadata": None},
    {"app_metadata": {}},
    {"app_metadata": []},
    {"app_metadata": f'{{"role_keys": ["{ADMIN}"]}}'},
    {"app_metadata": [{"role_keys": [ADMIN]}]},
    {"app_metadata": {"role_keys": None}},
    {"app_metadata": {"role_keys": ADMIN}},
    {"app_metadata": {"role_keys": {ADMIN: True}}},
    {"app_metadata": {"role_keys": [[ADMIN]]}},
    {"app_metadata": {"role_keys": [{ADMIN: True}]}},
    {"app_metadata": {"role_keys": [1, 2, None, True]}},
    {"app_metadata": {"role_keys": 1}},
    {"app_metadata": {"role_keys": True}},
    {"app_metadata": {"role_keys": [f"{ADMIN} ", ADMIN.lower(), f"{ADMIN}s", f'"{ADMIN}"']}},
    {"app_metadata": {"roles": [ADMIN]}},
    {"app_metadata": {"app_metadata": {"role_keys": [ADMIN]}}},
    {"user_metadata": {"role_keys": [ADMIN]}},
    {"role_keys": [ADMIN]},
    {"role": "service_role"},
    {"role": ADMIN},
]


@pytest.mark.parametrize("claims", NO_ADMIN, ids=repr)
async def test_roles_that_are_no_list_of_strings_in_app_metadata_make_a_member_and_no_more(
    conn: Connection, world: World, claims: dict[str, object]
) -> None:
    mine = world.mine
    async with acting(conn, "authenticated", user(mine.user, **{"company_id": str(mine.id), **claims})):
        for table in COMPANY_TABLES:
            leader = LED_BY.get(table, "company_id")
            assert {row[0] for row in await conn.fetch(f"select {leader} from public.{table}")} == {mine.id}
        said = await tries(
            conn,
            [
                "update sync_jobs set priority = 9",
                "delete from sync_jobs",
                "update sync_notifications set read_at = now()",
                "select company_id from connector_credentials",
                f"insert into integration_connectors (company_id, provider) values ('{mine.id}', 'http')",
                f"select from sync_job_control('{mine.job}', 'run')",
            ],
        )
    assert [answer for _, answer in said] == ["0", "0", "0", "0", REFUSED, REFUSED]


@pytest.mark.parametrize("role", [None, "", "anon", "service_role", 7, ["authenticated"], {"a": 1}], ids=repr)
async def test_the_role_in_the_claims_gives_and_takes_nothing(conn: Connection, world: World, role: object) -> None:
    """The role of the session counts, which whoever verified the token has set."""
    async with acting(conn, "authenticated", {**world.mine.admin, "role": role}):
        assert {row[0] for row in await conn.fetch("select company_id from public.sync_jobs")} == {world.mine.id}
        said = await tries(conn, ["update sync_jobs set priority = 9", "select * from connector_credentials"])
    assert [answer for _, answer in said] == ["1", REFUSED]


async def test_claims_that_are_not_json_are_an_error_and_show_nothing(conn: Connection, world: World) -> None:
    async with acting(conn, "authenticated", "{not json"):
        said = await tries(conn, [f"select from {table}" for table in COMPANY_TABLES])
    assert {answer for _, answer in said} == {"22P02"}


async def test_claims_in_settings_of_the_old_form_are_not_looked_at(conn: Connection, world: World) -> None:
    async with acting(conn, "authenticated", user(uuid4())):
        for name in ("company_id", "role", "app_metadata"):
            await conn.execute("select set_config($1, $2, true)", f"request.jwt.claim.{name}", str(world.mine.id))
        said = await tries(conn, [f"select from {table}" for table in COMPANY_TABLES])
    assert {answer for _, answer in said} == {"0"}


@pytest.mark.parametrize("plans", ["auto", "force_generic_plan", "force_custom_plan"])
async def test_a_plan_that_one_tenant_prepared_serves_the_next_only_his_own(
    conn: Connection, world: World, plans: str
) -> None:
    await conn.execute(f"set plan_cache_mode = {plans}")
    queries = [f"select {LED_BY.get(table, 'company_id')} from public.{table}" for table in COMPANY_TABLES]
    async with world.acting(conn, "admin"):
        prepared = [await conn.prepare(query) for query in queries]
        change = await conn.prepare("update public.sync_jobs set priority = $1 where id = $2 returning company_id")
    mine, theirs = world.mine.id, world.theirs.id
    sees = {"member": {mine}, "other admin": {theirs}, "service_role": {mine, theirs}, "admin": {mine}}
    changes = {("admin", mine), ("other admin", theirs), ("service_role", mine), ("service_role", theirs)}
    for _ in range(7):  # after five uses Postgres considers a plan for all parameters
        for person, seen in sees.items():
            async with world.acting(conn, person):
                for statement in prepared:
                    assert {row[0] for row in await statement.fetch()} == seen, (person, statement.get_query())
                for company in (world.mine, world.theirs):
                    met = {row[0] for row in await change.fetch(7, company.job)}
                    assert met == ({company.id} if (person, company.id) in changes else set()), person
        async with acting(conn, "authenticated", ""):
            for statement in prepared:
                assert await statement.fetch() == []
        for statement in prepared:
            async with world.acting(conn, "anon"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await statement.fetch()
