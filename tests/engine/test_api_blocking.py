"""Enqueueing from plain code."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tidemill import ConfigurationError, DatabaseUnavailable, InvalidInput, KeyHeld, Settings, Tidemill
from tidemill.blocking import Client
from tidemill.postgres import Database

from .api_app import Greeting, add_jobs, greet, nothing


def application(url: str) -> Tidemill:
    app = Tidemill(Settings(database_url=url, env="test"))
    add_jobs(app)
    return app


async def test_plain_code_enqueues_from_many_threads_beside_an_open_application(
    database_url: str, db: Database
) -> None:
    app = application(database_url)

    def plain() -> set[int | None]:
        with Client(app) as client, ThreadPoolExecutor(8) as threads:
            ids = set(threads.map(lambda n: client.enqueue(greet, Greeting(str(n))), range(40)))
            many = client.enqueue_many([app.prepare(nothing, key="k"), app.prepare(nothing, key="k")])
            assert many[0] is not None
            assert many[1] is None
            with pytest.raises(KeyHeld):
                client.enqueue(nothing, key="k")
            with pytest.raises(InvalidInput, match=r"args\.name"):
                client.enqueue(greet, {"name": 1})
            return {*ids, many[0]}

    async with app:
        ids = await asyncio.to_thread(plain)
        await app.enqueue(nothing)
    assert len(ids) == 41
    assert await db.fetchval("select count(*) from tidemill.job_ready") == 42


def test_a_client_leaves_no_thread_behind_and_says_that_it_is_closed(database_url: str) -> None:
    client = Client(application(database_url))
    client.close()
    client.close()
    assert "tidemill client" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConfigurationError, match="closed"):
        client.enqueue(nothing)


def test_a_client_that_finds_no_database_says_so_and_leaves_no_thread_behind() -> None:
    with pytest.raises(DatabaseUnavailable):
        Client(application("postgresql://nobody@127.0.0.1:1/none"))
    assert "tidemill client" not in {thread.name for thread in threading.enumerate()}
