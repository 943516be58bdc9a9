"""Who has lost a job writes nothing for it: what writes is proved to be fenced, or says why it need not be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine import fenced, fenced_company, fenced_records
from tests.engine.fenced import LOST, home
from tests.engine.writing import files_that_write, sql_files
from tidemill.errors import LeaseLost
from tidemill.postgres import Database, Statements, pool

NOT_FENCED = {
    "engine/sql/claim.sql": "draws the fence; only for a node whose time has not run out",
    "engine/sql/claim_few.sql": "draws the fence; only for a node whose time has not run out",
    "engine/sql/claim_limited.sql": "as claim",
    "engine/sql/open_lanes.sql": "in the transaction that ended the leases; the next claim looks at the lanes anew",
    "engine/sql/limit_set.sql": "an operator, or what the code says of its kinds",
    "engine/sql/limit_drop.sql": "an operator, or what the code no longer says",
    "engine/sql/weight_set.sql": "an operator",
    "engine/sql/queue_scale.sql": "an operator",
    "engine/sql/forget_lanes.sql": "deletes lanes in which nothing waits or runs",
    "engine/sql/batch_open_json.sql": "in the transaction of the application's own",
    "engine/sql/batch_seal_json.sql": "in the transaction of the application's own",
    "testing/sql/replan.sql": "a user's tests, in their own database",
    "testing/sql/to_next_delayed.sql": "a user's tests, in their own database",
    "engine/sql/upkeep.sql": "beats for the node, promotes what is due and renews locks of batches: for no job",
    "engine/sql/node_register.sql": "a process says that it is there",
    "engine/sql/node_leave.sql": "a process says goodbye; the node stays while it holds leases",
    "engine/sql/housekeeping.sql": "deletes what is over and held by nobody",
    "engine/sql/partitions.sql": "makes the coming partitions",
    "engine/sql/intern.sql": "a name gets its number, whoever asks",
    "engine/sql/kind_declare.sql": "what the code says of its kinds",
    "engine/sql/enqueue_json.sql": "in the transaction of the application's own",
    "engine/sql/enqueue_one.sql": "makes a job that nobody has claimed yet, in the caller's transaction",
    "engine/sql/enqueue_plain.sql": "makes jobs that nobody has claimed yet, in the caller's transaction",
    "engine/sql/batch_overdue.sql": "any node, at a deadline; locks the batch",
    "engine/sql/batch_seize.sql": "any node, at a deadline: takes leases away, so that their holders are refused",
    "engine/sql/batch_abandon.sql": "in the transaction that ended the closing job",
    "engine/sql/batch_force_close.sql": "any node, at a deadline, in the transaction that locked the batch",
    "engine/sql/cancel_seize.sql": "an operator; only what waits, which nobody runs",
    "engine/sql/cancel_ask.sql": "an operator; an ask is no write to the job",
    "engine/sql/cancel_batch.sql": "an ask is no write to the job; in the transaction that ended the run",
    "engine/sql/cancel_forget.sql": "any node; asks of jobs that have ended",
    "engine/sql/dead_retry.sql": "an operator; dead jobs are held by nobody",
    "engine/sql/dead_discard.sql": "an operator; dead jobs are held by nobody",
    "engine/sql/kind_pause.sql": "an operator",
    "engine/sql/kind_resume.sql": "an operator",
    "engine/sql/queue_pause.sql": "an operator",
    "engine/sql/queue_resume.sql": "an operator",
    "engine/sql/schedule_declare.sql": "what the code says of its schedules",
    "engine/sql/schedule_move.sql": "any node; compare-and-set on next_at",
    "engine/sql/schedule_fire.sql": "any node, in the transaction that moved the schedule on",
    "engine/sql/schedule_fail.sql": "any node; compare-and-set on next_at",
    "engine/sql/schedule_pause.sql": "an operator",
    "engine/sql/schedule_resume.sql": "an operator",
    "engine/sql/budget_lease.sql": "calls that are given out are spent, whoever makes them; fewer are left for others",
    "engine/sql/budget_block.sql": "what a provider said holds for everybody, whoever heard it; only ever longer",
    "engine/sql/budget_slow.sql": "what a provider said holds for everybody, whoever heard it; the newest word",
    "engine/sql/budget_declare.sql": "what the code says of its budgets",
    "engine/sql/budget_set.sql": "an operator",
    "engine/sql/budget_drop.sql": "an operator",
    "engine/sql/budget_resume.sql": "an operator",
    "engine/sql/lock_acquire.sql": "opening a run; an owner and a fence of its own, one run a slot and a request",
    "engine/sql/lock_release.sql": "opening a run; compares the owner, which is new for each attempt",
    "sync/sql/run_insert.sql": "opening a run, under its lock; the same request gets the same run",
    "sync/sql/connect_account.sql": "a user connects an account",
    "sync/sql/demote_tokens.sql": "a user connects an account",
    "sync/sql/insert_token.sql": "a user connects an account",
    "sync/jobs/sql/plan_write.sql": "any node; compare-and-set on the version",
    "sync/jobs/sql/plan_fail.sql": "any node; compare-and-set on the fire and the version",
    "sync/jobs/sql/type_known.sql": "any node says what it knows",
    "sync/jobs/sql/type_unknown.sql": "any node; is no job's work, and a tick that knows better undoes it",
    "sync/jobs/sql/fire_move.sql": "any node; compare-and-set on the fire and the version",
    "sync/jobs/sql/fire_runs.sql": "any node, in the transaction that moved the jobs on; one run per job and fire",
    "sync/jobs/sql/attach.sql": "any node, in the transaction that holds the jobs and enqueues their runs",
    "sync/jobs/sql/asked_skip.sql": "any node, in the transaction that holds the jobs; only runs not taken up",
    "sync/layers/sql/post_metrics_correct.sql": "corrections; no job writes any",
    "sync/layers/sql/account_insights_correct.sql": "corrections; no job writes any",
    "sync/jobs/sql/store_credentials.sql": "an admin or an operator sets secrets, under the connector's lock",
    "sync/jobs/sql/reseal_credentials.sql": "an operator; compare-and-set on the ciphertext",
    "web/api/sql/connector_insert.sql": "a user, as row security lets him",
    "web/api/sql/connector_update.sql": "a user, as row security lets him; under the row's lock",
    "web/api/sql/connector_delete.sql": "a user, as row security lets him; under the row's lock",
    "web/api/sql/job_insert.sql": "a user, as row security lets him",
    "web/api/sql/job_update.sql": "a user, as row security lets him; under the row's lock",
    "web/api/sql/job_delete.sql": "a user, as row security lets him; under the row's lock",
    "web/api/sql/job_control.sql": "a user; the function checks his claims and locks the job",
    "cli/sql/sync_job_control.sql": "an operator; the function locks the job",
    "web/api/sql/notification_read.sql": "a user, as row security lets him",
    "web/api/sql/take_key.sql": "a user's request; the key's row",
    "web/api/sql/keep_answer.sql": "a user's request; its key was taken in the same transaction",
    "cli/sql/company_add.sql": "an operator",
    "cli/sql/connector_add.sql": "an operator",
    "cli/sql/connector_set.sql": "an operator",
    "cli/sql/connector_remove.sql": "an operator",
    "cli/sql/connector_jobs_remove.sql": "an operator",
    "cli/sql/sync_job_add.sql": "an operator",
    "cli/sql/sync_job_set.sql": "an operator",
    "cli/sql/sync_job_remove.sql": "an operator",
    "web/sql/rate_limit.sql": "counts a user's call",
    "postgres/sql/record_checksum.sql": "migrations",
    "postgres/sql/fill_in_checksums.sql": "migrations",
    "cli/doctor/sql/orphan_keys.sql": "prints the statement that would",
    "cli/cron/sql/store.sql": "an operator hands the schedule over to pg_cron",
    "cli/cron/sql/forget.sql": "an operator takes it back",
    "cli/cron/sql/schedule_job.sql": "an operator",
    "cli/cron/sql/pause_built_in.sql": "an operator",
    "cli/cron/sql/resume_built_in.sql": "an operator",
    "cli/demo/sql/clear.sql": "the demo's own database, while no worker is alive",
    "cli/demo/sql/make_company.sql": "the demo's own database",
    "cli/demo/sql/make_tenants.sql": "the demo's own database",
    "cli/demo/sql/mark.sql": "the demo's own database",
}
"""Statements that write and need no lease: why."""
PATHS = {**fenced.PATHS, **fenced_records.PATHS, **fenced_company.PATHS}
FENCED = frozenset[str]().union(*(path.writes for path in PATHS.values()))


def _statements() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sql_files():
        package, _, name = file.removesuffix(".sql").rpartition("/")
        found[file] = getattr(Statements("tidemill." + package.replace("/", ".")), name)
    return found


STATEMENTS = _statements()
"""Each file's statement as it is sent. Read before any test: CPython 3.11 fails to import after deep recursions."""


async def test_every_statement_that_writes_is_fenced_or_says_why_not(db: Database) -> None:
    assert await files_that_write(db) == FENCED | NOT_FENCED.keys()
    assert not FENCED & NOT_FENCED.keys()


@pytest.mark.parametrize("name", PATHS)
async def test_who_has_lost_a_job_writes_nothing_for_it(
    database_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = PATHS[name]
    ran = listen(monkeypatch)
    async with home(database_url) as h:
        job = await path.lead(h)
        for lose in path.ways:
            async with lose(h, job) as lost:
                before = await content(h.db)
                try:
                    answer = await path.write(h, lost)
                except LeaseLost:
                    answer = LOST
                assert answer == LOST, lose.__name__
                assert await content(h.db) == before, lose.__name__
        # The same by its holder is written, by the statements that are meant.
        before = await content(h.db)
        ran.clear()
        assert await path.write(h, await h.found(job)) != LOST
        writing = await files_that_write(h.db)
        meant = {file for file, text in STATEMENTS.items() if file in writing and text in ran} - NOT_FENCED.keys()
        assert meant == path.writes
        assert await content(h.db) != before


def listen(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every statement that is run from now on, on connections yet to be opened."""
    ran: set[str] = set()
    connect = pool.connect

    async def heard(*args: Any, **options: Any) -> Any:
        conn: Any = await connect(*args, **options)
        conn.add_query_logger(lambda query: ran.add(query.query))
        return conn

    monkeypatch.setattr(pool, "connect", heard)
    return ran


async def content(db: Database) -> dict[str, str]:
    """Every row of every table, but the time by which nodes must beat."""
    tables = await db.fetch(
        "select c.oid::regclass::text as name from pg_class c where c.relkind = 'r'"
        " and c.relname not in ('node', 'aside')"
        " and c.relnamespace in ('public'::regnamespace, 'tidemill'::regnamespace)"
    )
    found: dict[str, str] = {}
    for table in tables:
        name: str = table["name"]
        found[name] = await db.fetchval(
            f"select coalesce(string_agg(t::text, e'\\n' order by t::text), '') from {name} t"
        )
    assert len(found) > 30
    return found
