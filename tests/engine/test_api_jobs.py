"""An application's own functions, run by a real worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tidemill import (
    Cancel,
    ConfigurationError,
    Context,
    Done,
    Fail,
    InvalidInput,
    KeyHeld,
    Partial,
    Settings,
    Skip,
    Snooze,
    Tidemill,
)
from tidemill.postgres import Database

from .api_app import (
    SOON,
    Greeting,
    Letter,
    Order,
    Work,
    add_jobs,
    crash,
    greet,
    hang,
    loose,
    nothing,
    plot,
    post,
    refuse,
    ship,
    square,
    thread,
    thread_exit,
)
from .support import PATIENCE, quiet


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


_UNKNOWN = _Unknown()


def application(database_url: str) -> Tidemill:
    app = Tidemill(Settings(database_url=database_url, env="test"))
    add_jobs(app)
    return app


@asynccontextmanager
async def running(app: Tidemill, **options: Any) -> AsyncGenerator[None]:
    """The application, open, with a worker until the block ends."""
    async with app, app.rooms.worker(**options) as worker:
        task = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()
            async with asyncio.timeout(PATIENCE):
                await task


async def results(db: Database) -> dict[int, Any]:
    return {row["id"]: row["result"] for row in await db.fetch("select id, result from tidemill.job_run")}


async def ends(db: Database, job: int) -> list[tuple[str, str | None]]:
    rows = await db.fetch("select outcome, reason from tidemill.job_run where id = $1 order by finished_at", job)
    return [(row["outcome"], row["reason"]) for row in rows]


async def test_each_type_of_arguments_reaches_its_function_and_what_it_returns_is_the_result(
    database_url: str, db: Database
) -> None:
    app, order = application(database_url), uuid4()
    async with running(app):
        ids = [
            await app.enqueue(greet, Greeting("tide", times=2)),
            await app.enqueue(greet, {"name": "mill"}),
            await app.enqueue(ship, Order(order, ["a", "b"])),
            await app.enqueue(ship, {"id": order, "lines": []}),
            await app.enqueue(plot, {"x": 1, "y": 2}),
            await app.enqueue(post, Letter(to="x", copies=3)),
            await app.enqueue(post, {"to": "y"}),
            await app.enqueue(loose, {"when": datetime(2026, 1, 1, tzinfo=UTC), "deep": {"id": order}}),
            await app.enqueue(nothing),
            await app.enqueue("tests.engine.api_app.greet", {"name": "by name"}),
        ]
        await quiet(db)
    got = await results(db)
    assert [got[job] for job in ids] == [
        "hello hello tide",
        "hello mill",
        {"id": str(order), "lines": 2},
        {"id": str(order), "lines": 0},
        3,
        {"to": "x", "copies": 3},
        {"to": "y", "copies": 1},
        {"when": "2026-01-01T00:00:00Z", "deep": {"id": str(order)}},
        None,
        "hello by name",
    ]


async def test_a_declared_function_stays_the_function_that_it_is(database_url: str) -> None:
    app = Tidemill()

    @app.job(queue="mail")
    async def send(ctx: Any, args: dict[str, Any]) -> str:
        return args["to"]

    assert await send(None, {"to": "me"}) == "me"


async def test_outcomes_are_recorded_as_what_they_are(database_url: str, db: Database) -> None:
    app = Tidemill(Settings(database_url=database_url, env="test"))
    naps = 0

    @app.job
    async def end(ctx: Context, args: dict[str, Any]) -> Any:
        nonlocal naps
        match args["how"]:
            case "snooze" if not naps:
                naps += 1
                return Snooze(0.01)
            case "partial":
                return Partial("half", {"n": 1})
            case "skip":
                return Skip("nothing to do")
            case "cancel":
                return Cancel("no more")
            case "fail":
                return Fail("never")
            case _:
                return Done()

    async with running(app):
        ids = {how: await app.enqueue(end, {"how": how}) for how in ("snooze", "partial", "skip", "cancel", "fail")}
        await quiet(db)
    assert {how: await ends(db, job) for how, job in ids.items()} == {
        "snooze": [("done", None)],
        "partial": [("partial", "half")],
        "skip": [("skipped", "nothing to do")],
        "cancel": [("cancelled", "no more")],
        "fail": [("failed", "never")],
    }


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (_UNKNOWN, "result: cannot be stored as JSON"),
        ("a\0b", "result: holds a NUL"),
        (float("nan"), "result: holds a NaN"),
        (Partial("a\0b"), "reason: holds a NUL"),
        (Skip(ValueError("x")), "reason: needs to be text"),  # type: ignore[arg-type]
        (Snooze(timedelta(1)), "until: "),  # type: ignore[arg-type]
        (Snooze(datetime(2026, 1, 1)), "until: needs a time zone"),
        (Snooze(float("nan")), "until: "),
        ("x" * 1_100_000, "result: is 1100002 bytes"),
    ],
    ids=str,
)
async def test_a_result_that_cannot_be_stored_is_an_error_of_its_attempt_and_spoils_no_other(
    returned: Any, told: str, database_url: str, db: Database
) -> None:
    app = Tidemill(Settings(database_url=database_url, env="test"))

    @app.job(max_attempts=1)
    async def bad(ctx: Context) -> Any:
        return returned

    @app.job
    async def good(ctx: Context) -> None: ...

    async with running(app):
        bad_id, *good_ids = await app.enqueue_many([app.prepare(bad), *(app.prepare(good) for _ in range(5))])
        await quiet(db)
    assert [await ends(db, job or 0) for job in good_ids] == [[("done", None)]] * 5
    [(outcome, reason)] = await ends(db, bad_id or 0)
    assert outcome == "dead"
    assert told in (reason or "")


async def test_plain_functions_run_side_by_side_in_threads(database_url: str, db: Database) -> None:
    app = application(database_url)
    import threading

    together = threading.Barrier(3, timeout=PATIENCE)

    @app.job(max_attempts=1)
    def meet(ctx: Any) -> None:
        together.wait()

    async with running(app):
        jobs = await app.enqueue_many([app.prepare(meet) for _ in range(3)])
        one = await app.enqueue(thread, Work(7))
        await quiet(db)
    assert (await results(db))[one] == {"n": 7, "main": False, "job": one}
    assert [await ends(db, job or 0) for job in jobs] == [[("done", None)]] * 3


async def test_a_thread_that_outlives_its_timeout_writes_nothing_through_the_fence(
    database_url: str, db: Database
) -> None:
    import threading

    app = application(database_url)
    late, fences = threading.Event(), []

    @app.job(max_attempts=1, timeout=0.2)
    def slow(ctx: Any) -> None:
        fences.append(ctx.fence)
        late.wait(PATIENCE)

    async with running(app):
        job = await app.enqueue(slow)
        await quiet(db)
        with pytest.raises(Exception, match="lease"):
            await db.execute("select tidemill.fence($1, $2, $3)", *fences[0])
        late.set()
    assert await ends(db, job) == [("dead", "timed out after 0.2 s")]


async def test_a_function_that_exits_fails_its_attempt_and_not_the_worker(database_url: str, db: Database) -> None:
    app = application(database_url)
    async with running(app):
        job = await app.enqueue(thread_exit)
        await quiet(db)
    assert await ends(db, job) == [
        ("retry", "RuntimeError: the function raised SystemExit: 3"),
        ("dead", "RuntimeError: the function raised SystemExit: 3"),
    ]


async def test_cpu_work_runs_in_children_and_whatever_befalls_one_is_an_error_of_its_own_attempt(
    database_url: str, db: Database
) -> None:
    app = application(database_url)
    async with running(app):
        squares = await app.enqueue_many([app.prepare(square, Work(n)) for n in range(6)])
        crashed = await app.enqueue(crash, Work(1))
        refused = await app.enqueue(refuse)
        hung = await app.enqueue(hang)
        await quiet(db)
    got = await results(db)
    assert [got[job or 0]["n"] for job in squares] == [n**2 for n in range(6)]
    assert os.getpid() not in {got[job or 0]["pid"] for job in squares}
    died = "ChildDied: the child process ended with code -9 before it answered"
    assert await ends(db, crashed) == [("retry", died), ("done", None)]
    assert await ends(db, refused) == [("retry", "LookupError: nothing there"), ("dead", "LookupError: nothing there")]
    assert await ends(db, hung) == [("dead", "timed out after 1 s")]


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
        with pytest.raises(KeyHeld):
            await app.enqueue(greet, Greeting("x", times=1))
        await app.enqueue(greet, {"name": "x"}, key="another")
    rows = await db.fetch("select key, tenant from tidemill.job_ready order by id")
    assert rows[0]["key"] == "a1"
    assert rows[0]["tenant"] == tenant
    assert rows[2]["key"] == "another"


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
    app.schedule(greet, Greeting("cron"), cron="*/5 * * * *")
    app.schedule(nothing, cron="0 3 * * *", timezone="Asia/Taipei", name="nightly")
    async with running(app):
        await app.rooms.declare_schedules()
        await db.execute("update tidemill.schedule set next_at = tidemill.now() where name like '%greet'")
        await app.rooms.schedules.tick()
        await quiet(db)
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


async def test_a_worker_refuses_limits_that_it_cannot_hold_and_queues_that_nobody_uses(database_url: str) -> None:
    app = application(database_url)
    with pytest.raises(InvalidInput, match="queues: no job is declared in 'defualt'"):
        await app.run_worker(queues={"defualt": 3})
    for name, limit in (("one", {"concurrency": 2}), ("two", {"rate": "100/m"})):
        limited = Tidemill(app.settings)
        limited.job(name=name, **limit)(loose)
        with pytest.raises(ConfigurationError, match=f"job '{name}' declares concurrency or rate"):
            await limited.run_worker()


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
