"""Who may do what over HTTP: the cells that are open are listed, every other is shut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jwt
import pytest

from tests.web.api.world import ADMIN, MEMBER, OTHER, Client, Company, api_of, served
from tests.web.support import JWT_SECRET, token_of
from tidemill.postgres import Database

ANON = "anon"
EVERYBODY = {ADMIN, MEMBER, OTHER}
OURS = {ADMIN, MEMBER}
ADMINS = {ADMIN}

ALLOWED: dict[str, set[str]] = {
    "listConnectors": EVERYBODY,  # each his own company's
    "createConnector": {ADMIN, OTHER},  # likewise
    "getConnector": OURS,
    "changeConnector": ADMINS,
    "deleteConnector": ADMINS,
    "checkConnector": ADMINS,
    "getCredentialState": ADMINS,
    "setCredentials": ADMINS,
    "listSyncJobs": EVERYBODY,
    "createSyncJob": ADMINS,
    "getSyncJob": OURS,
    "changeSyncJob": ADMINS,
    "deleteSyncJob": ADMINS,
    "runSyncJob": ADMINS,
    "pauseSyncJob": ADMINS,
    "resumeSyncJob": ADMINS,
    "cancelSyncJob": ADMINS,
    "listRuns": EVERYBODY,
    "getRun": OURS,
    "listRecords": OURS,
    "listNotifications": EVERYBODY,
    "tickOffNotification": ADMINS,
    "previewSchedule": EVERYBODY,
    "listProviders": EVERYBODY,
}
REFUSED_BY_KEY = {("createSyncJob", OTHER): 422}
"""Not by row security: the job would be his own, and the foreign key does not let it point at our connector."""
ROUTES = {route.name: route for route in api_of().routes}
STATE = (
    "select md5(string_agg(t, '' order by t)) from (select c::text as t from public.integration_connectors as c "
    "where company_id = $1 union all select j::text from public.sync_jobs as j where company_id = $1 "
    "union all select r::text from public.sync_run_logs as r where company_id = $1 "
    "union all select s::text from public.connector_credentials as s where company_id = $1 "
    "union all select n::text from public.sync_notifications as n where company_id = $1) as rows"
)


@dataclass
class Attack:
    """A request that does something to a company."""

    company: Company

    def path(self, name: str) -> str:
        route = ROUTES[name]
        ids = {
            "connectors": self.company.connector,
            "sync-jobs": self.company.job,
            "runs": self.company.run,
            "notifications": self.company.notification,
        }
        path = route.path.replace("{id}", str(ids.get(route.path.split("/")[1], "")))
        if name == "listRecords":
            path += f"?connector_id={self.company.connector}&stream=orders"
        return path

    def body(self, name: str) -> dict[str, Any] | None:
        return {
            "createConnector": {"provider": "shop", "config": {"shop": "x"}},
            "changeConnector": {"name": "Changed"},
            "setCredentials": {"secrets": {"token": "x"}},
            "createSyncJob": {"connector_id": str(self.company.connector), "job_type": "sync"},
            "changeSyncJob": {"name": "Changed"},
            "previewSchedule": {"schedule": {"every": "1h"}},
        }.get(name)


def test_the_table_has_every_route() -> None:
    assert ALLOWED.keys() == ROUTES.keys()


async def ready(db: Database, company: Company, name: str) -> None:
    """The rows as the route needs them for those who may."""
    if name == "deleteConnector":
        await db.execute("delete from public.sync_jobs where company_id = $1", company.id)
    if name == "getCredentialState":
        await db.execute(
            "insert into public.connector_credentials (company_id, connector_id, version, secret_ciphertext, checksum) "
            "values ($1, $2, 1, 'x', 'x')",
            company.id,
            company.connector,
        )


@pytest.mark.parametrize("name", ALLOWED)
async def test_only_the_listed_cells_are_open(db: Database, company: Company, neighbour: Company, name: str) -> None:
    await ready(db, company, name)
    attack = Attack(company)
    tokens = {ADMIN: company.token(), MEMBER: company.token(MEMBER), OTHER: neighbour.token(), ANON: None}
    before = await db.fetchval(STATE, company.id)
    async with served(db) as nobody:
        for role in (ANON, OTHER, MEMBER, ADMIN):  # who may do most comes last
            client = nobody.as_(tokens[role])
            reply = await client(ROUTES[name].method, attack.path(name), attack.body(name), headers={"If-Match": "*"})
            if role in ALLOWED[name]:
                assert reply.status == ROUTES[name].status, (role, reply)
                if role == OTHER:
                    shown = str(reply.body)
                    told = (company.id, company.connector, company.job, company.run, company.notification)
                    assert not any(str(one) in shown for one in told)
                continue
            expected = {ANON: 401, MEMBER: 403, OTHER: 404}[role]
            if name == "getCredentialState" and role == MEMBER:
                expected = 404  # what he may not read is not there for him
            assert reply.status == REFUSED_BY_KEY.get((name, role), expected), (role, reply)
            assert await db.fetchval(STATE, company.id) == before, role


@pytest.mark.parametrize(
    "claims",
    [
        {"role": "service_role"},
        {"role": "anon"},
        {"role": "postgres"},
        {"aud": "other"},
        {"sub": "admin"},
        {"sub": None},
        {"exp": None},
    ],
    ids=range(7),
)
async def test_a_signed_token_that_is_no_users_opens_nothing(admin: Client, company: Company, claims: Any) -> None:
    forged = admin.as_(company.token(**claims))
    for name, route in ROUTES.items():
        reply = await forged(route.method, Attack(company).path(name), Attack(company).body(name))
        assert (reply.status, reply.code) == (401, "UNAUTHORIZED")


async def test_the_secret_is_not_another(admin: Client, company: Company) -> None:

    claims = jwt.decode(company.token(), JWT_SECRET, algorithms=["HS256"], audience="authenticated")
    for forged in (
        jwt.encode(claims, JWT_SECRET + "x", algorithm="HS256"),
        jwt.encode(claims, JWT_SECRET * 2, algorithm="HS512"),
        jwt.encode(claims, "", algorithm="none"),
        token_of(company.admin)[:-4] + "AAAA",
    ):
        assert (await admin.as_(forged)("GET", "/connectors")).status == 401


async def test_without_keys_for_tokens_nobody_gets_in(db: Database, company: Company) -> None:
    async with served(db, jwt_secret=None) as nobody:
        headers = {"Authorization": f"Bearer {company.token()}"}
        async with nobody.session.get("/api/v1/connectors", headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (501, "NOT_CONFIGURED")
