"""An application: what it declares, opens and enqueues, run by a real worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tidemill import ConfigurationError, Context, InvalidInput, KeyHeld, Settings, Tidemill
from tidemill.engine.limits import list_limits
from tidemill.postgres import Database

from .api_app import SOON, Greeting, greet, loose, nothing
from .api_running import application, results, running
from .support import quiet, until


async def test_a_job_is_enqueued_with_its_time_key_priority_and_tenant(database_url: str, db: Database) -> None:
    app, tenant = application(database_url), uuid4()
    at = datetime.now(UTC) + timedelta(days=2)
    async with app:
        later = await app.enqueue(nothing, at=at, key="k", tenant=tenant)
        soon = await app.enqueue(nothing, delay=timedelta(hours=1), priority=5, max_attempts=3)
        with pytest.raises(KeyHeld):
            await app.enqueue(nothing, key="k")
    rows = {row["id"]: row for row in await db.fetch("select * from tidemill.job_delayed")}
    assert (rows[later]["run_at"], rows[later]["key"], rows[later]["tenant"]) == (at, "k", tenant)
    assert (rows[soon]["priority"], rows[soon]["max_attempts"]) == (5, 3)
    assert timedelta(minutes=59) < rows[soon]["run_at"] - rows[soon]["enqueued_at"] < timedelta(minutes=61)


async def test_key_and_tenant_may_be_made_of_the_arguments(database_url: str, db: Database) -> None:
    app, tenant = Tidemill(Settings(database_url=database_url, env="test")), uuid4()

    @app.job(unique=lambda args: args["account"], tenant=lambda args: UUID(args["tenant"]))
    async def by_account(ctx: Context, args: dict[str, Any]) -> None: ...

    app.job(unique=True)(greet)
    async with app:
        await app.enqueue(by_account, {"account": "a1", "tenant": tenant})
        with pytest.raises(KeyHeld):
            await app.enqueue(by_account, {"account": "a1", "tenant": uuid4()})
        await app.enqueue(greet, {"name": "x"})
        with pytest.raises(KeyHeld, match="the key of these arguments"):
            await app.enqueue(greet, Greeting("x", times=1))
        await app.enqueue(greet, {"name": "x"}, key="another")
    rows = await db.fetch("select key, tenant from tidemill.job_ready order by id")
    assert rows[0]["key"] == "a1"
    assert rows[0]["tenant"] == tenant
    assert rows[2]["key"] == "another"


@pytest.mark.parametrize("key", [None, "k"], ids=["plain", "one with a key"])
async def test_the_ids_of_many_stand_in_the_order_of_the_jobs(database_url: str, db: Database, key: str | None) -> None:
    app = application(database_url)
    async with app:
        jobs = [app.prepare(loose, {"n": n}, priority=n % 7, tenant=UUID(int=n % 5)) for n in range(3000)]
        jobs[0] = app.prepare(loose, {"n": 0}, key=key)
        ids = await app.enqueue_many(jobs)
    stored = {row["id"]: row["args"]["n"] for row in await db.fetch("select id, args from tidemill.job_ready")}
    assert [stored[job] for job in ids if job is not None] == list(range(3000))


async def test_a_job_commits_or_rolls_back_with_the_callers_data(database_url: str, db: Database) -> None:
    app = application(database_url)
    async with app:
        with pytest.raises(ZeroDivisionError):
            async with db.transaction() as conn:
                await app.enqueue(nothing, conn=conn)
                raise ZeroDivisionError
        assert await db.fetchval("select count(*) from tidemill.job_ready") == 0
        async with db.transaction() as conn:
            await app.enqueue(nothing, conn=conn)
        assert await db.fetchval("select count(*) from tidemill.job_ready") == 1


async def test_a_handler_enqueues_in_its_fenced_transaction(database_url: str, db: Database) -> None:
    app = application(database_url)

    @app.job
    async def parent(ctx: Context) -> int:
        async with ctx.transaction() as conn:
            return await app.enqueue(greet, Greeting("child"), conn=conn)

    async with running(app):
        job = await app.enqueue(parent)
        await quiet(db)
    got = await results(db)
    assert got[got[job]] == "hello child"


async def test_a_declared_schedule_enqueues_its_job(database_url: str, db: Database) -> None:
    app = application(database_url)
    app.schedule(greet, Greeting("cron"), cron="0 0 29 2 *")
    app.schedule(nothing, cron="0 0 29 2 *", timezone="Asia/Taipei", name="rare")
    async with running(app):
        await app.rooms.declare_schedules()
        await db.execute("update tidemill.schedule set next_at = tidemill.now() where name like '%greet'")
        await app.rooms.schedules.tick()
        await until(lambda: results(db), what="the schedule's job")
    assert list((await results(db)).values()) == ["hello cron"]


async def test_an_application_with_jobs_alone_needs_no_keys_and_opens_nothing_before_it_is_entered(
    database_url: str,
) -> None:
    app = Tidemill(Settings(database_url=database_url, env="production"))
    app.job(nothing)
    with pytest.raises(ConfigurationError, match="not open"):
        await app.enqueue(nothing)
    async with app:
        await app.enqueue(nothing)
        with pytest.raises(ConfigurationError, match="syncs=True"):
            _ = app.rooms.sync
        with pytest.raises(ConfigurationError, match="open already"):
            await app.__aenter__()
        with pytest.raises(ConfigurationError, match="before the application is opened"):
            app.job(loose)
    async with app:
        await app.enqueue(nothing)


async def test_run_worker_works_until_it_is_cancelled(database_url: str, db: Database) -> None:
    app = application(database_url)
    task = asyncio.create_task(app.run_worker(queues={"default": 3}))
    async with Tidemill(app.settings).open() as rooms:
        rooms.engine.registry.add(app._registry["tests.engine.api_app.nothing"])
        await rooms.engine.enqueue("tests.engine.api_app.nothing")
        await quiet(db)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_worker_refuses_queues_that_nobody_uses(database_url: str) -> None:
    with pytest.raises(InvalidInput, match="queues: no job is declared in 'defualt'"):
        await application(database_url).run_worker(queues={"defualt": 3})


async def test_limits_in_code_hold_once_a_worker_runs(database_url: str, db: Database) -> None:
    app = Tidemill(Settings(database_url=database_url, env="test"))
    app.job(name="one", concurrency={"all": 2, "args.n": 1})(loose)
    async with running(app):
        await app.enqueue("one", {"n": 1})
        await quiet(db)
        lines = await list_limits(db)
        assert [(line.kind, line.per, line.what, line.most) for line in lines] == [
            ("one", "all", "concurrency", 2),
            ("one", "args.n", "concurrency", 1),
        ]


async def _generator(ctx: Any, args: Any) -> Any:
    yield 1


async def _three(ctx: Any, args: Any, more: Any) -> None: ...


async def _number(ctx: Any, args: int) -> None: ...


async def _bytes_like(ctx: Any, args: memoryview) -> None: ...


async def _unknown(ctx: Any, args: NoSuchType) -> None: ...  # noqa: F821 # type: ignore[name-defined]


@pytest.mark.parametrize(
    ("function", "rules", "told"),
    [
        (print, {}, "not a function"),
        (_generator, {}, "generator"),
        (_three, {}, r"takes \(ctx\) or \(ctx, args\)"),
        (_number, {}, "cannot take arguments of type"),
        (_bytes_like, {}, "cannot take arguments of type"),
        (_unknown, {}, "NoSuchType"),
        (loose, {"processes": True}, "not a coroutine function"),
        (lambda ctx: None, {"processes": True}, "function of a module"),
        (loose, {"queue": ""}, "queue"),
        (loose, {"name": "x" * 201}, "200 characters"),
        (loose, {"priority": 5000}, "priority"),
        (loose, {"max_attempts": 0}, "max_attempts"),
        (loose, {"timeout": 0}, "timeout"),
        (loose, {"timeout": float("nan")}, "timeout"),
        (loose, {"concurrency": 0}, "concurrency"),
        (loose, {"rate": "often"}, "rate"),
    ],
)
def test_a_job_that_cannot_be_is_refused_where_it_is_declared(function: Any, rules: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Tidemill().job(**rules)(function)


def test_two_jobs_do_not_share_a_name() -> None:
    app = Tidemill()
    app.job(loose)
    with pytest.raises(ConfigurationError, match="registered twice"):
        app.job(loose)
    app.job(name="other", backoff=SOON)(loose)
