from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
import pytest

from tidemill.simulators.threads import ThreadsSimulator

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
METRICS = "views,likes,replies,reposts,quotes,shares"


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        assert self.status >= 400, self.body
        return self.json["error"]

    @property
    def code(self) -> tuple[int, int | None]:
        return self.error["code"], self.error.get("error_subcode")


class Client:
    """A plain HTTP client of the simulator, which it also holds in reach."""

    def __init__(self, sim: ThreadsSimulator, session: aiohttp.ClientSession) -> None:
        self.sim, self.session = sim, session

    async def get(self, path: str, token: str | None = None, **params: object) -> Reply:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        query = {name: str(value) for name, value in params.items()}
        return await self._send("GET", path, params=query, headers=headers)

    async def post(self, path: str, **form: object) -> Reply:
        return await self._send("POST", path, data={name: str(value) for name, value in form.items()})

    async def control(self, method: str, path: str, body: object = None) -> Reply:
        data = None if body is None else msgspec.json.encode(body)
        return await self._send(method, f"/_sim/{path}", data=data)

    async def _send(self, method: str, path: str, **more: Any) -> Reply:
        url = path if path.startswith("http") else self.sim.url + path
        async with self.session.request(method, url, allow_redirects=False, **more) as response:
            return Reply(response.status, response.headers, await response.read())


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        session._retry_connection = False  # aiohttp repeats a GET by itself when the connection breaks
        yield session


@pytest.fixture
async def sim() -> AsyncIterator[ThreadsSimulator]:
    async with ThreadsSimulator(seed=7, accounts=5, posts=60, start=START) as sim:
        yield sim


@pytest.fixture
def client(sim: ThreadsSimulator, session: aiohttp.ClientSession) -> Client:
    return Client(sim, session)


@pytest.fixture
def token(sim: ThreadsSimulator) -> str:
    """A long token of the first account with every scope, two days old."""
    return sim.issue_token(sim.accounts[0], age=2 * 86_400).text
