from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.web.support import UntouchableDatabase, finished_door, functions
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database
from tidemill.web import health
from tidemill.web.health import Readiness


async def test_healthz_says_that_the_process_lives_and_asks_nobody() -> None:
    async with functions(UntouchableDatabase(), finished_door()) as client, client.get("/healthz") as response:
        assert response.status == 200
        assert await response.json() == {"status": "ok"}


async def test_readyz_is_200_on_a_migrated_database(db: Database) -> None:
    async with functions(db, finished_door()) as client, client.get("/readyz") as response:
        assert response.status == 200
        assert await response.json() == {"status": "ok"}


async def test_readyz_names_a_schema_that_is_out_of_date(db: Database) -> None:
    await db.execute("delete from tidemill.schema_migrations where version = '20261122000700'")
    async with functions(db, finished_door()) as client, client.get("/readyz") as response:
        assert response.status == 503
        assert await response.json() == {"status": "unavailable", "reasons": ["schema_out_of_date"]}


async def test_readyz_names_a_database_that_was_never_migrated(empty_database_url: str) -> None:
    async with (
        await Database.open(empty_database_url) as db,
        functions(db, finished_door()) as client,
        client.get("/readyz") as response,
    ):
        assert response.status == 503
        assert await response.json() == {"status": "unavailable", "reasons": ["schema_out_of_date"]}


async def test_a_schema_newer_than_this_version_is_ready(db: Database) -> None:
    await db.execute("insert into tidemill.schema_migrations (version, name) values ('29991231235959', 'later')")
    async with functions(db, finished_door()) as client, client.get("/readyz") as response:
        assert response.status == 200


class Ailing:
    """A database that does as it is told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.silent = False
        self.calls = 0

    async def fetchval(self, sql: str) -> bool:
        self.calls += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return False


async def test_readyz_names_a_database_that_cannot_be_reached_or_keeps_silent() -> None:
    for trouble in ({"error": DatabaseUnavailable("postgresql://boss:hunter2@db")}, {"silent": True}):
        db: Any = Ailing()
        for name, value in trouble.items():
            setattr(db, name, value)
        async with functions(db, finished_door()) as client, client.get("/readyz") as response:
            assert response.status == 503
            assert await response.json() == {"status": "unavailable", "reasons": ["database_unreachable"]}


async def test_many_probes_at_once_ask_the_database_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 30.0)
    db: Any = Ailing()
    async with functions(db, finished_door()) as client:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
        for answer in answers:
            answer.release()
    assert db.calls == 1


async def test_an_answer_is_good_for_a_moment_only(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ailing: Any = Ailing()
    readiness, request = Readiness(ailing, asyncio.Event()), Any
    assert (await readiness.readyz(request)).status == 503  # type: ignore[arg-type]
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.0)
    await readiness.readyz(request)  # type: ignore[arg-type]
    assert ailing.calls == 2


async def test_a_server_that_stops_is_not_ready() -> None:
    stopping = asyncio.Event()
    stopping.set()
    db: Any = UntouchableDatabase()
    response = await Readiness(db, stopping).readyz(Any)  # type: ignore[arg-type]
    assert response.status == 503
    assert b"stopping" in response.body  # type: ignore[operator]
