"""Batches and chains on connections of the application's own: there with its data, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.engine.api_running import running
from tests.engine.support import quiet
from tidemill import Context, InvalidInput, KeyHeld, Settings, Tidemill
from tidemill.blocking import Client
from tidemill.engine.declare import declare_kinds
from tidemill.postgres import Database

from .support import ASYNC_CALLERS, CALLERS, INSERT, ORDERS, look

EMPTY = "select not exists (select from tidemill.job_ready) and not exists (select from tidemill.batch)"
LATE = datetime(2040, 1, 2, 3, 4, 5, 678901, UTC)

every_caller = pytest.mark.parametrize("opened", CALLERS.values(), ids=CALLERS.keys())
every_async_caller = pytest.mark.parametrize("opened", ASYNC_CALLERS.values(), ids=ASYNC_CALLERS.keys())


class Mill:
    """An application whose jobs write down what they did, in order."""

    def __init__(self, database_url: str) -> None:
        self.app = app = Tidemill(Settings(database_url=database_url, env="test"))
        self.seen: list[Any] = []

        @app.job(name="step")
        async def step(ctx: Context, args: dict[str, Any]) -> None:
            self.seen.append(args["n"])

        @app.job(name="report")
        async def report(ctx: Context, args: dict[str, Any]) -> None:
            self.seen.append((args["title"], args["batch"]))

    def step(self, n: int, **options: Any) -> Any:
        return self.app.prepare("step", {"n": n}, **options)

    async def run(self, db: Database) -> list[Any]:
        async with running(self.app):
            await quiet(db)
        return self.seen


def summary(jobs: int) -> dict[str, Any]:
    return {"total": jobs, "finished": jobs, "counts": {"done": jobs}, "reason": "drained"}


@every_async_caller
async def test_a_batch_and_a_chain_are_there_once_the_callers_data_is_committed(
    database_url: str, db: Database, opened: Callable[[str], Any]
) -> None:
    mill, tenant = Mill(database_url), uuid4()
    await db.execute(ORDERS)
    async with mill.app, opened(database_url) as caller:
        await caller.run(INSERT)
        options = {"deadline": LATE, "tenant": tenant, "conn": caller.conn}
        async with mill.app.batch(on_done="report", args={"title": "100%: $1 :p1"}, **options) as batch:
            batch.add("step", {"n": 1})
            batch.add("step", {"n": 2}, key="k")
            batch.add("step", {"n": 3}, key="k")
        assert await db.fetchval(EMPTY)
        await caller.commit()
        assert await db.fetchval("select count(*) from public.orders") == 1
    assert [job is None for job in batch.ids] == [False, False, True]
    row = await db.fetchrow("select state, total, deadline, tenant from tidemill.batch")
    assert row is not None
    assert tuple(row) == ("sealed", 2, LATE, tenant)
    seen = await mill.run(db)
    assert sorted(seen[:2]) == [1, 2]
    assert seen[2:] == [("100%: $1 :p1", summary(2))]


@every_async_caller
async def test_a_chain_runs_in_order_after_the_commit_and_a_rollback_leaves_nothing(
    database_url: str, db: Database, opened: Callable[[str], Any]
) -> None:
    mill = Mill(database_url)
    last = mill.app.prepare("report", {"title": "end"})
    async with mill.app:
        async with opened(database_url) as caller:
            await mill.app.chain(mill.step(1), last, conn=caller.conn)
            async with mill.app.batch(conn=caller.conn) as batch:
                batch.add("step", {"n": 1})
            await caller.rollback()
        assert await db.fetchval(EMPTY)
        async with opened(database_url) as caller:
            [first] = await mill.app.chain(mill.step(1), [mill.step(2)], last, conn=caller.conn)
            await caller.commit()
        assert await db.fetchval("select id from tidemill.job_ready") == first
    assert await mill.run(db) == [1, 2, ("end", summary(1))]


@every_caller
def test_plain_code_does_the_same_on_its_own_connection(database_url: str, opened: Callable[[str], Any]) -> None:
    mill = Mill(database_url)
    report = mill.app.prepare("report", {"title": "all"})
    with Client(mill.app) as client:
        with opened(database_url) as caller:
            client.batch([mill.step(1)], on_done=report, conn=caller.conn)
            client.chain(mill.step(1), report, conn=caller.conn)
            client.enqueue("step", {"n": 1}, conn=caller.conn)
            caller.rollback()
        assert look(database_url, EMPTY)
        with opened(database_url) as caller:
            ids = client.batch([mill.step(1), mill.step(2)], on_done=report, deadline=LATE, conn=caller.conn)
            assert look(database_url, EMPTY)
            caller.commit()
    assert all(ids)

    async def run() -> list[Any]:
        async with await Database.open(database_url) as db:
            return await mill.run(db)

    seen = asyncio.run(run())
    assert sorted(seen[:2]) == [1, 2]
    assert seen[2:] == [("all", summary(2))]


async def test_plain_code_needs_no_connection_of_its_own(database_url: str, db: Database) -> None:
    mill = Mill(database_url)

    def plain() -> None:
        with Client(mill.app) as client:
            client.chain(mill.step(1), mill.step(2))

    await asyncio.to_thread(plain)
    async with running(mill.app):
        await quiet(db)
    assert mill.seen == [1, 2]


@every_async_caller
async def test_what_cannot_be_taken_is_named_before_anything_is_written(
    database_url: str, db: Database, opened: Callable[[str], Any]
) -> None:
    mill = Mill(database_url)
    async with mill.app, opened(database_url) as caller:
        with pytest.raises(InvalidInput, match="kind: no job kind 'nobody'"):
            await mill.app.chain(mill.step(1), mill.app.prepare("nobody"), conn=caller.conn)
        with pytest.raises(InvalidInput, match="priority"):
            async with mill.app.batch(conn=caller.conn) as batch:
                batch.add("step", {"n": 1})
                batch.add("step", {"n": 2}, priority=5000)
        await mill.app.enqueue("step", {"n": 1}, key="k")
        with pytest.raises(KeyHeld):
            await mill.app.chain(mill.step(1, key="k"), conn=caller.conn)
        await caller.rollback()
    assert await db.fetchval("select count(*) from tidemill.batch") == 0
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 1


async def test_sql_opens_fills_and_seals_a_batch_as_service_role(database_url: str, db: Database) -> None:
    mill = Mill(database_url)
    async with mill.app:
        await declare_kinds(db, mill.app.rooms.engine.registry)
    async with db.transaction() as conn:
        await conn.execute("set local role service_role")
        steps = {"steps": [], "always": True}
        batch = await conn.fetchval("select tidemill.open_batch('tidemill.batch', $1, tenant => $2)", steps, uuid4())
        jobs = [{"kind": "step", "args": {"n": n}, "batch": batch} for n in (1, 2)]
        await conn.execute("select tidemill.enqueue_many($1)", jobs)
        assert await conn.fetchval("select tidemill.seal_batch($1)", batch)
        assert not await conn.fetchval("select tidemill.seal_batch($1)", batch)
    assert sorted(await mill.run(db)) == [1, 2]
    closed = await db.fetchrow("select state, total, finished, counts, reason from tidemill.batch")
    assert closed is not None
    assert tuple(closed) == ("closed", 2, 2, {"done": 2}, "drained")


async def test_an_empty_batch_closes_when_it_is_sealed(database_url: str, db: Database) -> None:
    mill = Mill(database_url)
    none = {"on_done": "report", "args": {"title": "none"}}
    async with mill.app, db.transaction() as conn, mill.app.batch(**none, conn=conn):
        pass
    assert await mill.run(db) == [("none", {"total": 0, "finished": 0, "counts": {}, "reason": "drained"})]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("'nobody'", "on_close: no application has declared"),
        ("'step', '[]'", "args: need to be a JSON object, not array"),
    ],
)
async def test_a_batch_that_cannot_be_opened_is_refused_by_name(
    call: str, told: str, database_url: str, db: Database
) -> None:
    mill = Mill(database_url)
    async with mill.app:
        await declare_kinds(db, mill.app.rooms.engine.registry)
    with pytest.raises(asyncpg.PostgresError, match=f"^{told}") as refused:
        await db.execute(f"select tidemill.open_batch({call})")
    assert refused.value.sqlstate == "TM003"
    assert await db.fetchval("select count(*) from tidemill.batch") == 0
