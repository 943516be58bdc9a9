"""Functions of an application, run as coroutines, in threads and in child processes."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tidemill import Tidemill
from tidemill.postgres import Database

from .api_app import (
    Greeting,
    Letter,
    Order,
    Work,
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
from .api_running import application, ends, results, running
from .support import PATIENCE, quiet


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
