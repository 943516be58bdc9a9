"""How a function's return becomes an outcome and a result."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tidemill import Cancel, Context, Done, Fail, Partial, Settings, Skip, Snooze, Tidemill
from tidemill.postgres import Database

from .api_running import ends, running
from .support import quiet


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


_UNKNOWN = _Unknown()


async def test_outcomes_are_recorded_as_what_they_are(database_url: str, db: Database) -> None:
    app = Tidemill(Settings(database_url=database_url, env="test"))
    naps = 0

    @app.job
    async def end(ctx: Context, args: dict[str, Any]) -> Any:
        nonlocal naps
        match args["how"]:
            case "snooze" if not naps:
                naps += 1
                return Snooze(0.01)
            case "partial":
                return Partial("half", {"n": 1})
            case "skip":
                return Skip("nothing to do")
            case "cancel":
                return Cancel("no more")
            case "fail":
                return Fail("never")
            case _:
                return Done()

    async with running(app):
        ids = {how: await app.enqueue(end, {"how": how}) for how in ("snooze", "partial", "skip", "cancel", "fail")}
        await quiet(db)
    assert {how: await ends(db, job) for how, job in ids.items()} == {
        "snooze": [("done", None)],
        "partial": [("partial", "half")],
        "skip": [("skipped", "nothing to do")],
        "cancel": [("cancelled", "no more")],
        "fail": [("failed", "never")],
    }


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (_UNKNOWN, "result: cannot be stored as JSON"),
        ("a\0b", "result: holds a NUL"),
        (float("nan"), "result: holds a NaN"),
        (Partial("a\0b"), "reason: holds a NUL"),
        (Skip(ValueError("x")), "reason: needs to be text"),  # type: ignore[arg-type]
        (Snooze(timedelta(1)), "until: "),  # type: ignore[arg-type]
        (Snooze(datetime(2026, 1, 1)), "until: needs a time zone"),
        (Snooze(float("nan")), "until: "),
        ("x" * 1_100_000, "result: is 1100002 bytes"),
    ],
    ids=str,
)
async def test_a_result_that_cannot_be_stored_is_an_error_of_its_attempt_and_spoils_no_other(
    returned: Any, told: str, database_url: str, db: Database
) -> None:
    app = Tidemill(Settings(database_url=database_url, env="test"))

    @app.job(max_attempts=1)
    async def bad(ctx: Context) -> Any:
        return returned

    @app.job
    async def good(ctx: Context) -> None: ...

    async with running(app):
        bad_id, *good_ids = await app.enqueue_many([app.prepare(bad), *(app.prepare(good) for _ in range(5))])
        await quiet(db)
    assert [await ends(db, job or 0) for job in good_ids] == [[("done", None)]] * 5
    [(outcome, reason)] = await ends(db, bad_id or 0)
    assert outcome == "dead"
    assert told in (reason or "")
