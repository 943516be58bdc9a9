"""Answers that are lost: what Postgres did all the same is found, neither lost nor doubled nor told wrongly."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.support import history, quiet, until, working
from tests.postgres.proxy import Fault, Proxy, Where
from tidemill.engine import Backoff, Context, Done, Engine, Kind, NewJob, Outcome, Registry, Snooze
from tidemill.engine.finish import Ending, finish
from tidemill.postgres import Database, connect


async def _work(ctx: Context, args: dict[str, Any]) -> None:
    return None


async def test_a_job_whose_claim_was_committed_but_not_answered_is_run(db: Database) -> None:
    async def claim_waits() -> bool:
        return await db.fetchval(
            "select exists (select from pg_stat_activity where datname = current_database()"
            " and application_name in ('control', 'tidemill listener') and wait_event_type = 'Lock')"
        )

    kind = Kind("chaos.lost", _work)
    async with (
        Proxy(db.url) as proxy,
        await Database.open(proxy.url) as far,
        working(far, kind, lease_ttl=5.0) as (engine, worker),
    ):
        holder = await connect(db.url)
        await holder.execute("begin")
        async with db.transaction() as conn:
            job = await Engine(db, engine.registry).enqueue("chaos.lost", conn=conn)
            # The claim will wait for us in the middle of its work: somebody else is about to hold the job.
            await holder.execute(
                "insert into tidemill.job_lease"
                " (id, queue, rank, kind, max_attempts, enqueued_at, args, token, node, claimed_at)"
                " values ($1, 1, 0, 1, 1, now(), '{}', 0, 0, now())",
                job,
            )
        await until(claim_waits, what="a claim that waits")
        await proxy.refuse()
        await proxy.accept()
        holder.terminate()
        await quiet(db)
        assert await history(db) == [("chaos.lost", 1, "done", None)]
        assert await db.fetchval("select id from tidemill.job_run") == job
    assert worker.lost == 0


# What the statement of each says that no other does.
CLAIM, FINISH_DONE, COMMIT = "with recursive ahead", "delete from tidemill.job_lease l using unnest", "COMMIT;"
WAYS = [
    pytest.param("in the request", False, id="cut in the request"),
    pytest.param("before the answer", False, id="cut before the answer"),
    pytest.param("in the answer", False, id="cut in the answer"),
    pytest.param("before the answer", True, id="silent before the answer"),
]
ANSWER_S = 1.0


class Shop:
    """A kind that ends in one way at first, and is done the next time; it counts its calls."""

    def __init__(self, outcome: Outcome | Exception | None = None, calls: int = 1) -> None:
        self.calls = 0
        self._outcomes = [outcome] * calls
        self.kind = Kind("chaos.lost", self._work, backoff=Backoff(base=0.01))

    async def _work(self, ctx: Context, args: dict[str, Any]) -> Outcome | None:
        self.calls += 1
        outcome = self._outcomes.pop() if self._outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def _enqueued(db: Database, kind: Kind, jobs: int = 1) -> None:
    registry = Registry()
    registry.add(kind)
    await Engine(db, registry).enqueue_many([NewJob(kind=kind.name) for _ in range(jobs)])


@pytest.mark.parametrize(("where", "silent"), WAYS)
async def test_a_claim_that_is_cut_or_falls_silent_loses_no_job_and_runs_none_twice(
    db: Database, where: Where, silent: bool
) -> None:
    shop = Shop()
    await _enqueued(db, shop.kind, 5)
    async with Proxy(db.url) as proxy, await Database.open(proxy.url) as far:
        claim = proxy.at(where, CLAIM, silent=silent)
        async with working(far, shop.kind, answer=ANSWER_S) as (_, worker):
            await claim.happened.wait()
            await quiet(db)
        assert await history(db) == [("chaos.lost", 1, "done", None)] * 5
        assert (shop.calls, worker.lost) == (5, 0)


async def test_a_claim_that_a_slow_network_delivers_when_nobody_doubts_any_more_is_found(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.engine.claims.LOST_ANSWER_S", 0.0)
    monkeypatch.setattr("tidemill.engine.claims.RECOUNT_S", 0.5)
    shop = Shop()
    await _enqueued(db, shop.kind)
    async with Proxy(db.url) as proxy, await Database.open(proxy.url) as far:
        claim = proxy.at("before the answer", CLAIM)
        async with working(far, shop.kind, answer=ANSWER_S) as (_, worker):
            await claim.happened.wait()
            await quiet(db)
        assert (shop.calls, worker.lost) == (1, 0)


ENDINGS = [
    pytest.param(None, FINISH_DONE, ["done"], id="plain"),
    pytest.param(Done({"n": 1}), COMMIT, ["done"], id="with a result"),
    pytest.param(ValueError("at first"), COMMIT, ["retry", "done"], id="retry"),
    pytest.param(Snooze(0.2), COMMIT, ["done"], id="snooze"),
]


@pytest.mark.parametrize(("outcome", "statement", "ends"), ENDINGS)
@pytest.mark.parametrize(("where", "silent"), [way for way in WAYS if way.id != "cut in the answer"])
async def test_an_ending_that_is_cut_or_falls_silent_is_written_once_and_not_told_lost(
    db: Database,
    where: Where,
    silent: bool,
    outcome: Outcome | Exception | None,
    statement: str,
    ends: list[str],
) -> None:
    shop = Shop(outcome)
    async with (
        Proxy(db.url) as proxy,
        await Database.open(proxy.url) as far,
        working(far, shop.kind, answer=ANSWER_S) as (_, worker),
    ):
        finish = proxy.at(where, statement, silent=silent)
        await _enqueued(db, shop.kind)
        await finish.happened.wait()
        await quiet(db)
    # The worker has stopped: it has learned what became of all that it sent.
    assert [end for _, _, end, _ in await history(db)] == ends
    assert (shop.calls, worker.lost) == (1 + isinstance(outcome, (Snooze, Exception)), 0)


async def test_endings_whose_second_flush_is_lost_like_the_first_are_written_once_and_not_told_lost(
    db: Database,
) -> None:
    shop = Shop()
    async with (
        Proxy(db.url) as proxy,
        await Database.open(proxy.url) as far,
        working(far, shop.kind) as (_, worker),
    ):
        flushes = [proxy.at(where, FINISH_DONE) for where in ("before the answer", "in the request", "in the answer")]
        await _enqueued(db, shop.kind, 20)
        for flush in flushes:
            await flush.happened.wait()
        await quiet(db)
    assert await history(db) == [("chaos.lost", 1, "done", None)] * 20
    assert (shop.calls, worker.lost) == (20, 0)


@pytest.mark.parametrize(
    ("outcome", "statement"),
    [pytest.param(None, FINISH_DONE, id="plain"), pytest.param(Snooze(0.2), COMMIT, id="snooze")],
)
async def test_an_ending_that_came_too_late_is_told_lost_though_its_first_answer_was_lost(
    db: Database, outcome: Outcome | None, statement: str
) -> None:
    async def robbed(ctx: Context, args: dict[str, Any]) -> Outcome | None:
        if ctx.job.crashes:
            return None
        async with db.transaction() as conn:  # as rescue does it
            await finish(conn, [Ending(ctx.job, "crashed", reason="taken")])
        lost.append(proxy.at("before the answer", statement))
        return outcome

    async def is_told() -> bool:
        return worker.lost == 1

    lost: list[Fault] = []
    kind = Kind("chaos.lost", robbed)
    async with (
        Proxy(db.url) as proxy,
        await Database.open(proxy.url) as far,
        working(far, kind) as (_, worker),
    ):
        await _enqueued(db, kind)
        await quiet(db)
        assert lost[0].happened.is_set()
        assert [end for _, _, end, _ in await history(db)] == ["crashed", "done"]
        await until(is_told, what="a word of the lost lease")
