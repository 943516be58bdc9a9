from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.engine.support import IMPATIENT, PATIENCE, working
from tidemill.engine import Context, Kind, NewJob
from tidemill.engine.callers import EnqueueBlocked, enqueue_with
from tidemill.engine.declare import declare_kinds
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

from .support import ASYNC_CALLERS, INSERT, prepare, registry_of

REGISTRY = registry_of("mail", "bill")
READY = "select count(*) from tidemill.job_ready"

every_caller = pytest.mark.parametrize("opened", ASYNC_CALLERS.values(), ids=ASYNC_CALLERS.keys())


@every_caller
async def test_a_job_is_there_once_the_callers_data_is_committed(db: Database, opened: Callable[[str], Any]) -> None:
    await prepare(db, REGISTRY)
    tenant = uuid4()
    async with opened(db.url) as caller:
        await caller.run(INSERT)
        job = NewJob(kind="mail", args={"to": "a@b", "n": [1, None, "é\\u0000"]}, tenant=tenant, priority=3)
        [job_id] = await enqueue_with(caller.conn, [job], REGISTRY)
        assert await db.fetchval(READY) == 0
        await caller.commit()
    row = await db.fetchrow("select id, args, tenant, priority, max_attempts from tidemill.job_ready")
    assert row is not None
    assert tuple(row) == (job_id, {"to": "a@b", "n": [1, None, "é\\u0000"]}, tenant, 3, 20)
    assert await db.fetchval("select count(*) from public.orders") == 1


@every_caller
async def test_nothing_is_left_when_the_caller_rolls_back(db: Database, opened: Callable[[str], Any]) -> None:
    await prepare(db, REGISTRY)
    async with opened(db.url) as caller:
        await caller.run(INSERT)
        await enqueue_with(caller.conn, [NewJob(kind="mail", key="k"), NewJob(kind="mail", delay=60.0)], REGISTRY)
        await caller.rollback()
    for table in ("tidemill.job_ready", "tidemill.job_delayed", "tidemill.unique_key", "public.orders"):
        assert await db.fetchval(f"select count(*) from {table}") == 0, table


@every_caller
async def test_several_jobs_get_their_ids_in_order_and_a_held_key_none(
    db: Database, opened: Callable[[str], Any]
) -> None:
    await prepare(db, REGISTRY)
    jobs = [NewJob(kind="mail", args={"n": n}, key=key) for n, key in enumerate(["a", "b", "a", None])]
    async with opened(db.url) as caller:
        ids = await enqueue_with(caller.conn, [*jobs, NewJob(kind="bill", key="a")], REGISTRY)
        again = await enqueue_with(caller.conn, jobs[:1], REGISTRY)
        await caller.commit()
    assert [n is None for n in ids] == [False, False, True, False, False]
    assert again == [None]
    rows = await db.fetch("select id, (args ->> 'n')::int as n from tidemill.job_ready where args ? 'n'")
    assert {row["n"]: row["id"] for row in rows} == {0: ids[0], 1: ids[1], 3: ids[3]}


@every_caller
async def test_what_only_the_database_can_tell_is_named_through_every_library(
    db: Database, opened: Callable[[str], Any]
) -> None:
    await prepare(db, registry_of("mail"))
    async with opened(db.url) as caller:
        with pytest.raises(InvalidInput, match=r"no application has declared.*'bill'.*start a worker") as refused:
            await enqueue_with(caller.conn, [NewJob(kind="mail", key="first"), NewJob(kind="bill")], REGISTRY)
        assert refused.value.field == "kind"
        await caller.rollback()
    assert await db.fetchval(READY) == 0


@every_caller
async def test_an_open_transaction_keeps_no_worker_from_its_jobs(db: Database, opened: Callable[[str], Any]) -> None:
    ran: asyncio.Queue[int] = asyncio.Queue()

    async def note(ctx: Context, args: dict[str, Any]) -> None:
        ran.put_nowait(args["n"])

    async with asyncio.timeout(PATIENCE), working(db, Kind("note", note)) as (engine, _):
        await declare_kinds(db, engine.registry)
        async with opened(db.url) as caller:
            await enqueue_with(caller.conn, [NewJob(kind="note", args={"n": 0}, key="open")], engine.registry)
            for n in (1, 2, 3):
                await engine.enqueue("note", {"n": n}, key=str(n))
                assert await ran.get() == n
            await caller.commit()
            assert await ran.get() == 0


async def test_the_wait_for_a_key_that_another_transaction_is_taking_has_an_end(db: Database) -> None:
    await prepare(db, REGISTRY)
    await db.execute(IMPATIENT)
    job = NewJob(kind="mail", key="k")
    async with db.transaction() as first:
        await enqueue_with(first, [job], REGISTRY)
        for opened in ASYNC_CALLERS.values():
            async with opened(db.url) as second:
                with pytest.raises(EnqueueBlocked):
                    await enqueue_with(second.conn, [job], REGISTRY)
                await second.rollback()
