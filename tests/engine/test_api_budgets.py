"""Jobs that spend budgets: declared on the application, spent by any function, put off without an attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tidemill import BudgetSpent, ConfigurationError, Context, InvalidInput, Settings, Tidemill
from tidemill.engine.budgets import list_budgets
from tidemill.postgres import Database
from tidemill.testing import Harness

from .api_running import results, running
from .budget_app import catches, in_loop, plain
from .support import history, quiet, until


def application(database_url: str) -> Tidemill:
    app = Tidemill(Settings(database_url=database_url, env="test"))
    app.budget("api:*", "1/h")
    app.budget("paused:*")
    return app


DELAYED = "select attempt, run_at - tidemill.now() as wait from tidemill.job_delayed"


@pytest.mark.parametrize("flavour", ["loop", "thread", "process"])
async def test_a_job_whose_budget_is_spent_is_put_off_and_spends_no_attempt(
    database_url: str, db: Database, flavour: str
) -> None:
    app = application(database_url)
    job: Any = app.job(max_attempts=1, processes=flavour == "process")(in_loop if flavour == "loop" else plain)
    args = None if flavour == "loop" else {"scope": f"api:{flavour}"}
    async with running(app):
        ids = await app.enqueue_many([app.prepare(job, args) for _ in range(2)])
        await until(lambda: db.fetchval("select count(*) = 1 from tidemill.job_run where outcome = 'done'"), what="one")
        row: Any = await until(lambda: db.fetchrow(DELAYED), what="the other to be put off")
        assert row["attempt"] == 0
        assert timedelta(minutes=55) < row["wait"] < timedelta(minutes=75)
        await db.fetchval("select tidemill.advance_clock('80 minutes')")
        await quiet(db)
    assert set((await results(db)).values()) == {"called"}
    assert [(attempt, outcome) for _, attempt, outcome, _ in await history(db)] == [(1, "done")] * 2
    assert None not in ids


@pytest.mark.parametrize("flavour", ["thread", "process"])
async def test_a_plain_function_pauses_a_scope_and_hears_why_it_may_not_call(
    database_url: str, db: Database, flavour: str
) -> None:
    app = application(database_url)
    app.job(processes=flavour == "process")(catches)
    async with running(app):
        job = await app.enqueue(catches, {"scope": "paused:shop"})
        await quiet(db)
    assert (await results(db))[job] == "paused:shop: paused: 429 Too Many Requests"


async def test_a_pause_puts_off_every_job_that_would_call(database_url: str, db: Database) -> None:
    app = application(database_url)

    @app.job
    async def call(ctx: Context, args: dict[str, Any]) -> None:
        if args["n"] == 0:
            await ctx.block("paused:shop", timedelta(minutes=10), "asked to wait")
        await ctx.spend("paused:shop")

    async with running(app):
        await app.enqueue(call, {"n": 0})
        await until(lambda: db.fetchrow(DELAYED), what="it to be put off")
        await app.enqueue_many([app.prepare(call, {"n": n}) for n in range(1, 4)])
        await until(lambda: db.fetchval("select count(*) = 4 from tidemill.job_delayed"), what="the others")
        assert await db.fetchval("select max(attempt) from tidemill.job_delayed") == 0


async def test_a_scope_that_nobody_declared_fails_the_job_and_names_it(database_url: str, db: Database) -> None:
    app = application(database_url)

    @app.job(max_attempts=1)
    async def call(ctx: Context, args: dict[str, Any]) -> None:
        await (ctx.block(args["scope"], timedelta(1), "x") if args["block"] else ctx.spend(args["scope"]))

    async with running(app):
        await app.enqueue_many([app.prepare(call, {"scope": "strype", "block": block}) for block in (True, False)])
        await quiet(db)
    for _, _, outcome, reason in await history(db):
        assert outcome == "dead"
        assert "scope: no budget is declared for 'strype'; declare it with app.budget" in (reason or "")
    assert {line.scope for line in await list_budgets(db)} == {"api:*", "paused:*"}


async def test_a_users_test_runs_put_off_jobs_by_moving_its_clock(database_url: str) -> None:
    app = application(database_url)
    app.job(in_loop)
    async with Harness(app, database_url) as harness:
        for _ in range(3):
            await app.enqueue(in_loop)
        drained = await harness.drain()
        assert drained.counts == {"done": 1, "snooze": 2}
        [error, _] = [attempt.error for attempt in drained.attempts if attempt.outcome == "snooze"]
        assert isinstance(error, BudgetSpent)
        drained = await harness.drain(with_delayed=True, most=20)
        assert drained.counts["done"] == 2


def test_a_budget_is_declared_once_and_before_the_application_is_opened() -> None:
    app = Tidemill()
    app.budget("api", "5/s")
    with pytest.raises(ConfigurationError, match="budget 'api' is declared twice"):
        app.budget("api")
    for scope, rate, told in [("a*", "5/s", "scope: 'a\\*'"), ("b", "fast", "rate: 'fast' is not like")]:
        with pytest.raises(InvalidInput, match=told):
            app.budget(scope, rate)


async def test_an_open_application_declares_no_more(database_url: str) -> None:
    app = application(database_url)
    async with app:
        with pytest.raises(ConfigurationError, match="before the application is opened"):
            app.budget("late", "5/s")
