"""What running jobs say of how far they have got, and who sees it for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill import InvalidInput, Settings, Tidemill
from tidemill.engine import Context, Engine, Kind, Registry
from tidemill.engine.job import Job
from tidemill.engine.look import find_job, list_jobs
from tidemill.engine.progress import EVERY_S, Progress, Report, Said
from tidemill.engine.rescue import rescue_orphans
from tidemill.postgres import Database

from .api_app import SOON, Work, count
from .api_running import running
from .support import PATIENCE, quiet, until, working
from .test_trace import claimed as claim


class Held:
    """A kind whose job says something, then waits to be let go."""

    def __init__(self, say: Callable[[Context], Awaitable[None]]) -> None:
        self._say = say
        self.go = asyncio.Event()
        self.kind = Kind("held", self.run, max_attempts=2, backoff=SOON)

    async def run(self, ctx: Context, args: dict[str, Any]) -> None:
        await self._say(ctx)
        async with asyncio.timeout(PATIENCE):
            await self.go.wait()


async def rows(db: Database) -> list[tuple[int, int | None, str | None]]:
    found = await db.fetch("select done, total, note from tidemill.job_progress order by job")
    return [tuple(row) for row in found]


async def said(db: Database, done: int) -> bool:
    return done in [row[0] for row in await rows(db)]


async def claimed(db: Database) -> tuple[Engine, Job]:
    """A job that is held, without its handler."""

    async def nothing(ctx: Context, args: dict[str, Any]) -> None: ...

    engine = Engine(db, Registry([Kind("k", nothing)]))
    await engine.enqueue("k")
    [job] = await claim(engine)
    return engine, job


async def test_what_a_running_job_says_is_seen_and_gone_with_its_end(db: Database) -> None:
    async def say(ctx: Context) -> None:
        await ctx.progress(3, 10, "fetched https://x.example/?token=hush")

    held = Held(say)
    async with working(db, held.kind) as (engine, _):
        job = await engine.enqueue("held")
        await until(lambda: said(db, 3), what="progress")
        [line] = (await list_jobs(db, "running")).jobs
        view = await find_job(db, job)
        assert view is not None
        assert view.progress == line.progress
        assert line.progress is not None
        assert (line.progress.done, line.progress.total) == (3, 10)
        assert line.progress.note is not None
        assert line.progress.note.startswith("fetched")
        assert "hush" not in line.progress.note
        held.go.set()
        await quiet(db)
        ended = await find_job(db, job)
        assert ended is not None
        assert ended.progress is None

        async def gone() -> bool:
            return not await rows(db)

        await until(gone, what="no progress")


async def test_a_worker_that_stops_leaves_no_progress_behind(db: Database) -> None:
    async def say(ctx: Context) -> None:
        await ctx.progress(1)

    async with working(db, Held(say).kind, grace=0.1) as (engine, _):
        await engine.enqueue("held")
        await until(lambda: said(db, 1), what="progress")
    assert await rows(db) == []


async def test_however_often_a_job_says_it_the_latest_is_written_once_a_second(db: Database) -> None:
    await db.execute(
        "create table writes (at timestamptz default clock_timestamp());"
        "create function count_write() returns trigger language plpgsql as"
        " $$ begin insert into writes default values; return null; end $$;"
        "create trigger count_write after insert or update on tidemill.job_progress"
        " for each row execute function count_write()"
    )

    async def say(ctx: Context) -> None:
        for i in range(5001):
            await ctx.progress(i, 5000)
            if i % 100 == 0:
                await asyncio.sleep(0)

    held = Held(say)
    async with working(db, held.kind) as (engine, _):
        await engine.enqueue("held")
        await until(lambda: said(db, 5000), what="the last word")
        took = await db.fetchval(
            "select extract(epoch from clock_timestamp() - min(claimed_at))::float8 from tidemill.job_lease"
        )
        held.go.set()
        await quiet(db)
    writes = await db.fetchval("select count(*) from writes")
    assert 1 <= writes <= took / EVERY_S + 2


async def test_what_does_not_change_is_not_written_again(db: Database) -> None:
    engine, job = await claimed(db)
    report = Report(engine.progress, job)
    report.say(Said(1))
    await until(lambda: said(db, 1), what="progress")
    await db.execute("update tidemill.job_progress set done = 77")
    report.say(Said(1))
    await engine.progress.settle()
    assert await rows(db) == [(77, None, None)]
    report.say(Said(2))
    await engine.progress.settle()
    assert await rows(db) == [(2, None, None)]


@pytest.mark.parametrize(
    "loss",
    [
        "update tidemill.job_lease set token = token + 1",
        "update tidemill.job_lease set node = node + 1",
        "delete from tidemill.job_lease",
        "update tidemill.node set expires_at = clock_timestamp() - interval '1 second'",
        "delete from tidemill.node",
    ],
    ids=["other token", "other node", "ended", "node expired", "node forgotten"],
)
async def test_a_lost_lease_writes_nothing(db: Database, loss: str) -> None:
    engine, job = await claimed(db)
    await db.execute(loss)
    Report(engine.progress, job).say(Said(1))
    await asyncio.sleep(0)
    await engine.progress.settle()
    assert await rows(db) == []


async def test_what_an_attempt_said_that_was_lost_is_not_taken_for_the_next_ones(db: Database) -> None:
    engine, job = await claimed(db)
    Report(engine.progress, job).say(Said(9))
    await until(lambda: said(db, 9), what="progress")
    await db.execute("update tidemill.node set expires_at = clock_timestamp() - interval '1 second'")
    await rescue_orphans(engine, db)
    [again] = await claim(engine)
    [line] = (await list_jobs(db, "running")).jobs
    assert line.progress is None
    mine = Report(engine.progress, again)
    mine.say(Said(1))
    await until(lambda: said(db, 1), what="the new attempt's progress")
    # The end of the lost attempt takes nothing from the new one.
    lost = Progress(db)
    report = Report(lost, job)
    report.written = Said(9)
    lost.end(report)
    await lost.settle()
    assert await said(db, 1)


async def test_the_next_attempt_may_speak_before_the_last_ones_words_are_removed(db: Database) -> None:
    async def say(ctx: Context) -> None:
        await ctx.progress(ctx.job.attempt)
        await ctx.engine.progress.settle()
        if ctx.job.attempt == 1:
            raise ValueError("once more")

    held = Held(say)
    async with working(db, held.kind) as (engine, _):
        job = await engine.enqueue("held")
        await until(lambda: said(db, 2), what="the second attempt's progress")
        await engine.progress.settle()
        view = await find_job(db, job)
        assert view is not None
        assert view.progress is not None
        held.go.set()
        await quiet(db)


async def test_a_job_that_is_being_ended_is_not_waited_for(db: Database) -> None:
    engine, job = await claimed(db)
    async with db.transaction() as finishing, asyncio.timeout(PATIENCE):
        await finishing.execute("delete from tidemill.job_lease")
        Report(engine.progress, job).say(Said(1))
        await asyncio.sleep(0)
        await engine.progress.settle()
    assert await rows(db) == []


@pytest.mark.parametrize("processes", [False, True], ids=["thread", "process"])
async def test_plain_functions_say_it_too(
    processes: bool, database_url: str, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = tmp_path / "counted"
    monkeypatch.setenv("COUNTED", str(counted))
    app = Tidemill(Settings(database_url=database_url, env="test"))
    app.job(name="count", processes=processes, timeout=PATIENCE)(count)
    async with running(app):
        await app.enqueue(count, Work(20_000))
        await until(lambda: said(db, 20_000), what="the last word")
        assert await rows(db) == [(20_000, 20_000, "counting")]
        counted.touch()
        await quiet(db)
    assert await db.fetchval("select result from tidemill.job_run") == 20_000
    assert await rows(db) == []


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("done", (-1,)),
        ("done", (1.5,)),
        ("done", (True,)),
        ("done", ("1",)),
        ("done", (2**63,)),
        ("total", (1, -1)),
        ("total", (1, float("nan"))),
        ("note", (1, 2, "x" * 501)),
        ("note", (1, 2, "a\0b")),
        ("note", (1, 2, "\ud800")),
        ("note", (1, 2, 7)),
    ],
    ids=str,
)
def test_what_cannot_be_stored_is_refused_by_name(field: str, given: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidInput) as caught:
        Said.checked(*given, *(None,) * (3 - len(given)))
    assert caught.value.field == field


async def test_the_largest_that_can_be_said_can_be_stored(db: Database) -> None:
    engine, job = await claimed(db)
    Report(engine.progress, job).say(Said.checked(2**63 - 1, 2**63 - 1, "x" * 500))
    await until(lambda: said(db, 2**63 - 1), what="progress")
