"""What the contenders of the sync benchmark share: a simulator in its own process and accounts connected to it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import aiohttp

from tidemill.app import Rooms
from tidemill.connectors.threads import LongToken, Profile
from tidemill.postgres import connect, migrate
from tidemill.settings import Settings
from tidemill.sync import connect_account
from tidemill.vault import Secret

POST_FIELDS = "id,media_type,text,permalink,shortcode,media_url,thumbnail_url,timestamp,is_quote_post"
POST_METRICS = "views,likes,replies,reposts,quotes,shares"
WINDOW_METRICS = "views,likes,replies,reposts,quotes,clicks"
"""What the Threads connector asks for, so that every contender makes the same calls."""

START = datetime(2026, 11, 22, 10, 0, 30, tzinfo=UTC)
VAULT_KEYS = "bench:" + "A" * 43 + "="


@dataclass(frozen=True, slots=True)
class World:
    """How to reach everything; passed to contenders as JSON."""

    database_url: str
    simulator_url: str
    app_id: str

    def to_json(self) -> str:
        """For a contender's command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> World:
        """The other side of :meth:`to_json`."""
        return cls(**json.loads(text))

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, accounts: int, posts: int, latency_ms: int) -> AsyncGenerator[World]:
        """Start a simulator, make a database and connect ``accounts`` accounts with ``posts`` due posts each."""
        command = [sys.executable, "-m", "tidemill.simulators.threads", "--port", "0", "--accounts", str(accounts)]
        command += ["--posts-per-account", str(posts), "--young-share", "1", "--new-post-every", "0"]
        command += ["--clock", START.isoformat(), "--latency-ms", str(latency_ms)]
        simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - quick
        assert simulator.stdout is not None
        try:
            ready = json.loads(await asyncio.to_thread(simulator.stdout.readline))
            database = await _make_database(url, f"bench_{accounts}_{latency_ms}")
            world = cls(database, ready["url"], ready["app_id"])
            await world._connect()
            yield world
        finally:
            simulator.terminate()
            simulator.wait(timeout=30)

    def settings(self) -> Settings:
        """For a Tidemill in this world."""
        return Settings(
            database_url=self.database_url,
            threads_base_url=self.simulator_url,
            threads_app_id=self.app_id,
            vault_keys=VAULT_KEYS,
            sync_calls_in_flight=100,
        )

    async def _connect(self) -> None:
        async with Rooms.open(self.settings()) as app, aiohttp.ClientSession() as http:
            await app.db.execute("select tidemill.set_clock($1)", START)
            workspace, user = uuid4(), uuid4()
            await app.db.execute("insert into auth.users (id, email) values ($1, 'bench@example.com')", user)
            await app.db.execute(
                "insert into public.workspaces (id, name, created_by_user_id) values ($1, 'bench', $2)", workspace, user
            )
            for account in await self.accounts(http):
                token = await self.token(http, account["id"])
                await connect_account(
                    app.db,
                    app.vault,
                    workspace=workspace,
                    user=user,
                    profile=Profile(id=account["id"], username=account["username"]),
                    token=LongToken(token=Secret(token), expires_in=5_000_000),
                )
            await app.db.execute("vacuum analyze")

    async def accounts(self, http: aiohttp.ClientSession) -> list[dict[str, Any]]:
        """The simulator's accounts."""
        async with http.get(f"{self.simulator_url}/_sim/accounts") as answer:
            body: Any = await answer.json()
        return cast("list[dict[str, Any]]", body["accounts"] if isinstance(body, dict) else body)

    async def token(self, http: aiohttp.ClientSession, user: str) -> str:
        """A long-lived token of an account."""
        async with http.post(f"{self.simulator_url}/_sim/token", json={"user": user}) as answer:
            return (await answer.json())["access_token"]

    async def advance(self, http: aiohttp.ClientSession, app: Rooms | None = None) -> None:
        """Move the simulator's clock, and Tidemill's with it, to the next slot."""
        async with http.post(f"{self.simulator_url}/_sim/clock", json={"advance_s": 900}) as answer:
            now = datetime.fromisoformat((await answer.json())["now"])
        if app is not None:
            await app.db.execute("select tidemill.set_clock($1)", now)

    @staticmethod
    def week(now: datetime) -> tuple[int, int]:
        """The seven days that account insights are asked for."""
        return int((now - timedelta(days=7)).timestamp()), int(now.timestamp())


async def _make_database(server: str, name: str) -> str:
    """A migrated database of its own."""
    conn = await connect(server, name="benchmark")
    await conn.execute(f"create database {name}")
    conn.terminate()
    url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    await migrate(url)
    return url
