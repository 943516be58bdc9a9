"""The life of a run: begun under the connector's lease, ended once, with what it means for its job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.sync.support import PATIENCE, until
from tidemill.connectors import ErrorKind, ProviderError
from tidemill.engine import Backoff, Cancel, Done, Fail, Partial, Skip, Snooze
from tidemill.postgres import Database
from tidemill.sync.jobs import Run, handler, service
from tidemill.vault import Aad

from .support import NOON, QUARTERS, Scripted, World, nothing, world

QUARTER = timedelta(minutes=15)


@asynccontextmanager
async def at_work(db: Database, does: Callable[[Run], Awaitable[Any]] = nothing, **settings: Any) -> Any:
    """A world at noon with a worker."""
    async with world(db, Scripted(does), **settings) as w:
        await w.clock(NOON)
        async with w.working():
            yield w


async def asked(w: World, **columns: Any) -> UUID:
    """A job by hand that was asked to run."""
    job = await w.job({}, **columns)
    await w.control(job, "run")
    return job


async def test_a_completed_run_tells_its_figures_and_its_job_of_it(db: Database) -> None:
    async def work(run: Run) -> Any:
        run.actions.append({"finding": "sand", "action": "dug"})
        assert (run.provider, run.trigger, run.attempt, run.payload) == ("sea", "operator", 1, {"a": 1})
        assert await run.read.now() >= NOON
        return Done({"records": 5})

    async with at_work(db, work) as w:
        job = await asked(w, payload={"a": 1})
        [run] = await w.ended(job)
        row = await w.row(job)
        synced = await w.db.fetchval("select last_synced_at from public.integration_connectors")
    assert (run["status"], run["metrics"], run["attempt"]) == ("completed", {"records": 5}, 1)
    assert run["applied_actions"] == [{"finding": "sand", "action": "dug"}]
    assert NOON <= run["started_at"] <= run["finished_at"] <= NOON + timedelta(minutes=1)
    assert (row["status"], row["last_run_status"], row["last_run_at"]) == ("idle", "completed", run["started_at"])
    assert (row["failures"], row["last_error"]) == (0, None)
    assert synced == run["finished_at"]


@pytest.mark.parametrize(
    ("outcome", "status", "reason", "error", "failures"),
    [
        (Partial("no_rows", {"n": 1}), "partial", "no_rows", None, 0),
        (Skip("nothing_new", {"n": 1}), "skipped", "nothing_new", None, 3),
        (Cancel("enough", {"n": 1}), "partial", "enough", None, 3),
        (Fail("token_invalid", {"error": "no", "n": 1}), "failed", "token_invalid", "no", 4),
        (Fail("token_invalid", {"n": 1}), "failed", "token_invalid", "token_invalid", 4),
    ],
)
async def test_each_outcome_ends_the_run_as_what_it_is(
    db: Database, outcome: Any, status: str, reason: str, error: str | None, failures: int
) -> None:
    async def work(run: Run) -> Any:
        return outcome

    async with at_work(db, work) as w:
        job = await w.job({}, failures=3, last_error="before")
        await w.control(job, "run")
        [run] = await w.ended(job)
        row = await w.row(job)
    assert (run["status"], run["reason"], run["error_detail"], run["metrics"]) == (status, reason, error, {"n": 1})
    assert (row["last_run_status"], row["failures"]) == (status, failures)
    assert row["last_error"] == (error if status == "failed" else None if failures == 0 else "before")


async def test_a_job_type_gets_the_newest_secrets_and_none_is_told_of_in_an_error(db: Database) -> None:
    async def work(run: Run) -> Any:
        told = run.read.token.reveal()
        raise ValueError(f"the provider said: {told} is no token")

    async with at_work(db, work) as w:
        job = await w.job({})
        row = await w.row(job)
        aad = Aad(str(row["company_id"]), "connector_credentials", str(row["connector_id"]), "secret")
        for version, text in ((1, "oldest-of-tokens"), (2, "newest-of-tokens")):
            await w.db.execute(
                "insert into public.connector_credentials"
                " (company_id, connector_id, version, secret_ciphertext, checksum) values ($1, $2, $3, $4, '')",
                row["company_id"],
                row["connector_id"],
                version,
                w.vault.seal(f'{{"token": "{text}"}}', aad).encode(),
            )
        await w.control(job, "run")

        async def noted() -> str | None:
            return (await w.runs(job))[0]["error_detail"]

        error = await until(noted, "the error")
        assert "[redacted] is no token" in error
        stored = await w.db.fetch("select reason from tidemill.job_run")
        assert "newest-of-tokens" not in str([*stored, *await w.runs(job), error])


async def test_an_attempt_that_committed_something_goes_on_at_once_and_spends_none(db: Database) -> None:
    async def work(run: Run) -> Any:
        async with run.transaction() as conn:
            await conn.execute("select 1")
        if run.attempt < 3:
            raise ConnectionError("the line broke")
        return Done({"attempts": run.attempt})

    async with at_work(db, work) as w:
        job = await asked(w)
        [run] = await w.ended(job)
        spent = await until(lambda: w.db.fetch("select attempt, outcome from tidemill.job_run"), "the job's end")
    assert (run["status"], run["attempt"], run["metrics"], run["error_detail"]) == (
        "completed",
        3,
        {"attempts": 3},
        None,
    )
    assert [tuple(row) for row in spent] == [(1, "done")]


async def test_attempts_that_only_ever_fail_after_progress_end_too(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "MOST_CONTINUATIONS", 3)
    monkeypatch.setattr(service, "MOST_ATTEMPTS", 1)

    async def work(run: Run) -> Any:
        async with run.transaction():
            pass
        raise ConnectionError("the line broke")

    async with at_work(db, work) as w:
        [run] = await w.ended(await asked(w))
    assert (run["status"], run["reason"], run["attempt"]) == ("failed", "error", 4)


async def test_an_attempt_that_committed_nothing_backs_off_and_counts_until_the_run_has_failed(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_ATTEMPTS", 2)
    monkeypatch.setattr(service, "Backoff", lambda **_: Backoff(base=0.01, cap=0.01))

    async def work(run: Run) -> Any:
        raise ProviderError(ErrorKind.TRANSIENT, "no answer")

    async with at_work(db, work) as w:
        job = await asked(w)
        [run] = await w.ended(job)
        row = await w.row(job)
        await until(lambda: w.db.fetch("select from tidemill.job_dead"), "the job's end")
        spent = await w.db.fetch("select attempt, outcome from tidemill.job_run order by attempt")
    assert (run["status"], run["reason"], run["attempt"]) == ("failed", "error", 2)
    assert run["error_detail"] == "ProviderError: transient: no answer"
    assert [tuple(row) for row in spent] == [(1, "retry"), (2, "dead")]
    assert (row["status"], row["failures"], row["last_error"]) == ("idle", 1, run["error_detail"])


async def test_a_snooze_puts_a_run_off_and_leaves_it_running(db: Database) -> None:
    async def work(run: Run) -> Any:
        return Snooze(0.0, "rate limited") if run.attempt == 1 else Done()

    async with at_work(db, work) as w:
        [run] = await w.ended(await asked(w))
    assert (run["status"], run["attempt"]) == ("completed", 2)


@pytest.mark.parametrize(
    ("spoil", "status", "reason"),
    [
        ("update public.integration_connectors set status = 'inactive'", "skipped", "connector_inactive"),
        ("update public.companies set status = 'suspended'", "skipped", "company_suspended"),
        ("update public.integration_connectors set provider = 'moon'", "failed", "unknown_provider"),
        ("update public.sync_run_logs set payload = '{\"bad\": 1}'", "failed", "bad_payload"),
        (
            "insert into public.connector_credentials (company_id, connector_id, version, secret_ciphertext, checksum)"
            " select company_id, id, 1, 'nonsense', '' from public.integration_connectors",
            "failed",
            "credentials_unreadable",
        ),
    ],
)
async def test_a_run_that_may_not_or_cannot_begin_says_why(w: World, spoil: str, status: str, reason: str) -> None:
    job = await asked(w)
    await w.tick()
    await w.db.execute(spoil)
    async with w.working():
        [run] = await w.ended(job)
    assert (run["status"], run["reason"]) == (status, reason)
    assert w.type.ran == []
    assert (run["error_detail"] is not None) == (status == "failed")


async def test_runs_of_one_connector_come_one_after_another(db: Database) -> None:
    side_by_side = most = 0

    async def work(run: Run) -> Any:
        nonlocal side_by_side, most
        side_by_side += 1
        most = max(most, side_by_side)
        await asyncio.sleep(0.02)
        async with run.transaction():
            pass
        side_by_side -= 1
        if run.attempt == 1:
            raise ConnectionError  # between attempts it still has the connector
        return Done()

    async with at_work(db, work) as w:
        connector = await w.connector(await w.company())
        jobs = [await asked(w, connector=connector) for _ in range(6)]
        for job in jobs:
            [run] = await w.ended(job)
            assert run["status"] == "completed"
    assert most == 1


async def test_a_pause_while_it_runs_loses_neither_the_run_nor_the_pause(db: Database) -> None:
    go = asyncio.Event()

    async def hold(run: Run) -> Any:
        await go.wait()
        return Done()

    async with at_work(db, hold) as w:
        job = await w.job()
        await w.control(job, "run")
        await until(lambda: status_is(w, job, "running"), "the run")
        assert (await w.control(job, "pause"))["status"] == "running"
        go.set()
        [run] = await w.ended(job)
        assert run["status"] == "completed"
        assert (await w.row(job))["status"] == "paused"


async def status_is(w: World, job: UUID, status: str) -> bool:
    return (await w.row(job))["status"] == status


async def test_cancelling_ends_what_runs_partial_and_what_waits_skipped(db: Database) -> None:
    async def hold(run: Run) -> Any:
        await asyncio.sleep(PATIENCE * 10)

    async with at_work(db, hold) as w:
        connector = await w.connector(await w.company())
        running, waiting = await asked(w, connector=connector), await w.job({}, connector=connector)
        await until(lambda: status_is(w, running, "running"), "the run")
        await w.control(waiting, "run")
        await until(lambda: taken_up(w, waiting), "the other run's job")
        for job in (waiting, running):
            await w.control(job, "cancel")
        [ran], [waited] = await w.ended(running), await w.ended(waiting)
        rows = [await w.row(job) for job in (running, waiting)]
    assert (ran["status"], ran["reason"]) == ("partial", "cancelled")
    assert (waited["status"], waited["reason"]) == ("skipped", "cancelled")
    assert [(row["status"], row["failures"]) for row in rows] == [("idle", 0)] * 2


async def taken_up(w: World, job: UUID) -> bool:
    return (await w.runs(job))[0]["engine_job"] is not None


@pytest.mark.parametrize("what", ["sync_jobs", "companies"])
async def test_what_is_deleted_while_it_runs_ends_quietly(db: Database, what: str) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def hold(run: Run) -> Any:
        reached.set()
        await go.wait()
        async with run.transaction() as conn:
            await conn.execute("select 1 / 0")  # never reached: there is no run to write for
        return Done()

    async with at_work(db, hold) as w:
        await asked(w)
        async with asyncio.timeout(PATIENCE):
            await reached.wait()
        await w.db.execute(f"delete from public.{what}")
        go.set()

        async def over() -> Any:
            return await w.db.fetch("select outcome, reason from tidemill.job_run")

        assert [tuple(row) for row in await until(over, "the job's end")] == [("skipped", "gone")]
        assert await w.db.fetchval("select count(*) from public.sync_run_logs") == 0


async def test_what_is_deleted_while_it_waits_ends_quietly(w: World) -> None:
    await asked(w)
    await w.tick()
    await w.db.execute("delete from public.sync_jobs")
    async with w.working():

        async def over() -> Any:
            return await w.db.fetch("select outcome, reason from tidemill.job_run")

        assert [tuple(row) for row in await until(over, "the job's end")] == [("skipped", "gone")]


async def test_failures_in_a_row_make_a_job_rest_and_then_switch_it_off_until_it_is_resumed(db: Database) -> None:
    async def work(run: Run) -> Any:
        return Fail("provider", {"error": "they are away"})

    async with at_work(db, work, sync_job_most_failures=4, sync_job_rest_s=600.0) as w:
        job = await w.job({"cron": "* * * * *"})
        nexts: list[Any] = []
        await until(lambda: is_planned(w, job), "the plan")
        for n in range(1, 5):
            await w.clock((await w.row(job))["next_run_at"])
            run = (await w.ended(job, n))[-1]
            row = await w.row(job)
            nexts.append(row["next_run_at"] and row["next_run_at"] - run["fire_at"])
        minutes = [rest and rest / timedelta(minutes=1) for rest in nexts]
        assert minutes == [
            pytest.approx(10.5, abs=0.6),
            pytest.approx(20.5, abs=0.6),
            pytest.approx(40.5, abs=0.6),
            None,
        ]
        assert (row["status"], row["failures"]) == ("disabled", 4)
        assert row["disabled_reason"] == "switched off after 4 runs that failed in a row; the last one: they are away"
        [told] = await w.db.fetch("select * from public.sync_notifications")
        assert (told["kind"], told["job_id"], told["run_id"]) == ("job_disabled", job, run["id"])
        assert told["message"] == row["disabled_reason"]

        assert (await w.control(job, "resume"))["status"] == "idle"
        row = await until(lambda: is_planned(w, job), "the new plan")
        assert (row["failures"], row["disabled_reason"]) == (0, None)


async def is_planned(w: World, job: UUID) -> Any:
    row = await w.row(job)
    return row if row["next_run_at"] is not None and row["planned_version"] == row["version"] else None


async def test_the_last_fire_of_a_job_that_fails_is_kept(db: Database) -> None:
    async def work(run: Run) -> Any:
        return Fail("provider")

    async with at_work(db, work, sync_job_rest_s=86_400.0) as w:
        job = await w.job({**QUARTERS, "until": (NOON + QUARTER).isoformat()})
        await until(lambda: is_planned(w, job), "the plan")
        await w.control(job, "run")
        await w.ended(job)
        assert (await w.row(job))["next_run_at"] == NOON + QUARTER


async def test_a_run_that_hangs_is_stopped_and_its_attempt_counts(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_ATTEMPTS", 1)
    monkeypatch.setattr(service, "HARD_STOP_S", 0.2)

    async def hang(run: Run) -> Any:
        await asyncio.sleep(PATIENCE * 10)

    async with at_work(db, hang, sync_job_budget_s=0.2) as w:
        [run] = await w.ended(await asked(w))
    assert (run["status"], run["reason"]) == ("failed", "error")
    assert "timed out" in run["error_detail"]


@pytest.mark.parametrize("answer", ["done", Done({"when": object()}), Done({"half": "\ud800"})])
async def test_an_answer_that_cannot_be_kept_is_the_job_types_failure(
    db: Database, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(service, "MOST_ATTEMPTS", 1)

    async def work(run: Run) -> Any:
        async with run.transaction():
            pass
        return answer

    async with at_work(db, work) as w:
        [run] = await w.ended(await asked(w))
    assert (run["status"], run["attempt"]) == ("failed", 1)
    assert run["error_detail"]


async def test_figures_are_bounded_and_hold_no_nul(db: Database) -> None:
    answers = iter([Done({"nul": "a\0b", "nan": float("nan")}), Done({"much": "x" * 1_000_000})])

    async def work(run: Run) -> Any:
        return next(answers)

    async with at_work(db, work) as w:
        job = await asked(w)
        await w.ended(job)
        await w.control(job, "run")
        first, second = await w.ended(job, 2)
    assert first["metrics"] == {"nul": "a\ufffdb", "nan": None}
    assert second["metrics"] == {"truncated": True, "bytes": 1_000_011}
