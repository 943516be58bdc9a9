"""What the web tests share: a stand-in for the sync room, a database nobody may touch, tokens, a served application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import jwt

from tidemill.postgres import Database
from tidemill.settings import Settings
from tidemill.sync import RunState, Step, Triggered
from tidemill.web.functions import build_functions
from tidemill.web.serving import serving

CRON_SECRET = "a-cron-secret-of-good-length"
JWT_SECRET = "a-jwt-secret-that-has-at-least-thirty-two-bytes"
BEARER = {"Authorization": f"Bearer {CRON_SECRET}"}
STARTED = datetime(2026, 1, 2, 3, 15, tzinfo=UTC)


def settings_of(**changed: Any) -> Settings:
    return Settings(**{"cron_secret": CRON_SECRET, "jwt_secret": JWT_SECRET, **changed})


def state_of(run_id: UUID, status: str = "completed", **changed: Any) -> RunState:
    state = RunState(
        run_id=run_id,
        status=status,
        started_at=STARTED,
        completed_at=None if status in ("pending", "running") else STARTED,
        total_accounts=3,
        success_count=2,
        error_count=0,
        skipped_count=1,
        results=[{"account_id": "a", "status": "completed"}],
        skipped_reason=None,
    )
    return replace(state, **changed)


@dataclass
class StandInDoor:
    """A sync room whose runs end when the test says so."""

    triggered: list[dict[str, Any]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    runs: dict[UUID, RunState] = field(default_factory=dict)
    answer: Triggered | Exception | None = None
    ends_as: str = "completed"
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    async def trigger_scheduled(self, *, trigger: str, request_key: str) -> Triggered:
        return self._trigger(trigger=trigger, request_key=request_key)

    async def trigger_manual(self, account_id: UUID, step: Step, *, user_id: UUID, request_key: str) -> Triggered:
        return self._trigger(account_id=account_id, step=step, user_id=user_id, request_key=request_key)

    async def wait(self, run_id: UUID, seconds: float) -> RunState | None:
        self.waits.append(seconds)
        if run_id not in self.runs:
            return None
        self.waiting.set()
        if not self.finished.is_set() and seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.finished.wait(), seconds)
        if self.finished.is_set() and self.runs[run_id].status == "running":
            self.runs[run_id] = state_of(run_id, self.ends_as)
        return self.runs[run_id]

    def _trigger(self, **call: Any) -> Triggered:
        self.triggered.append(call)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        run_id = uuid4()
        self.runs[run_id] = state_of(run_id, "running")
        return Triggered(run_id, skipped=False, reason=None, locked_until=None)


class UntouchableDatabase:
    """Fails whoever does anything with it, and remembers."""

    def __init__(self) -> None:
        self.touched: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.touched.append(name)
        raise AssertionError(f"the database was touched: {name}")


def finished_door(**changed: Any) -> StandInDoor:
    door = StandInDoor(**changed)
    door.finished.set()
    return door


@asynccontextmanager
async def functions(
    db: Database | UntouchableDatabase, door: StandInDoor, settings: Settings | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """The functions server on a free port, and a client whose base is its URL."""
    app = build_functions(settings or settings_of(), db, door)  # type: ignore[arg-type]
    async with serving(app, host="127.0.0.1", port=0) as url, aiohttp.ClientSession(url) as client:
        yield client


def claims_of(user_id: UUID, **changed: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {"sub": str(user_id), "aud": "authenticated", "role": "authenticated", "iat": now, "exp": now + 3600}
    return {name: value for name, value in (claims | changed).items() if value is not None}


def token_of(user_id: UUID, **changed: Any) -> str:
    return jwt.encode(claims_of(user_id, **changed), JWT_SECRET, algorithm="HS256")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def error_of(response: aiohttp.ClientResponse) -> str:
    """The error's code; checks the shape that every error has."""
    body = await response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "id"}
    assert body["error"]["id"] == response.headers["X-Request-Id"]
    return body["error"]["code"]
