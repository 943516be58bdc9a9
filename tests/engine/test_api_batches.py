"""Batches with a callback, and jobs after jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidemill import BatchSummary, Context, Done, InvalidInput, KeyHeld, Settings, Skip, Tidemill
from tidemill.postgres import Database

from .api_app import SOON, Report
from .api_running import running
from .support import quiet, until


class Mill:
    """An application whose jobs write down what they did."""

    def __init__(self, database_url: str) -> None:
        self.app = Tidemill(Settings(database_url=database_url, env="test"))
        self.seen: list[Any] = []
        self.step = self.app.job(name="step", backoff=SOON, max_attempts=2)(self._step())
        self.report = self.app.job(name="report", queue="reports", priority=7)(self._report())

    def _step(self) -> Any:
        async def step(ctx: Context, args: dict[str, Any]) -> Done | Skip:
            self.seen.append(args["n"])
            if args.get("how") == "raise":
                raise ValueError("no")
            return Skip("nothing") if args.get("how") == "skip" else Done()

        return step

    def _report(self) -> Any:
        async def report(ctx: Context, args: Report) -> None:
            self.seen.append(args)

        return report


async def chain_ends(db: Database) -> list[tuple[str, str | None]]:
    rows = await db.fetch(
        "select outcome, reason from tidemill.job_run r join tidemill.kind k on k.id = r.kind"
        " where k.name = 'tidemill.batch' and outcome <> 'retry' order by finished_at"
    )
    return [(row["outcome"], row["reason"]) for row in rows]


async def test_a_batchs_callback_runs_once_after_all_and_knows_how_they_ended(database_url: str, db: Database) -> None:
    mill = Mill(database_url)
    async with running(mill.app):
        async with mill.app.batch(on_done=mill.report, args={"title": "all"}) as batch:
            for n, how in enumerate(["done", "done", "skip", "raise"]):
                batch.add(mill.step, {"n": n, "how": how})
        await quiet(db)
    assert len(set(batch.ids)) == 4
    assert sorted(mill.seen[:-1]) == [0, 1, 2, 3, 3]
    counts = {"done": 2, "skipped": 1, "dead": 1}
    assert mill.seen[-1] == Report("all", BatchSummary(total=4, finished=4, counts=counts, reason="drained"))
    assert await db.fetchval("select state from tidemill.batch") == "closed"


async def test_a_callback_keeps_the_rules_of_its_kind(database_url: str, db: Database) -> None:
    mill = Mill(database_url)
    async with running(mill.app, queues={"default": 5}):
        async with mill.app.batch(on_done=mill.report, args={"title": "none"}):
            pass

        async def waiting() -> Any:
            return await db.fetchrow(
                "select q.name, r.priority, r.max_attempts from tidemill.job_ready r"
                " join tidemill.queue q on q.id = r.queue where q.name = 'reports'"
            )

        row = await until(waiting, what="the callback of an empty batch")
    assert tuple(row) == ("reports", 7, 20)


async def test_a_batch_whose_block_raises_enqueues_nothing(database_url: str, db: Database) -> None:
    mill = Mill(database_url)
    async with mill.app:
        with pytest.raises(ZeroDivisionError):
            async with mill.app.batch(on_done=mill.report, args={"title": "t"}) as batch:
                batch.add(mill.step, {"n": 1})
                raise ZeroDivisionError
        with pytest.raises(InvalidInput, match=r"args\.title"):
            async with mill.app.batch(on_done=mill.report) as batch:
                batch.add(mill.step, {"n": 1})
        with pytest.raises(InvalidInput, match="deadline"):
            async with mill.app.batch(deadline=datetime(2026, 1, 1)) as batch:
                batch.add(mill.step, {"n": 1})
        with pytest.raises(ZeroDivisionError):
            async with db.transaction() as conn:
                async with mill.app.batch(conn=conn) as batch:
                    batch.add(mill.step, {"n": 1})
                raise ZeroDivisionError
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 0
    assert await db.fetchval("select count(*) from tidemill.batch") == 0


async def test_a_batch_past_its_deadline_is_closed_with_what_it_has(database_url: str, db: Database) -> None:
    mill = Mill(database_url)
    async with running(mill.app):
        async with mill.app.batch(
            on_done=mill.report, args={"title": "late"}, deadline=datetime.now(UTC) + timedelta(seconds=0.3)
        ) as batch:
            batch.add(mill.step, {"n": 1}, delay=timedelta(hours=1))
        await quiet(db)
    assert mill.seen == [Report("late", BatchSummary(1, 1, {"skipped": 1}, "deadline"))]


async def test_a_chain_runs_its_steps_in_order_and_a_step_of_several_as_one(database_url: str, db: Database) -> None:
    mill = Mill(database_url)
    app = mill.app

    def step(n: int) -> Any:
        return app.prepare(mill.step, {"n": n})

    async with running(app):
        ids = await app.chain(step(1), [step(2), step(3)], step(4), app.prepare(mill.report, {"title": "end"}))
        await quiet(db)
    assert len(ids) == 1
    assert mill.seen[0] == 1
    assert sorted(mill.seen[1:3]) == [2, 3]
    assert mill.seen[3] == 4
    assert mill.seen[4] == Report("end", BatchSummary(1, 1, {"done": 1}, "drained"))
    assert len(mill.seen) == 5


@pytest.mark.parametrize("how", ["raise", "skip"])
async def test_a_chain_ends_with_the_step_that_is_not_done(how: str, database_url: str, db: Database) -> None:
    mill = Mill(database_url)
    app = mill.app
    async with running(app):
        await app.chain(
            app.prepare(mill.step, {"n": 1}),
            app.prepare(mill.step, {"n": 2, "how": how}),
            app.prepare(mill.step, {"n": 3}),
            app.prepare(mill.step, {"n": 4}),
        )
        await quiet(db)
    assert set(mill.seen) == {1, 2}
    assert await chain_ends(db) == [("done", None), ("cancelled", "2 more steps are not begun")]


async def test_a_step_whose_key_is_held_is_waited_for(database_url: str, db: Database) -> None:
    mill = Mill(database_url)
    app = mill.app
    async with running(app):
        blocking = await app.enqueue(mill.step, {"n": 0}, key="k", delay=timedelta(hours=1))
        await app.chain(app.prepare(mill.step, {"n": 1}), app.prepare(mill.step, {"n": 2}, key="k"))

        async def refused() -> Any:
            return await db.fetchval("select reason from tidemill.job_run where outcome = 'retry' limit 1")

        assert "KeyHeld" in await until(refused, what="a first try")
        assert mill.seen == [1]
        await db.execute("update tidemill.job_delayed set run_at = tidemill.now() where id = $1", blocking)
        await quiet(db)
    assert mill.seen == [1, 0, 2]


async def test_a_chain_is_checked_to_its_end_before_it_begins(database_url: str, db: Database) -> None:
    mill = Mill(database_url)
    app = mill.app
    async with app:
        first = app.prepare(mill.step, {"n": 1})
        with pytest.raises(InvalidInput, match=r"args\.title"):
            await app.chain(first, app.prepare(mill.report, {"title": 3}))
        for steps in ((), (first, [])):
            with pytest.raises(InvalidInput, match="steps"):
                await app.chain(*steps)
        await app.enqueue(mill.step, {"n": 1}, key="k")
        with pytest.raises(KeyHeld):
            await app.chain(app.prepare(mill.step, {"n": 1}, key="k"), first)
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 1
    assert await db.fetchval("select count(*) from tidemill.batch") == 0
