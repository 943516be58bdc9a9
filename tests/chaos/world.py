"""A simulator in its own process, and databases in which its accounts are connected and due."""

from __future__ import annotations

import asyncio
import json
import secrets
import urllib.request
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

from tests.chaos.processes import Process, until
from tests.chaos.snapshot import Snapshot, differences, left_over, snapshot
from tests.conftest import administer, with_database
from tidemill.connectors.threads import LongToken, Profile
from tidemill.engine import Context, Engine, Kind, Registry
from tidemill.postgres import Database, migrate
from tidemill.sync import connect_account
from tidemill.vault import Keyring, Secret, Vault

History = Literal["new", "known"]
"""Whether the accounts have never been synced, or were in the slot before."""

BEFORE = datetime(2026, 11, 20, 11, 50, tzinfo=UTC)
NOW = datetime(2026, 11, 20, 12, 5, tzinfo=UTC)
SLOT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PERIOD = timedelta(minutes=15)
LEASE_S = 2.0
ACCOUNTS, POSTS, LATENCY_MS = 9, 24, 25
KEYS = "chaos:" + "A" * 43 + "="


class Simulator:
    """The provider, its clock standing where it was put."""

    def __init__(self, log: Path, stack: ExitStack) -> None:
        options = ["--clock", BEFORE.isoformat(), "--accounts", str(ACCOUNTS), "--posts-per-account", str(POSTS)]
        options += ["--young-share", "0.8", "--latency-ms", str(LATENCY_MS)]
        self.process = stack.enter_context(Process("tidemill.simulators.threads", log, {}, *options))
        self.url = ""

    async def start(self) -> None:
        async def ready() -> str:
            return self.process.log.read_text().partition("\n")[0]

        self.url = json.loads(await until(ready, what="the simulator"))["url"]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_sim/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


async def _nothing(ctx: Context, args: dict[str, Any]) -> None:
    raise AssertionError("the tests run no jobs themselves")


@dataclass
class World:
    """One simulator and one server, with a template database for each history and what a run of it comes to."""

    server_url: str
    directory: Path
    simulator: Simulator
    templates: dict[History, str] = field(default_factory=dict)
    references: dict[History, Snapshot] = field(default_factory=dict)
    seconds: dict[History, float] = field(default_factory=dict)
    """How long an undisturbed run takes."""

    async def build(self) -> None:
        """Connect the accounts, let one slot pass for those that are known, then make trouble for four of them."""
        await self.simulator.start()
        new, known = (f"tm_chaos_{history}_{secrets.token_hex(4)}" for history in ("new", "known"))
        await administer(self.server_url, f"create database {new}")
        self.templates["new"] = new
        await migrate(with_database(self.server_url, new))
        users = self.simulator.ask("GET", "accounts")
        async with await Database.open(with_database(self.server_url, new), name="chaos") as db:
            await db.fetchval("select tidemill.set_clock($1)", BEFORE)
            await self._connect(db, users)
        await administer(self.server_url, f"create database {known} template {new}")
        self.templates["known"] = known
        url = with_database(self.server_url, known)
        async with await Database.open(url, name="chaos") as db:
            with self.worker(url, "first"):
                await trigger(db, SLOT - PERIOD)
                await self.closed(db)
        self.simulator.ask("POST", "clock", {"set": NOW.isoformat()})
        self.simulator.ask("POST", "revoke", {"user": users[1]["id"]})
        posts = [self.simulator.ask("GET", f"posts?user={users[n]['id']}") for n in (2, 3)]
        gone = {"endpoint": "post_insights", "post": posts[0][7]["id"], "error": {"code": 100, "subcode": 33}}
        poison = {"endpoint": "post_insights", "post": posts[1][7]["id"], "error": {"code": 24}}
        self.simulator.ask("POST", "faults", [gone, poison])
        for history in ("new", "known"):
            await self._refer(history)

    async def _connect(self, db: Database, users: Sequence[dict[str, Any]]) -> None:
        workspace, owner, vault = uuid4(), uuid4(), Vault(Keyring.parse(KEYS))
        await db.execute("insert into auth.users (id, email) values ($1, 'owner@example.com')", owner)
        await db.execute("insert into workspaces (id, name, created_by_user_id) values ($1, 'w', $2)", workspace, owner)
        for n, user in enumerate(users):
            token = self.simulator.ask("POST", "token", {"user": user["id"]})["access_token"]
            seconds = 60 if n == 0 else 5_000_000  # the first one's will have expired by the slot
            await connect_account(
                db,
                vault,
                workspace=workspace,
                user=owner,
                profile=Profile(id=user["id"], username=user["username"]),
                token=LongToken(token=Secret(token), expires_in=seconds),
            )

    async def _refer(self, history: History) -> None:
        """An undisturbed run."""
        async with self.database(history) as db:
            with self.worker(db.url, f"reference-{history}") as worker:
                await worker.until_said("ready")
                clock = asyncio.get_running_loop().time
                began = clock()
                await trigger(db, SLOT)
                await self.closed(db)
                self.seconds[history] = clock() - began
            self.references[history] = await snapshot(db)
            assert not await left_over(db)

    async def drop(self) -> None:
        for template in self.templates.values():
            await administer(self.server_url, f"drop database if exists {template} with (force)")

    @asynccontextmanager
    async def database(self, history: History, now: datetime = NOW) -> AsyncGenerator[Database]:
        """A database in which the accounts are due; its clock begins at ``now``."""
        name = f"tm_chaos_{secrets.token_hex(6)}"
        # A sequence copied from the template takes its next values from what the template's WAL allowed for. Killed
        # before a checkpoint, the server would have it begin again at the copy's value, and give out ids twice.
        # Copying files ends with a checkpoint.
        template = self.templates[history]
        await administer(self.server_url, f"create database {name} template {template} strategy file_copy")
        try:
            async with await Database.open(with_database(self.server_url, name), name="chaos tests") as db:
                await db.fetchval("select tidemill.set_clock($1)", now)
                yield db
        finally:
            await administer(self.server_url, f"drop database if exists {name} with (force)")

    def worker(self, url: str, name: str, **settings: str) -> Process:
        """A worker process on a database, with a short lease."""
        log = self.directory / f"{name}-{secrets.token_hex(3)}.log"
        return Process("tests.chaos.worker_process", log, {**self.environment(url), **settings})

    def environment(self, url: str) -> dict[str, str]:
        return {
            "TIDEMILL_DATABASE_URL": url,
            "TIDEMILL_THREADS_BASE_URL": self.simulator.url,
            "TIDEMILL_THREADS_APP_ID": "1000200030004000",
            "TIDEMILL_VAULT_KEYS": KEYS,
            "TIDEMILL_LEASE_TTL_S": str(LEASE_S),
            "TIDEMILL_SYNC_ACCOUNTS_AT_ONCE": "3",
        }

    async def closed(self, db: Database, runs: int = 1) -> None:
        """Wait until so many runs are closed and no job is left."""

        async def over() -> bool:
            return await db.fetchval(
                "select count(completed_at) >= $1 and count(completed_at) = count(*)"
                " and not exists (select from tidemill.job_ready) and not exists (select from tidemill.job_lease)"
                " and not exists (select from tidemill.job_delayed) from system_job_logs where status <> 'skipped'",
                runs,
            )

        await until(over, what="a closed run")

    async def verify(self, db: Database, history: History) -> None:
        """The database must say what it says after an undisturbed run."""
        assert await left_over(db) == {}
        found = differences(await snapshot(db), self.references[history])
        assert not found, "\n".join(found)


async def trigger(db: Database, slot: datetime) -> int:
    """Enqueue the job that the built-in schedule enqueues at a slot."""
    registry = Registry()
    registry.add(Kind("scheduled_sync", _nothing, max_attempts=5))
    return await Engine(db, registry).enqueue("scheduled_sync", {"fire_at": slot.isoformat()})


async def run_of(db: Database, slot: datetime) -> UUID:
    return await db.fetchval("select id from system_job_logs where sync_batch_at = $1 and status <> 'skipped'", slot)
