"""Every way in which something is written on behalf of a claimed job, and the ways to lose that job meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from tests.engine.by_hand import claim, let_die, new_node
from tidemill.app import Rooms
from tidemill.connectors import Scopes
from tidemill.connectors.threads import LongToken, Post, Profile
from tidemill.engine import Context, Engine, Job, NewJob, chain
from tidemill.engine.finish import Ending, finish_all, finish_done
from tidemill.engine.node import Node
from tidemill.engine.statements import SQL as ENGINE_SQL
from tidemill.errors import LeaseLost
from tidemill.postgres import Connection, Database
from tidemill.settings import Settings
from tidemill.sync import account, connect_account, scheduled
from tidemill.sync.ending import StepEnd, end_steps
from tidemill.sync.jobs import Run
from tidemill.sync.jobs.endings import RunEnd, end_runs
from tidemill.sync.jobs.lane import KIND as SYNC_JOB
from tidemill.sync.jobs.opening import Began
from tidemill.sync.jobs.rules import Rules
from tidemill.sync.layers import AccountObservation, DayViews, PostObservation
from tidemill.sync.observed import Observed
from tidemill.sync.opening import Opening, open_accounts
from tidemill.sync.outcomes import Verdict
from tidemill.sync.statements import SQL
from tidemill.sync.work import Progress
from tidemill.vault import Secret

ENGINE, SYNC, LAYERS, JOBS = "engine/sql/", "sync/sql/", "sync/layers/sql/", "sync/jobs/sql/"
LOST = "the lease was lost"
NO_KEY = "test:" + "A" * 43 + "="


@dataclass(slots=True)
class Home:
    """A scheduled run of two accounts, one of them with an expired token, and everything that leads to its jobs."""

    app: Rooms
    node: Node
    other: Node
    workspace: UUID
    accounts: list[UUID] = field(default_factory=list)
    posts: list[UUID] = field(default_factory=list)

    @property
    def db(self) -> Database:
        return self.app.db

    @property
    def engine(self) -> Engine:
        return self.app.engine

    @property
    def rooms(self) -> Any:
        """The sync room's inside: its handlers are asked one by one, as a worker would."""
        return self.app.sync

    async def claimed(self, kind: str, queue: str = "default") -> Job:
        """The job of a kind, claimed with all others of its queue."""
        jobs = await claim(self.engine, self.node.id, queue)
        return next(job for job in jobs if job.kind == kind)

    async def found(self, job: Job) -> Job:
        """The job, where its lease lies by now."""
        [row] = await self.db.fetch(ENGINE_SQL.places, [job.id])
        return replace(job, place=row["place"])

    def context(self, job: Job) -> Context:
        return Context(job, self.engine, deadline=0)


@asynccontextmanager
async def home(url: str) -> AsyncGenerator[Home]:
    settings = Settings(database_url=url, env="test", vault_keys=NO_KEY, threads_app_id="1", threads_app_secret="s")
    async with Rooms.open(settings, name="tidemill tests") as app:
        user, workspace = uuid4(), uuid4()
        await app.db.execute("insert into auth.users (id, email) values ($1, 'a@example.com')", user)
        await app.db.execute(
            "insert into public.workspaces (id, name, created_by_user_id) values ($1, 'w', $2)", workspace, user
        )
        made = Home(app, await new_node(app.db), await new_node(app.db), workspace)
        for name in ("1", "2"):
            connected = await connect_account(
                app.db,
                app.vault,
                workspace=workspace,
                user=user,
                profile=Profile(id=name, username=name),
                token=LongToken(token=Secret(name), expires_in=5_000_000),
            )
            made.accounts.append(connected.account_id)
        await app.db.execute(
            "update public.workspace_threads_tokens set expires_at = now() - interval '1 day'"
            " where workspace_threads_account_id = $1",
            made.accounts[1],
        )
        yield made


# Losing --------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def stale_token(h: Home, job: Job) -> AsyncGenerator[Job]:
    yield replace(job, token=job.token - 1)


@asynccontextmanager
async def other_node(h: Home, job: Job) -> AsyncGenerator[Job]:
    yield replace(job, node=h.other.id)


@asynccontextmanager
async def gone(h: Home, job: Job) -> AsyncGenerator[Job]:
    await h.db.execute("create table public.aside as select * from tidemill.job_lease where id = $1", job.id)
    await h.db.execute("delete from tidemill.job_lease where id = $1", job.id)
    yield job
    await h.db.execute("insert into tidemill.job_lease select * from public.aside; drop table public.aside")


@asynccontextmanager
async def run_out(h: Home, job: Job) -> AsyncGenerator[Job]:
    await let_die(h.db, job.node)
    yield job
    await h.db.execute("update tidemill.node set expires_at = clock_timestamp() + interval '1 hour'")


Way = Callable[[Home, Job], Any]
TAKEN: tuple[Way, ...] = (stale_token, other_node, gone)
"""Somebody else has the job, or it has ended."""
ANY_WAY: tuple[Way, ...] = (*TAKEN, run_out)
"""Or the node was silent for too long, even if nobody has noticed it yet."""


# The paths -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Path:
    """A way in which something is written on behalf of a job.

    Attributes:
        lead: makes the job and claims it.
        write: writes for it, and answers :data:`LOST` or raises LeaseLost where it may not.
        writes: the SQL files that it runs while the job is held.
        ways: how the job is lost.
    """

    lead: Callable[[Home], Awaitable[Job]]
    write: Callable[[Home, Job], Awaitable[object]]
    writes: frozenset[str]
    ways: tuple[Way, ...] = ANY_WAY


def files(folder: str, *names: str) -> frozenset[str]:
    return frozenset(f"{folder}{name}.sql" for name in names)


async def tick_job(h: Home) -> Job:
    await h.engine.enqueue(scheduled.TICK)
    return await h.claimed(scheduled.TICK)


async def finish_in_batch(h: Home, job: Job) -> object:
    held = await finish_all(h.db, h.engine.registry, [Ending(job, "failed", reason="x", result={})])
    return held or LOST


async def finish_plainly(h: Home, job: Job) -> object:
    return await finish_done(h.db, [Ending(job, "done")]) or LOST


async def say_how_far(h: Home, job: Job) -> object:
    said = [job.id], [job.token], [job.node], [1], [2], ["x"]
    return await h.db.fetch(ENGINE_SQL.progress_write, *said, [], []) or LOST


async def fan_out_job(h: Home) -> Job:
    await h.app.sync.trigger_scheduled(trigger="test", request_key="1")
    return await h.claimed(scheduled.FAN_OUT)


async def fan_out(h: Home, job: Job) -> object:
    return await h.rooms._scheduled.fan_out(h.context(job), job.args)


async def account_job(h: Home) -> Job:
    await fan_out(h, await fan_out_job(h))
    return await h.claimed(account.KIND, "sync")


async def close_job(h: Home) -> Job:
    job = await account_job(h)
    await finish_all(h.db, h.engine.registry, [Ending(job, "done")])
    return await h.claimed(scheduled.CLOSE)


async def close(h: Home, job: Job) -> object:
    return await h.rooms._scheduled.close(h.context(job), job.args)


async def chain_job(h: Home) -> Job:
    steps = [[NewJob(kind=scheduled.TICK, args={"n": n})] for n in range(3)]
    await chain.enqueue_chain(h.engine, steps)
    first = await h.claimed(scheduled.TICK)
    await finish_all(h.db, h.engine.registry, [Ending(first, "done")])
    return await h.claimed(chain.CLOSE)


async def go_on_with_chain(h: Home, job: Job) -> object:
    return await chain._close(h.context(job), job.args)


async def open_account(h: Home, job: Job) -> object:
    run, who = UUID(job.args["run"]), UUID(job.args["account"])
    [answer] = await open_accounts(h.db, [Opening(job, run, who, Scopes.of("threads", "1", job.args["user"]))])
    return LOST if isinstance(answer, LeaseLost) else answer


def observed(h: Home, job: Job, *, late: bool = False) -> Observed:
    slot = datetime.fromisoformat(job.args["slot"])
    return Observed(
        workspace=h.workspace,
        account=UUID(job.args["account"]),
        slot=slot - timedelta(hours=1) if late else slot,
        posts=[Post(id="p9", published_at=datetime.now(UTC))],
        watermark=datetime.now(UTC),
        metrics=[PostObservation(h.posts[0], views=1)],
        gone=[h.posts[1]],
        insights=AccountObservation(followers_count=1, views_by_day=[DayViews(slot, 5)]),
    )


async def account_with_posts(h: Home) -> Job:
    job = await account_job(h)
    h.posts = [
        row["id"]
        for row in await h.db.fetch(
            "insert into public.workspace_threads_posts"
            " (workspace_id, workspace_threads_account_id, threads_post_id, published_at)"
            " select $1, $2, p, now() from unnest(array['p1', 'p2']) p returning id",
            h.workspace,
            UUID(job.args["account"]),
        )
    ]
    await _commit(h, job, late=False)  # so that an older slot has something to be put before
    return job


async def _commit(h: Home, job: Job, *, late: bool) -> None:
    work: Any = Partly(h.context(job), UUID(job.args["run"]), UUID(job.args["account"]))
    await account._commit(work, "sync_metrics", Progress({"metrics_updated": 1}, None), observed(h, job, late=late))


@dataclass(frozen=True, slots=True)
class Partly:
    """What of an account's work the commit of a big step looks at."""

    ctx: Context
    run: UUID
    account: UUID


async def commit_some(h: Home, job: Job) -> object:
    return await _commit(h, job, late=True)


async def end_step(h: Home, job: Job) -> object:
    who = UUID(job.args["account"])

    async def consequences(conn: Connection) -> None:
        token = await conn.fetchrow(SQL.token, who)
        assert token is not None
        await conn.execute(SQL.token_trouble, who, "user_action", "x", token["id"], token["version"])
        await conn.execute(SQL.disable_step, who, "sync_posts")
        await conn.execute(SQL.token_works, who)

    end = StepEnd(
        job=job,
        run=UUID(job.args["run"]),
        account=who,
        step="sync_posts",
        verdict=Verdict("completed", None),
        error=None,
        metadata={},
        attempt=1,
        next_step="sync_metrics",
        observed=observed(h, job),
        consequences=consequences,
    )
    [answer] = await end_steps(h.db, [end])
    return LOST if isinstance(answer, LeaseLost) else answer


async def end_rows(h: Home, job: Job) -> object:
    return await account._end_rows(
        h.context(job), UUID(job.args["run"]), UUID(job.args["account"]), "skipped", "inactive"
    )


class Idle:
    """A job type that does nothing."""

    name = "sync"

    def check(self, payload: Any) -> None:
        return None

    async def run(self, run: Run) -> None:
        return None


async def sync_job(h: Home) -> Job:
    h.app.sync_jobs.types["sync"] = Idle()
    company = await h.db.fetchval("insert into public.companies (code, name) values ('c', 'c') returning id")
    connector = await h.db.fetchval(
        "insert into public.integration_connectors (company_id, provider) values ($1, 'threads') returning id", company
    )
    job = await h.db.fetchval(
        "insert into public.sync_jobs (company_id, connector_id, job_type) values ($1, $2, 'sync') returning id",
        company,
        connector,
    )
    await h.db.execute("select public.sync_job_control($1, 'run')", job)
    await h.app.sync_jobs.source.tick()
    return await h.claimed(SYNC_JOB, "sync_jobs")


async def begin_run(h: Home, job: Job) -> Began:
    ctx = h.context(job)
    async with ctx.transaction() as conn:
        began = await h.app.sync_jobs._runs.opening(ctx, conn, UUID(job.args["run"]))
    assert isinstance(began, Began)
    return began


async def begun_run(h: Home) -> Job:
    job = await sync_job(h)
    await begin_run(h, job)
    return job


async def note_run(h: Home, job: Job) -> object:
    run: Any = RunOf(h.context(job), UUID(job.args["run"]))
    return await h.app.sync_jobs._runs._failed(run, ConnectionError("no"), goes_on=True)


@dataclass(frozen=True, slots=True)
class RunOf:
    """What of a run its failure looks at."""

    ctx: Context
    id: UUID
    attempt: int = 1

    @property
    def read(self) -> Any:
        return self

    @property
    def secrets(self) -> dict[str, Secret]:
        return {}


async def end_run(h: Home, job: Job) -> object:
    rules = Rules(most_failures=1, rest=timedelta(minutes=1))
    end = RunEnd(run=UUID(job.args["run"]), status="failed", reason="x", metrics={"n": 1})
    async with h.context(job).transaction() as conn:
        return await end_runs(conn, [end], rules)


OBSERVED = files(SYNC, "upsert_posts", "posts_done", "tombstone_posts") | files(
    LAYERS, "post_metrics_write", "account_insights_write"
)
PATHS = {
    "a job of a batch ends": Path(account_job, finish_in_batch, files(ENGINE, "finish"), TAKEN),
    "a plain job is done": Path(tick_job, finish_plainly, files(ENGINE, "finish_done"), TAKEN),
    "a job says how far it has got": Path(tick_job, say_how_far, files(ENGINE, "progress_write")),
    "a run fans out": Path(
        fan_out_job,
        fan_out,
        files(ENGINE, "batch_advance", "batch_seal", "enqueue") | files(SYNC, "log_accounts", "mark_expired"),
    ),
    "a run closes": Path(close_job, close, files(ENGINE, "batch_close") | files(SYNC, "run_sweep", "run_close")),
    "a chain goes on": Path(
        chain_job, go_on_with_chain, files(ENGINE, "batch_close", "batch_open", "batch_seal", "enqueue")
    ),
    "an account begins": Path(account_job, open_account, files(SYNC, "account_open")),
    "a big step commits some": Path(
        account_with_posts,
        commit_some,
        files(SYNC, "step_progress") | OBSERVED | files(LAYERS, "post_metrics_rederive", "account_insights_rederive"),
    ),
    "a step ends": Path(
        account_with_posts,
        end_step,
        files(SYNC, "step_end", "token_trouble", "disable_step", "token_works") | OBSERVED,
    ),
    "a sync job's run begins": Path(sync_job, begin_run, files(JOBS, "run_start", "settle")),
    "a sync job's attempt fails": Path(begun_run, note_run, files(JOBS, "run_note")),
    "a sync job's run ends": Path(
        begun_run, end_run, files(JOBS, "end_runs", "end_summary", "end_disable", "end_settle")
    ),
    "an account's rows are closed": Path(account_job, end_rows, files(SYNC, "rows_end")),
}
