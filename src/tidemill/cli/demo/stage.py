"""The stage: database, simulator, functions server and worker, all on this machine, all gone at the end."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import secrets
import time
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from tidemill import logging
from tidemill.app import Rooms
from tidemill.cli.demo.narrator import Narrator
from tidemill.cli.demo.simulator import Simulator, simulated
from tidemill.cli.demo.statements import SQL
from tidemill.cli.demo.tap import NAME as TAP
from tidemill.cli.demo.tap import Tap
from tidemill.cli.exits import NotWell
from tidemill.cli.fleet import Fleet, this_command
from tidemill.errors import InvalidInput
from tidemill.postgres import Database, check, migrate
from tidemill.postgres.home import Home
from tidemill.settings import Settings
from tidemill.vault.keyfile import read_or_make
from tidemill.web import functions
from tidemill.web.api import Api

BEFORE_FIRST_TICK = timedelta(minutes=5)
"""How long before the first tick the accounts are connected, on both clocks."""
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the demo keeps its data. ``database_url`` None is the embedded server of ``folder``."""

    folder: Path
    database_url: str | None

    @property
    def tap(self) -> Tap:
        """What the company runs whose source is real."""
        return Tap(self.folder.resolve() / "taps")


@dataclass(frozen=True, slots=True)
class Stage:
    """All that is running.

    Attributes:
        app: this process's own connections.
        simulator: the provider.
        functions_url: the functions server.
        secret: what it takes for a scheduler's.
    """

    app: Rooms
    simulator: Simulator
    functions_url: str
    secret: str


@asynccontextmanager
async def raised(plan: Plan, first_slot: datetime, narrator: Narrator) -> AsyncGenerator[Stage]:
    """Raise it, with both clocks a few minutes before the first tick; take it down at the end.

    Raises:
        InvalidInput: the database given is somebody's.
        NotWell: another demo plays there, or a process does not start.
        DatabaseUnavailable: Postgres cannot be reached or started.
    """
    began = time.monotonic()
    start = first_slot - BEFORE_FIRST_TICK
    Home.make(plan.folder.parent)
    folder = Home.make(plan.folder).folder
    environ = _bare_environ()
    with (
        (folder / "demo.log").open("w", encoding="utf-8") as own_log,
        (folder / "worker.log").open("w", encoding="utf-8") as worker_log,
    ):
        logging.configure("json", stream=own_log)
        async with simulated(start, environ, folder) as simulator:
            settings = _settings(plan, folder, simulator)
            if plan.database_url is not None:
                await _claim_database(plan.database_url)
            async with Rooms.open(settings, name="tidemill demo") as app:
                await _clear(app.db)
                await app.db.execute("select tidemill.set_clock($1)", start)
                place = plan.folder if plan.database_url is None else "the database given"
                narrator.done("database", f"Postgres {await _version(app.db)}, in {place}")
                narrator.done("simulator", f"a stand-in for the Threads API at {simulator.url}")
                stop = asyncio.Event()
                worker = this_command("worker", "--no-schedule")
                fleet = Fleet(worker, 1, stop, _environ(environ, app), output=worker_log.fileno(), folder=folder)
                url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
                rooms = (_serve(app, stop, url), _work(fleet, folder / "worker.log"))
                async with _open_rooms(stop, rooms):
                    base = await url
                    narrator.done("functions", f"{base}/functions/v1, ready after {time.monotonic() - began:.1f} s")
                    yield Stage(app, simulator, base, settings.cron_secret or "")
                # What was written stands in the past: the real clock never falls behind it.
                await app.db.execute("select tidemill.reset_clock()")


@asynccontextmanager
async def _open_rooms(stop: asyncio.Event, rooms: Iterable[Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Run ``rooms`` beside the block; one that fails ends the block. They stop gracefully, however the block ends."""
    body = asyncio.current_task()
    assert body is not None  # noqa: S101 - a coroutine runs in a task
    tasks = [asyncio.create_task(room) for room in rooms]

    def ended(_: asyncio.Task[None]) -> None:
        if not stop.is_set():
            body.cancel()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait(tasks)
        for task in tasks:
            task.result()


async def _serve(app: Rooms, stop: asyncio.Event, url: asyncio.Future[str]) -> None:
    api = Api(app.connectors, app.vault, job_types=app.sync_jobs.types)
    await functions.serve(app.settings, app.db, app.sync, stop=stop, api=api, port=0, ready=url.set_result)


async def _work(fleet: Fleet, log: Path) -> None:
    if code := await fleet.run():
        raise NotWell(f"the demo's worker ends with code {code}; see {log}")


def _settings(plan: Plan, folder: Path, simulator: Simulator) -> Settings:
    """Nothing of the environment's: the demo is the same everywhere."""
    return Settings(
        database_url=plan.database_url,
        data_dir=folder,
        cron_secret=secrets.token_urlsafe(32),
        jwt_secret=secrets.token_urlsafe(32),
        vault_keys=read_or_make(folder / "vault.key"),
        threads_base_url=simulator.url,
        threads_app_id=simulator.app_id,
        threads_app_secret=simulator.app_secret,
        threads_redirect_uri="http://127.0.0.1/connected",
        singer_taps={TAP: plan.tap.program},
    )


def _bare_environ() -> dict[str, str]:
    """This process's environment without any setting of Tidemill's."""
    ours = {name for f in dataclasses.fields(Settings) for name in cast("tuple[str, ...]", f.metadata["names"])}
    return {name: value for name, value in os.environ.items() if name not in ours}


def _environ(bare: dict[str, str], app: Rooms) -> dict[str, str]:
    settings = app.settings
    return bare | {
        "TIDEMILL_DATABASE_URL": app.url,
        "TIDEMILL_VAULT_KEYS": settings.vault_keys or "",
        "TIDEMILL_THREADS_BASE_URL": settings.threads_base_url,
        "TIDEMILL_THREADS_APP_ID": settings.threads_app_id or "",
        "TIDEMILL_SINGER_TAPS": ",".join(
            f"{name}={path}" for name, path in (settings.singer_taps or {}).items() if "," not in str(path)
        ),
        "TIDEMILL_LOG_FORMAT": "json",
    }


async def _version(db: Database) -> str:
    return str(await db.fetchval("show server_version")).split()[0]


async def _claim_database(url: str) -> None:
    """Bring the schema up, in a database that holds nobody's data but an earlier demo's."""
    if (await check(url)).applied:
        async with await Database.open(url, max_size=1, name="tidemill demo") as db:
            if await db.fetchval(SQL.is_somebodys):
                raise InvalidInput("--database-url", "this database holds tenants; the demo needs one of its own")
    await migrate(url)


async def _clear(db: Database) -> None:
    """Remove what an earlier demo left, once its workers are gone."""
    leases = await _leases(db)
    while leases:
        await asyncio.sleep(_POLL_S)
        now = await _leases(db)
        if any(expires_at > leases.get(node, expires_at) for node, expires_at in now.items()):
            raise NotWell("another demo is running on this database; end it first")
        leases = {node: leases.get(node, expires_at) for node, expires_at in now.items()}
    await db.execute(SQL.clear, timeout=300)
    await db.execute(SQL.mark)
    await db.execute("select tidemill.reset_clock()")


async def _leases(db: Database) -> dict[int, datetime]:
    """The workers that count as alive, and until when: one that was killed does not renew, and is gone in seconds."""
    return {row["id"]: row["expires_at"] for row in await db.fetch(SQL.workers_alive)}
