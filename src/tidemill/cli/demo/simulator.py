"""The simulated provider: a process of its own, and what the demo says to its control door."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tidemill.cli.exits import NotWell
from tidemill.cli.fleet import this_command

ACCOUNTS, POSTS, SEED = 60, 30, 7
START_S, STOP_S, CALL_S = 60.0, 10.0, 30.0


class _Ready(msgspec.Struct):
    url: str
    app_id: str
    app_secret: str


class Simulator:
    """The simulator, running."""

    def __init__(self, ready: _Ready, http: aiohttp.ClientSession) -> None:
        self.url = ready.url
        self.app_id = ready.app_id
        self.app_secret = ready.app_secret
        self.http = http

    async def accounts(self) -> list[dict[str, Any]]:
        """Every account there is: ``id``, ``username``, ``posts``."""
        return await self._ask("GET", "accounts")

    async def posts(self, user: str) -> list[dict[str, Any]]:
        """An account's posts, newest first."""
        return await self._ask("GET", f"posts?user={user}")

    async def token(self, user: str, expires_in: int) -> str:
        """A token that lives for so many seconds."""
        return (await self._ask("POST", "token", {"user": user, "expires_in": expires_in}))["access_token"]

    async def fail(self, rules: list[dict[str, Any]]) -> None:
        """Add fault rules."""
        await self._ask("POST", "faults", rules)

    async def set_clock(self, at: datetime, *, freeze: bool = True) -> None:
        """Go to an instant; stand still there, or run on."""
        await self._ask("POST", "clock", {"set": at.isoformat(), "freeze": freeze})

    async def calls(self) -> dict[str, int]:
        """Calls so far, by endpoint."""
        return (await self._ask("GET", "calls"))["by_endpoint"]

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        async with self.http.request(method, f"{self.url}/_sim/{path}", json=body) as response:
            response.raise_for_status()
            return await response.json()


@asynccontextmanager
async def simulated(at: datetime, environ: dict[str, str], folder: Path) -> AsyncGenerator[Simulator]:
    """Start it with its clock standing at ``at``; stop it at the end. It does not outlive this process.

    Raises:
        NotWell: it does not start.
    """
    command = this_command("simulator", "threads", "--accounts", str(ACCOUNTS), "--posts-per-account", str(POSTS))
    command += ["--seed", str(SEED), "--clock", at.isoformat(), "--anchor", at.isoformat(), "--new-post-every", "7200"]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=environ, cwd=folder
    )
    try:
        assert child.stdout is not None  # noqa: S101 - asked for above
        assert child.stderr is not None  # noqa: S101 - asked for above
        line = b""
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(child.stdout.readline(), START_S)
        if not line:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            raise NotWell(f"the simulator does not start: {(await child.stderr.read(2000)).decode(errors='replace')}")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_S)) as http:
            yield Simulator(msgspec.json.decode(line, type=_Ready), http)
    finally:
        await _end(child)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(child.wait(), STOP_S)
    except TimeoutError:
        child.kill()
        await child.wait()
