"""A window of the past once more: what it writes, what it leaves alone, and how it goes on after a crash."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.sync.records.desk import Desk, Script, batch, steps
from tidemill.connectors import Batch, ErrorKind, ProviderError, Stream, Window
from tidemill.engine import Done, Fail, Partial
from tidemill.errors import InvalidInput
from tidemill.sync.records import ReplayRecords

POSTS = Stream(name="posts", key=("id",), cursor="id", window=True)
LINES = Stream(name="lines", key=(), window=True)
TOTALS = Stream(name="totals", key=("id",))
SPAN = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00+00:00"}
WINDOW = Window(since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2026, 2, 1, tzinfo=UTC))


def by_window(live: Script, past: Script) -> Script:
    return lambda cursor, window: live(cursor, window) if window == Window() else past(cursor, window)


@pytest.fixture
async def replayed(desk: Desk) -> Desk:
    """One record is there and has changed since, one is deleted here, one is missing."""
    live = steps(batch({"id": 1, "n": 1}, {"id": 2}, cursor="9"), batch(deletes=["2"]))
    past = steps(batch({"id": 1, "n": 7}, {"id": 2}, cursor="p1"), batch({"id": 3}, cursor="p2", deletes=["1"]))
    desk.connector.add(POSTS, by_window(live, past))
    await desk.run()
    return desk


WRITTEN = {
    "fill": {"[1]": (1, True), "[2]": (None, False), "[3]": (None, True)},
    "overwrite": {"[1]": (7, False), "[2]": (None, True), "[3]": (None, True)},
    "dry_run": {"[1]": (1, True), "[2]": (None, False)},
}
TOLD = {
    "fill": [("filled", 1, ["[3]"])],
    "overwrite": [("filled", 1, ["[3]"]), ("overwritten", 2, ["[1]", "[2]"]), ("deleted", 1, [])],
    "dry_run": [("would_fill", 1, ["[3]"]), ("would_overwrite", 2, ["[1]", "[2]"])],
}


@pytest.mark.parametrize("mode", WRITTEN)
async def test_each_mode_writes_what_it_says_and_tells_what_it_did(replayed: Desk, mode: str) -> None:
    outcome, run = await replayed.run("replay", {"window": SPAN, "mode": mode})
    assert isinstance(outcome, Done)
    assert replayed.connector.asked[-1] == ("posts", None, WINDOW)
    found = {key: (data.get("n"), live) for (_, key), (data, live) in (await replayed.records()).items()}
    assert found == WRITTEN[mode]
    assert [(a["action"], a["count"], a["keys"]) for a in run.actions] == TOLD[mode]
    assert {a["stream"] for a in run.actions} == {"posts"}
    assert await replayed.cursor("posts") == "9"


@pytest.mark.parametrize("mode", ["fill", "overwrite"])
async def test_a_second_replay_has_nothing_left_to_do(replayed: Desk, mode: str) -> None:
    replayed.connector.add(POSTS, steps(batch({"id": 1, "n": 7}, {"id": 3}, cursor="p")))
    await replayed.run("replay", {"window": SPAN, "mode": mode})
    _, run = await replayed.run("replay", {"window": SPAN, "mode": mode})
    assert [a for a in run.actions if a["action"] != "overwritten"] == []
    _, run = await replayed.run("replay", {"window": SPAN, "mode": "dry_run"})
    assert [a["action"] for a in run.actions] == ([] if mode == "overwrite" else ["would_overwrite"])


async def test_a_full_load_of_the_past_takes_nothing_away(desk: Desk) -> None:
    desk.connector.add(
        POSTS, by_window(steps(batch({"id": 1}, {"id": 2}, version=5)), steps(batch({"id": 1}, version=9, activate=9)))
    )
    await desk.run()
    await desk.run("replay", {"window": SPAN, "mode": "overwrite"})
    assert [live for _, live in (await desk.records()).values()] == [True, True]
    versions = await desk.db.fetch("select version from synced_records where connector_id = $1", desk.connector_id)
    assert [row["version"] for row in versions] == [5, 5]


@pytest.mark.parametrize(("mode", "there"), [("fill", 3), ("overwrite", 3), ("dry_run", 1)])
async def test_a_stream_without_a_key_is_replayed_by_its_digests(desk: Desk, mode: str, there: int) -> None:
    past = steps(batch({"x": 1}, {"x": 2}), batch({"x": 2}, cursor="p"))
    desk.connector.add(LINES, by_window(steps(batch({"x": 1})), past))
    await desk.run()
    outcome, _ = await desk.run("replay", {"window": SPAN, "mode": mode})
    assert (outcome.result["added"], outcome.result["changed"]) == (2, 0)
    assert len(await desk.records()) == there
    assert await desk.staged() == 0


async def test_a_replay_that_crashes_goes_on_at_its_own_cursor_which_no_tenant_reads(desk: Desk) -> None:
    def past(cursor: str | None, window: Window) -> Iterator[Batch]:
        if cursor is None:
            yield batch({"id": 1}, cursor="secret-p1")
            raise ProviderError(ErrorKind.TRANSIENT, "reset")
        yield batch({"id": 2}, cursor="secret-p2")

    desk.connector.add(POSTS, past)
    payload = {"window": SPAN, "mode": "overwrite"}
    run = await desk.open_run("replay", payload)
    with pytest.raises(ProviderError):
        await ReplayRecords().run(desk.attempt(run, "replay", payload))
    attempt = desk.attempt(run, "replay", payload, attempt=2)
    outcome = await ReplayRecords().run(attempt)
    assert isinstance(outcome, Done)
    assert [cursor for _, cursor, _ in desk.connector.asked] == [None, "secret-p1"]
    assert [(a["action"], a["count"]) for a in attempt.actions] == [("filled", 2)]
    assert await desk.cursor("posts") is None
    assert "secret" not in str(await desk.metrics(run))
    assert "secret" not in str(outcome)
    assert await desk.db.fetchval("select count(*) from tidemill.run_cursor where run = $1", run) == 0


async def test_a_past_runs_window_is_from_the_sync_before_it_to_its_end(desk: Desk) -> None:
    desk.connector.add(POSTS, steps())
    desk.connector.add(TOTALS, steps())
    runs = [(await desk.run(payload={"streams": ["posts"]}))[1].id for _ in range(2)]
    rows = await desk.db.fetch(
        "select started_at, finished_at from sync_run_logs where id = any ($1) order by started_at", runs
    )
    desk.connector.asked.clear()
    await desk.run("replay", {"run": str(runs[1])})
    assert desk.connector.asked == [("posts", None, Window(since=rows[0]["started_at"], until=rows[1]["finished_at"]))]
    await desk.run("replay", {"run": str(runs[0])})
    assert desk.connector.asked[-1][2] == Window(since=None, until=rows[0]["finished_at"])


async def test_a_replay_of_a_replay_has_its_window(desk: Desk) -> None:
    desk.connector.add(POSTS, steps())
    _, before = await desk.run("replay", {"window": SPAN})
    await desk.run("replay", {"run": str(before.id)})
    assert desk.connector.asked[-1] == ("posts", None, WINDOW)


async def test_another_companys_run_is_no_run(desk: Desk) -> None:
    desk.connector.add(POSTS, steps())
    _, before = await desk.run()
    await desk.settle_in()
    for run in (before.id, uuid4()):
        outcome, _ = await desk.run("replay", {"run": str(run)})
        assert isinstance(outcome, Fail)
        assert outcome.reason == "no_such_run"


async def test_streams_that_know_no_past_are_refused_by_name_and_left_out_where_nobody_named_them(desk: Desk) -> None:
    desk.connector.add(TOTALS, steps(batch({"id": 1})))
    outcome, _ = await desk.run("replay", {"window": SPAN})
    assert isinstance(outcome, Fail)
    desk.connector.add(POSTS, steps(batch({"id": 1})))
    outcome, _ = await desk.run("replay", {"window": SPAN, "streams": ["posts", "totals"]})
    assert isinstance(outcome, Fail)
    assert outcome.reason == "no_window"
    assert outcome.result["error"] == "payload.streams: totals: not to be asked about the past"
    assert desk.connector.asked == []
    outcome, _ = await desk.run("replay", {"window": SPAN})
    assert isinstance(outcome, Partial)
    assert outcome.reason == "no_window"
    assert [stream for stream, _, _ in desk.connector.asked] == ["posts"]
    outcome, _ = await desk.run("replay", {"window": SPAN, "streams": ["nobody"]})
    assert isinstance(outcome, Fail)
    assert outcome.reason == "unknown_stream"


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "window"),
        ({"window": SPAN, "run": str(uuid4())}, "window"),
        ({"window": []}, "window"),
        ({"window": {"since": SPAN["since"]}}, "window.until"),
        ({"window": {**SPAN, "to": 1}}, "window.to"),
        ({"window": {**SPAN, "since": "yesterday"}}, "window.since"),
        ({"window": {**SPAN, "since": 5}}, "window.since"),
        ({"window": {**SPAN, "since": "2026-01-01T00:00:00"}}, "window.since"),
        ({"window": {"since": SPAN["until"], "until": SPAN["since"]}}, "window.until"),
        ({"run": "x"}, "run"),
        ({"run": 1}, "run"),
        ({"window": SPAN, "mode": "delete"}, "mode"),
        ({"window": SPAN, "mode": ["fill"]}, "mode"),
        ({"window": SPAN, "dry_run": True}, "dry_run"),
    ],
    ids=[f"{i}" for i in range(14)],
)
def test_a_payload_that_cannot_be_taken_is_refused_by_its_field(payload: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        ReplayRecords().check(payload)
    assert refused.value.field == field
