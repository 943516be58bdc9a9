"""A whole small world for the sync room's tests: a database, a simulated provider, the assembled app, a working worker.

Both clocks stand under the test's hand: the simulator's is frozen, Tidemill's is set to the same instant, and
:meth:`World.tick` moves them to the next slot together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from structlog.testing import capture_logs

from tidemill.app import Rooms
from tidemill.connectors import Limits
from tidemill.connectors.threads import LongToken, Profile
from tidemill.engine import Worker
from tidemill.postgres import Database
from tidemill.settings import Settings
from tidemill.simulators.threads import Account, Fault, FaultError, ThreadsSimulator
from tidemill.sync import RunState, Triggered, connect_account
from tidemill.vault import Secret

PATIENCE = 30.0
"""Seconds: ten times what any wait here needs."""
START = datetime(2026, 6, 10, 9, 0, 5, tzinfo=UTC)
"""A Wednesday, a few seconds into a slot."""
SLOT = timedelta(minutes=15)
STEPS = ("sync_posts", "sync_metrics", "sync_account_insights")
VAULT_KEYS = "test:" + "A" * 43 + "="


@dataclass(frozen=True)
class Row:
    """One row of sync_logs."""

    status: str
    reason: str | None
    started_at: datetime
    completed_at: datetime | None
    attempt: int
    metadata: dict[str, Any]
    error: str | None
    slot: datetime
    trigger: str

    @property
    def said(self) -> tuple[str, str | None]:
        return self.status, self.reason


class Hold:
    """Keeps chosen calls at the provider's door: `reached` once one stands there, until :meth:`release`."""

    def __init__(self, wants: Callable[[str, str], bool]) -> None:
        self._wants = wants
        self._open = asyncio.Event()
        self.reached = asyncio.Event()

    def release(self) -> None:
        self._open.set()

    async def pass_by(self, token: str, path: str) -> None:
        if not self._open.is_set() and self._wants(token, path):
            self.reached.set()
            await self._open.wait()


@dataclass
class World:
    """See the module."""

    sim: ThreadsSimulator
    app: Rooms
    logs: list[MutableMapping[str, Any]]
    workspace: UUID
    user: UUID
    now: datetime = START
    worker: Worker | None = None
    ids: dict[str, UUID] = field(default_factory=dict[str, UUID])
    """The provider's user id → our account."""

    @property
    def db(self) -> Database:
        return self.app.db

    # Accounts ----------------------------------------------------------------------------------------------------

    async def connect(self, account: Account, *, workspace: UUID | None = None, expires_in: int = 5_000_000) -> UUID:
        """Connect an account of the simulator, with a new token."""
        token = self.sim.issue_token(account, expires_in=expires_in)
        connected = await connect_account(
            self.db,
            self.app.vault,
            workspace=workspace or self.workspace,
            user=self.user,
            profile=Profile(id=account.id, username=account.username),
            token=LongToken(token=Secret(token.text), expires_in=expires_in),
        )
        self.ids[account.id] = connected.account_id
        return connected.account_id

    async def connect_all(self) -> list[UUID]:
        return [await self.connect(account) for account in self.sim.accounts]

    async def know_posts(self) -> None:
        """Put every connected account's posts into the database, as a run would have."""
        posts = [
            (self.ids[account.id], post.id, datetime.fromtimestamp(post.published, UTC))
            for account in self.sim.accounts
            if account.id in self.ids
            for post in map(account.post, range(account.count(self.sim.clock.now())))
        ]
        await self.db.execute(
            "insert into public.workspace_threads_posts"
            " (workspace_id, workspace_threads_account_id, threads_post_id, published_at)"
            " select a.workspace_id, a.id, p.post, p.at from unnest($1::uuid[], $2::text[], $3::timestamptz[])"
            " as p (account, post, at) join public.workspace_threads_accounts a on a.id = p.account",
            *map(list, zip(*posts, strict=True)),
        )

    async def add_workspace(self) -> UUID:
        workspace = uuid4()
        await self.db.execute(
            "insert into public.workspaces (id, name, created_by_user_id) values ($1, 'w', $2)", workspace, self.user
        )
        return workspace

    def token(self, account: Account) -> str:
        """The newest token the simulator gave out for an account."""
        return self.sim.state.tokens.of(account)[-1].text

    async def account(self, account: UUID) -> Any:
        return await self.db.fetchrow("select * from public.workspace_threads_accounts where id = $1", account)

    # Time and runs -----------------------------------------------------------------------------------------------

    async def set_clocks(self, at: datetime) -> None:
        self.now = at
        self.sim.clock.set(at)
        await self.db.execute("select tidemill.set_clock($1)", at)

    @property
    def slot(self) -> datetime:
        """The slot that the clocks stand in."""
        return self.now.replace(minute=self.now.minute - self.now.minute % 15, second=0, microsecond=0)

    async def trigger(self, *, own_slot: bool = False, key: str | None = None) -> Triggered:
        return await self.app.sync.trigger_scheduled(trigger="test", request_key=key or str(uuid4()), own_slot=own_slot)

    async def finished(self, run: UUID) -> RunState:
        state = await self.app.sync.wait(run, PATIENCE)
        assert state is not None
        assert state.final, f"the run is still {state.status}"
        return state

    async def run(self, *, own_slot: bool = False) -> RunState:
        """A run in the slot that the clocks stand in."""
        triggered = await self.trigger(own_slot=own_slot)
        assert not triggered.skipped, triggered
        return await self.finished(triggered.run_id)

    async def tick(self, *, at: datetime | None = None) -> RunState:
        """Move both clocks on to the next slot, or to `at`, and run."""
        await self.set_clocks(at or self.now + SLOT)
        return await self.run()

    @asynccontextmanager
    async def holding(self, account: Account | None, edge: str, *, after: int = 0) -> AsyncGenerator[Hold]:
        """Keep an account's calls of an edge (`threads`, `insights`, `threads_insights`) at the door.

        The first `after` of them pass. At the end of the block all go on.
        """
        tokens = None if account is None else {token.text for token in self.sim.state.tokens.of(account)}
        met = 0

        def wants(token: str, path: str) -> bool:
            nonlocal met
            if (tokens is not None and token not in tokens) or path.rpartition("/")[2] != edge:
                return False
            met += 1
            return met > after

        hold = Hold(wants)
        provide: Any = self.sim._provide

        async def gated(state: Any, request: Any, path: str, query: str) -> Any:
            await hold.pass_by(request.headers.get("Authorization", "").removeprefix("Bearer "), path)
            return await provide(state, request, path, query)

        sim: Any = self.sim
        sim._provide = gated
        try:
            yield hold
        finally:
            hold.release()
            sim._provide = provide

    # What came of it ---------------------------------------------------------------------------------------------

    async def rows(self, run: UUID) -> dict[UUID, dict[str, Row]]:
        """A run's log: account → step → row, the steps in order."""
        found: dict[UUID, dict[str, Row]] = {}
        for r in await self.db.fetch(
            "select * from public.sync_logs where run_id = $1 order by array_position($2::text[], job_type)",
            run,
            list(STEPS),
        ):
            found.setdefault(r["workspace_threads_account_id"], {})[r["job_type"]] = Row(
                status=r["status"],
                reason=r["reason"],
                started_at=r["started_at"],
                completed_at=r["completed_at"],
                attempt=r["attempt"],
                metadata=r["metadata"] or {},
                error=r["error_message"],
                slot=r["sync_batch_at"],
                trigger=r["trigger"],
            )
        return found

    async def said(self, run: UUID, account: UUID) -> list[tuple[str, str | None]]:
        """(status, reason) of an account's steps, in order."""
        return [row.said for row in (await self.rows(run)).get(account, {}).values()]

    async def system_log(self, run: UUID) -> Any:
        return await self.db.fetchrow("select * from public.system_job_logs where id = $1", run)

    async def snapshots(self, account: UUID, slot: datetime | None = None) -> int:
        """Rows of layer 1 of an account's posts in a slot, by default the one the clocks stand in."""
        return await self.db.fetchval(
            "select count(*) from public.workspace_threads_post_metrics m join public.workspace_threads_posts p"
            " on p.id = m.workspace_threads_post_id where p.workspace_threads_account_id = $1 and m.sync_batch_at = $2",
            account,
            slot or self.slot,
        )

    async def attempts(self) -> list[tuple[int, str]]:
        """(attempt, outcome) of every account's job there was."""
        rows = await self.db.fetch(
            "select r.attempt, r.outcome from tidemill.job_run r join tidemill.kind k on k.id = r.kind"
            " where k.name = 'sync_account' order by r.finished_at"
        )
        return [tuple(row) for row in rows]

    def events(self, name: str) -> list[MutableMapping[str, Any]]:
        return [entry for entry in self.logs if entry["event"] == name]

    async def lock_is_free(self) -> bool:
        return await self.db.fetchval(
            "select locked_until <= clock_timestamp() from public.system_job_locks where job_type = 'scheduled_sync'"
        )

    async def leaks(self) -> list[str]:
        """Where in the whole database or the log a secret stands that nobody may keep in the clear."""
        tokens: dict[str, Any] = self.sim.state.tokens._tokens
        secrets = [*tokens, self.sim.app_secret]
        places: dict[str, str] = {"the log": repr(self.logs)}
        for table in await self.db.fetch(
            "select c.oid::regclass::text as name from pg_class c where c.relkind = 'r'"
            " and c.relnamespace in ('public'::regnamespace, 'tidemill'::regnamespace, 'auth'::regnamespace)"
        ):
            name: str = table["name"]
            text = await self.db.fetchval(f"select coalesce(string_agg(t::text, e'\\n'), '') from {name} t")
            places[name] = text
        assert len(places) > 30
        return [place for place, text in places.items() if any(secret in text for secret in secrets)]


@asynccontextmanager
async def world(
    database_url: str,
    *,
    accounts: int = 3,
    posts: int = 4,
    young_share: float = 1.0,
    connected: bool = True,
    start: datetime = START,
    accounts_at_once: int | None = None,
    limits: Limits | None = None,
    **settings: Any,
) -> AsyncGenerator[World]:
    """A world with so many accounts of so many posts, all of them young unless `young_share` says else."""
    with capture_logs() as logs:
        async with ThreadsSimulator(
            seed=7, accounts=accounts, posts=posts, start=start, young_share=young_share, new_post_every=0
        ) as sim:
            chosen = Settings(
                database_url=database_url,
                env="test",
                threads_base_url=sim.url,
                threads_app_id=sim.app_id,
                threads_app_secret=sim.app_secret,
                vault_keys=VAULT_KEYS,
                **settings,
            )
            async with Rooms.open(chosen, name="tidemill tests", limits=limits or Limits(backoff_s=0.005)) as app:
                user, workspace = uuid4(), uuid4()
                await app.db.execute("insert into auth.users (id, email) values ($1, $2)", user, f"{user}@example.com")
                made = World(sim, app, logs, workspace, user, now=start)
                made.workspace = await made.add_workspace()
                await made.set_clocks(start)
                # The test's month is not the machine's. Made here, its partitions are not made beside the test's work.
                await app.db.fetch("select tidemill.ensure_partitions()")
                if connected:
                    await made.connect_all()
                async with app.worker(accounts_at_once=accounts_at_once) as worker, at_work(worker) as made.worker:
                    yield made


@asynccontextmanager
async def at_work(worker: Worker) -> AsyncGenerator[Worker]:
    """A worker from its start until the block ends."""
    task = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(PATIENCE):
            started = asyncio.create_task(worker.started.wait())
            await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
            started.cancel()
        yield worker
    finally:
        worker.stop()
        async with asyncio.timeout(PATIENCE):
            await task


async def until(check: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Ask the database until the answer is true."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (answer := await check()):
                await asyncio.sleep(0.02)
            return answer
    except TimeoutError:
        raise AssertionError(f"{what} did not come true") from None


async def reached(hold: Hold) -> None:
    async with asyncio.timeout(PATIENCE):
        await hold.reached.wait()


def refusal(
    code: int,
    subcode: int | None = None,
    *,
    endpoint: str = "posts",
    user: Account | None = None,
    post: str | None = None,
    status: int | None = None,
    is_transient: bool | None = None,
    message: str = "Scripted error",
    **options: Any,
) -> Fault:
    """A rule by which the simulator refuses calls."""
    error = FaultError(code=code, subcode=subcode, status=status, is_transient=is_transient, message=message)
    return Fault(endpoint=endpoint, user=user.id if user else None, post=post, error=error, **options)
