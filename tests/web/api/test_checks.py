"""An admin asks whether a connector works: the connector's own check tells, within bounds, and says why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import web

from tests.connectors.rest_server import TOKEN, RestServer
from tests.connectors.singer.support import CATALOG, install_fake
from tests.web.api.world import MEMBER, REVOKED, SECRET, VAULT, Client, Company, Shop, api_of, served
from tidemill.connectors import Context, Egress, ErrorKind, HttpClient, Limits
from tidemill.connectors.http_json import HttpJsonConnector
from tidemill.connectors.registry import Connectors
from tidemill.connectors.singer import SingerConnector
from tidemill.postgres import Database
from tidemill.sync.jobs import Checks, checks
from tidemill.sync.jobs.checks import Reason
from tidemill.web.api import checks as routes

LOCAL = Egress.of(["127.0.0.1"])


@pytest.fixture
async def rest() -> AsyncIterator[RestServer]:
    async with RestServer() as server:
        server.collections["items"] = [{"id": 1}]
        yield server


@asynccontextmanager
async def checking(
    db: Database, company: Company, connector: Any, config: dict[str, Any], *, secret: str | None = None
) -> AsyncIterator[tuple[Client, str]]:
    """The API with this connector in place of the company's, an admin of it, and the path of its check."""
    connectors = Connectors({connector.spec.name: connector})
    async with await HttpClient.open(limits=Limits(tries=1)) as http:
        api = api_of(providers=connectors, checks=Checks(connectors, http, VAULT, db))
        async with served(db, api) as nobody:
            admin = nobody.as_(company.token())
            path = f"/connectors/{company.connector}"
            change = {"provider": connector.spec.name, "config": config}
            assert (await admin("PATCH", path, change, headers={"If-Match": "*"})).status == 200
            if secret is not None:
                assert (await admin("PUT", f"{path}/credentials", {"secrets": {"token": secret}})).status == 200
            yield admin, f"{path}/check"


def of_rest(rest: RestServer, **changed: Any) -> dict[str, Any]:
    return {"base_url": rest.url, "streams": [{"name": "items", "path": "v1/all/items", "key": ["id"]}], **changed}


def test_every_reason_of_a_provider_is_one_of_a_check() -> None:
    ours = {"bad_config", "credentials_unreadable", "error", "time_budget", "unknown_provider"}
    assert set(get_args(Reason)) == set(ErrorKind) | ours


async def test_a_connector_that_works_says_so_and_nothing_is_kept(
    db: Database, company: Company, rest: RestServer
) -> None:
    async with checking(db, company, HttpJsonConnector(LOCAL), of_rest(rest), secret=TOKEN) as (admin, path):
        before = await admin("GET", f"/connectors/{company.connector}")
        reply = await admin("POST", path)
        assert (reply.status, reply.body["ok"], reply.body["reason"], len(rest.calls)) == (200, True, None, 1)
        assert (await admin("GET", f"/connectors/{company.connector}")).body == before.body


@pytest.mark.parametrize(
    ("changed", "secret", "reason", "says"),
    [
        ({}, "wrong-" + SECRET, "token_invalid", "401"),
        ({}, None, "token_invalid", "no secret named token"),
        ({"streams": [{"name": "items", "path": "v1/all/nothing", "key": ["id"]}]}, TOKEN, "invalid_request", "404"),
        (
            {"streams": [{"name": "items", "path": "v1/all/items", "records": "data", "key": ["id"]}]},
            TOKEN,
            "permanent",
            "not a list",
        ),
        ({"auth": {"in": "none"}}, None, "token_invalid", "401"),
    ],
    ids=["a wrong token", "no token", "a wrong path", "no list of records", "no token asked for"],
)
async def test_what_is_wrong_is_told_by_a_word_and_in_words_without_the_secret(
    db: Database, company: Company, rest: RestServer, changed: Any, secret: str | None, reason: str, says: str
) -> None:
    config = of_rest(rest, **changed)
    async with checking(db, company, HttpJsonConnector(LOCAL), config, secret=secret) as (admin, path):
        reply = await admin("POST", path)
    assert (reply.status, reply.body["ok"], reply.body["reason"]) == (200, False, reason), reply
    assert says in reply.body["message"]
    assert SECRET not in str(reply.body)


async def test_a_check_goes_no_further_than_a_run_may(db: Database, company: Company, rest: RestServer) -> None:
    async with checking(db, company, HttpJsonConnector(Egress()), of_rest(rest), secret=TOKEN) as (admin, path):
        reply = await admin("POST", path)
    assert (reply.body["reason"], "not called" in reply.body["message"]) == ("permanent", True)
    assert rest.calls == []


async def test_a_redirect_is_not_followed_to_where_no_call_may_go(
    db: Database, company: Company, rest: RestServer
) -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{rest.url}/v1/all/items"})

    rest.script = elsewhere
    async with checking(db, company, HttpJsonConnector(LOCAL), of_rest(rest), secret=TOKEN) as (admin, path):
        reply = await admin("POST", path)
    assert (reply.body["ok"], len(rest.calls)) == (False, 1)


async def test_only_a_program_on_the_list_is_run(db: Database, company: Company, tmp_path: Path) -> None:
    tap = SingerConnector({"fake": install_fake(tmp_path)})
    steps = {"catalog": CATALOG}
    for executable, reason, at in (("fake", None, None), ("/bin/sh", "bad_config", "config.executable")):
        config = {"executable": executable, "config": steps}
        async with checking(db, company, tap, {"executable": "fake", "config": steps}) as (admin, path):
            await db.execute(
                "update public.integration_connectors set config = $2 where id = $1", company.connector, config
            )
            reply = await admin("POST", path)
        assert (reply.body["reason"], reply.body["field"]) == (reason, at), reply


async def test_secrets_that_cannot_be_opened_and_connectors_that_are_not_here_are_named(
    admin: Client, company: Company, db: Database
) -> None:
    path = f"/connectors/{company.connector}/check"
    await db.execute(
        "insert into public.connector_credentials (company_id, connector_id, version, secret_ciphertext, checksum) "
        "values ($1, $2, 1, 'not sealed by anybody', 'x')",
        company.id,
        company.connector,
    )
    assert (await admin("POST", path)).body["reason"] == "credentials_unreadable"
    await db.execute("update public.integration_connectors set provider = 'gone' where id = $1", company.connector)
    assert (await admin("POST", path)).body["reason"] == "unknown_provider"


class Waiting(Shop):
    """Waits until it is told to go on, whatever its deadline."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    async def check(self, ctx: Context) -> None:
        self.asked.release()
        await self.go_on.wait()


async def test_a_connector_that_never_answers_is_cut_off(
    db: Database, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LATE_S", -checks.CHECK_S)
    async with checking(db, company, Waiting(), {"shop": "x"}) as (admin, path):
        reply = await admin("POST", path)
    assert (reply.status, reply.body["reason"]) == (200, "time_budget")


async def test_a_check_holds_no_connection_and_a_company_has_few_at_once(
    db: Database, company: Company, neighbour: Company, database_url: str
) -> None:
    shop = Waiting()
    async with (
        await Database.open(database_url, max_size=1) as single,
        checking(single, company, shop, {"shop": "x"}) as (admin, path),
        asyncio.TaskGroup() as group,
    ):
        under_way = [group.create_task(admin("POST", path)) for _ in range(routes.OF_A_COMPANY)]
        for _ in under_way:
            await shop.asked.acquire()
        refused = await admin("POST", path)
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (429, "RATE_LIMITED", "5")
        other = admin.as_(neighbour.token())
        theirs = group.create_task(other("POST", f"/connectors/{neighbour.connector}/check"))
        await shop.asked.acquire()
        shop.go_on.set()
        assert [(await reply).body["ok"] for reply in (*under_way, theirs)] == [True] * 3
        assert (await admin("POST", path)).body["ok"] is True


async def test_what_a_connector_raises_is_told_without_its_secrets(db: Database, company: Company) -> None:
    class Odd(Shop):
        async def check(self, ctx: Context) -> None:
            raise ValueError(f"cannot log in with {ctx.token.reveal()}")

    async with checking(db, company, Odd(), {"shop": "x"}, secret=SECRET) as (admin, path):
        reply = await admin("POST", path)
    assert (reply.body["reason"], reply.body["message"]) == ("error", "ValueError: cannot log in with [redacted]")


async def test_nothing_is_called_for_a_company_that_is_suspended(admin: Client, company: Company, db: Database) -> None:
    await db.execute("update public.companies set status = 'suspended' where id = $1", company.id)
    reply = await admin("POST", f"/connectors/{company.connector}/check")
    assert (reply.status, reply.code) == (409, "CONFLICT")


async def test_a_member_asks_nothing(admin: Client, company: Company) -> None:
    await admin("PUT", f"/connectors/{company.connector}/credentials", {"secrets": {"token": REVOKED}})
    path = f"/connectors/{company.connector}/check"
    assert (await admin("POST", path)).body["reason"] == "token_invalid"
    assert (await admin.as_(company.token(MEMBER))("POST", path)).code == "FORBIDDEN"


async def test_a_server_that_calls_nobody_says_so(db: Database, company: Company) -> None:
    async with served(db, api_of()) as nobody:
        headers = {"Authorization": f"Bearer {company.token()}"}
        url = f"/api/v1/connectors/{company.connector}/check"
        async with nobody.session.post(url, headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (501, "NOT_CONFIGURED")
