"""Looking at the jobs that wait: asserting, refuting, and what is told when it is otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tidemill import InvalidInput
from tidemill.testing import Harness

from .shop import Parcel, anything, app, lose, report, send

SOON = datetime(2090, 1, 1, tzinfo=UTC)


@pytest.fixture
async def waiting(tm: Harness) -> Harness:
    await app.enqueue(send, Parcel(1, "ada", express=True), key="one", delay=timedelta(hours=1))
    await app.enqueue(send, Parcel(2, "bob"), at=SOON)
    await app.enqueue(anything, {"tenant": 7, "deep": {"a": 1, "b": [1, {"c": None}]}, "when": SOON})
    return tm


@pytest.mark.parametrize(
    ("job", "like", "found"),
    [
        (send, {}, 2),
        (send, {"args": {"to": "ada"}}, 1),
        (send, {"args": Parcel(2, "bob")}, 1),
        (send, {"args": Parcel(2)}, 0),
        (send, {"args": {"express": 1}}, 0),
        (send, {"queue": "mail"}, 2),
        (send, {"queue": "default"}, 0),
        (send, {"key": "one"}, 1),
        (send, {"key": "two"}, 0),
        (send, {"delay": 3600}, 1),
        (send, {"delay": timedelta(minutes=59)}, 0),
        (send, {"at": SOON}, 1),
        (send, {"at": SOON + timedelta(microseconds=1)}, 0),
        (send, {"args": {"to": "ada"}, "at": SOON}, 0),
        (anything, {"args": {"deep": {"a": 1}}}, 1),
        (anything, {"args": {"deep": {"b": [1, {"c": None}]}, "when": SOON}}, 1),
        (anything, {"args": {"deep": {"b": [1]}}}, 0),
        (anything, {"args": {"deep": {"z": None}}}, 0),
        (anything, {"tenant": UUID(int=7)}, 1),
        (anything, {"tenant": UUID(int=8)}, 0),
        (anything, {"delay": 0}, 0),
        ("tests.testing.shop.anything", {}, 1),
        (lose, {}, 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_a_job_is_found_by_what_it_was_enqueued_with(
    waiting: Harness, job: Any, like: dict[str, Any], found: int
) -> None:
    if found:
        assert len(await waiting.assert_enqueued(job, times=found, **like)) == found
        with pytest.raises(AssertionError, match=rf"^{found} such jobs wait, and none should: tests\.testing\.shop\."):
            await waiting.refute_enqueued(job, **like)
    else:
        await waiting.refute_enqueued(job, **like)
        with pytest.raises(AssertionError, match=r"^no such job waits: tests\.testing\.shop\."):
            await waiting.assert_enqueued(job, **like)


async def test_near_misses_are_told_nearest_first_with_what_differs(waiting: Harness) -> None:
    [one, two] = await waiting.enqueued(send)
    with pytest.raises(AssertionError) as told:
        await waiting.assert_enqueued(send, args={"to": "bob", "express": False}, key="one")
    assert str(told.value).splitlines() == [
        "no such job waits: tests.testing.shop.send  args={'to': 'bob', 'express': False}  key='one'",
        "Of the kind, nearest first:",
        f"  {two.id}  {two}",
        "     key: None instead of 'one'",
        f"  {one.id}  {one}",
        "     args.to: 'ada' instead of 'bob'",
        "     args.express: True instead of False",
    ]
    assert str(two) == (
        "tests.testing.shop.send  args={'to': 'bob', 'number': 2, 'express': False}  queue='mail'"
        "  at=2090-01-01 00:00:00+00:00"
    )


async def test_jobs_of_other_kinds_are_told_when_none_of_the_kind_waits(tm: Harness) -> None:
    await app.enqueue(anything, {"tenant": 1, "extra": [1]})
    await tm.assert_enqueued(anything, args={"tenant": 1})
    with pytest.raises(AssertionError, match=r"None of the kind waits\. Others do: \S+anything \(1\)"):
        await tm.assert_enqueued(send)


async def test_when_nothing_waits_that_is_told(tm: Harness) -> None:
    with pytest.raises(AssertionError, match=r"no such job waits: \S+report\nNo job waits\.$"):
        await tm.assert_enqueued(report)


async def test_another_number_of_jobs_is_told_with_the_jobs_but_not_with_all_of_many(tm: Harness) -> None:
    for n in range(8):
        await app.enqueue(send, Parcel(n))
    with pytest.raises(AssertionError, match=r"^8 such jobs wait instead of 1: ") as told:
        await tm.assert_enqueued(send, queue="mail", times=1)
    assert len(str(told.value).splitlines()) == 7
    assert str(told.value).endswith("… and 3 more")


async def test_a_job_that_waits_to_be_tried_again_is_among_them(tm: Harness) -> None:
    await app.enqueue(lose, Parcel(1))
    await tm.drain()
    [job] = await tm.assert_enqueued(lose, args=Parcel(1))
    assert job.attempt == 1
    assert job.at is not None
    assert job.at > await tm.now()


@pytest.mark.parametrize(
    ("like", "field", "told"),
    [
        ({"args": {"nummer": 1}}, "args.nummer", "it takes: express, number, to"),
        ({"args": 7}, "args", "object with named fields"),
        ({"at": datetime(2026, 1, 1)}, "at", "time zone"),
        ({"arg": {"number": 1}}, "arg", "there are: args, queue, key, tenant, at, delay"),
    ],
    ids=["an argument that there is not", "no object", "no time zone", "a word misspelt"],
)
async def test_what_no_such_job_can_have_is_refused_rather_than_not_found(
    tm: Harness, like: dict[str, Any], field: str, told: str
) -> None:
    for ask in (tm.assert_enqueued, tm.refute_enqueued):
        with pytest.raises(InvalidInput, match=told) as e:
            await ask(send, **like)
        assert e.value.field == field


async def test_a_job_that_is_not_declared_is_refused(tm: Harness) -> None:
    async def stranger() -> None:
        pass

    with pytest.raises(InvalidInput, match="not declared"):
        await tm.refute_enqueued(stranger)
    with pytest.raises(InvalidInput, match="no job kind 'nobody'"):
        await tm.assert_enqueued("nobody")
    with pytest.raises(InvalidInput, match="refute_enqueued"):
        await tm.assert_enqueued(send, times=0)
