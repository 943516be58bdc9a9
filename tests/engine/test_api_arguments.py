"""What a job takes, and how it says no."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tidemill import InvalidInput, Settings, Tidemill
from tidemill.engine.arguments import Arguments
from tidemill.postgres import Database

from .api_app import Greeting, Letter, Order, Point, Report, add_jobs, greet, loose
from .api_running import running
from .support import quiet


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


_UNKNOWN = _Unknown()

TOO_DEEP: dict[str, Any] = {}
for _ in range(5000):
    TOO_DEEP = {"a": TOO_DEEP}
TOO_LONG = {"a": "x" * 50_000_000}


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        (Greeting, {}, "args.name"),
        (Greeting, {"name": 1}, "args.name"),
        (Greeting, {"name": "x", "times": "1"}, "args.times"),
        (Greeting, {"name": "x", "tiems": 2}, "args.tiems"),
        (Greeting, Greeting(name=3), "args.name"),  # type: ignore[arg-type]
        (Greeting, None, "args.name"),
        (Greeting, "x", "args"),
        (Greeting, ["x"], "args"),
        (Greeting, 7, "args"),
        (Order, {"id": "no", "lines": []}, "args.id"),
        (Order, {"id": "5e8a6b8b-af6a-4e7e-a4c8-11323bac3a11", "lines": ["a", 2]}, "args.lines[1]"),
        (Order, {"id": "5e8a6b8b-af6a-4e7e-a4c8-11323bac3a11"}, "args.lines"),
        (Point, {"x": 1}, "args.y"),
        (Point, {"x": 1, "y": 2, "z": 3}, "args.z"),
        (Point, {"x": 1, "y": 2.5}, "args.y"),
        (Letter, {}, "args.to"),
        (Letter, {"to": "x", "copies": 0}, "args.copies"),
        (dict[str, int], {"a": "b"}, "args[...]"),
        (dict, {"a": _UNKNOWN}, "args"),
        (dict, {"a": "\0"}, "args"),
        (dict, {"\0": 1}, "args"),
        (dict, {"a": [{"b": "x\0y"}]}, "args"),
        (dict, {"a": "\ud800"}, "args"),
        (dict, {"a": float("nan")}, "args"),
        (dict, {"a": [float("inf")]}, "args"),
        (dict, TOO_DEEP, "args"),
        (dict, TOO_LONG, "args"),
        (dict, "text", "args"),
        (dict, [1], "args"),
    ],
    ids=lambda value: "deep" if value is TOO_DEEP else "long" if value is TOO_LONG else str(value)[:40],
)
def test_arguments_that_cannot_be_taken_are_named(kind: Any, given: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Arguments(kind).pack(given)
    assert refused.value.field == field
    assert len(str(refused.value)) < 400


def test_what_looks_like_a_nul_or_a_nan_and_is_none_is_taken() -> None:
    given = {"a": "\\u0000", "b": None, "c": "null", "d": 2**70}
    assert Arguments().pack(given) == given


def test_what_was_packed_is_read_as_it_was() -> None:
    order = Order(uuid4(), ["a"])
    assert Arguments(Order).read(Arguments(Order).pack(order)) == order
    letter = Letter(to="x")
    assert Arguments(Letter).read(Arguments(Letter).pack(letter)) == letter
    assert Arguments(Greeting).pack({"name": "x"}) == {"name": "x", "times": 1}


@given(st.builds(Greeting, st.text() | st.integers() | st.none(), st.integers() | st.floats() | st.booleans()))
def test_an_instance_is_packed_at_once_as_it_would_be_closely_looked_at_or_not_at_all(value: Greeting) -> None:
    packed = Arguments(Greeting).pack_instance(value)
    event("at once" if packed else "not at once")
    if packed is not None:
        assert msgspec.json.decode(packed) == Arguments(Greeting).pack(value)


@pytest.mark.parametrize(
    "value",
    [Greeting("\0"), Greeting(1), Greeting("x" * 2_000_000), Greeting("\ud800")],  # type: ignore[arg-type]
    ids=["nul", "wrong type", "too large", "half of a pair"],
)
def test_an_instance_that_cannot_be_taken_is_not_packed_at_once(value: Greeting) -> None:
    arguments = Arguments(Greeting)
    assert arguments.pack_instance(value) is None
    with pytest.raises(InvalidInput):
        arguments.pack(value)


def test_what_the_engine_adds_is_taken_or_left_and_is_no_part_of_a_digest() -> None:
    greeting, report = Arguments(Greeting), Arguments(Report)
    fired = greeting.pack({"name": "x", "fire_at": datetime(2026, 1, 1, tzinfo=UTC)})
    assert fired == {"name": "x", "times": 1, "fire_at": "2026-01-01T00:00:00Z"}
    assert greeting.read(fired) == Greeting("x")
    assert greeting.digest(fired) == greeting.digest(greeting.pack(Greeting("x")))
    assert greeting.digest(fired) != greeting.digest(greeting.pack(Greeting("y")))
    summary = {"total": 1, "finished": 1, "counts": {"done": 1}, "reason": "drained"}
    assert report.read(report.pack({"title": "t", "batch": summary})).batch.total == 1
    assert Arguments(Letter).read({"to": "x", "batch": summary}) == Letter(to="x")


async def test_one_bad_job_of_many_keeps_all_of_them_out(database_url: str, db: Database) -> None:
    app = Tidemill(Settings(database_url=database_url, env="test"))
    add_jobs(app)
    async with app:
        good = [app.prepare(greet, Greeting(str(n))) for n in range(10)]
        with pytest.raises(InvalidInput, match=r"args\.name"):
            await app.enqueue_many([*good, app.prepare(greet, {"name": 1})])
        assert await db.fetchval("select count(*) from tidemill.job_ready") == 0
        assert len(set(await app.enqueue_many(good))) == 10


async def test_a_job_that_is_not_declared_is_refused(database_url: str) -> None:
    app = Tidemill(Settings(database_url=database_url, env="test"))
    app.job(loose)
    async with app:
        for stranger in (greet, print, None, 7, []):
            with pytest.raises(InvalidInput, match=r"job: .* is not declared with @app.job"):
                await app.enqueue(stranger)  # type: ignore[arg-type]
        with pytest.raises(
            InvalidInput, match=r"no job kind 'nobody' is registered; known: tests\.engine\.api_app\.loose"
        ):
            await app.enqueue("nobody")


async def test_stored_arguments_that_the_function_no_longer_takes_are_an_error_of_the_attempt(
    database_url: str, db: Database
) -> None:
    settings = Settings(database_url=database_url, env="test")
    before, after = Tidemill(settings), Tidemill(settings)
    before.job(name="mail", max_attempts=1)(loose)
    after.job(name="mail")(greet)
    async with before:
        await before.enqueue("mail", {"nom": "x"})
    async with running(after):
        await quiet(db)
    [(outcome, reason)] = await db.fetch("select outcome, reason from tidemill.job_run")
    assert (outcome, reason) == ("dead", "RefusedArguments: args.name: object missing required field `name`")
