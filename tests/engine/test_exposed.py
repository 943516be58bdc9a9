"""Jobs that signed-in users enqueue: from their call as ``authenticated`` to the handler, and what bounds them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from tidemill import ConfigurationError, Context, Settings, Tidemill
from tidemill.postgres import Database, tenant_session

from .api_running import running
from .support import PATIENCE, quiet, until

ACME, OTHER = UUID(int=1), UUID(int=2)
CALL = "select public.tidemill_enqueue($1, $2)"


class Month(msgspec.Struct):
    month: str
    copies: int = 1


class Shop:
    """An application with a kind for everybody, one for users, and one that is the staff's alone."""

    def __init__(self, database_url: str) -> None:
        self.app = Tidemill(Settings(database_url=database_url, env="test"))
        self.ran: list[tuple[UUID | None, Any]] = []
        self.app.job(name="export", exposed="company_id", most_waiting=3)(self._keep(Month))
        self.app.job(name="forget", exposed="sub", queue="users")(self._keep(dict[str, Any]))
        self.app.job(name="bill")(self._keep(dict[str, Any]))

    def _keep(self, kind: Any) -> Any:
        async def keep(ctx: Context, args: Any) -> None:
            self.ran.append((ctx.job.tenant, args))

        keep.__annotations__["args"] = kind
        return keep


async def declare(app: Tidemill) -> None:
    """Start a worker and stop it again: it tells the database of the kinds."""
    async with running(app):
        pass


async def call(db: Database, kind: str, args: Any = None, *, company: UUID = ACME, user: UUID = OTHER) -> int:
    """As PostgREST would: role and claims of a signed-in user."""
    async with tenant_session(db, {"sub": str(user), "company_id": str(company), "role": "authenticated"}) as tenant:
        return await tenant.fetchval(CALL, kind, args or {})


async def test_a_users_job_runs_for_the_tenant_of_the_token(database_url: str, db: Database) -> None:
    shop = Shop(database_url)
    await declare(shop.app)
    user = uuid4()
    async with asyncio.timeout(PATIENCE), running(shop.app):
        await call(db, "export", {"month": "May"})
        await call(db, "forget", {"all": True}, user=user)
        await quiet(db)
    assert sorted(shop.ran, key=str) == sorted([(ACME, Month("May")), (user, {"all": True})], key=str)


async def test_a_kind_that_is_not_exposed_stays_closed_however_often_a_worker_starts(
    database_url: str, db: Database
) -> None:
    shop = Shop(database_url)
    await declare(shop.app)
    await declare(shop.app)
    with pytest.raises(asyncpg.PostgresError, match="kind: no job kind 'bill' is exposed"):
        await call(db, "bill")
    await call(db, "export", {"month": "May"})


async def test_a_kind_that_is_exposed_no_more_is_closed_by_the_next_start(database_url: str, db: Database) -> None:
    await declare(Shop(database_url).app)
    later = Tidemill(Settings(database_url=database_url, env="test"))

    @later.job(name="export")
    async def export(ctx: Context, args: Month) -> None: ...

    await declare(later)
    with pytest.raises(asyncpg.PostgresError, match="kind: no job kind 'export' is exposed"):
        await call(db, "export", {"month": "May"})


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({}, "args.month: "),
        ({"month": 5}, "args.month: expected `str`, got `int`"),
        ({"month": "May", "copies": "all"}, "args.copies: expected `int`, got `str`"),
    ],
    ids=str,
)
async def test_arguments_that_a_user_made_up_end_dead_at_the_first_look_with_the_reason(
    args: dict[str, Any], told: str, database_url: str, db: Database
) -> None:
    shop = Shop(database_url)
    await declare(shop.app)
    async with asyncio.timeout(PATIENCE), running(shop.app):
        job = await call(db, "export", args)
        await quiet(db)
    assert shop.ran == []
    ended = await db.fetch("select outcome, attempt, reason from tidemill.job_run where id = $1", job)
    assert [(row["outcome"], row["attempt"]) for row in ended] == [("dead", 1)]
    assert ended[0]["reason"].startswith(f"RefusedArguments: {told}")
    assert await db.fetchval("select reason from tidemill.job_dead where id = $1", job) == ended[0]["reason"]


async def test_arguments_of_a_kind_that_is_not_exposed_are_tried_again_since_a_newer_worker_may_take_them(
    database_url: str, db: Database
) -> None:
    app = Tidemill(Settings(database_url=database_url, env="test"))

    @app.job(name="mine")
    async def mine(ctx: Context, args: Month) -> None: ...

    await declare(app)
    async with running(app):
        await db.fetchval("select tidemill.enqueue('mine', '{}')")

        async def outcome() -> Any:
            return await db.fetchval("select outcome from tidemill.job_run")

        assert await until(outcome, what="the first attempt's end") == "retry"


async def test_a_tenant_with_too_many_waiting_jobs_is_refused_and_no_other_tenant_is(
    database_url: str, db: Database
) -> None:
    shop = Shop(database_url)
    await declare(shop.app)
    for n in range(3):
        await call(db, "export", {"month": str(n)})
    with pytest.raises(asyncpg.PostgresError, match="3 jobs of the kind 'export' are waiting already") as refused:
        await call(db, "export", {"month": "one more"})
    assert refused.value.sqlstate == "PT429"
    await call(db, "export", {"month": "May"}, company=OTHER)
    await call(db, "forget", user=ACME)
    async with asyncio.timeout(PATIENCE), running(shop.app):
        await quiet(db)
    await call(db, "export", {"month": "again"})


async def test_one_transaction_cannot_pass_the_bound_either(database_url: str, db: Database) -> None:
    await declare(Shop(database_url).app)
    with pytest.raises(asyncpg.PostgresError, match="are waiting already"):
        async with tenant_session(db, {"company_id": str(ACME)}) as tenant:
            await tenant.execute(
                """select public.tidemill_enqueue('export', '{"month": "May"}') from generate_series(1, 100)"""
            )
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 0


async def test_jobs_of_other_kinds_do_not_count(database_url: str, db: Database) -> None:
    shop = Shop(database_url)
    await declare(shop.app)
    async with shop.app:
        await shop.app.enqueue_many([shop.app.prepare("bill", tenant=ACME) for _ in range(20)])
    await call(db, "export", {"month": "May"})


async def test_the_bound_is_counted_by_index_however_much_waits(database_url: str, db: Database) -> None:
    shop = Shop(database_url)
    await declare(shop.app)
    async with shop.app:
        await shop.app.enqueue_many([shop.app.prepare("bill", tenant=ACME) for _ in range(20_000)])
    await db.execute("vacuum analyze tidemill.job_ready")
    kind = await db.fetchrow("select id, queue from tidemill.kind where name = 'export'")
    assert kind is not None
    async with db.transaction() as conn:
        before = await conn.fetchval("select pg_stat_get_xact_tuples_fetched('tidemill.job_ready'::regclass)")
        waiting = await conn.fetchval(
            "select tidemill.waiting_jobs($1, $2, tidemill.lane_of($3), 3)", kind["id"], kind["queue"], ACME
        )
        after = await conn.fetchval("select pg_stat_get_xact_tuples_fetched('tidemill.job_ready'::regclass)")
    assert waiting == 0
    assert after - before <= 1003


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"exposed": ""}, "exposed names a claim"),
        ({"exposed": True}, "exposed names a claim"),
        ({"exposed": "sub", "unique": True}, "exposed and unique exclude each other"),
        ({"most_waiting": 3}, "give exposed as well"),
        ({"exposed": "sub", "most_waiting": 0}, "most_waiting 0 is no whole number from 1 to 10000"),
        ({"exposed": "sub", "most_waiting": True}, "most_waiting True is no whole number"),
    ],
    ids=str,
)
def test_a_rule_that_cannot_be_is_refused_where_it_is_declared(rules: dict[str, Any], told: str) -> None:
    async def export(ctx: Context) -> None: ...

    with pytest.raises(ConfigurationError, match=told):
        Tidemill().job(name="export", **rules)(export)


async def test_the_door_is_opened_as_its_page_says(database_url: str, db: Database) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/enqueue-with-your-data.md").read_text()
    [code] = [
        block for block in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "exposed=" in block
    ]
    [request] = re.findall(r"rpc\('tidemill_enqueue', (\{.*\})\)", page)
    kind, month = re.findall(r"'(.*?)'", request)
    app = Tidemill(Settings(database_url=database_url, env="test"))
    exec(code, {"app": app, "msgspec": msgspec, "Context": Context, "__name__": "page"})  # the page's own words
    await declare(app)
    async with running(app):
        job = await call(db, kind, {"month": month})
        await quiet(db)
    assert await db.fetchval("select outcome from tidemill.job_run where id = $1", job) == "done"
