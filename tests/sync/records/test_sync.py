"""What a sync of record streams leaves behind: records, cursors, and a report of what it met."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest

from tests.sync.records.desk import Desk, Scripted, Step, batch, steps
from tidemill.connectors import Batch, ErrorKind, Miss, ProviderError, Stream, Window
from tidemill.connectors import Context as ReadContext
from tidemill.engine import Done, Fail, Partial, Skip, Snooze
from tidemill.errors import ConfigurationError, InvalidInput
from tidemill.sync.records import SyncRecords, reading
from tidemill.vault import Secret

POSTS = Stream(name="posts", key=("id",), cursor="id")
NOTES = Stream(name="notes", key=("id",))
LINES = Stream(name="lines", key=())


def transient(text: str = "come back later") -> ProviderError:
    return ProviderError(ErrorKind.TRANSIENT, text, status=503)


async def test_records_stand_under_their_keys_and_the_cursor_where_the_last_batch_put_it(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(batch({"id": 1, "t": "a"}, {"id": 2}, cursor="2"), batch({"id": 3}, cursor="3")))
    outcome, run = await desk.run()
    assert isinstance(outcome, Done)
    assert await desk.records() == {
        ("posts", "[1]"): ({"id": 1, "t": "a"}, True),
        ("posts", "[2]"): ({"id": 2}, True),
        ("posts", "[3]"): ({"id": 3}, True),
    }
    assert await desk.cursor("posts") == "3"
    told = outcome.result["streams"]["posts"]
    assert {k: told[k] for k in ("status", "records", "added", "changed", "batches", "cursor_moved")} == {
        "status": "completed",
        "records": 3,
        "added": 3,
        "changed": 0,
        "batches": 2,
        "cursor_moved": True,
    }
    assert run.progressed


async def test_the_next_run_begins_at_the_cursor_and_counts_only_what_changed(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(batch({"id": 1, "n": 1}, {"id": 2, "n": 1}, cursor="2")))
    await desk.run()
    before = await seen(desk)
    desk.connector.add(POSTS, steps(batch({"n": 1, "id": 1}, {"id": 2, "n": 5}, cursor="2")))
    outcome, _ = await desk.run()
    assert desk.connector.asked[-1] == ("posts", "2", Window())
    assert (outcome.result["added"], outcome.result["changed"]) == (0, 1)
    after = await seen(desk)
    for key in ("[1]", "[2]"):
        assert after[key]["last_seen_at"] > before[key]["last_seen_at"]
        assert after[key]["first_seen_at"] == before[key]["first_seen_at"]
    assert after["[1]"]["changed_at"] == before["[1]"]["changed_at"]
    assert after["[2]"]["changed_at"] > before["[2]"]["changed_at"]


async def seen(desk: Desk) -> dict[str, Any]:
    rows = await desk.db.fetch("select * from synced_records where connector_id = $1", desk.connector_id)
    return {row["key"]: row for row in rows}


async def test_of_a_record_that_comes_twice_in_a_batch_the_last_counts(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(batch({"id": 1, "n": 1}, {"id": 1, "n": 2}, cursor="1")))
    await desk.run()
    assert await desk.records() == {("posts", "[1]"): ({"id": 1, "n": 2}, True)}


async def test_a_batch_larger_than_a_statement_takes_is_one_transaction_all_the_same(desk: Desk) -> None:
    many = [{"id": i} for i in range(12_001)]
    desk.connector.add(POSTS, steps(batch(*many, cursor="z")))
    outcome, _ = await desk.run()
    assert outcome.result["added"] == len(await desk.records()) == 12_001
    assert outcome.result["batches"] == 1


async def test_what_the_provider_deletes_is_marked_and_comes_back_when_it_comes_again(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(batch({"id": 1}, {"id": "2"}, {"id": 3}, cursor="3")))
    await desk.run()
    desk.connector.add(POSTS, steps(batch(cursor="4", deletes=["1", "2", '["nobody"]'])))
    outcome, _ = await desk.run()
    assert outcome.result["deleted"] == 2
    live = {key: there for (_, key), (_, there) in (await desk.records()).items()}
    assert live == {"[1]": False, '["2"]': False, "[3]": True}
    desk.connector.add(POSTS, steps(batch({"id": 1}, cursor="5")))
    outcome, _ = await desk.run()
    assert outcome.result["changed"] == 1
    assert (await desk.records())["posts", "[1]"] == ({"id": 1}, True)


async def test_a_key_of_several_fields_is_deleted_by_its_json(desk: Desk) -> None:
    pairs = Stream(name="pairs", key=("a", "b"))
    desk.connector.add(pairs, steps(batch({"a": 1, "b": "x"}, {"a": 2, "b": "x"}), batch(deletes=['[1, "x"]', "1"])))
    outcome, _ = await desk.run()
    assert {k: there for (_, k), (_, there) in (await desk.records()).items()} == {'[1,"x"]': False, '[2,"x"]': True}
    assert outcome.result["bad"] == 1  # "1" names no key of this stream


@pytest.mark.parametrize("stream", [NOTES, LINES], ids=["keyed", "keyless"])
async def test_a_full_load_takes_away_what_it_no_longer_holds(desk: Desk, stream: Stream) -> None:
    first = [{"id": i} for i in range(3)]
    desk.connector.add(stream, steps(batch(*first, version=1), batch(activate=1)))
    await desk.run()
    desk.connector.add(stream, steps(batch(*first[1:], {"id": 9}, version=2), batch(activate=2)))
    outcome, _ = await desk.run()
    assert outcome.result["deleted"] == 1
    there = [data["id"] for data, live in (await desk.records()).values() if live]
    assert sorted(there) == [1, 2, 9]


async def test_a_full_load_that_is_cut_off_takes_nothing_away(desk: Desk) -> None:
    desk.connector.add(LINES, steps(batch({"id": 1}, {"id": 2}, version=1), batch(activate=1)))
    await desk.run()
    desk.connector.add(LINES, steps(batch({"id": 2}, version=2), batch(activate=2), transient()))
    with pytest.raises(ProviderError):
        await desk.run()
    assert [live for _, live in (await desk.records()).values()] == [True, True]


# Streams without a key ------------------------------------------------------------------------------------------------


async def test_a_full_load_with_a_record_that_was_refused_deletes_nothing(desk: Desk) -> None:
    desk.connector.add(NOTES, steps(batch({"id": 1}, {"id": 2}, version=1), batch(activate=1)))
    await desk.run()
    too_large = {"id": 2, "text": "x" * 2_000_000}
    desk.connector.add(NOTES, steps(batch({"id": 1}, too_large, version=2), batch(activate=2)))
    outcome, _ = await desk.run()
    assert (outcome.reason, outcome.result["deleted"]) == ("bad_rows", 0)
    assert [live for _, live in (await desk.records()).values()] == [True, True]


async def test_equal_records_of_a_stream_without_a_key_are_all_kept(desk: Desk) -> None:
    desk.connector.add(LINES, steps(batch({"x": 1}, {"x": 1}), batch({"x": 1}, {"x": 2}, cursor="4")))
    outcome, _ = await desk.run()
    assert sorted(data["x"] for data, _ in (await desk.records()).values()) == [1, 1, 1, 2]
    assert sorted(key.split(":")[1] for _, key in await desk.records()) == ["0", "0", "1", "2"]
    assert await desk.staged() == 0
    assert outcome.result["added"] == 4


async def test_they_are_numbered_the_same_over_pages(desk: Desk) -> None:
    many = [{"x": i % 3} for i in range(12_000)]
    script = steps(*[batch(*many[i : i + 4_000]) for i in range(0, 12_000, 4_000)])
    desk.connector.add(LINES, script)
    await desk.run()
    assert len(await desk.records()) == 12_000
    outcome, _ = await desk.run()
    assert (outcome.result["added"], outcome.result["changed"], len(await desk.records())) == (0, 0, 12_000)
    assert {int(key.split(":")[1]) for _, key in await desk.records()} == set(range(4_000))


async def test_records_without_key_are_not_seen_before_their_cursor(desk: Desk) -> None:
    desk.connector.add(LINES, steps(batch({"x": 1}, cursor="1"), batch({"x": 2}), transient()))
    run = await desk.open_run()
    attempt = desk.attempt(run)
    with pytest.raises(ProviderError):
        await SyncRecords().run(attempt)
    assert [data["x"] for data, _ in (await desk.records()).values()] == [1]
    assert await desk.staged() == 0
    desk.connector.add(LINES, steps(batch({"x": 2}), batch(cursor="2")))
    assert isinstance(await SyncRecords().run(desk.attempt(run, attempt=2)), Done)
    assert desk.connector.asked[-1][1] == "1"
    assert sorted(data["x"] for data, _ in (await desk.records()).values()) == [1, 2]


# Bad rows -------------------------------------------------------------------------------------------------------------

deep: list[Any] = []
for _ in range(100_000):
    deep = [deep]
BAD = {
    "no key": ({"n": 1}, "key field 'id' is missing"),
    "null key": ({"id": None}, "key field 'id' is null"),
    "a list": ([1], "a record is an object"),
    "nothing": (None, "a record is an object"),
    "a set": ({"id": 1, "x": {1}}, "a type that JSON does not have"),
    "not a number": ({"id": 1, "x": float("nan")}, "a number that JSON does not have"),
    "NUL": ({"id": 1, "x": "a\0b"}, "a NUL character"),
    "NUL in a name": ({"id": 1, "\0": 1}, "a NUL character"),
    "half a character": ({"id": 1, "x": "\ud800"}, "half a character"),
    "too long": ({"id": 1, "x": "x" * 1_100_000}, "1,100,"),
    "a long key": ({"id": "k" * 3_000}, "its key is longer"),
    "deep": ({"id": 1, "x": deep}, "nested too deeply"),
    "a huge number": ({"id": 1, "x": 10**5_000}, "a number that JSON does not have"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_row_is_counted_and_told_and_stops_nothing(desk: Desk, name: str) -> None:
    record, why = BAD[name]
    desk.connector.add(POSTS, steps(batch({"id": 1}, record, {"id": 2}, cursor="2"), batch({"id": 3}, cursor="3")))
    outcome, _ = await desk.run()
    assert isinstance(outcome, Partial)
    assert outcome.reason == "bad_rows"
    assert (outcome.result["records"], outcome.result["bad"]) == (3, 1)
    [told] = outcome.result["streams"]["posts"]["bad_rows"]
    assert told.startswith("record 2: ")
    assert why in told
    assert {key for _, key in await desk.records()} == {"[1]", "[2]", "[3]"}
    assert await desk.cursor("posts") == "3"


async def test_what_only_looks_bad_is_stored_as_it_is(desk: Desk) -> None:
    odd = [
        {"id": 1, "x": "\\u0000", "y": "\\\\u0000"},
        {"id": 2, "x": 1e15, "y": -0.5, "z": 2**63},
        {"id": 3, "x": "𝄞 \x01 '\"\\", "": {"": []}},
        {"id": 4, "x": [[[[[[[[[[1]]]]]]]]]] * 50},
        {"id": {"b": 1, "a": [None]}},
        {"id": "5", "x": "x" * 1_000_000},
    ]
    desk.connector.add(POSTS, steps(batch(*odd)))
    first, _ = await desk.run()
    assert isinstance(first, Done), first
    stored = [data for data, _ in (await desk.records()).values()]
    assert len(stored) == len(odd)
    assert [data for data in odd if data not in stored] == []
    again, _ = await desk.run()
    assert (again.result["added"], again.result["changed"]) == (0, 0)


async def test_a_number_that_is_printed_differently_than_it_came_is_no_change(desk: Desk) -> None:
    numbers = [1e300, -0.0, 10**60, 1e-7, 1.10, 123456789012345678901234567890.5]
    desk.connector.add(POSTS, steps(batch({"id": 1, "x": numbers})))
    await desk.run()
    again, _ = await desk.run()
    assert (again.result["added"], again.result["changed"]) == (0, 0)


async def test_only_the_first_few_bad_rows_are_told(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(batch(*[{"n": i} for i in range(500)])))
    outcome, _ = await desk.run()
    assert outcome.result["bad"] == 500
    assert len(outcome.result["streams"]["posts"]["bad_rows"]) == 5


async def test_the_metrics_of_many_streams_are_bounded_and_their_sums_whole(desk: Desk) -> None:
    for i in range(150):
        desk.connector.add(Stream(name=f"s{i}", key=("id",)), steps(batch({"id": i})))
    outcome, _ = await desk.run()
    assert isinstance(outcome, Done)
    assert outcome.result["records"] == 150
    assert len(outcome.result["streams"]) == 50
    assert outcome.result["streams_not_listed"] == 100


# Alarms and failures --------------------------------------------------------------------------------------------------


async def test_a_stream_that_gave_records_and_gives_none_is_partial(desk: Desk) -> None:
    stream = Stream(name="rows", key=("id",), never_empty=True)
    desk.connector.add(stream, steps())
    assert isinstance((await desk.run())[0], Done)  # it has never given any
    desk.connector.add(stream, steps(batch({"id": 1})))
    assert isinstance((await desk.run())[0], Done)
    desk.connector.add(stream, steps(batch(cursor="7")))
    outcome, _ = await desk.run()
    assert isinstance(outcome, Partial)
    assert outcome.reason == "no_rows"
    desk.connector.add(stream, steps(batch(caught_up=True)))
    assert isinstance((await desk.run())[0], Done)


FAILURES = {
    ErrorKind.TOKEN_INVALID: (Fail, "token_invalid", False),
    ErrorKind.USER_ACTION: (Fail, "user_action", False),
    ErrorKind.PERMISSION: (Partial, "permission", True),
    ErrorKind.RATE_LIMITED: (Partial, "rate_limited", False),
    ErrorKind.GONE: (Partial, "provider", True),
    ErrorKind.INVALID_REQUEST: (Partial, "provider", True),
    ErrorKind.PERMANENT: (Partial, "provider", True),
}


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.value)
async def test_a_providers_refusal_ends_its_stream_and_those_that_would_meet_the_same(
    desk: Desk, kind: ErrorKind
) -> None:
    expected, reason, goes_on = FAILURES[kind]
    desk.connector.add(POSTS, steps(batch({"id": 1}, cursor="1"), ProviderError(kind, "no")))
    desk.connector.add(NOTES, steps(batch({"id": 1})))
    outcome, _ = await desk.run()
    assert (type(outcome), outcome.reason) == (expected, reason)
    assert await desk.cursor("posts") == "1"
    assert (("notes", "[1]") in await desk.records()) == goes_on
    assert outcome.result["error"] == f"{kind}: no"
    told = outcome.result["streams"]
    assert told["notes"]["status"] == ("completed" if goes_on else "skipped")


async def test_a_message_with_what_postgres_does_not_store_is_told_without_it(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(batch({"id": 1}), ProviderError(ErrorKind.PERMANENT, "a\0b\ud800" + "c" * 900)))
    outcome, _ = await desk.run()
    assert isinstance(outcome, Partial)
    assert outcome.result["error"].startswith("permanent: a\ufffdb?c")
    assert len(outcome.result["error"]) == 500


async def test_a_run_of_which_nothing_good_came_has_failed(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(ProviderError(ErrorKind.PERMISSION, "no")))
    outcome, run = await desk.run()
    assert isinstance(outcome, Fail)
    assert outcome.reason == "permission"
    assert outcome.result["error"] == "permission: no"
    assert not run.progressed


async def test_a_short_pause_is_waited_for_a_long_one_left_to_the_next_run(desk: Desk) -> None:
    def pause(seconds: float) -> ProviderError:
        return ProviderError(ErrorKind.RATE_LIMITED, "slow", retry_after=timedelta(seconds=seconds), scope="account")

    desk.connector.add(POSTS, steps(batch({"id": 1}, cursor="1"), pause(30)))
    run = await desk.open_run()
    assert await SyncRecords().run(desk.attempt(run)) == Snooze(30.0, "rate_limited")
    desk.connector.add(POSTS, steps(pause(30)))
    for _ in range(reading.MOST_WAITS - 1):
        assert await SyncRecords().run(desk.attempt(run)) == Snooze(30.0, "rate_limited")
    outcome = await SyncRecords().run(desk.attempt(run))  # it has waited often enough without getting on
    assert isinstance(outcome, Partial)
    assert outcome.result["waits"] == reading.MOST_WAITS
    desk.connector.add(POSTS, steps(pause(3_600)))
    outcome, _ = await desk.run()
    assert isinstance(outcome, Skip)
    assert outcome.reason == "rate_limited"


async def test_a_passing_fault_costs_an_attempt_once_the_other_streams_had_their_turn(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(batch({"id": 1}, cursor="1"), transient("first")))
    desk.connector.add(NOTES, steps(batch({"id": 1})))
    run = await desk.open_run()
    attempt = desk.attempt(run)
    with pytest.raises(ProviderError, match="first"):
        await SyncRecords().run(attempt)
    assert attempt.progressed
    assert ("notes", "[1]") in await desk.records()
    desk.connector.asked.clear()
    desk.connector.add(POSTS, steps(batch({"id": 2}, cursor="2")))
    outcome = await SyncRecords().run(desk.attempt(run, attempt=2))
    assert isinstance(outcome, Done)
    assert [(stream, cursor) for stream, cursor, _ in desk.connector.asked] == [("posts", "1")]
    assert outcome.result["records"] == 3


async def test_on_the_last_attempt_it_is_told_instead(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(transient()))
    desk.connector.add(NOTES, steps(batch({"id": 1})))
    outcome, _ = await desk.run(attempt=3)
    assert isinstance(outcome, Partial)
    assert outcome.reason == "provider"


async def test_an_attempt_that_moved_no_cursor_has_made_no_progress(desk: Desk) -> None:
    desk.connector.add(NOTES, steps(batch({"id": 1}), batch({"id": 2}), transient()))
    desk.connector.add(LINES, steps(batch({"id": 1}), transient()))
    attempt = desk.attempt(await desk.open_run())
    with pytest.raises(ProviderError):
        await SyncRecords().run(attempt)
    assert not attempt.progressed


async def test_a_connectors_own_fault_is_told_without_its_secrets_and_stops_no_other_stream(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(KeyError("hunter2hunter2")))
    desk.connector.add(NOTES, steps(batch({"id": 1})))
    with pytest.raises(reading.ConnectorBroke, match=r"scripted: KeyError") as raised:
        await desk.run(secrets={"token": Secret("hunter2hunter2")})
    assert "hunter2" not in str(raised.value)
    assert ("notes", "[1]") in await desk.records()
    outcome, _ = await desk.run(secrets={"token": Secret("hunter2hunter2")}, attempt=3)
    assert isinstance(outcome, Partial)
    assert outcome.reason == "connector_error"
    assert "hunter2" not in str(outcome.result)


@pytest.mark.parametrize("error", [InvalidInput("config.path", "no such"), ConfigurationError("not allowed")])
async def test_what_the_company_or_the_operator_must_mend_is_not_tried_again(desk: Desk, error: Exception) -> None:
    desk.connector.add(POSTS, steps(error))
    outcome, _ = await desk.run()
    assert isinstance(outcome, Fail)
    assert (outcome.reason, outcome.result["error"]) == ("invalid", str(error))


async def test_entities_that_were_asked_for_and_not_got_make_it_partial_unless_they_are_gone(desk: Desk) -> None:
    gone = Miss("1", ProviderError(ErrorKind.GONE, "gone"))
    desk.connector.add(POSTS, steps(batch({"id": 2}, deletes=["1"], misses=[gone])))
    assert isinstance((await desk.run())[0], Done)
    desk.connector.add(POSTS, steps(batch({"id": 2}, misses=[Miss("3", transient())])))
    outcome, _ = await desk.run()
    assert isinstance(outcome, Partial)
    assert outcome.reason == "missing"


async def test_a_stream_that_is_wanted_and_not_there_is_named(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(batch({"id": 1})))
    desk.connector.add(NOTES, steps(batch({"id": 1})))
    outcome, _ = await desk.run(payload={"streams": ["posts", "pots"]})
    assert isinstance(outcome, Partial)
    assert outcome.reason == "unknown_stream"
    assert "pots" in outcome.result["error"]
    assert [stream for stream, _, _ in desk.connector.asked] == ["posts"]


# Time, and others -----------------------------------------------------------------------------------------------------


async def test_when_the_time_is_over_it_stops_after_a_batch_and_the_next_run_goes_on_there(desk: Desk) -> None:
    desk.connector.add(POSTS, steps(batch({"id": 1}, cursor="1"), batch({"id": 2}, cursor="2")))
    desk.connector.add(NOTES, steps(batch({"id": 1})))
    outcome, _ = await desk.run(seconds=-1)
    assert isinstance(outcome, Partial)
    assert outcome.reason == "time_budget"
    assert await desk.cursor("posts") == "1"
    assert outcome.result["streams"]["notes"]["reason"] == "time_budget"


async def test_a_connector_that_forgets_the_time_is_cancelled(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "GRACE_S", 0.05)
    ended = asyncio.Event()

    class Slow(Scripted):
        async def read(
            self, ctx: ReadContext, stream: str, cursor: str | None, window: Window
        ) -> AsyncGenerator[Batch]:
            try:
                yield batch({"id": 1}, cursor="1")
                await asyncio.Event().wait()
            finally:
                ended.set()

    desk.connector = Slow(POSTS)
    outcome, _ = await desk.run(seconds=0.2)
    assert isinstance(outcome, Partial)
    assert outcome.reason == "time_budget"
    assert ended.is_set()
    assert await desk.cursor("posts") == "1"


async def test_who_finds_the_cursor_moved_writes_nothing_more(desk: Desk) -> None:
    class Racing(Scripted):
        async def read(
            self, ctx: ReadContext, stream: str, cursor: str | None, window: Window
        ) -> AsyncGenerator[Batch]:
            yield batch({"id": 1}, cursor="1")
            await desk.db.execute(
                "update connector_state set cursor = 'reset', version = version + 1 where connector_id = $1",
                desk.connector_id,
            )
            yield batch({"id": 2}, cursor="2")

    desk.connector = Racing(POSTS)
    outcome, _ = await desk.run()
    assert isinstance(outcome, Partial)
    assert outcome.reason == "cursor_moved"
    assert await desk.cursor("posts") == "reset"
    assert set(await desk.records()) == {("posts", "[1]")}
    assert outcome.result["records"] == 1


@pytest.mark.parametrize("cursor", ["a\0b", "\ud800", "x" * 1_100_000, 7], ids=["NUL", "half", "long", "number"])
async def test_a_cursor_that_cannot_be_kept_ends_the_stream_at_the_one_before(desk: Desk, cursor: Any) -> None:
    desk.connector.add(POSTS, steps(batch({"id": 1}, cursor="1"), batch({"id": 2}, cursor=cursor)))
    outcome, _ = await desk.run()
    assert isinstance(outcome, Partial)
    assert outcome.reason == "provider"
    assert await desk.cursor("posts") == "1"
    assert set(await desk.records()) == {("posts", "[1]")}


async def test_what_was_only_staged_is_nothing_good(desk: Desk) -> None:
    desk.connector.add(LINES, steps(batch({"x": 1}), ProviderError(ErrorKind.PERMANENT, "no")))
    outcome, _ = await desk.run()
    assert isinstance(outcome, Fail)
    assert (
        await desk.db.fetchval(
            "select count(*) from connector_state where rows_ever and connector_id = $1", desk.connector_id
        )
        == 0
    )


async def test_without_streams_there_is_nothing_to_do(desk: Desk) -> None:
    outcome, _ = await desk.run()
    assert isinstance(outcome, Skip)
    assert outcome.reason == "no_streams"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (ProviderError(ErrorKind.TOKEN_INVALID, "no"), (Fail, "token_invalid")),
        (ProviderError(ErrorKind.RATE_LIMITED, "slow"), (Skip, "rate_limited")),
        (InvalidInput("config.x", "no"), (Fail, "invalid")),
    ],
    ids=["token", "limit", "config"],
)
async def test_a_connector_that_cannot_name_its_streams_ends_the_run(
    desk: Desk, step: Step, expected: tuple[type, str]
) -> None:
    class Mute(Scripted):
        async def streams(self, ctx: ReadContext) -> list[Stream]:
            assert isinstance(step, Exception)
            raise step

    desk.connector = Mute()
    outcome, _ = await desk.run()
    assert (type(outcome), outcome.reason) == expected
    assert outcome.result["error"] == str(step)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"stream": "x"}, "stream"),
        ({"streams": []}, "streams"),
        ({"streams": "posts"}, "streams"),
        ({"streams": ["posts", 1]}, "streams[1]"),
    ],
    ids=str,
)
def test_a_payload_that_cannot_be_taken_is_refused_by_its_field(payload: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        SyncRecords().check(payload)
    assert refused.value.field == field
