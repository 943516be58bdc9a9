"""The harness for tests that know no event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tidemill import ConfigurationError, DatabaseUnavailable, KeyHeld
from tidemill.blocking import Client
from tidemill.testing import PlainHarness

from .shop import Lost, Parcel, app, lose, noted, report, send, twice


@pytest.fixture(autouse=True)
def nothing_noted() -> None:
    noted.clear()


@pytest.fixture
def tm(database_url: str) -> Iterator[PlainHarness]:
    with PlainHarness(app, database_url) as tm:
        yield tm


def test_jobs_wait_until_they_are_drained(tm: PlainHarness) -> None:
    tm.client.enqueue(twice, Parcel(1), key="k")
    with pytest.raises(KeyHeld):
        tm.client.enqueue(twice, Parcel(2), key="k")
    [job] = tm.assert_enqueued(twice, args={"number": 1}, key="k", times=1)
    tm.refute_enqueued(send)
    assert [found.id for found in tm.enqueued()] == [job.id]
    assert tm.drain().counts == {"done": 3}
    assert noted == [1, 10, 11]


def test_inline_jobs_have_run_when_any_client_returns(tm: PlainHarness) -> None:
    with tm.inline(), Client(app) as theirs:
        theirs.enqueue(twice, Parcel(1))
        assert noted == [1, 10, 11]
        theirs.enqueue_many([app.prepare(send, Parcel(2)), app.prepare(send, Parcel(3))])
        assert noted[3:] == [2, 3]
        with pytest.raises(Lost):
            tm.client.enqueue(lose, Parcel(1))
    tm.client.enqueue(send, Parcel(4))
    assert noted[5:] == []


def test_time_is_moved(tm: PlainHarness) -> None:
    tm.travel(to=datetime(2026, 5, 1, 12, tzinfo=UTC))
    tm.advance(timedelta(days=1))
    assert tm.now() >= datetime(2026, 5, 2, 12, tzinfo=UTC)
    assert tm.tick() == datetime(2026, 5, 3, 0, 30, tzinfo=UTC)
    tm.assert_enqueued(report)


def test_code_under_test_may_open_the_application_in_a_loop_of_its_own_and_jobs_run_inline_all_the_same(
    tm: PlainHarness,
) -> None:
    async def served() -> list[int]:
        async with app:
            await app.enqueue(twice, Parcel(1))
            return list(noted)

    with tm.inline():
        assert asyncio.run(served()) == [1, 10, 11]


def test_nothing_is_left_behind(database_url: str) -> None:
    settings = app.settings
    with PlainHarness(app, database_url) as tm:
        client = tm.client
        assert app.settings is not settings
    assert app.settings is settings
    assert not {"tidemill harness", "tidemill client"} & {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConfigurationError, match="closed"):
        client.enqueue(send, Parcel(1))


def test_a_database_that_is_not_there_is_told_and_nothing_is_left_behind() -> None:
    settings = app.settings
    with pytest.raises(DatabaseUnavailable), PlainHarness(app, "postgresql://nobody@127.0.0.1:1/none"):
        pass
    assert app.settings is settings
    assert "tidemill harness" not in {thread.name for thread in threading.enumerate()}
