"""current_company_id() and has_role(): what a token may say, and what it may not pretend."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.schema.conftest import acting, user
from tidemill.postgres import Connection

COMPANY = UUID("0c0c0c0c-0000-4000-8000-000000000001")


async def test_the_company_is_the_top_level_claim(conn: Connection) -> None:
    async with acting(conn, "authenticated", user(uuid4(), company_id=str(COMPANY))):
        assert await conn.fetchval("select public.current_company_id()") == COMPANY


@pytest.mark.parametrize(
    "company", [None, "", "acme", 7, {"id": str(COMPANY)}, [str(COMPANY)], f"{COMPANY} "], ids=repr
)
async def test_a_company_that_is_not_a_uuid_is_no_company(conn: Connection, company: object) -> None:
    async with acting(conn, "authenticated", user(uuid4(), company_id=company)):
        assert await conn.fetchval("select public.current_company_id()") is None


async def test_a_company_in_metadata_that_users_write_is_not_looked_at(conn: Connection) -> None:
    async with acting(conn, "authenticated", user(uuid4(), user_metadata={"company_id": str(COMPANY)})):
        assert await conn.fetchval("select public.current_company_id()") is None


async def test_a_user_sees_his_company_and_an_admin_no_other(conn: Connection) -> None:
    await conn.execute(
        "insert into public.companies (id, code, name) "
        "values ($1, 'ours', 'Ours'), (gen_random_uuid(), 'theirs', 'Theirs')",
        COMPANY,
    )
    claims = user(uuid4(), company_id=str(COMPANY), app_metadata={"role_keys": ["Vibot.admin"]})
    async with acting(conn, "authenticated", claims):
        assert [r["code"] for r in await conn.fetch("select code from public.companies")] == ["ours"]


@pytest.mark.parametrize(
    ("role_keys", "expected"),
    [
        (["Vibot.admin"], True),
        (["Vibot.employee", "Vibot.admin"], True),
        ([], False),
        (["vibot.admin"], False),
        (["Vibot.administrator"], False),
        ("Vibot.admin", False),
        ({"Vibot.admin": False}, False),
        ({"Vibot.admin": True}, False),
        ([["Vibot.admin"]], False),
        ([{"Vibot.admin": True}], False),
        (None, False),
        (True, False),
    ],
    ids=repr,
)
async def test_roles_are_an_array_of_strings(conn: Connection, role_keys: object, expected: bool) -> None:
    async with acting(conn, "authenticated", user(uuid4(), app_metadata={"role_keys": role_keys})):
        assert await conn.fetchval("select public.has_role('Vibot.admin')") is expected


@pytest.mark.parametrize(
    "claims", [None, "", {}, {"app_metadata": None}, {"role_keys": ["Vibot.admin"]}, "null"], ids=repr
)
async def test_without_roles_nobody_has_one(conn: Connection, claims: object) -> None:
    async with acting(conn, "authenticated", claims):
        assert await conn.fetchval("select public.has_role('Vibot.admin')") is False
        assert await conn.fetchval("select public.has_role(null)") is False
