"""What does not fit together is found, mended where that can be done, and named where it cannot."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.sync.records.desk import Desk, batch, steps
from tests.sync.records.test_replay import SPAN, by_window
from tidemill.connectors import ErrorKind, ProviderError, Stream
from tidemill.engine import Context, Done, Fail, Partial
from tidemill.errors import InvalidInput
from tidemill.sync import retention
from tidemill.sync.records import RepairRecords

POSTS = Stream(name="posts", key=("id",), cursor="id", window=True)
TOTALS = Stream(name="totals", key=("id",))


async def found(desk: Desk, **payload: Any) -> list[tuple[Any, ...]]:
    """What a repair tells: finding, action, stream, count."""
    _, run = await desk.run("repair", payload)
    return [(a["finding"], a["action"], a["stream"], a["count"]) for a in run.actions]


@pytest.fixture
async def well(desk: Desk) -> Desk:
    """A connector after a sync, in good order."""
    desk.connector.add(POSTS, steps(batch({"id": 1}, {"id": 2}, cursor="2")))
    await desk.run()
    return desk


async def test_where_all_is_well_nothing_is_found(well: Desk) -> None:
    outcome, run = await well.run("repair")
    assert isinstance(outcome, Done)
    assert run.actions == []
    assert (outcome.result["findings"], outcome.result["unrecoverable"]) == (0, 0)


async def stage(desk: Desk, run: UUID) -> None:
    await desk.db.execute(
        "insert into tidemill.staged_record (run, stream, hash, ordinal, data) values ($1, 'lines', 'x', 0, '{}')", run
    )


async def test_staged_rows_of_ended_runs_are_removed_those_of_open_ones_stay(well: Desk) -> None:
    ended = await well.open_run()
    await stage(well, ended)
    await stage(well, await well.open_run())  # its job lives: ours
    await well.close_run(ended, "failed")
    assert await found(well, dry_run=True) == [("orphaned_staged_rows", "would_be_removed", "lines", 1)]
    assert await well.staged() == 2
    assert await found(well) == [("orphaned_staged_rows", "removed", "lines", 1)]
    assert await well.staged() == 1
    assert await found(well) == []


async def test_staged_rows_go_with_their_run_and_log_retention_takes_those_of_ended_runs_piece_by_piece(
    well: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    ended, gone, open_ = ours = [await well.open_run() for _ in range(3)]
    await well.db.execute(
        "insert into tidemill.staged_record (run, stream, hash, ordinal, data)"
        " select run, 'lines', 'x', n, '{}' from unnest($1::uuid[]) run, generate_series(1, 5) n",
        ours,
    )
    await well.close_run(ended, "failed")
    await well.db.execute("delete from sync_run_logs where id = $1", gone)
    kept = await well.db.fetch("select distinct run from tidemill.staged_record where run = any ($1)", ours)
    assert {row["run"] for row in kept} == {ended, open_}
    outcome = await retention.LogRetention(30)(Context(well.job, well.engine, deadline=0), {})
    assert isinstance(outcome, Done)
    assert outcome.result["staged_records"] >= 5
    left = await well.db.fetch("select run from tidemill.staged_record where run = any ($1)", ours)
    assert [row["run"] for row in left] == [open_] * 5


async def test_a_run_without_a_live_job_is_closed_and_its_sync_job_settled(well: Desk) -> None:
    stuck = await well.open_run()
    await well.db.execute("update sync_run_logs set engine_job = 424242 where id = $1", stuck)
    asked = await well.db.fetchval(
        "insert into sync_run_logs (company_id, job_id, connector_id, job_type, trigger)"
        " values ($1, $2, $3, 'sync', 'manual') returning id",
        well.company,
        well.sync_job,
        well.connector_id,
    )
    assert ("stuck_run", "would_be_closed", None, 1) in await found(well, dry_run=True)
    assert ("stuck_run", "closed", None, 1) in await found(well)
    row = await well.db.fetchrow("select * from sync_run_logs where id = $1", stuck)
    assert row is not None
    assert (row["status"], row["reason"]) == ("failed", "abandoned")
    assert row["finished_at"] is not None
    assert await well.db.fetchval("select status from sync_run_logs where id = $1", asked) == "pending"


async def test_a_sync_job_that_says_something_else_than_its_runs_is_settled(well: Desk) -> None:
    others = [
        await well.db.fetchval(
            "insert into sync_jobs (company_id, connector_id, job_type, run_state) values ($1, $2, 'sync', $3)"
            " returning id",
            well.company,
            well.connector_id,
            state,
        )
        for state in ("queued", "running", "idle")
    ]
    assert ("run_state_drifted", "settled", None, 2) in await found(well)
    states = await well.db.fetch("select id, run_state from sync_jobs where company_id = $1", well.company)
    assert {row["id"]: row["run_state"] for row in states} == {
        well.sync_job: "idle",
        **dict.fromkeys(others, "idle"),
    }


async def test_a_record_whose_digest_is_not_its_datas_is_brought_in_line_so_that_the_next_delivery_counts(
    well: Desk,
) -> None:
    await well.db.execute(
        "update synced_records set data = '{\"id\": 1, \"n\": 9}' where connector_id = $1 and key = '[1]'",
        well.connector_id,
    )
    assert await found(well, dry_run=True) == [("hash_mismatch", "would_be_rehashed", "posts", 1)]
    _, run = await well.run("repair")
    assert run.actions[0]["keys"] == ["[1]"]
    assert await found(well) == []
    outcome, _ = await well.run()
    assert outcome.result["changed"] == 1
    assert (await well.records())["posts", "[1]"] == ({"id": 1}, True)


async def test_digests_are_looked_at_page_by_page(desk: Desk) -> None:
    desk.connector.add(TOTALS, steps(batch(*[{"id": i} for i in range(4_500)])))
    await desk.run()
    await desk.db.execute(
        "update synced_records set hash = '' where connector_id = $1 and (data ->> 'id')::int % 1500 = 0",
        desk.connector_id,
    )
    assert await found(desk) == [("hash_mismatch", "rehashed", "totals", 3)]
    assert await found(desk) == []


async def test_records_without_a_cursor_are_read_from_the_beginning_by_the_next_sync(well: Desk) -> None:
    await well.db.execute("delete from connector_state where connector_id = $1", well.connector_id)
    assert await found(well, dry_run=True) == [("cursor_missing", "would_be_next_sync_reads_all", "posts", 1)]
    assert await found(well) == [("cursor_missing", "next_sync_reads_all", "posts", 1)]
    assert await well.db.fetchval("select rows_ever from connector_state where connector_id = $1", well.connector_id)
    await well.run()
    assert await found(well) == []


async def test_records_of_a_stream_that_the_connector_no_longer_has_are_reported_and_kept(well: Desk) -> None:
    well.connector.known.clear()
    well.connector.add(TOTALS, steps())
    assert await found(well) == [("stream_gone", "reported", "posts", 1)]
    assert len(await well.records()) == 2


async def test_a_window_that_is_read_again_mends_what_is_missing_different_or_gone(desk: Desk) -> None:
    live = steps(batch({"id": 1, "n": 1}, {"id": 2}, {"id": 4}, cursor="4"))
    past = steps(batch({"id": 1, "n": 2}, {"id": 2}, {"id": 3}, cursor="p", deletes=["4"]))
    desk.connector.add(POSTS, by_window(live, past))
    desk.connector.add(TOTALS, steps())
    await desk.run()
    told = [("missing_record", "filled", "posts", 1), ("differing_record", "overwritten", "posts", 1)]
    lost = ("window_not_supported", "unrecoverable", "totals", 1)
    would = [(finding, f"would_be_{action}", stream, n) for finding, action, stream, n in told]
    assert await found(desk, window=SPAN, dry_run=True) == [lost, *would]
    assert len(await desk.records()) == 3
    outcome, run = await desk.run("repair", {"window": SPAN})
    assert isinstance(outcome, Partial)
    assert outcome.reason == "unrecoverable"
    assert [tuple(a[k] for k in ("finding", "action", "stream", "count")) for a in run.actions] == [
        lost,
        *told,
        ("record_gone", "deleted", "posts", 1),
    ]
    assert {key: (data.get("n"), live) for (_, key), (data, live) in (await desk.records("posts")).items()} == {
        "[1]": (2, True),
        "[2]": (None, True),
        "[3]": (None, True),
        "[4]": (None, False),
    }
    assert await desk.cursor("posts") == "4"
    assert await found(desk, window=SPAN, streams=["posts"]) == []


async def test_a_dead_token_does_not_stand_in_the_way_of_what_needs_no_provider(well: Desk) -> None:
    await well.db.execute("update synced_records set hash = '' where connector_id = $1", well.connector_id)

    async def no(ctx: Any) -> list[Stream]:
        raise ProviderError(ErrorKind.TOKEN_INVALID, "expired")

    well.connector.streams = no  # type: ignore[method-assign]
    outcome, run = await well.run("repair")
    assert isinstance(outcome, Fail)
    assert outcome.reason == "token_invalid"
    assert [(a["finding"], a["count"]) for a in run.actions] == [("hash_mismatch", 2)]


async def test_what_an_attempt_mended_is_told_by_the_one_after_it(well: Desk) -> None:
    await well.db.execute("update synced_records set hash = '' where connector_id = $1", well.connector_id)
    well.connector.add(POSTS, steps(ProviderError(ErrorKind.TRANSIENT, "reset")))
    payload = {"window": SPAN}
    run = await well.open_run("repair", payload)
    with pytest.raises(ProviderError):
        await RepairRecords().run(well.attempt(run, "repair", payload))
    well.connector.add(POSTS, steps(batch({"id": 1}, {"id": 3})))
    attempt = well.attempt(run, "repair", payload, attempt=2)
    assert isinstance(await RepairRecords().run(attempt), Done)
    assert [(a["finding"], a["count"]) for a in attempt.actions] == [("hash_mismatch", 2), ("missing_record", 1)]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"dry_run": "yes"}, "dry_run"),
        ({"mode": "fill"}, "mode"),
        ({"streams": [""]}, "streams[0]"),
        ({"window": {}}, "window.since"),
    ],
    ids=["dry_run", "mode", "streams", "window"],
)
def test_a_payload_that_cannot_be_taken_is_refused_by_its_field(payload: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RepairRecords().check(payload)
    assert refused.value.field == field
